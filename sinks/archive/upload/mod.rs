//! Files on their way to the object store; the folder is their spool.
//!
//! ```text
//! archive thread ─ file written ─┐                       ┌─► store, PutMode::Create
//! restart ─ scan beyond marks ───┼─► Waiting ─ attempts ─┤
//! recorder ─ recording.json ─────┘      │                └─► uploaded.json, every few seconds
//!                                       └─ over its bound ─► victims, to whoever announces them
//! viewers ─ what is no longer here ─► Spool::read ─► store
//! ```
//!
//! - **Enters**: names of files that are written, and the bytes of segments that
//!   were just. **Leaves**: objects; victims when too much waits; bytes for
//!   viewers of what has left the disk.
//! - **Held**: a name and a length for each file that waits. Bytes of those under
//!   way: at most `uploads` files at a time. Of segments that wait, the bytes
//!   that the live window holds as well, as long as the store keeps up and at
//!   most 32 MiB (`waiting`); a file is read back only without them.
//! - **Ends** with [`Spool::close`], which lets what is under way end. What
//!   waits is found again by the next start.
//! - **Never here**: waiting by a caller that isn't a viewer; deciding that a
//!   broadcast leaves the disk, or what is announced.
//!
//! An object is put unless it is there; one that is there is done. So a kill
//! between an upload and its mark costs a question, and nothing goes up twice.
//! The store slow, refusing, away: each rendition tries again, in order and
//! for ever, after a pause that grows (`waiting`).

mod attempt;
mod content;
mod item;
mod mark;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use records::{Pieces, StreamId};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::store::{Store, StoreFailure};
use crate::hls::{ColdError, Object};
use item::{Item, Name};
use waiting::Waiting;

pub use item::Victim;

/// How often it is written down how far broadcasts went up.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// How long a viewer waits for the store.
const READ_MAX: Duration = Duration::from_secs(12);

/// Pauses between attempts to read for a viewer: a store's single failures
/// are no reason for a player to stop.
const READ_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Objects that are read for viewers at once, which bounds memory.
const READS_MAX: usize = 64;

/// Settings of the store and the way to it.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Where files go up to.
    pub store: Store,
    /// Bytes of segments that may wait; beyond it the least valuable are given up.
    pub bytes_max: u64,
    /// Uploads at a time.
    pub uploads: usize,
    /// What live playlists list: never given up.
    pub window: Duration,
    /// For how long after the end of a broadcast.
    pub listed_for: Duration,
}

/// Counters of the way to the store and back.
#[derive(Default)]
pub struct SpoolMetrics {
    /// Objects put.
    pub uploads_total: AtomicU64,
    /// Their bytes.
    pub upload_bytes_total: AtomicU64,
    /// Objects that were there already.
    pub repeats_total: AtomicU64,
    /// Objects that were there already, and other than the file here.
    pub conflicts_total: AtomicU64,
    /// Attempts that failed; each is repeated.
    pub errors_total: AtomicU64,
    /// Segments given up because too much waited.
    pub lost_total: AtomicU64,
    /// Files that were gone before they went up.
    pub gone_total: AtomicU64,
    /// Objects read for viewers.
    pub reads_total: AtomicU64,
    /// Such reads that failed.
    pub read_errors_total: AtomicU64,
    /// Broadcasts that left the disk.
    pub evicted_total: AtomicU64,
}

/// Announces the end of the uploads to their task.
type Running = (watch::Sender<bool>, JoinHandle<()>);

/// See the module.
pub struct Spool {
    config: SpoolConfig,
    root: PathBuf,
    /// Only recorded broadcasts go up: nothing else is kept.
    only_recorded: bool,
    waiting: Mutex<Waiting>,
    /// There is more to do, or less.
    changed: Notify,
    /// More waits than may.
    over: Notify,
    /// An upload ended.
    settled: Notify,
    /// A broadcast is in the store, all of it.
    whole: Notify,
    /// It is known what an earlier process left.
    is_known: AtomicBool,
    reads: Semaphore,
    task: Mutex<Option<Running>>,
    metrics: SpoolMetrics,
}

impl Spool {
    pub(super) fn new(config: SpoolConfig, root: PathBuf, only_recorded: bool) -> Self {
        let waiting = Waiting::new(config.uploads, config.window, config.listed_for);
        Self {
            config,
            root,
            only_recorded,
            waiting: Mutex::new(waiting),
            changed: Notify::new(),
            over: Notify::new(),
            settled: Notify::new(),
            whole: Notify::new(),
            is_known: AtomicBool::new(false),
            reads: Semaphore::new(READS_MAX),
            task: Mutex::default(),
            metrics: SpoolMetrics::default(),
        }
    }

    /// Begins to upload, on the runtime that this is called on: first what an
    /// earlier process left.
    pub fn start(self: &Arc<Self>) {
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(self).run(stopping));
        *self.task.lock() = Some((stop, task));
    }

    /// Lets uploads that are under way end, for `patience` at the longest, and
    /// writes down how far broadcasts went up.
    pub async fn close(&self, patience: Duration) {
        let running = self.task.lock().take();
        let Some((stop, mut task)) = running else { return };
        stop.send_replace(true);
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
            self.write_marks().await;
        }
    }

    /// A file is written. `content`: all that is in it, if that is in memory
    /// for a while anyway; else nothing.
    pub(super) fn push(&self, object: Object, bytes: u64, at_us: u64, content: &[Pieces]) {
        let (rendition, name) = match object {
            Object::Segment { rendition, msn, .. } => (rendition, Name::Segment(msn)),
            Object::Init { rendition, run, .. } => (rendition, Name::Init(run)),
            Object::Recording { stream } => {
                let item = Item { bytes, at_us, is_found: false };
                self.waiting.lock().recording(stream, item, now());
                self.changed.notify_one();
                return;
            }
        };
        if self.only_recorded {
            return;
        }
        let item = Item { bytes, at_us, is_found: false };
        let is_over = {
            let mut waiting = self.waiting.lock();
            waiting.push(object.stream(), rendition, name, item, now());
            waiting.keep_content(object.stream(), rendition, name, content);
            waiting.bytes > self.config.bytes_max
        };
        self.changed.notify_one();
        if is_over {
            self.over.notify_one();
        }
    }

    /// Live playlists may list this segment.
    pub(super) fn list(&self, stream: StreamId, msn: u64, end_us: i64) {
        if !self.only_recorded {
            self.waiting.lock().list(stream, msn, end_us);
        }
    }

    /// The broadcast is over.
    pub(super) fn end(&self, stream: StreamId) {
        self.waiting.lock().end(stream, now());
    }

    async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        self.find().await;
        let mut uploads = JoinSet::new();
        let mut marks = interval(MARK_EVERY);
        marks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stopping = false;
        loop {
            let next_turn = {
                let mut waiting = self.waiting.lock();
                while !is_stopping && let Some(task) = waiting.next(now()) {
                    let content = waiting.take_content(&task);
                    uploads.spawn(Arc::clone(&self).attempt(task, content));
                }
                waiting.next_turn()
            };
            if is_stopping && uploads.is_empty() {
                break;
            }
            let until = next_turn.filter(|_| !is_stopping).map(Instant::from_std);
            tokio::select! {
                Some(done) = uploads.join_next(), if !uploads.is_empty() => {
                    // Attempts catch their panics, and nobody aborts them.
                    if let Ok((task, outcome)) = done {
                        self.settle(&task, &outcome).await;
                    }
                }
                () = self.changed.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
                _ = marks.tick() => self.write_marks().await,
                _ = stopping.changed(), if !is_stopping => is_stopping = true,
            }
        }
        self.write_marks().await;
    }

    /// Takes up what an earlier process left.
    async fn find(&self) {
        let (root, only_recorded) = (self.root.clone(), self.only_recorded);
        let found = tokio::task::spawn_blocking(move || mark::scan(&root, only_recorded)).await;
        let mut waiting = self.waiting.lock();
        for mark::Found { stream, mark, items, recording } in found.unwrap_or_default() {
            waiting.found(stream, mark, items, recording, now());
        }
        if waiting.objects > 0 {
            let (objects, bytes) = (waiting.objects, waiting.bytes);
            tracing::info!(objects, bytes, store = %self.config.store, "files wait for the store");
        }
        drop(waiting);
        self.is_known.store(true, Ordering::Release);
        self.over.notify_one();
        self.whole.notify_one();
    }

    async fn write_marks(&self) {
        let marks = self.waiting.lock().take_marks();
        if marks.is_empty() {
            return;
        }
        let root = self.root.clone();
        let written = tokio::task::spawn_blocking(move || {
            for (stream, mark) in marks {
                if let Err(error) = mark::write(&root, stream, &mark) {
                    tracing::warn!(%stream, %error, "how far a broadcast went up isn't noted");
                }
            }
        });
        // A panic in there is logged; the next marks come in seconds.
        let _ = written.await;
    }

    /// Waits until more waits for the store than may, and picks what is given
    /// up. The picked are neither uploaded nor deleted until
    /// [`super::Archive::discard`] or [`Spool::spare`] is called with them.
    pub async fn overflow(&self) -> Vec<Victim> {
        loop {
            let victims = self.waiting.lock().give_up(self.config.bytes_max, now());
            if !victims.is_empty() {
                return victims;
            }
            self.over.notified().await;
        }
    }

    /// Lets what was picked go up after all, or be picked again.
    pub fn spare(&self, victims: &[Victim]) {
        self.waiting.lock().given_up(victims, false, now());
        self.changed.notify_one();
        self.over.notify_one();
    }

    pub(super) fn discarded(&self, victims: &[Victim]) {
        self.waiting.lock().given_up(victims, true, now());
        self.metrics.lost_total.fetch_add(victims.len() as u64, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Waits until another broadcast is in the store, all of it.
    pub async fn another_whole(&self) {
        self.whole.notified().await;
    }

    /// Wakes whoever waits for [`Spool::another_whole`]: more may be done with those
    /// that were.
    pub fn look_again(&self) {
        self.whole.notify_one();
    }

    /// Broadcasts that are in the store, all of them, and on disk as well.
    #[must_use]
    pub fn whole(&self) -> Vec<StreamId> {
        let waiting = self.waiting.lock();
        waiting.broadcasts().into_iter().filter(|stream| waiting.is_whole(*stream)).collect()
    }

    /// Whether nothing of a finished broadcast waits for the store, or is under way.
    pub(super) fn is_at_rest(&self, stream: StreamId) -> bool {
        let waiting = self.waiting.lock();
        // Before it is known what lies on disk, nothing is.
        let is_known = self.is_known.load(Ordering::Acquire);
        is_known && !waiting.is_busy(stream) && (waiting.is_whole(stream) || !waiting.has(stream))
    }

    /// Forgets a broadcast if all of it is in the store. True if it was.
    pub(super) fn release(&self, stream: StreamId) -> bool {
        let mut waiting = self.waiting.lock();
        let is_whole = waiting.is_whole(stream);
        if is_whole {
            waiting.forget(stream);
            self.metrics.evicted_total.fetch_add(1, Ordering::Relaxed);
        }
        is_whole
    }

    /// Nothing more of this broadcast goes up.
    pub(super) fn forget(&self, stream: StreamId) {
        self.waiting.lock().forget(stream);
    }

    /// Deletes a forgotten broadcast's objects, once none is under way.
    pub(super) async fn remove(&self, stream: StreamId) -> Result<(), StoreFailure> {
        loop {
            let settled = self.settled.notified();
            if !self.waiting.lock().is_busy(stream) {
                break;
            }
            settled.await;
        }
        let objects = self.config.store.remove(stream).await?;
        tracing::debug!(%stream, objects, "deleted from the store");
        Ok(())
    }

    /// Reads an object for a viewer.
    pub(super) async fn read(&self, object: Object) -> Result<Bytes, ColdError> {
        self.metrics.reads_total.fetch_add(1, Ordering::Relaxed);
        let read = timeout(READ_MAX, async {
            // Never closed.
            let _turn = self.reads.acquire().await;
            let mut pauses = READ_PAUSES.iter();
            loop {
                match (self.config.store.get(object).await, pauses.next()) {
                    (Err(StoreFailure::Refused(_)), Some(pause)) => sleep(*pause).await,
                    (done, _) => return done,
                }
            }
        });
        let failure = match read.await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(StoreFailure::Missing)) => return Err(ColdError::Missing),
            Ok(Err(failure)) => failure,
            Err(_) => StoreFailure::Slow(format!("no answer in {} s", READ_MAX.as_secs())),
        };
        self.metrics.read_errors_total.fetch_add(1, Ordering::Relaxed);
        Err(match failure {
            StoreFailure::Slow(_) => ColdError::Slow(Arc::new(failure)),
            _ => ColdError::Away(Arc::new(failure)),
        })
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &SpoolMetrics {
        &self.metrics
    }

    /// Objects that wait for the store, and bytes of the segments among them.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        let waiting = self.waiting.lock();
        (waiting.objects, waiting.bytes)
    }

    /// Why the store takes nothing now; None: it does, or nothing was tried.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.waiting.lock().trouble.clone()
    }

    /// Where files go up to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.config.store
    }
}

/// Wall clock in microseconds since 1970.
pub(super) fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests;
