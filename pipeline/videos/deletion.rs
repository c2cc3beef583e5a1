//! Videos that are to go: by order, by age, by their channel's size.
//!
//! Enters: orders, and the clock. Leaves: events; then what was shown and stored is
//! gone. Held: nothing. A deletion is durable first, told, carried out, and remembered
//! for a while; what a crash or a store that is away left undone is taken up by the
//! next sweep. Never here: who may order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use records::{StreamId, StreamState};
use runtime::wall_us;
use sinks::archive::StoreFailure;

use super::rules::too_much;
use super::tiers::tell;
use super::{Deletion, Recorder, VideoEntry, VideoError, VideoId, Why};
use crate::catalog::{CatalogError, StreamEntry};
use crate::journal;

/// How long the files of a stream that its maker deleted stay for those who
/// watch its end.
const FAREWELL: Duration = Duration::from_secs(60);

/// How long the record of a video that is gone stays: by it the lake learns of that,
/// since of a key the log's catalog keeps the newest record alone.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// A video can't be deleted now; a retry may help.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The catalogue can't be changed.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// Its stream's state can't be changed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Its files can't be removed.
    #[error("its files can't be removed: {0}")]
    Disk(#[source] std::io::Error),
    /// Its objects can't be removed from the store yet; later sweeps will.
    #[error("its objects can't be removed from the store: {0}")]
    Store(#[source] StoreFailure),
}

impl Recorder {
    /// Finishes deletions, and removes what is stored of deleted streams.
    pub(super) async fn clear(&self) {
        let remembered_us = wall_us().saturating_sub(REMEMBERED.as_micros() as u64);
        for entry in self.videos.list(|entry| entry.deleted) {
            let done = match entry.erased {
                false => self.erase(&entry).await,
                true if entry.changed_at_us <= remembered_us => {
                    self.videos.remove(entry.video_id).await.map_err(DeleteError::from)
                }
                true => Ok(()),
            };
            if let Err(error) = done {
                tracing::warn!(video = %entry.video_id, %error, "a video is still to be deleted");
            }
        }
        if !self.config.enabled {
            return; // Retention does it.
        }
        let before_us = wall_us().saturating_sub(FAREWELL.as_micros() as u64);
        let gone = self.catalog.list(|entry| {
            let is_over = entry.ended_at_us.is_some_and(|at| at <= before_us);
            entry.deleted && is_over && entry.state == StreamState::StreamComplete
        });
        for StreamEntry { stream_id: stream, .. } in gone {
            let cleared = match self.remove_files(stream).await {
                Ok(()) => {
                    self.catalog.settle(stream, StreamState::Inactive).await.map_err(Into::into)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = cleared {
                tracing::warn!(%stream, %error, "a deleted stream's files are still there");
            }
        }
    }

    /// Deletes what the configuration gives no longer time or room for.
    pub(super) async fn delete_due(&self) {
        if let Some(keep) = self.config.keep {
            self.expire(keep).await;
        }
        self.keep_quotas().await;
    }

    async fn expire(&self, keep: Duration) {
        let before_us = wall_us().saturating_sub(keep.as_micros() as u64);
        let old = self.videos.list(|entry| {
            let since_us =
                if entry.clip.is_some() { entry.created_at_us } else { entry.ended_at_us };
            !entry.deleted && since_us < before_us
        });
        let old = old.into_iter().map(|entry| entry.video_id).collect();
        self.delete_all(old, Why::Expired).await;
    }

    /// Deletes what channels have beyond what they may.
    pub(super) async fn keep_quotas(&self) {
        let Some(bytes_max) = self.config.channel_bytes_max else { return };
        let recordings = self.videos.list(|entry| entry.clip.is_none() && !entry.deleted);
        // Each by the first of its channel's broadcasts that is met.
        let mut first: HashMap<StreamId, StreamId> = HashMap::new();
        let mut channels: BTreeMap<StreamId, Vec<VideoEntry>> = BTreeMap::new();
        for recording in recordings {
            let stream = recording.stream_id;
            if !first.contains_key(&stream) {
                let others = self.catalog.channel(stream);
                first.extend(others.into_iter().chain([stream]).map(|other| (other, stream)));
            }
            let of = first.get(&stream).copied().unwrap_or(stream);
            channels.entry(of).or_default().push(recording);
        }
        for recordings in channels.into_values() {
            self.delete_all(too_much(&recordings, bytes_max), Why::Quota).await;
        }
    }

    async fn delete_all(&self, videos: Vec<VideoId>, why: Why) {
        for video in videos {
            match self.delete(video, why).await {
                Ok(()) => tracing::info!(%video, %why, "video deleted"),
                Err(error) => tracing::warn!(%video, %error, "a video is to be deleted"),
            }
        }
    }

    /// Deletes a video. Its media go with the last video that plays them: a
    /// recording's clips outlive it.
    ///
    /// # Errors
    /// See [`DeleteError`]; unless it is unknown, it is hidden by then and a
    /// later sweep does the rest.
    pub async fn delete(&self, id: VideoId, why: Why) -> Result<(), DeleteError> {
        let at_us = wall_us();
        let delete = move |entry: &mut VideoEntry| {
            entry.deleted = true;
            entry.deletion.get_or_insert(Deletion { at_us, why });
        };
        let entry = self.videos.update(id, delete).await?;
        self.erase(&entry).await
    }

    /// Tells of a video that is marked as deleted, and removes what is left of it.
    async fn erase(&self, entry: &VideoEntry) -> Result<(), DeleteError> {
        let (stream, id) = (entry.stream_id, entry.video_id);
        self.thumbnails.forget_video(entry.wanted());
        // Two that are the last of a broadcast would each leave the files to the other.
        let _turn = self.videos.shared.files.lock().await;
        tell(&*self.log, journal::video_deleted(entry)).await.map_err(VideoError::Log)?;
        let is_other = |other: &VideoEntry| other.stream_id == stream && other.video_id != id;
        let others = self.videos.list(|other| is_other(other) && !other.erased);
        if others.is_empty() {
            self.remove_files(stream).await?;
        }
        if entry.clip.is_none() {
            match self.catalog.settle(stream, StreamState::Inactive).await {
                Err(CatalogError::Unknown(_)) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.videos.update(id, |entry| entry.erased = true).await?;
        Ok(())
    }

    async fn remove_files(&self, stream: StreamId) -> Result<(), DeleteError> {
        let _claim = self.tiers.claim(stream).await;
        self.origin.remove(stream);
        self.library.forget(stream);
        let archive = Arc::clone(&self.archive);
        let removed = tokio::task::spawn_blocking(move || archive.remove(stream)).await;
        let removed = removed.unwrap_or_else(|died| Err(std::io::Error::other(died)));
        removed.map_err(DeleteError::Disk)?;
        self.archive.remove_stored(stream).await.map_err(DeleteError::Store)?;
        self.tiers.remove_cold(stream).await.map_err(DeleteError::Store)
    }
}
