//! How well a publisher is doing, once a second.

use serde::{Deserialize, Serialize};

use crate::StreamId;

/// One second of ingest, as the demuxer saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// End of the second, wall clock in microseconds since 1970.
    pub at_us: u64,
    /// Payload received, in kbit/s.
    pub bitrate_kbps: u32,
    /// The picture's share of it, in kbit/s.
    pub video_kbps: u32,
    /// The sound's share of it, in kbit/s.
    pub audio_kbps: u32,
    /// Pictures received.
    pub fps: f32,
    /// Time between the last two keyframes, in milliseconds; none before the second keyframe.
    pub keyframe_interval_ms: Option<u32>,
    /// Sound minus picture, each measured against arrival, in milliseconds;
    /// positive: the sound is ahead. None unless both are there.
    pub av_drift_ms: Option<i32>,
    /// Messages that could not be used (corrupt, before the first keyframe, unknown codec).
    pub dropped: u32,
    /// Timestamp jumps and parameter changes that became discontinuities.
    pub discontinuities: u32,
}
