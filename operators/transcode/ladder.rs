//! Which pictures are encoded for a run.
//!
//! Enters: a [`Run`], the configuration and what the machine can do. Leaves: a
//! [`Plan`]. Held: nothing. A pure function, so that a replayed run gets the
//! same renditions.

use std::sync::Arc;

use records::{Codec, Kind, Rendition, Run, Rung, TrackInit};

use super::{Inventory, TranscodeConfig};

/// One picture to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `Source` (re-encoded) or a rung.
    pub rendition: Rendition,
    /// Pixels, even.
    pub width: u16,
    /// Pixels, even.
    pub height: u16,
    /// kbit/s.
    pub bitrate_kbps: u32,
}

/// What a run's pictures become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the published samples are `Rendition::Source`.
    pub passthrough: bool,
    /// What the encoders deliver, highest first.
    pub targets: Arc<[Target]>,
}

impl Plan {
    /// The targets that are rungs, for [`Run::rungs`].
    pub fn rungs(&self) -> Arc<[Rung]> {
        let rung = |target: &Target| match target.rendition {
            Rendition::Rung(height) => Some(Rung { height, bitrate_kbps: target.bitrate_kbps }),
            _ => None,
        };
        self.targets.iter().filter_map(rung).collect()
    }
}

/// Decides a run.
///
/// Without a decoder for its codec, or an encoder, the source is passed
/// through whatever its keyframes allow: awkward segments serve viewers better
/// than none.
pub(super) fn decide(run: &Run, config: &TranscodeConfig, inventory: &Inventory) -> Plan {
    let untouched = Plan { passthrough: true, targets: Arc::new([]) };
    let Some(video) = &run.video else { return untouched };
    if !config.enabled || !inventory.can_transcode(video.codec) {
        return untouched;
    }
    Plan { passthrough: run.passthrough, targets: targets(video, run.passthrough, config).into() }
}

fn targets(video: &TrackInit, passthrough: bool, config: &TranscodeConfig) -> Vec<Target> {
    let Kind::Video { width, height, .. } = video.kind else { return Vec::new() };
    let (width, height) = (even(u32::from(width)), even(u32::from(height)));
    let mut ladder = config.ladder.clone();
    ladder.sort_by_key(|rung| std::cmp::Reverse(rung.height));
    let mut targets = Vec::new();
    if !passthrough {
        targets.push(Target {
            rendition: Rendition::Source,
            width: width as u16,
            height: height as u16,
            bitrate_kbps: source_bitrate(width, height, &ladder),
        });
    }
    // A source that old players can't decode gets an H.264 picture of its own size beside it.
    let own_size = passthrough && video.codec != Codec::H264;
    let top = ladder.first().map_or(0, |rung| u32::from(rung.height));
    if own_size && height < top && !ladder.iter().any(|r| u32::from(r.height) == height) {
        let rung =
            Rung { height: height as u16, bitrate_kbps: source_bitrate(width, height, &ladder) };
        targets.push(shape(rung, rung.bitrate_kbps, width, height));
    }
    let fits = |rung: &&Rung| {
        let rung_height = u32::from(rung.height);
        rung_height < height || (own_size && rung_height == height)
    };
    targets.extend(ladder.iter().filter(fits).map(|rung| {
        let rung_width = scaled_width(u32::from(rung.height), width, height);
        shape(*rung, fair_bitrate(*rung, rung_width), width, height)
    }));
    targets
}

fn shape(rung: Rung, bitrate_kbps: u32, width: u32, height: u32) -> Target {
    Target {
        rendition: Rendition::Rung(rung.height),
        width: scaled_width(u32::from(rung.height), width, height) as u16,
        height: rung.height,
        bitrate_kbps,
    }
}

/// The source's shape at another height, to the nearest even pixel (4:2:0 needs it).
fn scaled_width(rung_height: u32, width: u32, height: u32) -> u32 {
    let pairs = (rung_height * width + height) / (2 * height);
    (pairs * 2).clamp(2, 8192)
}

fn even(pixels: u32) -> u32 {
    (pixels & !1).max(2)
}

/// A rung's bitrate is meant for 16:9. Narrower pictures (portrait, 4:3) have
/// fewer pixels at the same height and get proportionally less.
fn fair_bitrate(rung: Rung, width: u32) -> u32 {
    let widescreen = u32::from(rung.height) * 16 / 9;
    if width >= widescreen {
        return rung.bitrate_kbps;
    }
    (u64::from(rung.bitrate_kbps) * u64::from(width) / u64::from(widescreen.max(1))).max(32) as u32
}

/// Bitrate for a size that the ladder doesn't have: that of the rung nearest in
/// height, times the ratio of the areas to the power of 0.75 (detail grows
/// more slowly than pixels do).
fn source_bitrate(width: u32, height: u32, ladder: &[Rung]) -> u32 {
    let nearest = ladder.iter().min_by_key(|rung| u32::from(rung.height).abs_diff(height));
    let (near_height, kbps) =
        nearest.map_or((720, 3000), |rung| (u32::from(rung.height), rung.bitrate_kbps));
    let area = f64::from(width * height);
    let near_area = f64::from(near_height * near_height) * 16.0 / 9.0;
    ((f64::from(kbps) * (area / near_area).powf(0.75)) as u32).clamp(100, 50_000)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use records::MediaTime;

    use super::*;

    fn plan(
        codec: Codec,
        width: u16,
        height: u16,
        passthrough: bool,
    ) -> Vec<(Rendition, u16, u32)> {
        let run = Run {
            number: 0,
            start: MediaTime::new(0, 1),
            start_wall_us: 0,
            video: Some(TrackInit {
                codec,
                config: Bytes::new(),
                timescale: 90_000,
                sample_ticks: 3600,
                kind: Kind::Video { width, height, fps: None },
            }),
            audio: None,
            passthrough,
            rungs: Arc::new([]),
        };
        let plan = decide(&run, &TranscodeConfig::default(), &Inventory::of_software());
        assert!(plan.targets.iter().all(|t| t.width % 2 == 0 && t.height % 2 == 0));
        assert!(plan.targets.is_sorted_by_key(|t| std::cmp::Reverse(t.height)));
        plan.targets.iter().map(|t| (t.rendition, t.width, t.bitrate_kbps)).collect()
    }

    #[test]
    fn never_above_the_source() {
        use Rendition::Rung;
        assert_eq!(
            plan(Codec::H264, 1280, 720, true),
            [(Rung(480), 854, 1400), (Rung(360), 640, 800), (Rung(160), 284, 250)]
        );
        assert_eq!(plan(Codec::H264, 284, 160, true), []);
        assert_eq!(plan(Codec::H264, 1920, 1080, true)[0], (Rung(720), 1280, 3000));
    }

    #[test]
    fn a_source_that_is_not_h264_gets_one_of_its_size() {
        use Rendition::Rung;
        assert_eq!(plan(Codec::Hevc, 1280, 720, true)[0], (Rung(720), 1280, 3000));
        assert_eq!(plan(Codec::Av1, 960, 540, true)[0].0, Rung(540));
        assert_eq!(plan(Codec::Hevc, 3840, 2160, true)[0].0, Rung(1080));
    }

    #[test]
    fn a_reencoded_source_keeps_its_size() {
        let targets = plan(Codec::H264, 1281, 721, false);
        assert_eq!(targets[0], (Rendition::Source, 1280, 3000));
        assert_eq!(targets[1].0, Rendition::Rung(480));
        assert_eq!(plan(Codec::Hevc, 640, 360, false)[0].0, Rendition::Source);
    }

    #[test]
    fn portrait_keeps_its_shape_and_costs_less() {
        let targets = plan(Codec::H264, 720, 1280, true);
        assert_eq!(targets[0].0, Rendition::Rung(1080));
        assert_eq!(targets[0].1, 608);
        assert!(targets[0].2 < 2000, "{targets:?}");
    }
}
