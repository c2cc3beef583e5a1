//! Where the media of a broadcast lie, and what of them is gone: an entry of the
//! topic `catalog` for each broadcast of which that isn't plain.
//!
//! Enters: decisions, each durable before its method returns. Leaves: what the
//! records of its videos show of it. A decision is written before it is carried
//! out and once more when that is done: in between it is [`MediaEntry::is_open`],
//! and whoever finds it so finishes it.

use std::fmt;

use records::{Rendition, StreamId};
use serde::{Deserialize, Serialize};

use super::{VideoEntry, VideoError, Videos};

/// Entities in the topic are told apart by what their key begins with.
pub(super) const KEY_PREFIX: &str = "media/";

/// Where media lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Tier {
    /// On this server's disk.
    #[default]
    Hot,
    /// In the archive's store.
    Warm,
    /// In the cold store: to be fetched before it plays.
    Cold,
    /// In the cold store, and where it was before as well, for a while.
    Restored,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "HOT",
            Self::Warm => "WARM",
            Self::Cold => "COLD",
            Self::Restored => "RESTORED",
        })
    }
}

/// Renditions on their way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropping {
    /// When it was decided, in microseconds since 1970.
    pub at_us: u64,
    /// Which ones.
    pub renditions: Vec<Rendition>,
    /// Length of their files together.
    pub bytes: u64,
}

/// To where a broadcast was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// [`Tier::Cold`] or [`Tier::Restored`].
    pub tier: Tier,
    /// Since when, in microseconds since 1970.
    pub at_us: u64,
    /// Length of its objects together.
    pub bytes: u64,
    /// What follows isn't all done: it may be untold, and what is no longer needed
    /// where it was may still be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
}

/// What became of a broadcast's media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaEntry {
    /// Whose.
    pub stream_id: StreamId,
    /// Renditions that recording.json names and that are not to be played any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Rendition>,
    /// Those of them whose files may still be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropping: Option<Dropping>,
    /// None: it was never moved to the cold store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

impl MediaEntry {
    /// Of a broadcast that has all that its recording names, where it was made.
    #[must_use]
    pub fn plain(stream_id: StreamId) -> Self {
        Self { stream_id, dropped: Vec::new(), dropping: None, moved: None }
    }

    /// A decision is not carried out yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.dropping.is_some() || self.moved.is_some_and(|moved| moved.is_open)
    }

    /// Whether it has to be fetched before it plays.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.moved.is_some_and(|moved| moved.tier == Tier::Cold)
    }

    /// Makes a video's record say what is so.
    pub fn show(&self, video: &mut VideoEntry) {
        let gone = video.renditions.extract_if(.., |of| self.dropped.contains(&of.rendition));
        let bytes: u64 = gone.map(|of| of.bytes).sum();
        video.bytes = video.bytes.saturating_sub(bytes);
        if let Some(moved) = self.moved {
            video.tier = moved.tier;
        }
    }
}

impl Videos {
    /// What became of a broadcast's media; None: nothing.
    #[must_use]
    pub fn media(&self, stream: StreamId) -> Option<MediaEntry> {
        self.shared.view.read().media.get(&stream).cloned()
    }

    /// The same of all broadcasts that `wanted` accepts, oldest first.
    #[must_use]
    pub fn list_media(&self, wanted: impl Fn(&MediaEntry) -> bool) -> Vec<MediaEntry> {
        let view = self.shared.view.read();
        let mut found: Vec<_> =
            view.media.values().filter(|entry| wanted(entry)).cloned().collect();
        found.sort_unstable_by_key(|entry| entry.stream_id);
        found
    }

    /// To where a broadcast was moved, if it was.
    #[must_use]
    pub fn moved(&self, stream: StreamId) -> Option<Moved> {
        self.shared.view.read().media.get(&stream).and_then(|media| media.moved)
    }

    /// Whether a broadcast has to be fetched before it plays.
    #[must_use]
    pub fn is_cold(&self, stream: StreamId) -> bool {
        self.shared.view.read().media.get(&stream).is_some_and(MediaEntry::is_cold)
    }

    /// Replaces what is known of a broadcast's media.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn put_media(&self, entry: MediaEntry) -> Result<(), VideoError> {
        let (stream, key) = (entry.stream_id, key(entry.stream_id));
        let show = move |view: &mut super::View, entry| {
            if let Some(entry) = entry {
                view.media.insert(stream, entry);
            }
        };
        self.put(key, move |_| Ok(Some(Some(entry))), show).await
    }

    /// Nothing is left of a broadcast. Forgetting what isn't known does nothing.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn forget_media(&self, stream: StreamId) -> Result<(), VideoError> {
        let decide = move |view: &super::View| {
            Ok(view.media.contains_key(&stream).then_some(None::<MediaEntry>))
        };
        let show = move |view: &mut super::View, _| {
            view.media.remove(&stream);
        };
        self.put(key(stream), decide, show).await
    }

    /// Makes the records of a broadcast's videos say where its media lie.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn show_media(&self, entry: &MediaEntry) -> Result<(), VideoError> {
        let stream = entry.stream_id;
        for video in self.list(|video| video.stream_id == stream && !video.deleted) {
            let entry = entry.clone();
            self.update(video.video_id, move |video| entry.show(video)).await?;
        }
        Ok(())
    }

    /// A broadcast left the disk for the store, or is about to.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn left_disk(&self, stream: StreamId) -> Result<(), VideoError> {
        let is_hot = |video: &VideoEntry| video.tier == Tier::Hot && !video.deleted;
        for video in self.list(|video| video.stream_id == stream && is_hot(video)) {
            let change = |video: &mut VideoEntry| {
                // It may have moved on meanwhile.
                if video.tier == Tier::Hot {
                    video.tier = Tier::Warm;
                }
            };
            self.update(video.video_id, change).await?;
        }
        Ok(())
    }
}

fn key(stream: StreamId) -> String {
    format!("{KEY_PREFIX}{stream}")
}
