//! A file, read whole into what a publisher sends.
//!
//! Enters: an MP4 or FLV file. Leaves: FLV tag bodies in decode order with
//! exact times. Held: every payload once, however many copies are published.
//! Never done here: decoding or encoding; times stay those of the file.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use records::MediaTime;

use super::{flv, mp4};

/// Nanoseconds in a second: the clip's own unit, in which the rounding of any
/// usual timescale stays far below RTMP's millisecond.
const NS: i64 = 1_000_000_000;

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Goes into RTMP message type 9.
    Video,
    /// Goes into RTMP message type 8.
    Audio,
}

/// One tag to send.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Picture or sound.
    pub track: Track,
    /// Decode time in nanoseconds since the clip's first tag; never falls.
    pub dts_ns: i64,
    /// Whether decoding can start here (always true for sound).
    pub keyframe: bool,
    /// The FLV tag's body.
    pub body: Bytes,
}

/// What the clip's `onMetaData` says. Unknown values are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Picture width in pixels.
    pub width: Option<u16>,
    /// Picture height in pixels.
    pub height: Option<u16>,
    /// Pictures per second.
    pub fps: Option<f64>,
    /// FLV codec id or FourCC as a number, as E-RTMP wants it.
    pub video_codec: Option<f64>,
    /// FLV codec id or FourCC as a number.
    pub audio_codec: Option<f64>,
    /// Samples per second.
    pub sample_rate: Option<u32>,
    /// Channels.
    pub channels: Option<u16>,
}

/// A clip ready to be published by any number of copies.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Sequence headers, to be sent before the first tag.
    pub headers: Vec<(Track, Bytes)>,
    /// The tags, by decode time.
    pub tags: Vec<Tag>,
    /// Its length: that of its longer track, exactly, so that a loop is
    /// seamless there and the tracks stay in step.
    pub length: MediaTime,
    /// What to announce.
    pub metadata: Metadata,
}

/// Why a file can't be published. The file's fault; trying again won't help,
/// except for [`ClipError::Read`].
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file can't be read.
    #[error("can't read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A box of the MP4 can't be decoded.
    #[error("not a usable MP4 file: {0}")]
    Mp4(#[from] mp4_atom::Error),
    /// Tables or tags contradict each other or the file's size.
    #[error("damaged file: {0}")]
    Damaged(&'static str),
    /// Readable, but nothing in it can go over RTMP.
    #[error("no H.264, HEVC, AV1, AAC or Opus track in the file")]
    NothingUsable,
}

/// A track as its container's reader gives it.
pub(super) struct RawTrack {
    pub(super) track: Track,
    pub(super) header: Bytes,
    pub(super) timescale: u32,
    /// In decode order; times in `timescale`, possibly negative.
    pub(super) samples: Vec<RawSample>,
    /// From the first sample's decode time to the last one's end.
    pub(super) duration: i64,
}

/// A sample with what wraps it into a tag.
pub(super) struct RawSample {
    pub(super) dts: i64,
    pub(super) keyframe: bool,
    pub(super) body: Bytes,
}

impl Clip {
    /// Reads a file, MP4 or FLV by its first bytes.
    ///
    /// # Errors
    /// See [`ClipError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ClipError> {
        let path = path.as_ref();
        let data = fs::read(path)
            .map_err(|source| ClipError::Read { path: path.to_path_buf(), source })?;
        Self::parse(&data)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// See [`ClipError`]; never [`ClipError::Read`].
    pub fn parse(data: &[u8]) -> Result<Self, ClipError> {
        let (tracks, metadata) =
            if data.starts_with(b"FLV") { flv::read(data)? } else { mp4::read(data)? };
        Self::interleave(tracks, metadata)
    }

    fn interleave(mut tracks: Vec<RawTrack>, metadata: Metadata) -> Result<Self, ClipError> {
        tracks.retain(|t| !t.samples.is_empty());
        let length = tracks
            .iter()
            .map(|t| MediaTime::new(t.duration.max(1), t.timescale))
            .max()
            .ok_or(ClipError::NothingUsable)?;
        let in_ns =
            |t: &RawTrack, ticks| MediaTime::new(ticks, t.timescale).rescale(NS as u32).ticks;
        // Edit lists put samples before zero (reordering, priming); RTMP can't.
        let origin = tracks
            .iter()
            .filter_map(|t| t.samples.first().map(|s| in_ns(t, s.dts)))
            .min()
            .unwrap_or(0);
        let headers = tracks.iter().map(|t| (t.track, t.header.clone())).collect();
        let mut tags: Vec<Tag> = Vec::new();
        for raw in &tracks {
            tags.extend(raw.samples.iter().map(|sample| Tag {
                track: raw.track,
                dts_ns: in_ns(raw, sample.dts) - origin,
                keyframe: sample.keyframe,
                body: sample.body.clone(),
            }));
        }
        // Stable: tags of one track keep their order.
        tags.sort_by_key(|tag| tag.dts_ns);
        Ok(Self { headers, tags, length, metadata })
    }

    /// When the `round`-th repetition's `tag` is due, in nanoseconds since the
    /// first: rounded once, however many rounds there were.
    #[must_use]
    pub fn due_ns(&self, round: u64, tag: &Tag) -> i64 {
        let rounds = i128::from(self.length.ticks) * i128::from(round) * i128::from(NS);
        let scale = i128::from(self.length.timescale);
        ((rounds + scale / 2) / scale) as i64 + tag.dts_ns
    }

    /// Tags of one track.
    #[must_use]
    pub fn count(&self, track: Track) -> usize {
        self.tags.iter().filter(|tag| tag.track == track).count()
    }
}
