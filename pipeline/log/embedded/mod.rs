//! The log in the data directory, for one process: nothing to install.
//!
//! ```text
//! append ──► queue (bounded in bytes) ──► thread log-write ──► fjall, fsync per group
//! read   ──► queue ─────────────────────► thread log-read  ──► fjall
//! ```
//!
//! Enters and leaves: see [`Log`]. Held: `{data}/lock`, the store in
//! `{data}/log`, `{data}/log.watermark`; in memory what waits to be written
//! ([`QUEUE_BYTES`]) and the store's own buffers. Ends when dropped, after
//! everything that was queued is durable. Never done here: blocking a caller's
//! thread on the disk.
//!
//! An fsync that fails is not tried again: what the disk then holds is unknown
//! (Rebello et al., "Can applications recover from fsync failures?"), so every
//! later append is refused until the log is opened anew.

mod layout;
mod store;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, mpsc, oneshot};

use self::store::Store;
use self::watermark::Watermark;
use self::writer::{Command, Writer};
use crate::limits::{QUEUE_BYTES, check};
use crate::{Answer, DataLock, Error, Log, NewRecord, Record, Topic};

/// Operations that may wait to be written.
const QUEUE_COMMANDS: usize = 1024;
/// Reads that may wait.
const QUEUE_READS: usize = 256;

type Job = Box<dyn FnOnce(&Store) + Send>;

/// A [`Log`] in the data directory, on the LSM store `fjall`.
pub struct Embedded {
    store: Arc<Store>,
    // Both are Some until dropped.
    writes: Option<mpsc::Sender<Command>>,
    reads: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
    // Released last, when the store is closed.
    _lock: DataLock,
}

impl Embedded {
    /// Opens the log of the data directory `data`, making what is missing, and
    /// checks that nothing acknowledged is gone. Blocks while the journal is
    /// replayed (at most 64 MiB).
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has the directory,
    /// [`Error::Corrupt`] if what it holds is damaged, [`Error::Directory`] or
    /// [`Error::Storage`] if it can't be used.
    pub fn open(data: &Path) -> Result<Self, Error> {
        let lock = DataLock::acquire(data)?;
        let store = Arc::new(Store::open(&data.join("log"))?);
        // The store syncs its own directory; its name in ours is up to us.
        std::fs::File::open(data).and_then(|dir| dir.sync_all()).map_err(|source| {
            Error::Directory { action: "sync", path: data.to_owned(), source: Arc::new(source) }
        })?;
        let watermark = Watermark::new(data.join("log.watermark"));
        watermark.check(&store)?;

        let (writes, write_queue) = mpsc::channel(QUEUE_COMMANDS);
        let writer = Writer::new(Arc::clone(&store), watermark);
        let (reads, mut read_queue) = mpsc::channel::<Job>(QUEUE_READS);
        let read_store = Arc::clone(&store);
        let threads = vec![
            crate::thread("log-write", move || writer.run(write_queue))?,
            crate::thread("log-read", move || {
                while let Some(job) = read_queue.blocking_recv() {
                    job(&read_store);
                }
            })?,
        ];
        Ok(Self {
            store,
            writes: Some(writes),
            reads: Some(reads),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            threads,
            _lock: lock,
        })
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        let writes = self.writes.as_ref().ok_or(Error::Closed)?;
        writes.send(command).await.map_err(|_| Error::Closed)
    }

    /// Runs `job` on the reading thread.
    fn on_reader<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Answer<'_, T> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let job: Job = Box::new(move |store| {
                let _ = done.send(job(store));
            });
            let reads = self.reads.as_ref().ok_or(Error::Closed)?;
            reads.send(job).await.map_err(|_| Error::Closed)?;
            answer.await.map_err(|_| Error::Closed)?
        })
    }
}

impl Log for Embedded {
    fn append_many(&self, topic: Topic, records: Vec<NewRecord>) -> Answer<'_, Vec<u64>> {
        Box::pin(async move {
            let bytes = check(topic, &records)?;
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
            let _room = room.map_err(|_| Error::Closed)?;
            let (done, answer) = oneshot::channel();
            self.send(Command::Append { topic, records, done, _room }).await?;
            answer.await.map_err(|_| Error::Closed)?
        })
    }

    fn read(&self, topic: Topic, partition: u16, from: u64, max: usize) -> Answer<'_, Vec<Record>> {
        self.on_reader(move |store| store.read(topic, partition, from, max))
    }

    fn latest(&self, topic: Topic) -> Answer<'_, Vec<Record>> {
        self.on_reader(move |store| store.latest(topic))
    }

    fn bounds(&self, topic: Topic, partition: u16) -> Answer<'_, Range<u64>> {
        let bounds = self.store.bounds(topic, partition);
        Box::pin(async move { bounds.map(|bounds| bounds.start..bounds.next) })
    }

    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Answer<'_, ()> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            self.send(Command::Trim { topic, partition, below, done }).await?;
            answer.await.map_err(|_| Error::Closed)?
        })
    }

    fn health(&self) -> Result<(), Error> {
        self.store.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The threads finish what is queued, then see that no sender is left.
        self.writes = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }
}
