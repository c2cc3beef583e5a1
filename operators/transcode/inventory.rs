//! What this machine can decode, scale and encode with.
//!
//! Enters: GStreamer's registry. Leaves: an [`Inventory`], for the ladder, for
//! `millstream encoders` and for the API. An element counts when it can be
//! made and brought to READY: that opens its device, so a driver that is
//! installed but broken doesn't count.

use std::collections::HashMap;
use std::fmt;

use gstreamer as gst;
use gstreamer::prelude::*;
use records::{Codec, Rendition};
use serde::Serialize;

use super::TranscodeConfig;
use super::candidates::{DECODERS, ENCODERS, Path, SCALERS};
use super::chain::package_of;
use super::ladder::Target;

/// Elements that a path may need besides those in the tables.
const HELPERS: [&str; 5] = ["h264parse", "h265parse", "av1parse", "cudaupload", "cudadownload"];

/// One decoder, scaler or encoder that can be used if it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// `decoder`, `scaler` or `encoder`.
    pub role: &'static str,
    /// What it decodes or encodes; none for a scaler.
    pub codec: Option<Codec>,
    /// GStreamer's name of it.
    pub element: &'static str,
    /// What it runs on.
    pub hardware: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// Whether it is there and works.
    pub available: bool,
    /// Whether it would be used.
    pub used: bool,
}

/// What this machine has, and what would be used.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// Version of GStreamer, or why it can't be used.
    pub gstreamer: String,
    /// All candidates, best first within each role and codec.
    pub candidates: Vec<Candidate>,
    /// By codec of the source, the chains for one rung as `gst-launch-1.0` text.
    pub chains: Vec<(Codec, String)>,
    #[serde(skip)]
    paths: HashMap<Codec, Path>,
}

const SOURCES: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];

/// Asks GStreamer's registry. Takes some milliseconds; opens hardware devices
/// for a moment.
#[must_use]
pub fn inventory() -> Inventory {
    match gst::init() {
        Ok(()) => Inventory::of(gst::version_string().to_string(), works),
        Err(error) => Inventory::of(format!("unusable: {error}"), |_| false),
    }
}

/// Whether the element exists and its device opens.
fn works(factory: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(factory).build() else { return false };
    let ready = element.set_state(gst::State::Ready).is_ok();
    ready & element.set_state(gst::State::Null).is_ok()
}

impl Inventory {
    fn of(gstreamer: String, works: impl Fn(&str) -> bool) -> Self {
        let names = DECODERS.iter().map(|d| d.element).chain(SCALERS.iter().map(|s| s.element));
        let names = names.chain(ENCODERS.iter().map(|e| e.element)).chain(HELPERS);
        let have: HashMap<&str, bool> = names.map(|name| (name, works(name))).collect();
        let has = |name: &str| have.get(name).copied().unwrap_or(false);
        let paths: HashMap<Codec, Path> = SOURCES
            .into_iter()
            .filter_map(|codec| Path::choose(codec, has).map(|path| (codec, path)))
            .collect();
        let used = |element: &str| {
            paths.values().any(|path| {
                [path.decoder.element, path.scaler.element, path.encoder.element].contains(&element)
            })
        };
        let candidate = |role, codec, element, hardware| Candidate {
            role,
            codec,
            element,
            hardware,
            package: package_of(element),
            available: has(element),
            used: used(element),
        };
        let decoders = DECODERS
            .iter()
            .map(|d| candidate("decoder", Some(d.codec), d.element, d.memory.hardware()));
        let scalers =
            SCALERS.iter().map(|s| candidate("scaler", None, s.element, s.memory.hardware()));
        let encoders = ENCODERS
            .iter()
            .map(|e| candidate("encoder", Some(Codec::H264), e.element, e.memory.hardware()));
        let candidates = decoders.chain(scalers).chain(encoders).collect();
        let config = TranscodeConfig::default();
        let example =
            Target { rendition: Rendition::Rung(480), width: 854, height: 480, bitrate_kbps: 1400 };
        let chains = SOURCES
            .into_iter()
            .filter_map(|codec| {
                let path = paths.get(&codec)?;
                let decode = path.decode_chain(&config);
                let encode = path.encode_chain(&example, &config, true);
                Some((codec, format!("{decode} ! {encode}")))
            })
            .collect();
        Self { gstreamer, candidates, chains, paths }
    }

    /// Whether pictures of this codec can be decoded and encoded again.
    #[must_use]
    pub fn can_transcode(&self, codec: Codec) -> bool {
        self.paths.contains_key(&codec)
    }

    pub(super) fn path(&self, codec: Codec) -> Option<Path> {
        self.paths.get(&codec).copied()
    }

    /// A machine with nothing but Debian's software plugins.
    #[cfg(test)]
    pub(super) fn of_software() -> Self {
        let software = ["avdec_h264", "avdec_h265", "av1dec", "av1parse", "videoconvertscale"];
        Self::of("test".into(), |name| name == "x264enc" || software.contains(&name))
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.gstreamer)?;
        writeln!(
            f,
            "\n{:<8} {:<6} {:<18} {:<11} {:<5} package",
            "role", "codec", "element", "runs on", "used"
        )?;
        for c in &self.candidates {
            let codec = c.codec.map_or("", name);
            let used = match (c.used, c.available) {
                (true, _) => "yes",
                (false, true) => "no",
                (false, false) => "-",
            };
            let package = if c.available {
                c.package.to_owned()
            } else {
                format!("{} (not here)", c.package)
            };
            writeln!(
                f,
                "{:<8} {codec:<6} {:<18} {:<11} {used:<5} {package}",
                c.role, c.element, c.hardware
            )?;
        }
        for codec in SOURCES {
            match self.chains.iter().find(|(c, _)| *c == codec) {
                Some((_, chain)) => writeln!(f, "\n480p from {}:\n  {chain}", name(codec))?,
                None => writeln!(f, "\n{} is passed through only", name(codec))?,
            }
        }
        Ok(())
    }
}

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H.264",
        Codec::Hevc => "HEVC",
        Codec::Av1 => "AV1",
        Codec::Aac => "AAC",
        Codec::Opus => "Opus",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_is_here() {
        let here = inventory();
        let table = here.to_string();
        assert!(here.can_transcode(Codec::H264), "{table}");
        for line in ["x264enc", "nvh264enc", "(not here)", "480p from H.264:\n  avdec_h264"] {
            // A machine with a GPU is right to differ in the last two.
            let gpu = here.candidates.iter().any(|c| c.hardware != "CPU" && c.available);
            assert!(gpu || table.contains(line), "{line} in\n{table}");
        }
        assert!(here.candidates.iter().any(|c| c.role == "encoder" && c.used));
    }

    #[test]
    fn a_machine_without_gstreamer_passes_through() {
        let none = Inventory::of("unusable".into(), |_| false);
        assert!(!none.can_transcode(Codec::H264));
        assert!(none.to_string().contains("H.264 is passed through only"));
    }
}
