//! To the cold store and back.
//!
//! Enters: broadcasts whose age is reached, and orders of those who want to watch.
//! Leaves: copies, and deletions of what the other copy makes needless. The cold
//! copy stays when a broadcast is fetched, so that it leaves without another one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use records::StreamId;
use runtime::wall_us;
use sinks::archive::{CopyError, StoreFailure, copy};
use sinks::hls::vod::Wanted;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::{MediaEntry, Moved, Tier, VideoEntry};
use super::watch::Watch;
use super::{Cold, Order, TierError, Tiers};
use crate::faults::Step;
use crate::journal;

/// Pauses between attempts to fetch a broadcast; whoever still waits afterwards
/// begins anew by asking.
const FETCH_PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

impl Tiers {
    /// Broadcasts that are to go to the cold store, oldest first.
    pub(super) fn to_chill(&self, cold: &Cold) -> Vec<StreamId> {
        let patience = Watch::patience(cold.after);
        let is_due = |video: &VideoEntry| {
            let stream = video.stream_id;
            let is_left = match video.tier {
                Tier::Cold => false,
                Tier::Restored => self.is_left(stream, cold.restored_for),
                Tier::Hot | Tier::Warm => self.watch.is_idle(stream, patience),
            };
            is_left && self.is_over_since(video, cold.after)
        };
        let videos = self.around.videos.list(|video| video.tier != Tier::Cold && !video.deleted);
        let due = videos.iter().filter(|video| is_due(video)).map(|video| video.stream_id);
        let due: BTreeSet<_> = due.collect();
        let refused = self.refused.lock();
        due.into_iter().filter(|stream| !refused.contains(stream)).collect()
    }

    /// Whether a broadcast was fetched, and watched, at least `ago` ago.
    fn is_left(&self, stream: StreamId, ago: Duration) -> bool {
        let moved = self.around.videos.moved(stream);
        let before_us = wall_us().saturating_sub(ago.as_micros() as u64);
        moved.is_some_and(|moved| moved.at_us <= before_us) && self.watch.is_idle(stream, ago)
    }

    /// Moves a broadcast to the cold store.
    pub(super) async fn chill(&self, stream: StreamId, cold: &Cold) -> Result<(), TierError> {
        let _turn = self.turn(stream).await;
        let mut entry = self.media(stream);
        let archive = &self.around.archive;
        if entry.is_open() || entry.is_cold() || !self.is_wanted(stream) {
            return Ok(());
        }
        if archive.spool().is_some() && !self.is_off_disk(stream).await? {
            return Ok(());
        }
        let recording = self.around.library.recording(Wanted { stream, piece_us: None }).await?;
        let done = AtomicU64::new(0);
        let copied = copy(&self.warm, &cold.store, stream, &recording, &done, || {
            self.around.faults.reach(Step::ColdCopying);
            self.goes_on(stream)
        });
        let copied = copied.await?;
        self.around.faults.reach(Step::ColdCopied);
        let idle = match entry.moved {
            Some(_) => cold.restored_for,
            None => Watch::patience(cold.after),
        };
        let Some(leaving) = self.watch.leave(stream, idle) else { return Ok(()) };
        let bytes = copied.total_bytes;
        entry.moved = Some(Moved { tier: Tier::Cold, at_us: wall_us(), bytes, is_open: true });
        self.around.videos.put_media(entry.clone()).await?;
        drop(leaving);
        self.around.faults.reach(Step::ColdDecided);
        self.finish_move(entry).await?;
        self.counts.moved_total.fetch_add(1, Ordering::Relaxed);
        self.counts.moved_bytes_total.fetch_add(copied.bytes, Ordering::Relaxed);
        tracing::info!(%stream, bytes, store = %cold.store, "broadcast moved to the cold store");
        Ok(())
    }

    /// Sees to it that a broadcast is in the store alone. False: it can't be yet.
    async fn is_off_disk(&self, stream: StreamId) -> Result<bool, TierError> {
        let archive = Arc::clone(&self.around.archive);
        if !archive.is_at_rest(stream) {
            return Ok(false);
        }
        self.evict(stream).await?;
        let looked = tokio::task::spawn_blocking(move || !archive.is_on_disk(stream)).await;
        looked.map_err(|died| TierError::Disk(std::io::Error::other(died)))
    }

    /// Deletes a finished broadcast's files if all of them are in the store. True:
    /// they were.
    async fn evict(&self, stream: StreamId) -> Result<bool, TierError> {
        if !self.around.archive.spool().is_some_and(|spool| spool.whole().contains(&stream)) {
            return Ok(false);
        }
        // In this order: killed in between, the next start deletes the files.
        self.around.videos.left_disk(stream).await?;
        let archive = Arc::clone(&self.around.archive);
        let gone = tokio::task::spawn_blocking(move || archive.evict(stream)).await;
        let gone = gone.unwrap_or_else(|died| Err(std::io::Error::other(died)));
        let gone = gone.map_err(TierError::Disk)?;
        // Its space is free once nobody has its files open.
        self.around.library.forget(stream);
        Ok(gone)
    }

    /// The same for a broadcast that needn't stay on disk any longer. What stands in
    /// the way is logged, and tried again by the next who asks.
    pub async fn leave_disk(&self, stream: StreamId) {
        match self.evict(stream).await {
            Ok(true) => tracing::info!(%stream, "broadcast left the disk: it is in the store"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%stream, %error, "a broadcast is still on disk"),
        }
    }

    /// Carries out a move that was decided.
    pub(super) async fn finish_move(&self, entry: MediaEntry) -> Result<(), TierError> {
        let Some(moved) = entry.moved.filter(|moved| moved.is_open) else { return Ok(()) };
        let stream = entry.stream_id;
        self.tell(journal::tier_changed(stream, &moved)).await?;
        self.around.videos.show_media(&entry).await?;
        if moved.tier == Tier::Cold {
            self.around.faults.reach(Step::ColdShown);
            self.clear_warm(stream).await?;
            self.around.faults.reach(Step::ColdCleared);
        }
        self.around.library.forget(stream);
        let moved = Some(Moved { is_open: false, ..moved });
        Ok(self.around.videos.put_media(MediaEntry { moved, ..entry }).await?)
    }

    /// Deletes what the cold store has as well, but for the recording's description:
    /// by that it is known what there is to fetch.
    async fn clear_warm(&self, stream: StreamId) -> Result<(), TierError> {
        let recording = self.around.library.recording(Wanted { stream, piece_us: None }).await?;
        let renditions: Vec<_> = recording.tracks.iter().map(|track| track.rendition).collect();
        if self.around.archive.spool().is_some() {
            for rendition in renditions {
                self.warm.remove_rendition(stream, rendition).await?;
            }
            return Ok(());
        }
        let archive = Arc::clone(&self.around.archive);
        let removed =
            tokio::task::spawn_blocking(move || archive.remove_renditions(stream, &renditions));
        let removed = removed.await.unwrap_or_else(|died| Err(std::io::Error::other(died)));
        removed.map_err(TierError::Disk)
    }

    /// Fetches what is ordered, a few at a time.
    pub(super) async fn fetch_ordered(self: &Arc<Self>, mut ordered: mpsc::Receiver<Order>) {
        let mut fetches = JoinSet::new();
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some(stream) => {
                        let tiers = Arc::clone(self);
                        fetches.spawn(async move { tiers.fetch(stream).await });
                    }
                    None => return,
                },
                Some(_) = fetches.join_next(), if !fetches.is_empty() => {}
            }
        }
    }

    async fn fetch(&self, stream: StreamId) {
        let fetching = self.watch.fetch(stream);
        // Never closed.
        let Ok(_slot) = self.slots.acquire().await else { return };
        for pause in FETCH_PAUSES {
            fetching.done.store(0, Ordering::Relaxed);
            fetching.is_stuck(false);
            let error = match self.restore(stream, &fetching.done).await {
                Ok(()) | Err(TierError::Copy(CopyError::Stopped)) => return,
                // Its disk may not be mounted.
                Err(error @ TierError::Copy(CopyError::Lacking { .. })) => error,
                Err(error) if error.is_own() => return self.refuse(stream, &error),
                Err(error) => error,
            };
            self.counts.errors_total.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%stream, %error, "a broadcast can't be fetched yet; it is tried again");
            fetching.is_stuck(true);
            sleep(pause).await;
        }
    }

    /// Copies a broadcast from the cold store to where it is played from.
    async fn restore(&self, stream: StreamId, done: &AtomicU64) -> Result<(), TierError> {
        let Some(cold) = &self.config.cold else { return Ok(()) };
        let _turn = self.turn(stream).await;
        let mut entry = self.media(stream);
        if !entry.is_cold() || !self.is_wanted(stream) {
            return Ok(());
        }
        let recording = self.around.library.recording(Wanted { stream, piece_us: None }).await?;
        let begun = Instant::now();
        let copied = copy(&cold.store, &self.warm, stream, &recording, done, || {
            self.around.faults.reach(Step::FetchCopying);
            self.goes_on(stream)
        });
        let copied = copied.await?;
        self.watch.measured(copied.bytes, begun.elapsed());
        self.around.faults.reach(Step::FetchCopied);
        let bytes = copied.total_bytes;
        entry.moved = Some(Moved { tier: Tier::Restored, at_us: wall_us(), bytes, is_open: true });
        self.around.videos.put_media(entry.clone()).await?;
        self.around.faults.reach(Step::FetchDecided);
        self.finish_move(entry).await?;
        self.counts.restored_total.fetch_add(1, Ordering::Relaxed);
        self.counts.restored_bytes_total.fetch_add(copied.bytes, Ordering::Relaxed);
        tracing::info!(%stream, bytes, "broadcast fetched from the cold store");
        Ok(())
    }

    /// A broadcast is being deleted: stops what is done to it, and keeps it so until
    /// the answer is dropped.
    pub async fn claim(&self, stream: StreamId) -> Claim<'_> {
        self.doomed.lock().insert(stream);
        let doomed = Doomed { tiers: self, stream };
        Claim { _turn: self.turn(stream).await, _doomed: doomed }
    }

    /// Deletes what the cold store has of a broadcast, and what is known of its media.
    ///
    /// # Errors
    /// The cold store can't do it now, or isn't configured any more; or the log can't.
    pub async fn remove_cold(&self, stream: StreamId) -> Result<(), StoreFailure> {
        match &self.config.cold {
            Some(cold) => cold.store.remove_broadcast(stream).await?,
            None if self.around.videos.moved(stream).is_some() => {
                let why = "it lies in a cold store, and archive.cold is not set";
                return Err(StoreFailure::Refused(why.into()));
            }
            None => {}
        }
        self.around.library.leave_out(stream, &[]);
        let forgotten = self.around.videos.forget_media(stream).await;
        forgotten.map_err(|error| StoreFailure::Refused(error.to_string()))
    }

    /// Recordings of before tiers were written down say that they are on disk; those
    /// that aren't are in the store.
    pub(super) async fn note_who_left(&self) {
        if self.around.archive.spool().is_none() {
            return;
        }
        let hot = self.around.videos.list(|video| video.tier == Tier::Hot && !video.deleted);
        let archive = Arc::clone(&self.around.archive);
        let gone = tokio::task::spawn_blocking(move || {
            let mut streams: BTreeSet<_> = hot.iter().map(|video| video.stream_id).collect();
            streams.retain(|stream| !archive.is_on_disk(*stream));
            streams
        });
        for stream in gone.await.unwrap_or_default() {
            if let Err(error) = self.around.videos.left_disk(stream).await {
                tracing::warn!(%stream, %error, "a video's record says that it is on disk");
            }
        }
    }
}

struct Doomed<'a> {
    tiers: &'a Tiers,
    stream: StreamId,
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        self.tiers.doomed.lock().remove(&self.stream);
    }
}

/// Nothing is done to a broadcast's media but by whoever has this.
pub struct Claim<'a> {
    _turn: OwnedMutexGuard<()>,
    _doomed: Doomed<'a>,
}
