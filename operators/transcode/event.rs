//! What happens to a stream's ladder that an operator should know, and its figures.

use std::fmt;
use std::sync::Arc;

use records::{Rendition, StreamId};
use serde::Serialize;

/// Something happened to a stream's ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TranscodeEvent {
    /// The stream.
    pub stream: StreamId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// Overload: the rung has gaps from this cut on.
    Shed {
        /// Which rung.
        rendition: Rendition,
        /// How far the ladder was behind the publisher.
        lag_ms: u64,
    },
    /// The rung has pictures again from this cut on.
    Restored {
        /// Which rung.
        rendition: Rendition,
    },
    /// Overload: the decoder's queue was full and published pictures are
    /// skipped up to a keyframe.
    Skipping,
    /// Decoding goes on after skipping so many pictures.
    Skipped {
        /// Pictures that the ladder lacks.
        pictures: u64,
    },
    /// The decoder failed. It is started again at a keyframe, if not given up.
    DecoderFailed {
        /// GStreamer's words.
        reason: String,
        /// How often it failed in this run.
        failures: u32,
    },
    /// An encoder failed. It is started again at a cut, if not given up.
    EncoderFailed {
        /// Which rung.
        rendition: Rendition,
        /// GStreamer's words.
        reason: String,
    },
    /// The rung stays away until the next run.
    GaveUp {
        /// Which rung.
        rendition: Rendition,
    },
    /// An encoder did not deliver what it held in time; that is lost.
    DrainTimedOut {
        /// Which rung.
        rendition: Rendition,
    },
}

impl EventKind {
    /// Its name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shed { .. } => "shed",
            Self::Restored { .. } => "restored",
            Self::Skipping => "skipping",
            Self::Skipped { .. } => "skipped",
            Self::DecoderFailed { .. } => "decoder_failed",
            Self::EncoderFailed { .. } => "encoder_failed",
            Self::GaveUp { .. } => "gave_up",
            Self::DrainTimedOut { .. } => "drain_timed_out",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shed { rendition, lag_ms } => {
                write!(f, "{rendition} is shed, the ladder is {lag_ms} ms behind")
            }
            Self::Restored { rendition } => write!(f, "{rendition} is back"),
            Self::Skipping => f.write_str("pictures are skipped, the decoder's queue is full"),
            Self::Skipped { pictures } => write!(f, "{pictures} pictures were skipped"),
            Self::DecoderFailed { reason, failures } => {
                write!(f, "decoder failed ({failures} times in this run): {reason}")
            }
            Self::EncoderFailed { rendition, reason } => {
                write!(f, "encoder of {rendition} failed: {reason}")
            }
            Self::GaveUp { rendition } => write!(f, "{rendition} is given up for this run"),
            Self::DrainTimedOut { rendition } => {
                write!(f, "encoder of {rendition} did not finish in time")
            }
        }
    }
}

/// Takes events, from any thread. Must neither block nor panic.
pub type EventSink = Arc<dyn Fn(TranscodeEvent) + Send + Sync>;

/// An [`EventSink`] for one stream.
#[derive(Clone)]
pub(super) struct Reporter {
    pub stream: StreamId,
    pub sink: EventSink,
}

impl Reporter {
    pub fn report(&self, kind: EventKind) {
        (self.sink)(TranscodeEvent { stream: self.stream, kind });
    }
}

/// Figures of one stream that is being transcoded.
#[derive(Clone, Debug, Serialize)]
pub struct StreamStats {
    /// The stream.
    pub stream: StreamId,
    /// The run that figures are of; counters begin again with each run.
    pub run: u64,
    /// Element that decodes.
    pub decoder: &'static str,
    /// Published pictures waiting for the decoder.
    pub queue_frames: usize,
    /// The same in bytes.
    pub queue_bytes: usize,
    /// Published pictures skipped for overload, over all runs.
    pub skipped_total: u64,
    /// Failures of the decoder in this run.
    pub decoder_failures: u32,
    /// Figures of each rung, highest first.
    pub rungs: Vec<RungStats>,
}

/// Figures of one rung of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RungStats {
    /// Which rung, or `source` when that is re-encoded.
    pub rendition: Rendition,
    /// Element that encodes.
    pub encoder: &'static str,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Target.
    pub bitrate_kbps: u32,
    /// Decoded pictures between decoder and this encoder's output.
    pub queue_frames: usize,
    /// From the newest published picture to the oldest one not delivered.
    pub lag_ms: u64,
    /// Pictures delivered per second, over about the last second.
    pub fps: f32,
    /// Whether it is without pictures, for overload or after a failure.
    pub shed: bool,
    /// Pictures given to it.
    pub frames_in: u64,
    /// Access units delivered.
    pub frames_out: u64,
    /// Keyframes among them.
    pub keyframes_out: u64,
    /// Bytes delivered.
    pub bytes_out: u64,
    /// Segments without pictures.
    pub gaps: u64,
    /// Pictures that went in and never came out.
    pub lost: u64,
}
