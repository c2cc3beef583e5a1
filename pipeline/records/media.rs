//! What `segment` tells the sinks: tracks, parts and segments of each rendition.

use bytes::Bytes;

use crate::{FaultSite, MediaTime, Pieces, Rendition, StreamId, TrackInit};

/// A finished piece of one rendition, on its way to viewers and to disk.
///
/// Order within one rendition: `Track`, then for each segment its `Part`s
/// followed by its `Segment`; a new `Track` before the first part of each run.
/// `End` is the stream's last record.
#[derive(Clone, Debug)]
pub struct Media {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// What it carries.
    pub body: MediaBody,
}

/// The payload of a [`Media`].
#[derive(Clone, Debug)]
pub enum MediaBody {
    /// A rendition begins a run.
    Track(TrackStart),
    /// A part can be fetched.
    Part(Part),
    /// A segment is complete: exactly the parts that came before it.
    Segment(Segment),
    /// The broadcast is over: EXT-X-ENDLIST in every playlist.
    End,
    /// Test only, see [`crate::PacketBody::Fault`].
    Fault(FaultSite),
}

/// A rendition's initialization section for one run.
#[derive(Clone, Debug)]
pub struct TrackStart {
    /// Which rendition.
    pub rendition: Rendition,
    /// Discontinuity sequence number of its segments.
    pub run: u64,
    /// Decoder configuration.
    pub init: TrackInit,
    /// ftyp + moov (CMAF header).
    pub header: Bytes,
    /// Longest part of this rendition, to be declared as PART-TARGET.
    pub part_target: MediaTime,
    /// All renditions of this run, so that the multivariant playlist never
    /// lists half a ladder.
    pub renditions: Vec<Rendition>,
}

/// A CMAF chunk: one moof + mdat (bis 4.4.4.9).
#[derive(Clone, Debug)]
pub struct Part {
    /// Which rendition.
    pub rendition: Rendition,
    /// Media sequence number of its parent segment.
    pub msn: u64,
    /// Position in the parent: 0, 1, 2 …
    pub index: u32,
    /// Discontinuity sequence number.
    pub run: u64,
    /// Where it begins on the stream's timeline.
    pub start: MediaTime,
    /// How long it lasts.
    pub duration: MediaTime,
    /// Wall clock of `start`, in microseconds since 1970.
    pub wall_us: u64,
    /// Whether it begins with a sync sample.
    pub independent: bool,
    /// Bytes from the part's start to the end of its first sample, if that is
    /// a keyframe of a picture: an I-frame playlist's byte range.
    pub iframe_bytes: Option<u32>,
    /// When the first frame in it was read, in microseconds since 1970.
    pub arrival_us: u64,
    /// The chunk; empty for a gap part.
    pub bytes: Pieces,
}

/// A whole segment (bis 4.4.4.1). Its bytes are its parts' bytes one after the other.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Which rendition.
    pub rendition: Rendition,
    /// Media sequence number.
    pub msn: u64,
    /// Discontinuity sequence number.
    pub run: u64,
    /// Where it begins on the stream's timeline.
    pub start: MediaTime,
    /// How long it lasts (EXTINF).
    pub duration: MediaTime,
    /// Wall clock of `start`, in microseconds since 1970.
    pub wall_us: u64,
    /// How many parts it has; 0 for a gap.
    pub parts: u32,
    /// Nothing can be fetched for it: EXT-X-GAP.
    pub gap: bool,
    /// The parts' bytes, shared with them.
    pub chunks: Vec<Pieces>,
}

impl Media {
    /// Bytes this record counts for in a budget. A segment's bytes are its
    /// parts', already counted.
    #[must_use]
    pub fn weight(&self) -> usize {
        match &self.body {
            MediaBody::Part(part) => part.bytes.len() + 192,
            MediaBody::Track(track) => track.header.len() + 192,
            _ => 192,
        }
    }
}
