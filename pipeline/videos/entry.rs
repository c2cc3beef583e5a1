//! What is known of a video: plain data, as it lies in the log.
//!
//! Enters, leaves: JSON. A field that is added has a default, so that older logs
//! can be read.

use std::fmt;
use std::str::FromStr;

use records::StreamId;
use serde::{Deserialize, Serialize};
use sinks::hls::vod::{RecordedRendition, Wanted};
use uuid::Uuid;

use super::media::Tier;

/// A video, as UUIDv7: sorted by when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VideoId(pub Uuid);

impl VideoId {
    /// A new identifier, stamped with the current time.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for VideoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for VideoId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Whether a video can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VideoStatus {
    /// It can.
    Archived,
    /// It was taken off; its media are kept.
    Inactive,
}

/// Who may find and play a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Visibility {
    /// Everybody; it is listed.
    Public,
    /// Whoever knows its address; it isn't listed.
    Unlisted,
    /// The stream's owner, and holders of the admin token.
    Private,
}

/// Which piece of a recording a clip is. Microseconds of the recording's playing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// The video that it was made from.
    pub video_id: VideoId,
    /// Where it was asked to begin.
    pub from_us: i64,
    /// Where it was asked to end.
    pub to_us: i64,
    /// Where its first segment begins, at `from_us` or before it.
    pub begins_us: i64,
}

/// What is known of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoEntry {
    /// Which one.
    pub video_id: VideoId,
    /// The broadcast whose media it plays.
    pub stream_id: StreamId,
    /// None: the whole recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// As given by its maker; the broadcast's at first.
    pub title: String,
    /// The broadcast's; may be empty.
    pub category: String,
    /// When this record was made, in microseconds since 1970 as all times here.
    pub created_at_us: u64,
    /// Wall clock of its first picture.
    pub started_at_us: u64,
    /// Wall clock of its end.
    pub ended_at_us: u64,
    /// How long it plays, in microseconds.
    pub duration_us: u64,
    /// Length of its files together.
    pub bytes: u64,
    /// What can be chosen from, highest first.
    pub renditions: Vec<RecordedRendition>,
    /// Whether it can be played.
    pub status: VideoStatus,
    /// Who may find and play it.
    pub visibility: Visibility,
    /// Where its media lie.
    #[serde(default)]
    pub tier: Tier,
    /// When this record changed; 0 in logs of older servers.
    #[serde(default)]
    pub changed_at_us: u64,
    /// It is being deleted: not to be shown, and what is left of it goes soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Since when, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// Nothing of it is left but this record, by which the lake learns of the deletion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// Why a video is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Why {
    /// Somebody asked for it.
    Asked,
    /// `vod.keep` is over.
    Expired,
    /// Its channel has more than `vod.channel_bytes_max`.
    Quota,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "somebody asked for it",
            Self::Expired => "vod.keep is over",
            Self::Quota => "its channel has more than vod.channel_bytes_max",
        })
    }
}

/// A deletion that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// Why.
    pub why: Why,
}

impl VideoEntry {
    /// Whether everybody who knows its address may watch it now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == VideoStatus::Archived && self.visibility != Visibility::Private
    }

    /// What the library plays for it.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let piece_us = self.clip.map(|clip| (clip.from_us, clip.to_us));
        Wanted { stream: self.stream_id, piece_us }
    }
}
