//! A demuxed or encoded sample, and the decisions that order samples in time.

use std::sync::Arc;

use bytes::Bytes;

use crate::{FaultSite, MediaTime, Rendition, Rung, StreamId, TrackInit};

/// What `demux` and `transcode` emit and `segment` consumes.
///
/// On the direct path (offsets of the packet intake) the order within one
/// stream is: `Run`, then `Cut`s and `Sample`s, then `Pause`, gap `Cut`s, the
/// next `Run` …, at last `End`. A `Cut` always precedes the samples at or
/// after its instant of the picture that decided it.
///
/// On the encoded path (offsets of the encoders' intake) it is, for each rung:
/// `RungStart`, `Sample`s and `RungGap`s, then `RungDrained`, per run.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Offset of the packet that caused it (direct path), or position in the
    /// encoders' intake (encoded path, stamped by that intake).
    pub offset: u64,
    /// Wall clock at which its packet was read, in microseconds since 1970;
    /// an encoded sample inherits that of the picture it was made from.
    pub arrival_us: u64,
    /// What it carries.
    pub body: FrameBody,
}

/// The payload of a [`Frame`].
#[derive(Clone, Debug)]
pub enum FrameBody {
    /// Direct path: a run of uninterrupted time begins. Boxed, since every
    /// frame is as large as the largest and is moved from operator to operator.
    Run(Box<Run>),
    /// Direct path: a segment begins here, in every rendition.
    Cut(Cut),
    /// Either path: one access unit.
    Sample(Sample),
    /// Direct path: the run is over (publisher away, or its parameters
    /// change): close what is open, drain the encoders.
    Pause,
    /// Direct path: the broadcast is over, after `Pause`.
    End,
    /// Encoded path: the rung begins to deliver samples of this run.
    RungStart {
        /// Which rung (or `Source`, when the source itself is re-encoded).
        rendition: Rendition,
        /// The [`Run::number`] it belongs to.
        run: u64,
        /// Its decoder configuration, in the source video's timescale.
        init: TrackInit,
    },
    /// Encoded path: the rung has no samples for this segment (overload).
    RungGap {
        /// Which rung.
        rendition: Rendition,
        /// Media sequence number of the missing segment.
        msn: u64,
    },
    /// Encoded path: no more samples of this run will come from this rung.
    RungDrained {
        /// Which rung.
        rendition: Rendition,
        /// The [`Run::number`] that is over.
        run: u64,
    },
    /// Direct path, at each cut: the demuxer's state after the packet at
    /// `offset`. With the segmenter's state on receipt it makes a consistent
    /// snapshot, from which an unplanned new generation resumes.
    Checkpoint(Arc<dyn std::any::Any + Send + Sync>),
    /// Test only, see [`crate::PacketBody::Fault`].
    Fault(FaultSite),
}

/// A span of uninterrupted time with constant parameters. Runs are separated by discontinuities.
#[derive(Clone, Debug)]
pub struct Run {
    /// 0 for the stream's first, then rising: the discontinuity sequence
    /// number of its segments (bis 4.4.3.3).
    pub number: u64,
    /// Media time of its first sample.
    pub start: MediaTime,
    /// Wall clock of `start`, in microseconds since 1970: maps media time to
    /// EXT-X-PROGRAM-DATE-TIME, the same in all renditions (bis 4.4.4.6).
    pub start_wall_us: u64,
    /// The picture, if there is one.
    pub video: Option<TrackInit>,
    /// The sound, if there is some. At least one of the two is present.
    pub audio: Option<TrackInit>,
    /// Whether the picture is passed through as `Rendition::Source`. False:
    /// the encoder delivers `Source`, since its keyframes are unusable.
    pub passthrough: bool,
    /// Rungs that the encoders will deliver, highest first; filled in by
    /// `transcode`, empty before.
    pub rungs: Arc<[Rung]>,
}

/// The instant at which a segment begins in all renditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Media sequence number of the segment that begins: rises by one, never
    /// repeats, not even across restarts.
    pub msn: u64,
    /// Where it begins. Ends the segment before it.
    pub at: MediaTime,
    /// Whether nothing was published for this segment: listed with EXT-X-GAP (bis 4.4.4.7).
    pub gap: bool,
}

/// One access unit: a coded picture or a block of coded sound.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `Audio`, `Source`, or the rung that encoded it.
    pub rendition: Rendition,
    /// Decode time in ticks of the track's timescale, on the stream's timeline; rises strictly.
    pub dts: i64,
    /// Presentation minus decode time in ticks; may be negative.
    pub cts: i32,
    /// Whether decoding can start here (always true for audio).
    pub keyframe: bool,
    /// The access unit in the form that [`crate::Codec`] says.
    pub data: Bytes,
}

impl Frame {
    /// Bytes this frame counts for in a budget: payload plus a fixed overhead.
    #[must_use]
    pub fn weight(&self) -> usize {
        match &self.body {
            FrameBody::Sample(sample) => sample.data.len() + 128,
            _ => 128,
        }
    }
}
