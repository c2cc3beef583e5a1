//! FLV: how samples are wrapped into tag bodies, and FLV files.
//!
//! Sources: Adobe's FLV specification, annex E; Enhanced RTMP v2 for codecs
//! named by FourCC.

use bytes::{BufMut, Bytes, BytesMut};

use super::clip::{ClipError, Metadata, RawSample, RawTrack, Track};

/// The header that a codec's tag bodies begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    /// Codec id 7.
    Avc,
    /// Sound format 10.
    Aac,
    /// E-RTMP video.
    VideoFourCc([u8; 4]),
    /// E-RTMP audio.
    AudioFourCc([u8; 4]),
}

impl Wrap {
    /// `videocodecid` or `audiocodecid` of `onMetaData`.
    pub(super) fn codec_id(self) -> f64 {
        match self {
            Self::Avc => 7.0,
            Self::Aac => 10.0,
            Self::VideoFourCc(name) | Self::AudioFourCc(name) => {
                f64::from(u32::from_be_bytes(name))
            }
        }
    }

    /// Appends what comes before a sample's bytes.
    pub(super) fn sample(self, keyframe: bool, offset_ms: i32, out: &mut BytesMut) {
        let frame_type: u8 = if keyframe { 0x10 } else { 0x20 };
        let put_offset = |out: &mut BytesMut| out.put_int(i64::from(offset_ms), 3);
        match self {
            Self::Avc => {
                out.put_slice(&[frame_type | 7, 1]);
                put_offset(out);
            }
            Self::Aac => out.put_slice(&[0xaf, 1]),
            Self::VideoFourCc(name) => {
                out.put_u8(0x80 | frame_type | 1);
                out.put_slice(&name);
                // Only AVC and HEVC have a composition time there (E, ExVideoTagBody).
                if name == *b"hvc1" {
                    put_offset(out);
                }
            }
            Self::AudioFourCc(name) => {
                out.put_u8(0x91);
                out.put_slice(&name);
            }
        }
    }
}

/// Appends what comes before a codec's configuration record.
pub(super) fn sequence_header(wrap: Wrap, out: &mut BytesMut) {
    match wrap {
        Wrap::Avc => out.put_slice(&[0x17, 0, 0, 0, 0]),
        Wrap::Aac => out.put_slice(&[0xaf, 0]),
        Wrap::VideoFourCc(name) | Wrap::AudioFourCc(name) => {
            out.put_u8(0x90);
            out.put_slice(&name);
        }
    }
}

/// Reads an FLV file's tags as they are.
pub(super) fn read(data: &[u8]) -> Result<(Vec<RawTrack>, Metadata), ClipError> {
    let truncated = ClipError::Damaged("the file ends inside a tag");
    let header_len = match data.get(5..9) {
        Some(bytes) => u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize,
        None => return Err(truncated),
    };
    let mut tracks = [RawFlv::new(Track::Video), RawFlv::new(Track::Audio)];
    let mut rest = data.get(header_len + 4..).unwrap_or_default();
    while let [kind, s0, s1, s2, t0, t1, t2, t3, _, _, _, after @ ..] = rest {
        let size = u32::from_be_bytes([0, *s0, *s1, *s2]) as usize;
        let time = i64::from(i32::from_be_bytes([*t3, *t0, *t1, *t2]));
        // Recordings are often cut off inside their last tag: what is whole is used.
        let Some(body) = after.get(..size) else {
            break;
        };
        match kind & 0x1f {
            9 => tracks[0].add(time, body),
            8 => tracks[1].add(time, body),
            _ => {}
        }
        rest = after.get(size + 4..).unwrap_or_default();
    }
    let tracks: Vec<RawTrack> = tracks.into_iter().filter_map(RawFlv::finish).collect();
    Ok((tracks, Metadata::default()))
}

/// A track of an FLV file as it is collected.
struct RawFlv {
    track: Track,
    header: Option<Bytes>,
    samples: Vec<RawSample>,
}

impl RawFlv {
    fn new(track: Track) -> Self {
        Self { track, header: None, samples: Vec::new() }
    }

    fn add(&mut self, time: i64, body: &[u8]) {
        let Some(first) = body.first() else {
            return;
        };
        let by_name = match self.track {
            Track::Video => first & 0x80 != 0,
            Track::Audio => first >> 4 == 9,
        };
        let is_header =
            if by_name { first & 0x0f == 0 } else { body.get(1).is_some_and(|b| *b == 0) };
        if is_header {
            // A later header is one that repeats the first, in a file of one take.
            self.header.get_or_insert_with(|| Bytes::copy_from_slice(body));
            return;
        }
        // End of sequence carries nothing.
        let is_end = if by_name { first & 0x0f == 2 } else { body.get(1) == Some(&2) };
        if is_end && self.track == Track::Video {
            return;
        }
        let keyframe = self.track == Track::Audio || (first >> 4) & 7 == 1;
        self.samples.push(RawSample { dts: time, keyframe, body: Bytes::copy_from_slice(body) });
    }

    fn finish(self) -> Option<RawTrack> {
        let header = self.header?;
        let (first, last) = (self.samples.first()?.dts, self.samples.last()?.dts);
        // FLV has no durations: the last tag lasts as long as the tags do on average.
        let others = (self.samples.len() as i64 - 1).max(1);
        let average = ((last - first + others / 2) / others).max(1);
        Some(RawTrack {
            track: self.track,
            header,
            timescale: 1000,
            samples: self.samples,
            duration: last - first + average,
        })
    }
}
