//! The life of a stream.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a stream is in its life.
///
/// ```text
/// CREATED ─► STREAM_ACTIVE ◄─► RECONNECTING ─► STREAM_COMPLETE ─► ARCHIVED ◄─► INACTIVE
///    └────────────────────────────────────────────▲  (deleted before it began)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamState {
    /// Has a key; nobody has published yet.
    Created,
    /// A publisher is connected.
    StreamActive,
    /// The publisher dropped; it may come back within the reconnect window.
    Reconnecting,
    /// The broadcast is over; its playlists have ENDLIST.
    StreamComplete,
    /// It is over, and its recording can be played.
    Archived,
    /// It is over, and there is no recording to play: taken off, deleted, or
    /// nothing was stored.
    Inactive,
}

impl StreamState {
    /// Whether viewers can expect new parts, now or soon.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::StreamActive | Self::Reconnecting)
    }

    /// Whether the broadcast is over, whatever became of it.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::StreamComplete | Self::Archived | Self::Inactive)
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::StreamActive => "STREAM_ACTIVE",
            Self::Reconnecting => "RECONNECTING",
            Self::StreamComplete => "STREAM_COMPLETE",
            Self::Archived => "ARCHIVED",
            Self::Inactive => "INACTIVE",
        })
    }
}

/// Something that happened to a stream: a value of the log's topic `events`,
/// whose key is the stream. Fields may be added; readers ignore what they don't know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEvent {
    /// What: a [`StreamState`] that it came to, by its name, or one of the kinds below.
    pub kind: String,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// More about it, by name. Never a key or a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

impl StreamEvent {
    /// Stored segments were given up. The detail says which and why.
    pub const SEGMENTS_LOST: &str = "SEGMENTS_LOST";
    /// Kind of what tells that renditions of a recording are no longer kept.
    pub const RENDITIONS_DROPPED: &str = "RENDITIONS_DROPPED";
    /// Kind of what tells that a recording was moved, or is to be had again.
    pub const TIER_CHANGED: &str = "TIER_CHANGED";
    /// Kind of what tells that a recording or clip is gone, and why.
    pub const VIDEO_DELETED: &str = "VIDEO_DELETED";
}
