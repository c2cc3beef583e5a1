//! Old recordings take less room, and cheaper room: renditions are dropped, and
//! broadcasts move to a cold store, from where they are fetched when somebody asks.
//!
//! ```text
//! age ─► Tiers ─┬─ thin:  media/{stream}: dropped ─► event ─► videos, library ─► files, objects go
//!               └─ chill: copy warm ─► cold ─► media/{stream}: COLD ─► event ─► videos ─► warm copy goes
//! viewer ─► access ─► fetch: copy cold ─► warm ─► media/{stream}: RESTORED ─► event ─► videos
//! ```
//!
//! - **Enters**: the configuration's ages; who wants to watch what.
//! - **Leaves**: records of the catalog, each durable before what it says is done;
//!   events; copies, and deletions of what is no longer needed.
//! - **Held**: for each broadcast that was watched lately, when; a few objects while
//!   they are copied.
//! - **Ends** with the server, at any point: a record that is open
//!   ([`MediaEntry::is_open`]) is finished by the next sweep, and a copy that was begun
//!   goes on from where it was.
//! - **Never here**: what nobody made durable; a broadcast of which something still waits
//!   for the store; a worker of the dataflow.

mod cold;
mod thin;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Log, NewRecord, Topic};
use parking_lot::Mutex;
use records::StreamId;
use runtime::wall_us;
use sinks::archive::{Archive, CopyError, Store, StoreFailure};
use sinks::hls::vod::{Library, VodError};
use store::StoreError;
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc};
use tokio::time::sleep;

use super::rules::{Thin, look_every};
use super::{MediaEntry, VideoEntry, VideoError, Videos};
use crate::catalog::Catalog;
use crate::faults::StepFaults;
use crate::journal;
use crate::thumbnails::Thumbnails;
use watch::Watch;

pub use watch::Access;

/// Longest pause after sweeps that failed.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Broadcasts that are fetched from the cold store at a time.
const FETCHES_MAX: usize = 2;

/// What an operator decides about old recordings.
#[derive(Clone, Debug)]
pub struct TierConfig {
    /// When they lose renditions; None: never.
    pub thin: Option<Thin>,
    /// Where they go then; None: nowhere.
    pub cold: Option<Cold>,
}

/// The cold store.
#[derive(Clone, Debug)]
pub struct Cold {
    /// Where it is.
    pub store: Store,
    /// How long after its end a broadcast goes there.
    pub after: Duration,
    /// How long after the last viewer one that was fetched is given up again.
    pub restored_for: Duration,
}

/// What was done to old recordings.
#[derive(Default)]
pub struct TierCounts {
    /// Renditions dropped.
    pub dropped_total: AtomicU64,
    /// Bytes of their files.
    pub dropped_bytes_total: AtomicU64,
    /// Broadcasts that went to the cold store, again included.
    pub moved_total: AtomicU64,
    /// Bytes copied for that.
    pub moved_bytes_total: AtomicU64,
    /// Broadcasts that were fetched from there.
    pub restored_total: AtomicU64,
    /// Bytes copied for that.
    pub restored_bytes_total: AtomicU64,
    /// Attempts that failed; each is repeated, but for those that an operator has to look at.
    pub errors_total: AtomicU64,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
enum TierError {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Video(#[from] VideoError),
    #[error(transparent)]
    Vod(#[from] VodError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("objects can't be deleted: {0}")]
    Store(#[from] StoreFailure),
    #[error("files can't be deleted: {0}")]
    Disk(#[source] std::io::Error),
}

impl TierError {
    /// Of this broadcast alone: others may fare better, and it needs an operator.
    fn is_own(&self) -> bool {
        match self {
            Self::Vod(error) => !matches!(error, VodError::Storage(_)),
            Self::Copy(error) => {
                matches!(error, CopyError::Lacking { .. } | CopyError::Other { .. })
            }
            _ => false,
        }
    }
}

/// Names a broadcast that is to be fetched.
pub type Order = StreamId;

/// What tiers work on.
pub struct Around {
    /// Where streams are.
    pub catalog: Arc<Catalog>,
    /// Where videos are.
    pub videos: Videos,
    /// Where events go.
    pub log: Arc<dyn Log>,
    /// Where media are.
    pub archive: Arc<Archive>,
    /// Where videos are played from.
    pub library: Library,
    /// Where pictures of videos are kept.
    pub thumbnails: Arc<Thumbnails>,
    /// Where tests have the process die.
    pub faults: Arc<StepFaults>,
}

/// See the module. One per server.
pub struct Tiers {
    config: TierConfig,
    around: Around,
    /// Where broadcasts are played from, once they left the disk if they do.
    warm: Store,
    watch: Watch,
    orders: mpsc::Sender<Order>,
    // Taken by `run`.
    ordered: Mutex<Option<mpsc::Receiver<Order>>>,
    slots: Semaphore,
    // One change of a broadcast's media at a time.
    turns: Mutex<HashMap<StreamId, Arc<tokio::sync::Mutex<()>>>>,
    // Being deleted: copies of them stop.
    doomed: Mutex<HashSet<StreamId>>,
    // To be looked at by an operator; not tried again by this process.
    refused: Mutex<HashSet<StreamId>>,
    // Have all that the rule would drop, since it fills holes.
    needed: Mutex<HashSet<StreamId>>,
    counts: TierCounts,
}

impl Tiers {
    /// Takes up what the catalogue says: from now on the library plays no more than
    /// what is kept.
    ///
    /// # Errors
    /// The archive's folder can't be used.
    pub fn new(config: TierConfig, around: Around) -> Result<Self, StoreError> {
        let warm = around.archive.warm()?;
        for MediaEntry { stream_id, dropped, .. } in
            around.videos.list_media(|media| !media.dropped.is_empty())
        {
            around.library.leave_out(stream_id, &dropped);
        }
        let (orders, ordered) = mpsc::channel(64);
        let (turns, doomed, refused, needed, counts) = Default::default();
        Ok(Self {
            config,
            around,
            warm,
            watch: Watch::default(),
            orders,
            ordered: Mutex::new(Some(ordered)),
            slots: Semaphore::new(FETCHES_MAX),
            turns,
            doomed,
            refused,
            needed,
            counts,
        })
    }

    /// Until dropped; once.
    pub async fn run(self: Arc<Self>) {
        let Some(ordered) = self.ordered.lock().take() else { return };
        tokio::select! {
            () = self.keep_sweeping() => {}
            () = self.fetch_ordered(ordered) => {}
        }
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> &TierCounts {
        &self.counts
    }

    async fn keep_sweeping(&self) {
        let (thin, cold) = (&self.config.thin, &self.config.cold);
        let ages = thin.iter().map(|thin| thin.after);
        let every =
            look_every(ages.chain(cold.iter().flat_map(|cold| [cold.after, cold.restored_for])));
        let mut failures = 0;
        self.note_who_left().await;
        loop {
            // Also before the first: whoever just started has better things to do.
            let pause = every.saturating_mul(2_u32.saturating_pow(failures));
            sleep(pause.min(PAUSE_MAX)).await;
            match self.sweep().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    self.counts.errors_total.fetch_add(1, Ordering::Relaxed);
                    failures += 1;
                    tracing::warn!(%error, "old recordings stay where they are; it is tried again");
                }
            }
        }
    }

    /// Finishes what was begun, and does what is due. Ends at the first failure that
    /// others would meet as well.
    async fn sweep(&self) -> Result<(), TierError> {
        for entry in self.around.videos.list_media(MediaEntry::is_open) {
            let stream = entry.stream_id;
            self.attend(stream, self.finish(stream)).await?;
        }
        if let Some(thin) = self.config.thin {
            for stream in self.to_thin(thin) {
                self.attend(stream, self.thin(stream, thin.to)).await?;
            }
        }
        if let Some(cold) = &self.config.cold {
            self.watch.prune(cold.restored_for);
            for stream in self.to_chill(cold) {
                self.attend(stream, self.chill(stream, cold)).await?;
            }
        }
        Ok(())
    }

    /// Does something to one broadcast. What stands in the way of this one alone is
    /// said once, and no reason to stop.
    async fn attend(
        &self,
        stream: StreamId,
        work: impl Future<Output = Result<(), TierError>>,
    ) -> Result<(), TierError> {
        match work.await {
            Err(TierError::Copy(CopyError::Stopped)) => Ok(()),
            Err(error) if error.is_own() => {
                self.refuse(stream, &error);
                Ok(())
            }
            done => done,
        }
    }

    fn refuse(&self, stream: StreamId, error: &TierError) {
        if self.refused.lock().insert(stream) {
            self.counts.errors_total.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%stream, %error, "a recording stays as it is until the next start");
        }
    }

    /// Does what a record that is open says.
    async fn finish(&self, stream: StreamId) -> Result<(), TierError> {
        let _turn = self.turn(stream).await;
        let Some(entry) = self.around.videos.media(stream) else { return Ok(()) };
        let entry = self.finish_dropping(entry).await?;
        self.finish_move(entry).await
    }

    async fn tell(&self, event: Option<NewRecord>) -> Result<(), TierError> {
        tell(&*self.around.log, event).await.map_err(TierError::from)
    }

    /// Nobody else changes this broadcast's media meanwhile.
    async fn turn(&self, stream: StreamId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(stream).or_default())
        };
        turn.lock_owned().await
    }

    /// Whether there is a video to keep this broadcast's media for.
    fn is_wanted(&self, stream: StreamId) -> bool {
        let is_its = |video: &VideoEntry| video.stream_id == stream && !video.deleted;
        self.goes_on(stream) && !self.around.videos.list(is_its).is_empty()
    }

    fn goes_on(&self, stream: StreamId) -> bool {
        !self.doomed.lock().contains(&stream)
    }

    /// Whether a video's broadcast ended at least `ago` ago.
    fn is_over_since(&self, video: &VideoEntry, ago: Duration) -> bool {
        let before_us = wall_us().saturating_sub(ago.as_micros() as u64);
        let ended_at_us = || {
            // A clip ends before its broadcast did.
            let stream = self.around.catalog.get(video.stream_id);
            stream.and_then(|stream| stream.ended_at_us).unwrap_or(video.ended_at_us)
        };
        video.ended_at_us <= before_us && ended_at_us() <= before_us
    }

    fn media(&self, stream: StreamId) -> MediaEntry {
        self.around.videos.media(stream).unwrap_or_else(|| MediaEntry::plain(stream))
    }
}

/// Appends an event, if there is one and the log lacks it. Whoever calls sees to it
/// that nobody else does so for the same event meanwhile.
pub(super) async fn tell(log: &dyn Log, event: Option<NewRecord>) -> Result<(), log::Error> {
    let Some(event) = event else { return Ok(()) };
    if !journal::is_told(log, &event).await? {
        log.append(Topic::Events, event).await?;
    }
    Ok(())
}
