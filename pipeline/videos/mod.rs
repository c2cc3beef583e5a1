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

mod deletion;
mod entry;
mod media;
mod recorder;
mod rules;
mod search;
mod spool;
#[cfg(test)]
mod tests;
mod tiers;

use std::collections::HashMap;
use std::sync::Arc;

use log::{Log, NewRecord, Topic};
use parking_lot::RwLock;
use records::StreamId;
use runtime::wall_us;
use serde::Serialize;

use crate::catalog::Catalog;

pub use deletion::DeleteError;
pub use entry::{Clip, Deletion, VideoEntry, VideoId, VideoStatus, Visibility, Why};
pub use media::{Dropping, MediaEntry, Moved, Tier};
pub use recorder::{ClipError, Recorder, RecorderConfig, RecorderCounts};
pub use rules::{ParseThinToError, Thin, ThinTo};
pub use search::{PAGE_MAX, Page, Search, SearchError, Sort};
pub use tiers::{Access, Around, Cold, Order, TierConfig, TierCounts, Tiers};

/// Entities in the topic are told apart by what their key begins with.
const KEY_PREFIX: &str = "video/";

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
    /// Where media lie, of those broadcasts of which that isn't plain.
    media: HashMap<StreamId, MediaEntry>,
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
            let Some(value) = record.value else { continue };
            let unreadable = |error: serde_json::Error| VideoError::Entry {
                key: key.clone(),
                reason: error.to_string(),
            };
            if key.starts_with(KEY_PREFIX) {
                view.put(serde_json::from_slice(&value).map_err(unreadable)?);
            } else if key.starts_with(media::KEY_PREFIX) {
                let entry: MediaEntry = serde_json::from_slice(&value).map_err(unreadable)?;
                view.media.insert(entry.stream_id, entry);
            }
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
    pub async fn add(&self, mut entry: VideoEntry) -> Result<(), VideoError> {
        self.change(entry.video_id, move |view| {
            let is_known = entry.clip.is_none() && view.by_stream.contains_key(&entry.stream_id);
            // A clip may have been cut before its media became less.
            if let Some(media) = view.media.get(&entry.stream_id) {
                media.show(&mut entry);
            }
            entry.changed_at_us = wall_us();
            Ok((!is_known).then_some(Some(entry)))
        })
        .await
    }

    /// Changes a video; what it is then. It says when by itself.
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
            if entry == *known {
                return Ok(None);
            }
            // Never before what it was: clocks are set back.
            entry.changed_at_us = wall_us().max(known.changed_at_us + 1);
            Ok(Some(Some(entry)))
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
        let key = format!("{KEY_PREFIX}{id}");
        let show = move |view: &mut View, entry| match entry {
            Some(entry) => view.put(entry),
            None => view.remove(id),
        };
        self.put(key, decide, show).await
    }

    /// The same for any entry of the topic; `show` puts into the view what was decided.
    async fn put<T: Serialize + Send + Sync + 'static>(
        &self,
        key: String,
        decide: impl FnOnce(&View) -> Result<Option<Option<T>>, VideoError> + Send + 'static,
        show: impl FnOnce(&mut View, Option<T>) + Send + 'static,
    ) -> Result<(), VideoError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let _turn = shared.changing.lock().await;
            let Some(change) = decide(&shared.view.read())? else { return Ok(()) };
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
            show(&mut shared.view.write(), change);
            Ok(())
        });
        task.await.map_err(|_| VideoError::Interrupted)?
    }
}
