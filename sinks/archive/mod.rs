//! Segment files, written once.
//!
//! ```text
//! Media ──push──► queue ──► archive thread ──┬─► {stream}/{rendition}/{msn}.m4s, init-{run}.mp4
//!        (bounded: a segment that            ├─► Announce: what was written, durably
//!         finds no room is lost)             ├─► deletes what is older than `keep`
//!                                            └─► upload ──► object store, if there is one
//!
//! viewers ──(hls::Cold)──► ArchiveReader ──► the same files, else the store
//! restart ──restore──► hls::RestoredStream ◄── announcements
//! the end ──record───► hls::vod::Recording ◄── announcements
//! ```
//!
//! - **Enters**: `Media`, in order. **Leaves**: files, announcements, bytes
//!   for viewers of what left memory.
//! - **Held**: what waits in the queues (bounded in bytes) and, per rendition,
//!   which numbers are stored and which were lost.
//! - **Ends** with [`Archive::close`], which writes what is queued.
//! - **Never here**: waiting by the caller. A full disk or a slow one costs
//!   segments (announced as lost, counted, listed as gaps after a restart),
//!   never the broadcast.
//!
//! What is durable when: a segment is in the page cache once its file has its
//! name, and no file is fsynced on its own: at 200 segments a second that
//! would cost more than the broadcast. The announcement is appended durably,
//! one sync for many. So after `kill -9` nothing announced is missing; after a
//! power cut the newest seconds' files may be missing or short, and
//! [`Archive::restore`] compares sizes and lists those as gaps.

mod copy;
mod files;
mod queue;
mod reader;
mod record;
mod recording;
mod removal;
mod restore;
mod store;
mod upload;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use records::{Media, MediaBody, Pieces, Rendition, StreamId};

use crate::hls::vod::Recording;
use crate::hls::{Object, RestoredStream};
use queue::{Job, Queue};

pub use self::store::{Store, StoreFailure};
pub use copy::{Copied, CopyError, copy};
pub use reader::ArchiveReader;
pub use record::{Announce, AnnounceError, Announcement, SegmentRecord, TrackRecord};
pub use recording::record;
pub use restore::restore;
pub use upload::{Spool, SpoolConfig, SpoolMetrics, Victim};

/// What a job counts for beyond its media.
const JOB_BYTES: usize = 256;

/// Room beyond the budget for records of lost segments. When that is used up
/// too they are dropped: storage has hung for minutes.
const LOST_BYTES_MAX: usize = 1 << 20;

/// How long segments are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until this long after they were published; at least
    /// [`crate::hls::HlsConfig::retention`].
    For(Duration),
    /// Until somebody deletes them.
    Forever,
}

/// Settings of the archive.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// The folder that holds everything; made if missing.
    pub root: PathBuf,
    /// How long segments are kept.
    pub keep: Keep,
    /// Threads that write; a stream always uses the same. Default 1: one
    /// writes far more than a machine can publish.
    pub threads: usize,
    /// Bytes that may wait for each thread; a segment beyond is lost. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Bytes of segments that were read back and stay in memory, for the next
    /// viewer at the same place. Default 32 MiB.
    pub read_cache_bytes_max: usize,
    /// Where what is written goes up to, if anywhere. With
    /// [`Keep::For`] only broadcasts that were recorded before go up.
    pub spool: Option<SpoolConfig>,
}

impl ArchiveConfig {
    /// The defaults, below `root`.
    #[must_use]
    pub fn new(root: PathBuf, keep: Keep) -> Self {
        Self {
            root,
            keep,
            threads: 1,
            queue_bytes_max: 64 << 20,
            read_cache_bytes_max: 32 << 20,
            spool: None,
        }
    }
}

/// The archive can't start; the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The root can't be made.
    #[error("cannot use {0} as archive folder")]
    Root(PathBuf, #[source] std::io::Error),
    /// No thread.
    #[error("cannot start an archive thread")]
    Thread(#[source] std::io::Error),
}

/// Counters of the archive.
#[derive(Default)]
pub struct ArchiveMetrics {
    /// Segments written.
    pub segments_total: AtomicU64,
    /// Bytes written.
    pub bytes_total: AtomicU64,
    /// Segments that were there already: a replay's.
    pub repeats_total: AtomicU64,
    /// Segments lost because the queue was full: storage is too slow.
    pub overflow_lost_total: AtomicU64,
    /// Segments lost because writing failed: disk full, permission …
    pub write_lost_total: AtomicU64,
    /// Failed attempts to announce.
    pub announce_errors_total: AtomicU64,
    /// Files deleted by retention.
    pub deleted_total: AtomicU64,
    /// Bytes waiting to be written.
    pub queue_bytes: AtomicU64,
}

/// Which segments of one rendition are stored.
#[derive(Default)]
struct Held {
    // Everything in `first..next` but `lost`.
    first: u64,
    next: u64,
    lost: BTreeSet<u64>,
    // Newest run whose initialization section is stored.
    run: Option<u64>,
}

impl Held {
    fn has(&self, msn: u64) -> bool {
        (self.first..self.next).contains(&msn) && !self.lost.contains(&msn)
    }
}

struct Shared {
    config: ArchiveConfig,
    held: Mutex<HashMap<(StreamId, Rendition), Held>>,
    metrics: ArchiveMetrics,
    spool: Option<Arc<Spool>>,
}

impl Shared {
    fn new(mut config: ArchiveConfig) -> Self {
        let only_recorded = config.keep != Keep::Forever;
        let spool =
            config.spool.take().map(|spool| Spool::new(spool, config.root.clone(), only_recorded));
        Self {
            config,
            held: Mutex::default(),
            metrics: ArchiveMetrics::default(),
            spool: spool.map(Arc::new),
        }
    }
}

/// The writing side of the archive.
pub struct Archive {
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    // Emptied by `close`.
    threads: Mutex<Vec<JoinHandle<()>>>,
    // The first picture's length in each rendition's open segment; its
    // segment record doesn't carry it. Only the feeding task locks it.
    iframes: Mutex<HashMap<(StreamId, Rendition), (u64, u32)>>,
}

impl Archive {
    /// Starts the archive's threads; `announce` makes one announcer for each.
    ///
    /// # Errors
    /// The root can't be made, or a thread not be started.
    pub fn start<A: Announce>(
        config: ArchiveConfig,
        announce: impl Fn() -> A,
    ) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(&config.root)
            .map_err(|error| ArchiveError::Root(config.root.clone(), error))?;
        let shared = Arc::new(Shared::new(config));
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for index in 0..shared.config.threads.max(1) {
            let queue = Arc::new(Queue::default());
            let worker = worker::Worker::new(Arc::clone(&shared), Arc::clone(&queue), announce());
            let thread = std::thread::Builder::new()
                .name(format!("archive-{index}"))
                .spawn(move || worker.run())
                .map_err(ArchiveError::Thread)?;
            queues.push(queue);
            threads.push(thread);
        }
        Ok(Self { shared, queues, threads: Mutex::new(threads), iframes: Mutex::default() })
    }

    /// Takes one record, in order per stream, from one task at a time. Never
    /// waits: a segment that finds its queue full is lost, and counted.
    pub fn push(&self, media: Media) {
        let stream = media.stream;
        let (job, bytes) = match media.body {
            MediaBody::Track(start) => {
                let bytes = start.header.len();
                (Job::Track { stream, start: Box::new(start) }, bytes)
            }
            MediaBody::Part(part) => {
                if let (0, Some(bytes)) = (part.index, part.iframe_bytes) {
                    self.iframes.lock().insert((stream, part.rendition), (part.msn, bytes));
                }
                return;
            }
            MediaBody::Segment(mut segment) => {
                let iframe = self.iframes.lock().get(&(stream, segment.rendition)).copied();
                let iframe_bytes =
                    iframe.filter(|(msn, _)| *msn == segment.msn).map(|(_, bytes)| bytes);
                let mut bytes = segment.chunks.iter().map(Pieces::len).sum();
                let over = self.over_budget(stream, bytes);
                let lost = over > 0;
                if lost {
                    self.shared.metrics.overflow_lost_total.fetch_add(1, Ordering::Relaxed);
                    segment.chunks = Vec::new();
                    if over.saturating_sub(bytes) > LOST_BYTES_MAX {
                        return;
                    }
                    bytes = 0;
                }
                (Job::Segment { stream, segment: Box::new(segment), iframe_bytes, lost }, bytes)
            }
            MediaBody::End => {
                self.iframes.lock().retain(|(of, _), _| *of != stream);
                (Job::End { stream }, 0)
            }
            MediaBody::Fault(site) => {
                site.trip("archive");
                return;
            }
        };
        self.enqueue(stream, job, bytes);
    }

    /// Goes on where a restored stream left off: its files count as stored.
    pub fn adopt(&self, stream: StreamId, restored: &RestoredStream) {
        let tracks = restored.tracks.iter().map(|track| {
            let segments = track.segments.iter().map(|s| (s.msn, s.end_us, s.gap)).collect();
            (track.rendition, track.inits.last().map(|(run, _)| *run), segments)
        });
        let tracks = tracks.collect();
        let (skipped, ended) = (restored.skipped.clone(), restored.ended);
        self.enqueue(stream, Job::Adopt { stream, tracks, skipped, ended }, 0);
    }

    /// The way to the store, if there is one.
    #[must_use]
    pub fn spool(&self) -> Option<&Arc<Spool>> {
        self.shared.spool.as_ref()
    }

    /// Rebuilds a stream's past from its announcements, as far back as
    /// `window`, checking that the files are there. Blocks on the file system.
    #[must_use]
    pub fn restore(
        &self,
        stream: StreamId,
        announcements: impl IntoIterator<Item = Announcement>,
        window: Duration,
    ) -> Option<RestoredStream> {
        restore(announcements, window, |rendition, msn, bytes| {
            self.is_whole(stream, rendition, msn, bytes)
        })
    }

    /// Puts a finished stream's recording together from its announcements,
    /// checking that the files are there. None: nothing of it is stored.
    /// Blocks on the file system.
    #[must_use]
    pub fn record(
        &self,
        stream: StreamId,
        announcements: impl IntoIterator<Item = Announcement>,
    ) -> Option<Recording> {
        record(announcements, |rendition, msn, bytes| self.is_whole(stream, rendition, msn, bytes))
    }

    /// Stores what a recording is made of beside its segments, in place of
    /// what was stored before. Blocks on the file system.
    ///
    /// # Errors
    /// The file can't be written; it is then as it was.
    pub fn put_recording(
        &self,
        stream: StreamId,
        recording: &Recording,
    ) -> Result<(), std::io::Error> {
        let path = files::path(&self.shared.config.root, Object::Recording { stream });
        let text = serde_json::to_vec(recording).map_err(std::io::Error::other)?;
        files::replace(&path, &text)?;
        if let Some(spool) = &self.shared.spool {
            spool.push(Object::Recording { stream }, text.len() as u64, upload::wall_us(), &[]);
        }
        Ok(())
    }

    fn is_whole(&self, stream: StreamId, rendition: Rendition, msn: u64, bytes: u64) -> bool {
        let object = Object::Segment { stream, rendition, msn };
        let path = files::path(&self.shared.config.root, object);
        std::fs::metadata(path).is_ok_and(|found| found.len() == bytes)
    }

    /// The reading side, for the origin.
    #[must_use]
    pub fn reader(&self) -> ArchiveReader {
        ArchiveReader::new(Arc::clone(&self.shared))
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &ArchiveMetrics {
        &self.shared.metrics
    }

    /// Writes and announces what is queued, then ends the threads. Blocks.
    pub fn close(&self) {
        self.queues.iter().for_each(|queue| queue.close());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an archive thread panicked; what it held is lost");
            }
        }
    }

    /// Bytes above the budget if `bytes` more waited.
    fn over_budget(&self, stream: StreamId, bytes: usize) -> usize {
        let wanted = self.queue(stream).bytes() + bytes;
        wanted.saturating_sub(self.shared.config.queue_bytes_max)
    }

    fn enqueue(&self, stream: StreamId, job: Job, bytes: usize) {
        let bytes = bytes + JOB_BYTES;
        self.shared.metrics.queue_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.queue(stream).push(job, bytes);
    }

    fn queue(&self, stream: StreamId) -> &Queue {
        // `start` makes at least one.
        &self.queues[usize::from(stream.shard().0) % self.queues.len()]
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests;
