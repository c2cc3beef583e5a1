//! How well a viewer is doing, every few seconds.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StreamId;

/// What a viewer's player saw since its last report. It names nobody: a session
/// is one page, and its id is made up by the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The broadcast that is watched, or that the video is of.
    pub stream: StreamId,
    /// The video that is watched; None: the broadcast at its own address.
    pub video: Option<Uuid>,
    /// The page.
    pub session: Uuid,
    /// When the report came, wall clock in microseconds since 1970.
    pub at_us: u64,
    /// Picture that is played: `source`, a rung such as `720p`, or `audio`;
    /// empty while it isn't known.
    pub rendition: String,
    /// Time in which it played, in milliseconds.
    pub watched_ms: u32,
    /// Times that it had to wait for media.
    pub stalls: u32,
    /// How long it waited, in milliseconds.
    pub stalled_ms: u32,
    /// Pictures that were decoded too late to be shown.
    pub dropped_frames: u32,
    /// Behind the encoder's clock, in milliseconds; None: not live, or not known.
    pub latency_ms: Option<u32>,
    /// From the page's request to the first picture, in milliseconds; in the
    /// first report after it.
    pub startup_ms: Option<u32>,
    /// Where a video is played, in milliseconds; None: live.
    pub position_ms: Option<u64>,
}
