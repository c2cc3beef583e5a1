//! The decoders, scalers and encoders that can be used, best first.
//!
//! ```text
//! appsrc ! [parser] decoder ! appsink ──► appsrc ! [upload] scaler [download] encoder [parser] ! appsink
//!          └─ one per stream ─┘                    └────────────── one per rung ──────────────┘
//! ```
//!
//! Each of the three is chosen on its own: data-centre cards decode and scale
//! but have no encoder, so there the scaled pictures come down to x264.
//!
//! The chains of NVENC and VA-API are checked as text by the tests below; no
//! machine with such an encoder has run them yet.

use records::Codec;

use super::TranscodeConfig;
use super::chain::{Chain, Step};
use super::ladder::Target;

/// Where a picture's pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    System,
    Cuda,
    Va,
}

impl Memory {
    /// Caps of raw pictures there.
    pub fn raw_caps(self) -> &'static str {
        match self {
            Self::System => "video/x-raw",
            Self::Cuda => "video/x-raw(memory:CUDAMemory)",
            Self::Va => "video/x-raw(memory:VAMemory)",
        }
    }

    /// What people call the hardware.
    pub fn hardware(self) -> &'static str {
        match self {
            Self::System => "CPU",
            Self::Cuda => "NVIDIA GPU",
            Self::Va => "VA-API GPU",
        }
    }
}

/// A decoder, and the parser it needs before it.
#[derive(Debug)]
pub(super) struct Decoder {
    pub element: &'static str,
    pub codec: Codec,
    /// Where it can leave its pictures; all can leave them in `System` too.
    pub memory: Memory,
    pub parser: Option<&'static str>,
    tune: &'static [(&'static str, &'static str)],
}

/// A scaler (and format converter).
#[derive(Debug)]
pub(super) struct Scaler {
    pub element: &'static str,
    pub memory: Memory,
    /// Elements that bring pictures there and back, if it can't do so itself.
    pub upload: Option<&'static str>,
    pub download: Option<&'static str>,
    /// Pixel format of what it leaves: 8 bits, 4:2:0.
    format: &'static str,
    tune: &'static [(&'static str, &'static str)],
}

/// An H.264 encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    pub element: &'static str,
    pub memory: Memory,
    /// Made to turn its output into length-prefixed units, if it can't itself.
    pub parser: Option<&'static str>,
    tune: &'static [(&'static str, &'static str)],
}

const fn decoder(
    element: &'static str,
    codec: Codec,
    memory: Memory,
    parser: Option<&'static str>,
    tune: &'static [(&'static str, &'static str)],
) -> Decoder {
    Decoder { element, codec, memory, parser, tune }
}

// Not `strict`, which libav takes by default outside live pipelines and which
// holds back as many pictures as the level allows to be reordered. Slices, not
// frames, in parallel: frame threads hold back one picture each.
const LIBAV: &[(&str, &str)] = &[("std-compliance", "normal"), ("thread-type", "slice")];

/// Decoders, best first within each codec.
pub(super) static DECODERS: &[Decoder] = &[
    decoder("nvh264dec", Codec::H264, Memory::Cuda, Some("h264parse"), &[]),
    decoder("vah264dec", Codec::H264, Memory::Va, Some("h264parse"), &[]),
    decoder("avdec_h264", Codec::H264, Memory::System, None, LIBAV),
    decoder("openh264dec", Codec::H264, Memory::System, Some("h264parse"), &[]),
    decoder("nvh265dec", Codec::Hevc, Memory::Cuda, Some("h265parse"), &[]),
    decoder("vah265dec", Codec::Hevc, Memory::Va, Some("h265parse"), &[]),
    decoder("avdec_h265", Codec::Hevc, Memory::System, None, LIBAV),
    decoder("libde265dec", Codec::Hevc, Memory::System, Some("h265parse"), &[]),
    decoder("nvav1dec", Codec::Av1, Memory::Cuda, Some("av1parse"), &[]),
    decoder("vaav1dec", Codec::Av1, Memory::Va, Some("av1parse"), &[]),
    decoder("dav1ddec", Codec::Av1, Memory::System, Some("av1parse"), &[]),
    decoder("av1dec", Codec::Av1, Memory::System, Some("av1parse"), &[]),
];

/// Scalers, best first within each memory.
pub(super) static SCALERS: &[Scaler] = &[
    Scaler {
        element: "cudaconvertscale",
        memory: Memory::Cuda,
        upload: Some("cudaupload"),
        download: Some("cudadownload"),
        format: "NV12",
        tune: &[],
    },
    Scaler {
        element: "cudascale",
        memory: Memory::Cuda,
        upload: Some("cudaupload"),
        download: Some("cudadownload"),
        format: "NV12",
        tune: &[],
    },
    Scaler {
        element: "vapostproc",
        memory: Memory::Va,
        upload: None,
        download: None,
        format: "NV12",
        tune: &[],
    },
    Scaler {
        element: "videoconvertscale",
        memory: Memory::System,
        upload: None,
        download: None,
        format: "I420",
        tune: &[("add-borders", "false"), ("method", "bilinear"), ("qos", "false")],
    },
];

/// Encoders, best first. No B-frames, no keyframes but those asked for, no
/// look-ahead: a picture that goes in comes out.
pub(super) static ENCODERS: &[Encoder] = &[
    Encoder {
        element: "nvh264enc",
        memory: Memory::Cuda,
        parser: Some("h264parse"),
        tune: &[
            ("preset", "low-latency-hq"),
            ("rc-mode", "cbr"),
            ("zerolatency", "true"),
            ("gop-size", "-1"),
            ("bframes", "0"),
            ("i-adapt", "false"),
            ("aud", "false"),
        ],
    },
    Encoder {
        element: "vah264enc",
        memory: Memory::Va,
        parser: Some("h264parse"),
        // 1024 is the largest it takes: more pictures than any segment has.
        tune: &[
            ("rate-control", "cbr"),
            ("key-int-max", "1024"),
            ("b-frames", "0"),
            ("target-usage", "6"),
            ("aud", "false"),
        ],
    },
    Encoder {
        element: "x264enc",
        memory: Memory::System,
        parser: None,
        // 2^30 is x264's "infinite".
        tune: &[
            ("tune", "zerolatency"),
            ("bframes", "0"),
            ("key-int-max", "1073741824"),
            ("option-string", "scenecut=0"),
            ("vbv-buf-capacity", "1000"),
            ("aud", "false"),
            ("byte-stream", "false"),
        ],
    },
];

/// How pictures of one codec get from the publisher's packets to the rungs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub decoder: &'static Decoder,
    pub scaler: &'static Scaler,
    pub encoder: &'static Encoder,
    /// Where decoded pictures are between the two.
    pub frames: Memory,
}

impl Path {
    /// Chooses a path. `has` says whether an element exists and works.
    pub fn choose(codec: Codec, has: impl Fn(&str) -> bool) -> Option<Self> {
        let parsed = |parser: Option<&'static str>| parser.is_none_or(&has);
        let decoder =
            DECODERS.iter().find(|d| d.codec == codec && has(d.element) && parsed(d.parser))?;
        let encoder = ENCODERS.iter().find(|e| has(e.element) && parsed(e.parser))?;
        let scaler_in = |memory: Memory| {
            SCALERS.iter().find(|s| {
                s.memory == memory
                    && has(s.element)
                    && s.upload.is_none_or(&has)
                    && s.download.is_none_or(&has)
            })
        };
        // Scaled where the pictures are; those in system memory where they are encoded.
        let there = if decoder.memory == Memory::System { encoder.memory } else { decoder.memory };
        let scaler = scaler_in(there).or_else(|| scaler_in(Memory::System))?;
        let frames = if scaler.memory == decoder.memory { decoder.memory } else { Memory::System };
        Some(Self { decoder, scaler, encoder, frames })
    }

    /// From packets to raw pictures: what stands between appsrc and appsink.
    pub fn decode_chain(&self, config: &TranscodeConfig) -> Chain {
        let mut steps = Vec::new();
        if let Some(parser) = self.decoder.parser {
            steps.push(Step::element(parser, &[]));
        }
        let mut properties = owned(self.decoder.tune);
        if self.decoder.memory == Memory::System {
            let threads = config.decoder_threads.to_string();
            // libav's name, then libaom's.
            match self.decoder.element {
                "av1dec" => properties.push(("threads", threads)),
                name if name.starts_with("avdec_") => properties.push(("max-threads", threads)),
                _ => {}
            }
        }
        steps.push(Step::Element { factory: self.decoder.element, properties });
        steps.push(Step::Caps(self.frames.raw_caps().into()));
        Chain(steps)
    }

    /// From raw pictures to H.264 access units with length prefixes. A picture
    /// with square pixels stays so, to the nearest even width.
    pub fn encode_chain(
        &self,
        target: &Target,
        config: &TranscodeConfig,
        square_pixels: bool,
    ) -> Chain {
        let Self { scaler, encoder, frames, .. } = self;
        let mut steps = Vec::new();
        if *frames != scaler.memory
            && let Some(upload) = scaler.upload
        {
            steps.push(Step::element(upload, &[]));
        }
        steps.push(Step::Element { factory: scaler.element, properties: owned(scaler.tune) });
        // A scaler without a download element hands over by caps alone.
        let stays = encoder.memory == scaler.memory || scaler.download.is_some();
        let memory = if stays { scaler.memory } else { Memory::System };
        let format = if scaler.memory == Memory::System && encoder.memory != Memory::System {
            "NV12"
        } else {
            scaler.format
        };
        let square = if square_pixels { ",pixel-aspect-ratio=1/1" } else { "" };
        let (caps, width, height) = (memory.raw_caps(), target.width, target.height);
        steps.push(Step::Caps(format!(
            "{caps},format={format},width={width},height={height}{square}"
        )));
        if encoder.memory != scaler.memory
            && let Some(download) = scaler.download
        {
            steps.push(Step::element(download, &[]));
        }
        let mut properties = owned(encoder.tune);
        properties.push(("bitrate", target.bitrate_kbps.to_string()));
        if encoder.element == "x264enc" {
            properties.push(("speed-preset", config.preset.clone()));
            properties.push(("threads", encoder_threads(target, config).to_string()));
        }
        steps.push(Step::Element { factory: encoder.element, properties });
        steps.push(Step::Caps("video/x-h264,profile=high".into()));
        if let Some(parser) = encoder.parser {
            steps.push(Step::element(parser, &[]));
        }
        steps.push(Step::Caps("video/x-h264,stream-format=avc,alignment=au".into()));
        Chain(steps)
    }
}

/// One thread costs the least in total and slices the picture the least, so
/// more are used only where one couldn't keep up with 60 pictures a second.
fn encoder_threads(target: &Target, config: &TranscodeConfig) -> u32 {
    if config.encoder_threads > 0 {
        return config.encoder_threads;
    }
    match u32::from(target.width) * u32::from(target.height) {
        0..=1_000_000 => 1,
        1_000_001..=2_100_000 => 2,
        _ => 4,
    }
}

fn owned(properties: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    properties.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use records::Rendition;

    use super::*;

    const TARGET: Target =
        Target { rendition: Rendition::Rung(480), width: 854, height: 480, bitrate_kbps: 1400 };

    fn chains(has: &[&str]) -> Option<(String, String)> {
        let path = Path::choose(Codec::H264, |name| has.contains(&name))?;
        let config = TranscodeConfig::default();
        Some((
            path.decode_chain(&config).to_string(),
            path.encode_chain(&TARGET, &config, true).to_string(),
        ))
    }

    #[test]
    fn on_a_plain_machine_all_is_software() {
        let (decode, encode) = chains(&["avdec_h264", "videoconvertscale", "x264enc"]).unwrap();
        assert_eq!(
            decode,
            "avdec_h264 std-compliance=normal thread-type=slice max-threads=2 ! video/x-raw"
        );
        assert!(encode.starts_with(
            "videoconvertscale add-borders=false method=bilinear qos=false ! \
             video/x-raw,format=I420,width=854,height=480,pixel-aspect-ratio=1/1 ! x264enc"
        ));
        assert!(encode.contains("speed-preset=veryfast threads=1"));
    }

    #[test]
    fn with_nvenc_frames_stay_on_the_gpu() {
        let (decode, encode) = chains(&[
            "nvh264dec",
            "avdec_h264",
            "h264parse",
            "cudaconvertscale",
            "cudaupload",
            "cudadownload",
            "videoconvertscale",
            "nvh264enc",
            "x264enc",
        ])
        .unwrap();
        assert_eq!(decode, "h264parse ! nvh264dec ! video/x-raw(memory:CUDAMemory)");
        assert!(encode.starts_with(
            "cudaconvertscale ! video/x-raw(memory:CUDAMemory),format=NV12,width=854,height=480"
        ));
        assert!(encode.contains(" ! nvh264enc "));
        assert!(!encode.contains("cudadownload") && !encode.contains("cudaupload"));
    }

    #[test]
    fn a_data_centre_card_scales_and_x264_encodes() {
        let (decode, encode) = chains(&[
            "nvh264dec",
            "h264parse",
            "cudascale",
            "cudaupload",
            "cudadownload",
            "videoconvertscale",
            "x264enc",
        ])
        .unwrap();
        assert!(decode.ends_with("video/x-raw(memory:CUDAMemory)"));
        assert!(encode.starts_with("cudascale ! video/x-raw(memory:CUDAMemory)"));
        assert!(encode.contains(" ! cudadownload ! x264enc "));
    }

    #[test]
    fn va_stays_in_va_and_comes_down_by_caps() {
        let va = ["vah264dec", "h264parse", "vapostproc", "vah264enc", "x264enc"];
        let (decode, encode) = chains(&va).unwrap();
        assert!(decode.ends_with("vah264dec ! video/x-raw(memory:VAMemory)"));
        assert!(encode.starts_with("vapostproc ! video/x-raw(memory:VAMemory),format=NV12"));
        let (_, encode) = chains(&["vah264dec", "h264parse", "vapostproc", "x264enc"]).unwrap();
        assert!(encode.starts_with("vapostproc ! video/x-raw,format=NV12,width=854"));
    }

    #[test]
    fn an_encoder_alone_gets_pictures_uploaded_or_raw() {
        let nv =
            ["avdec_h264", "h264parse", "cudascale", "cudaupload", "cudadownload", "nvh264enc"];
        let (decode, encode) = chains(&nv).unwrap();
        assert!(decode.ends_with("video/x-raw"));
        assert!(encode.starts_with("cudaupload ! cudascale"));
        let (_, encode) =
            chains(&["avdec_h264", "h264parse", "videoconvertscale", "nvh264enc"]).unwrap();
        assert!(encode.contains("video/x-raw,format=NV12"));
    }

    #[test]
    fn without_an_encoder_there_is_no_path() {
        assert!(chains(&["avdec_h264", "videoconvertscale"]).is_none());
        assert!(chains(&["x264enc", "videoconvertscale"]).is_none());
    }
}
