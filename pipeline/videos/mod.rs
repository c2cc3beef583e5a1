//! Which videos there are: recordings of finished broadcasts, and clips of them.
//!
//! ```text
//! recorder, API ──change──► Videos ──append, fsync──► log topic `catalog`
//!                             │ view in memory ◄──latest per key── at boot
//! ```
//!
//! Enters: changes, each durable before its method returns. Leaves: lookups and
//! searches, at memory speed. Held: every video, until it is deleted and its
//! files are gone. Never done here: media; those lie in the archive, and a record
//! only names them.

mod recorder;
mod search;
mod spool;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use log::{Log, NewRecord, Topic};
use parking_lot::RwLock;
use records::StreamId;
use serde::{Deserialize, Serialize};
use sinks::hls::vod::{RecordedRendition, Wanted};
use uuid::Uuid;

use crate::catalog::Catalog;

pub use recorder::{ClipError, DeleteError, Recorder, RecorderConfig, RecorderCounts};
pub use search::{PAGE_MAX, Page, Search, SearchError, Sort};

/// Entities in the topic are told apart by what their key begins with.
const KEY_PREFIX: &str = "video/";

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
    /// Holders of the admin token.
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
    /// It is being deleted: not to be shown, and what is left of it goes soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
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

/// Why the catalogue of videos didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// The caller's: no such video.
    #[error("no video {0}")]
    Unknown(VideoId),
    /// The disk's: what is stored is not a video.
    #[error(
        "the catalog's entry {key} can't be read ({reason}); restore the data directory from a backup"
    )]
    Entry {
        /// Its key in the topic.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The log's; see there whether a retry helps.
    #[error("the catalogue of videos can't be stored: {0}")]
    Log(#[from] log::Error),
    /// Ours: the task that made the change died.
    #[error("a change of the catalogue of videos was interrupted")]
    Interrupted,
}

#[derive(Default)]
struct View {
    videos: HashMap<VideoId, VideoEntry>,
    /// Whole recordings.
    by_stream: HashMap<StreamId, VideoId>,
}

impl View {
    fn put(&mut self, entry: VideoEntry) {
        if entry.clip.is_none() {
            self.by_stream.insert(entry.stream_id, entry.video_id);
        }
        self.videos.insert(entry.video_id, entry);
    }

    fn remove(&mut self, id: VideoId) {
        let Some(entry) = self.videos.remove(&id) else { return };
        if entry.clip.is_none() {
            self.by_stream.remove(&entry.stream_id);
        }
    }
}

struct Shared {
    log: Arc<dyn Log>,
    view: RwLock<View>,
    // Held by the one change under way.
    changing: tokio::sync::Mutex<()>,
    // Held while a video of stored files is added, or it is decided whether they go.
    files: Arc<tokio::sync::Mutex<()>>,
}

/// The catalogue of videos; clones share it. Changes need a tokio runtime.
#[derive(Clone)]
pub struct Videos {
    shared: Arc<Shared>,
}

impl Videos {
    /// Reads what the log holds.
    ///
    /// # Errors
    /// [`VideoError::Log`] if the log can't be read, [`VideoError::Entry`] if
    /// it holds something that isn't a video.
    pub async fn load(log: Arc<dyn Log>) -> Result<Self, VideoError> {
        let mut view = View::default();
        for record in log.latest(Topic::Catalog).await? {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            // Other entities share the topic.
            let (Some(_), Some(value)) = (key.strip_prefix(KEY_PREFIX), record.value) else {
                continue;
            };
            let entry = serde_json::from_slice(&value)
                .map_err(|error| VideoError::Entry { key, reason: error.to_string() })?;
            view.put(entry);
        }
        let (changing, files) = Default::default();
        Ok(Self { shared: Arc::new(Shared { log, view: RwLock::new(view), changing, files }) })
    }

    /// The video, unless it is being deleted.
    #[must_use]
    pub fn get(&self, id: VideoId) -> Option<VideoEntry> {
        self.shared.view.read().videos.get(&id).filter(|entry| !entry.deleted).cloned()
    }

    /// The recording of a broadcast, unless it is being deleted.
    #[must_use]
    pub fn of_stream(&self, stream: StreamId) -> Option<VideoEntry> {
        let id = self.shared.view.read().by_stream.get(&stream).copied()?;
        self.get(id)
    }

    /// All that `wanted` accepts, also those that are being deleted, oldest first.
    #[must_use]
    pub fn list(&self, wanted: impl Fn(&VideoEntry) -> bool) -> Vec<VideoEntry> {
        let view = self.shared.view.read();
        let found = view.videos.values().filter(|entry| wanted(entry)).cloned();
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by_key(|entry| entry.video_id);
        found
    }

    /// The videos that `search` finds among those that `may_see` allows;
    /// `streams` knows which broadcasts are of one channel.
    ///
    /// # Errors
    /// The search can't be made; see [`SearchError`].
    pub fn search(
        &self,
        search: &Search,
        streams: &Catalog,
        may_see: impl Fn(&VideoEntry) -> bool,
    ) -> Result<Page, SearchError> {
        let channel = search.channel.map(|of| streams.channel(of));
        let view = self.shared.view.read();
        search.run(
            channel.as_ref(),
            view.videos.values().filter(|entry| !entry.deleted && may_see(entry)),
        )
    }

    /// Adds a video. A recording of a broadcast that has one already changes nothing.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn add(&self, entry: VideoEntry) -> Result<(), VideoError> {
        self.change(entry.video_id, move |view| {
            let is_known = entry.clip.is_none() && view.by_stream.contains_key(&entry.stream_id);
            Ok((!is_known).then_some(Some(entry)))
        })
        .await
    }

    /// Changes a video; what it is then.
    ///
    /// # Errors
    /// [`VideoError::Unknown`], [`VideoError::Log`].
    pub async fn update(
        &self,
        id: VideoId,
        change: impl FnOnce(&mut VideoEntry) + Send + 'static,
    ) -> Result<VideoEntry, VideoError> {
        self.change(id, move |view| {
            let known = view.videos.get(&id).ok_or(VideoError::Unknown(id))?;
            let mut entry = known.clone();
            change(&mut entry);
            Ok((entry != *known).then_some(Some(entry)))
        })
        .await?;
        let view = self.shared.view.read();
        view.videos.get(&id).cloned().ok_or(VideoError::Unknown(id))
    }

    /// Removes a video's record. Removing what isn't there does nothing.
    ///
    /// # Errors
    /// [`VideoError::Log`].
    pub async fn remove(&self, id: VideoId) -> Result<(), VideoError> {
        self.change(id, move |view| Ok(view.videos.contains_key(&id).then_some(None))).await
    }

    /// Decides on a change of one entry from the view, makes it durable, then
    /// shows it. It runs in a task of its own, so a caller that goes away
    /// half-way doesn't leave log and view apart.
    async fn change(
        &self,
        id: VideoId,
        decide: impl FnOnce(&View) -> Result<Option<Option<VideoEntry>>, VideoError> + Send + 'static,
    ) -> Result<(), VideoError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let _turn = shared.changing.lock().await;
            let Some(change) = decide(&shared.view.read())? else { return Ok(()) };
            let key = format!("{KEY_PREFIX}{id}");
            let record = match &change {
                None => NewRecord::tombstone(0, key),
                Some(entry) => match serde_json::to_vec(entry) {
                    Ok(value) => NewRecord::new(0, key, value),
                    Err(error) => {
                        return Err(VideoError::Entry { key, reason: error.to_string() });
                    }
                },
            };
            shared.log.append(Topic::Catalog, record).await?;
            let mut view = shared.view.write();
            match change {
                Some(entry) => view.put(entry),
                None => view.remove(id),
            }
            Ok(())
        });
        task.await.map_err(|_| VideoError::Interrupted)?
    }
}
