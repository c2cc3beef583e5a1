//! What a decoder must know before the first sample of a track.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The codecs that are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 / AVC; config is an `AVCDecoderConfigurationRecord`, samples are length-prefixed NAL units.
    H264,
    /// H.265 / HEVC; config is an `HEVCDecoderConfigurationRecord`, samples are length-prefixed NAL units.
    Hevc,
    /// AV1; config is an `AV1CodecConfigurationRecord`, samples are temporal units without delimiters.
    Av1,
    /// AAC; config is an `AudioSpecificConfig`, samples are raw access units.
    Aac,
    /// Opus; config is an `OpusHead` (Ogg, RFC 7845 §5.1), samples are Opus packets.
    Opus,
}

/// Picture or sound, with what is known of its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video {
        /// Width in pixels after cropping.
        width: u16,
        /// Height in pixels after cropping.
        height: u16,
        /// Frames per second as a fraction, if the stream says so or it was measured.
        fps: Option<(u32, u32)>,
    },
    /// Sound.
    Audio {
        /// Samples per second as output by the decoder.
        sample_rate: u32,
        /// Channels as output by the decoder.
        channels: u16,
    },
}

/// A track's decoder configuration. Two tracks with equal inits can be joined
/// without a discontinuity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInit {
    /// How samples are coded.
    pub codec: Codec,
    /// The codec's configuration record, see [`Codec`].
    pub config: Bytes,
    /// Ticks per second of this track's samples. Audio: its sample rate
    /// (48 000 for Opus). Video: an exact multiple of the frame rate.
    pub timescale: u32,
    /// Nominal ticks of one sample: the last sample's duration, and the grid
    /// that timestamps snap to. At least 1.
    pub sample_ticks: u32,
    /// Picture or sound.
    pub kind: Kind,
}

impl TrackInit {
    /// The codec's name for `CODECS` and MIME types (RFC 6381), for example
    /// `avc1.64001f`, `hvc1.1.6.L93.B0`, `av01.0.04M.08`, `mp4a.40.2`, `opus`.
    ///
    /// A configuration too short to tell gives the codec's most common name.
    #[must_use]
    pub fn rfc6381(&self) -> String {
        let c = &self.config;
        match self.codec {
            Codec::H264 => match c.get(1..4) {
                Some([profile, compat, level]) => {
                    format!("avc1.{profile:02x}{compat:02x}{level:02x}")
                }
                _ => "avc1.640028".into(),
            },
            Codec::Hevc => hevc_name(c).unwrap_or_else(|| "hvc1.1.6.L120.B0".into()),
            Codec::Av1 => match c.get(1..3) {
                Some([a, b]) => {
                    let (profile, level) = (a >> 5, a & 0x1f);
                    let tier = if b & 0x80 != 0 { 'H' } else { 'M' };
                    let depth = match (b & 0x40 != 0, b & 0x20 != 0) {
                        (true, true) => 12,
                        (true, false) => 10,
                        _ => 8,
                    };
                    format!("av01.{profile}.{level:02}{tier}.{depth:02}")
                }
                _ => "av01.0.08M.08".into(),
            },
            Codec::Aac => {
                let first = c.first().copied().unwrap_or(0x10);
                let object_type = match first >> 3 {
                    31 => {
                        let second = c.get(1).copied().unwrap_or(0);
                        32 + ((first & 7) << 3 | second >> 5)
                    }
                    n => n,
                };
                format!("mp4a.40.{object_type}")
            }
            Codec::Opus => "opus".into(),
        }
    }

    /// Whether this track holds pictures.
    #[must_use]
    pub fn is_video(&self) -> bool {
        matches!(self.kind, Kind::Video { .. })
    }
}

/// ISO/IEC 14496-15 annex E.3: `hvc1.[space]profile.compat-reversed.[tier]level.constraints`.
fn hevc_name(config: &[u8]) -> Option<String> {
    let head = config.get(1..13)?;
    let space = ["", "A", "B", "C"][usize::from(head[0] >> 6)];
    let tier = if head[0] & 0x20 != 0 { 'H' } else { 'L' };
    let profile = head[0] & 0x1f;
    let compat = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).reverse_bits();
    let level = head[11];
    let mut name = format!("hvc1.{space}{profile}.{compat:X}.{tier}{level}");
    let constraints = &head[5..11];
    let used = constraints.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    for byte in &constraints[..used] {
        name.push_str(&format!(".{byte:X}"));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(codec: Codec, config: &'static [u8]) -> String {
        TrackInit {
            codec,
            config: Bytes::from_static(config),
            timescale: 90_000,
            sample_ticks: 3000,
            kind: Kind::Video { width: 2, height: 2, fps: None },
        }
        .rfc6381()
    }

    #[test]
    fn names_codecs() {
        assert_eq!(named(Codec::H264, &[1, 0x64, 0, 0x1f]), "avc1.64001f");
        assert_eq!(
            named(Codec::Hevc, &[1, 1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93]),
            "hvc1.1.6.L93.B0"
        );
        assert_eq!(named(Codec::Av1, &[0x81, 0x08, 0x0c, 0]), "av01.0.08M.08");
        assert_eq!(named(Codec::Aac, &[0x12, 0x10]), "mp4a.40.2");
    }
}
