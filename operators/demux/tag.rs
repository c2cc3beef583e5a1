//! One FLV tag body, legacy or Enhanced RTMP v2, as one message brings it.
//!
//! Enters: a tag body from its first header byte on. Leaves: a decoder
//! configuration, a coded frame (a slice of the message, never a copy), or
//! nothing that matters. Held: nothing. Never done here: looking into the
//! codec's own bytes.

use bytes::{Buf, Bytes};
use records::Codec;

/// What a tag body holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// A sequence header.
    Config {
        /// Whose.
        codec: Codec,
        /// The codec's configuration record.
        config: Bytes,
    },
    /// One access unit.
    Coded {
        /// How it is coded.
        codec: Codec,
        /// Whether the container calls it a keyframe (always, for sound).
        keyframe: bool,
        /// Presentation minus decode time, in milliseconds.
        cts_ms: i32,
        /// What ModEx adds to the message's timestamp (E-RTMP `TimestampOffsetNano`).
        offset_ns: u32,
        /// The access unit.
        data: Bytes,
    },
    /// Commands, metadata frames (colour information), ends of sequence.
    Nothing,
}

/// A parsed tag body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// What it holds for track 0.
    pub(super) tag: Tag,
    /// How many units of other tracks it holds: one picture and one sound are carried.
    pub(super) others: u32,
}

/// A tag body that can't be used; always the publisher's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TagError {
    /// It ends within its own header.
    #[error("the tag ends early")]
    Truncated,
    /// A codec that is not carried.
    #[error("the codec is not carried")]
    Codec,
    /// Packet types that may not follow one another.
    #[error("the tag's header contradicts itself")]
    Malformed,
}

const FRAME_KEY: u8 = 1;
const FRAME_GENERATED_KEY: u8 = 4;
const FRAME_COMMAND: u8 = 5;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const VIDEO_CODED_FRAMES_X: u8 = 3;
const VIDEO_METADATA: u8 = 4;
const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS: u8 = 1;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Parses the body of a video message.
///
/// # Errors
/// [`TagError`], by which the message is to be dropped.
pub(super) fn video(body: &Bytes) -> Result<Parsed, TagError> {
    let mut rest = body.clone();
    let head = byte(&mut rest)?;
    if head & 0x80 == 0 {
        return legacy_video(head, rest).map(alone);
    }
    let frame_type = head >> 4 & 7;
    let (packet_type, offset_ns) = mod_ex(head & 15, &mut rest)?;
    // A metadata frame also carries frame type 5 (OBS sends `d4`): not a command.
    if frame_type == FRAME_COMMAND && packet_type != VIDEO_METADATA {
        return Ok(alone(Tag::Nothing));
    }
    let keyframe = matches!(frame_type, FRAME_KEY | FRAME_GENERATED_KEY);
    let read = |packet_type: u8, fourcc: [u8; 4], mut data: Bytes| {
        let codec = match &fourcc {
            b"avc1" => Codec::H264,
            b"hvc1" => Codec::Hevc,
            b"av01" => Codec::Av1,
            _ => return Err(TagError::Codec),
        };
        Ok(match packet_type {
            SEQUENCE_START => Tag::Config { codec, config: data },
            CODED_FRAMES => {
                // Only these two reorder in a way the container must tell.
                let reorders = matches!(codec, Codec::H264 | Codec::Hevc);
                let cts_ms = if reorders { signed_u24(&mut data)? } else { 0 };
                Tag::Coded { codec, keyframe, cts_ms, offset_ns, data }
            }
            VIDEO_CODED_FRAMES_X => Tag::Coded { codec, keyframe, cts_ms: 0, offset_ns, data },
            _ => Tag::Nothing,
        })
    };
    tracks(packet_type, VIDEO_MULTITRACK, rest, read)
}

/// Parses the body of an audio message.
///
/// # Errors
/// [`TagError`], by which the message is to be dropped.
pub(super) fn audio(body: &Bytes) -> Result<Parsed, TagError> {
    let mut rest = body.clone();
    let head = byte(&mut rest)?;
    match head >> 4 {
        10 => {
            let packet_type = byte(&mut rest)?;
            let codec = Codec::Aac;
            Ok(alone(match packet_type {
                0 => Tag::Config { codec, config: rest },
                1 => sound(codec, 0, rest),
                _ => Tag::Nothing,
            }))
        }
        9 => {
            let (packet_type, offset_ns) = mod_ex(head & 15, &mut rest)?;
            let read = |packet_type: u8, fourcc: [u8; 4], data: Bytes| {
                let codec = match &fourcc {
                    b"mp4a" => Codec::Aac,
                    b"Opus" => Codec::Opus,
                    _ => return Err(TagError::Codec),
                };
                Ok(match packet_type {
                    SEQUENCE_START => Tag::Config { codec, config: data },
                    CODED_FRAMES => sound(codec, offset_ns, data),
                    _ => Tag::Nothing,
                })
            };
            tracks(packet_type, AUDIO_MULTITRACK, rest, read)
        }
        _ => Err(TagError::Codec),
    }
}

fn sound(codec: Codec, offset_ns: u32, data: Bytes) -> Tag {
    Tag::Coded { codec, keyframe: true, cts_ms: 0, offset_ns, data }
}

fn alone(tag: Tag) -> Parsed {
    Parsed { tag, others: 0 }
}

/// Adobe FLV 1.0 E.4.3.1: codec 7 is AVC; 12 is HEVC as many encoders sent it before E-RTMP.
fn legacy_video(head: u8, mut rest: Bytes) -> Result<Tag, TagError> {
    let codec = match head & 15 {
        7 => Codec::H264,
        12 => Codec::Hevc,
        _ if head >> 4 == FRAME_COMMAND => return Ok(Tag::Nothing),
        _ => return Err(TagError::Codec),
    };
    if head >> 4 == FRAME_COMMAND {
        return Ok(Tag::Nothing);
    }
    let packet_type = byte(&mut rest)?;
    let cts_ms = signed_u24(&mut rest)?;
    let keyframe = matches!(head >> 4, FRAME_KEY | FRAME_GENERATED_KEY);
    Ok(match packet_type {
        0 => Tag::Config { codec, config: rest },
        1 => Tag::Coded { codec, keyframe, cts_ms, offset_ns: 0, data: rest },
        _ => Tag::Nothing,
    })
}

/// Reads modifier extensions; they end, since each takes at least three bytes.
fn mod_ex(mut packet_type: u8, rest: &mut Bytes) -> Result<(u8, u32), TagError> {
    let mut offset_ns = 0;
    while packet_type == MOD_EX {
        let mut size = usize::from(byte(rest)?) + 1;
        if size == 256 {
            size = usize::from(rest.try_get_u16().map_err(|_| TagError::Truncated)?) + 1;
        }
        let data = take(rest, size)?;
        let next = byte(rest)?;
        if next >> 4 == 0 {
            let [a, b, c, ..] = data[..] else { return Err(TagError::Malformed) };
            // At most 999 999 by the specification: it refines a millisecond.
            offset_ns = u32::from_be_bytes([0, a, b, c]).min(999_999);
        }
        packet_type = next & 15;
    }
    Ok((packet_type, offset_ns))
}

/// Reads the four-character code and the unit, or of a multitrack message the unit of track 0.
fn tracks(
    packet_type: u8,
    multitrack: u8,
    mut rest: Bytes,
    read: impl Fn(u8, [u8; 4], Bytes) -> Result<Tag, TagError>,
) -> Result<Parsed, TagError> {
    if packet_type != multitrack {
        // The payload of a metadata frame begins with a FourCC like any other.
        let code = fourcc(&mut rest)?;
        return read(packet_type, code, rest).map(alone);
    }
    let head = byte(&mut rest)?;
    let (layout, packet_type) = (head >> 4, head & 15);
    if packet_type == multitrack || layout > MANY_TRACKS_MANY_CODECS {
        return Err(TagError::Malformed);
    }
    let mut code = [0; 4];
    if layout != MANY_TRACKS_MANY_CODECS {
        code = fourcc(&mut rest)?;
    }
    let mut parsed = alone(Tag::Nothing);
    loop {
        if layout == MANY_TRACKS_MANY_CODECS {
            code = fourcc(&mut rest)?;
        }
        let track = byte(&mut rest)?;
        let unit = match layout {
            ONE_TRACK => std::mem::take(&mut rest),
            _ => {
                debug_assert!(matches!(layout, MANY_TRACKS | MANY_TRACKS_MANY_CODECS));
                let size = u24(&mut rest)? as usize;
                take(&mut rest, size)?
            }
        };
        if track == 0 {
            parsed.tag = read(packet_type, code, unit)?;
        } else {
            parsed.others += 1;
        }
        if rest.is_empty() {
            return Ok(parsed);
        }
    }
}

fn byte(rest: &mut Bytes) -> Result<u8, TagError> {
    rest.try_get_u8().map_err(|_| TagError::Truncated)
}

fn take(rest: &mut Bytes, size: usize) -> Result<Bytes, TagError> {
    if rest.len() < size {
        return Err(TagError::Truncated);
    }
    Ok(rest.split_to(size))
}

/// What a tag calls its codec, for people who read the log: a FourCC, or the
/// number that FLV gave it.
pub(super) fn codec_name(video: bool, body: &[u8]) -> String {
    let head = body.first().copied().unwrap_or_default();
    let (enhanced, number) =
        if video { (head & 0x80 != 0, head & 15) } else { (head >> 4 == 9, head >> 4) };
    match body.get(1..5) {
        Some(fourcc) if enhanced => fourcc.escape_ascii().to_string(),
        _ => format!("FLV {number}"),
    }
}

fn fourcc(rest: &mut Bytes) -> Result<[u8; 4], TagError> {
    let bytes = take(rest, 4)?;
    Ok([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn u24(rest: &mut Bytes) -> Result<u32, TagError> {
    let bytes = take(rest, 3)?;
    Ok(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
}

fn signed_u24(rest: &mut Bytes) -> Result<i32, TagError> {
    // Into the top of an i32 and back, so that the sign follows.
    Ok((u24(rest)? << 8) as i32 >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video_tag(bytes: &[u8]) -> Result<Parsed, TagError> {
        video(&Bytes::copy_from_slice(bytes))
    }

    fn coded(codec: Codec, keyframe: bool, cts_ms: i32, offset_ns: u32, data: &[u8]) -> Tag {
        Tag::Coded { codec, keyframe, cts_ms, offset_ns, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn legacy_avc_has_a_signed_composition_time() {
        let parsed = video_tag(&[0x27, 1, 0xff, 0xff, 0xd8, 9]).unwrap();
        assert_eq!(parsed.tag, coded(Codec::H264, false, -40, 0, &[9]));
        assert_eq!(video_tag(&[0x17, 2, 0, 0, 0]).unwrap().tag, Tag::Nothing);
        assert_eq!(video_tag(&[0x17, 1, 0]), Err(TagError::Truncated));
        assert_eq!(video_tag(&[]), Err(TagError::Truncated));
        assert_eq!(video_tag(&[0x12, 0]), Err(TagError::Codec));
    }

    #[test]
    fn enhanced_video_as_seen_on_the_wire() {
        let hevc = video_tag(b"\x90hvc1CONFIG").unwrap().tag;
        assert_eq!(hevc, Tag::Config { codec: Codec::Hevc, config: "CONFIG".into() });
        let frame = video_tag(b"\x91hvc1\x00\x00\x50data").unwrap().tag;
        assert_eq!(frame, coded(Codec::Hevc, true, 80, 0, b"data"));
        let av1 = video_tag(b"\xa1av01data").unwrap().tag;
        assert_eq!(av1, coded(Codec::Av1, false, 0, 0, b"data"));
        assert_eq!(video_tag(b"\xd4hvc1\x02\x00\x09colorInfo").unwrap().tag, Tag::Nothing);
        assert_eq!(video_tag(b"\xd1\x00").unwrap().tag, Tag::Nothing);
        assert_eq!(video_tag(b"\x90vp09xx"), Err(TagError::Codec));
        assert_eq!(codec_name(true, b"\x90vp09xx"), "vp09");
        assert_eq!(codec_name(true, &[0x12, 0]), "FLV 2");
        assert_eq!(codec_name(false, b"\x2fxx"), "FLV 2");
    }

    #[test]
    fn multitrack_keeps_track_zero_and_counts_the_others() {
        let one = video_tag(b"\x96\x00avc1\x01CONFIG").unwrap();
        assert_eq!(one, Parsed { tag: Tag::Nothing, others: 1 });
        let two = video_tag(b"\x96\x13avc1\x01\x00\x00\x01z\x00\x00\x00\x02yy").unwrap();
        assert_eq!(two, Parsed { tag: coded(Codec::H264, true, 0, 0, b"yy"), others: 1 });
        let mixed = video_tag(b"\x96\x20avc1\x00\x00\x00\x01cav01\x01\x00\x00\x01d").unwrap();
        assert_eq!(mixed.others, 1);
        assert_eq!(mixed.tag, Tag::Config { codec: Codec::H264, config: "c".into() });
        assert_eq!(video_tag(b"\x96\x06avc1\x00"), Err(TagError::Malformed));
        assert_eq!(video_tag(b"\x96\x13avc1\x00\xff\xff\xffz"), Err(TagError::Truncated));
    }

    #[test]
    fn mod_ex_refines_the_timestamp() {
        let tag = video_tag(b"\x97\x02\x01\x00\x00\x03avc1zz").unwrap().tag;
        assert_eq!(tag, coded(Codec::H264, true, 0, 65_536, b"zz"));
        assert_eq!(video_tag(b"\x97\x00\x01\x03avc1zz"), Err(TagError::Malformed));
    }

    #[test]
    fn audio_legacy_and_enhanced() {
        let audio_tag = |bytes: &'static [u8]| audio(&Bytes::from_static(bytes));
        let asc = Tag::Config { codec: Codec::Aac, config: Bytes::from_static(&[0x12, 0x10]) };
        assert_eq!(audio_tag(&[0xaf, 0, 0x12, 0x10]).unwrap().tag, asc);
        assert_eq!(audio_tag(b"\xaf\x01xx").unwrap().tag, sound(Codec::Aac, 0, "xx".into()));
        assert_eq!(audio_tag(b"\x91Opusxx").unwrap().tag, sound(Codec::Opus, 0, "xx".into()));
        assert_eq!(audio_tag(b"\x94Opus\x01\x02").unwrap().tag, Tag::Nothing);
        assert_eq!(audio_tag(b"\x95\x01mp4a\x01xx").unwrap().others, 1);
        assert_eq!(audio_tag(b"\x2fxx"), Err(TagError::Codec));
    }
}
