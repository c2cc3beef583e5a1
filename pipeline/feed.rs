//! Small records on their way to the log: publishers' health, for which nobody
//! waits, and viewers' reports.
//!
//! Enters: records of one topic. Leaves: appends, many at a time. Held: at most
//! [`WAITING_MAX`] batches. Ends: with [`Feed::close`]. Never here: waiting for
//! room; what finds none is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Log, NewRecord, Topic};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Batches that may wait for the log.
const WAITING_MAX: usize = 1024;

/// How long the log may take for what somebody waits for, at the end above all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records of one append.
const APPEND_MAX: usize = 4096;

/// Records that are appended together, and who waits for that.
struct Batch {
    records: Vec<NewRecord>,
    durable: Option<oneshot::Sender<()>>,
}

/// Appends to one topic, many at a time.
pub struct Feed {
    topic: Topic,
    // None once it is closed, as the task.
    batches: Mutex<Option<mpsc::Sender<Batch>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

impl Feed {
    /// Starts the task that appends; it ends with the feed, which begins and is
    /// closed on a tokio runtime.
    #[must_use]
    pub fn start(log: Arc<dyn Log>, topic: Topic) -> Self {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(append(log, topic, waiting, Arc::clone(&lost)));
        Self { topic, batches: Mutex::new(Some(batches)), task: Mutex::new(Some(task)), lost }
    }

    /// Takes what is to be appended. Never waits.
    pub fn push(&self, records: Vec<NewRecord>) {
        if !records.is_empty() {
            self.take(Batch { records, durable: None });
        }
    }

    /// Takes what is to be appended, and waits until it is durable. False: there
    /// is no room, the log fails, or takes too long; it is then open whether it will be.
    pub async fn append(&self, records: Vec<NewRecord>) -> bool {
        let (durable, answer) = oneshot::channel();
        self.take(Batch { records, durable: Some(durable) });
        matches!(tokio::time::timeout(PATIENCE, answer).await, Ok(Ok(())))
    }

    fn take(&self, batch: Batch) {
        let many = batch.records.len() as u64;
        let taken = self.batches.lock().as_ref().map(|batches| batches.try_send(batch));
        if !matches!(taken, Some(Ok(()))) {
            self.lost.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// Takes no more, and waits a little until the log has what waits.
    pub async fn close(&self) {
        drop(self.batches.lock().take());
        let task = self.task.lock().take();
        if let Some(task) = task
            && tokio::time::timeout(PATIENCE, task).await.is_err()
        {
            tracing::warn!(topic = %self.topic, "the last records did not reach the log");
        }
    }

    /// Records that never reached the log.
    #[must_use]
    pub fn lost_total(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn append(
    log: Arc<dyn Log>,
    topic: Topic,
    mut waiting: mpsc::Receiver<Batch>,
    lost: Arc<AtomicU64>,
) {
    while let Some(Batch { mut records, durable }) = waiting.recv().await {
        let mut askers: Vec<_> = durable.into_iter().collect();
        while records.len() < APPEND_MAX
            && let Ok(more) = waiting.try_recv()
        {
            records.extend(more.records);
            askers.extend(more.durable);
        }
        let many = records.len() as u64;
        match log.append_many(topic, records).await {
            Ok(_) => {
                for asker in askers {
                    // Whoever waited too long is gone.
                    let _ = asker.send(());
                }
            }
            // Once: a log that fails says so in /readyz as well.
            Err(error) => {
                if lost.fetch_add(many, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, %topic, "records could not be appended to the log");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Embedded;
    use records::StreamId;

    use super::*;

    #[tokio::test]
    async fn records_reach_the_log_without_anybody_waiting() {
        let place = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
        let feed = Feed::start(Arc::clone(&log), Topic::Health);
        let stream = StreamId::generate();
        let partition = Topic::Health.partition(stream.shard());
        let record = || NewRecord::new(partition, stream.0.as_bytes().to_vec(), "said");
        assert!(feed.append(vec![record()]).await);
        let read = async || log.read(Topic::Health, partition, 0, 10).await.unwrap();
        assert_eq!(read().await.len(), 1, "durable once that is answered");
        feed.push(vec![record()]);
        feed.push(Vec::new());
        feed.close().await;
        let read = read().await;
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value.as_deref(), Some(&b"said"[..]));
        assert_eq!(feed.lost_total(), 0);
        feed.push(vec![record(), record()]);
        assert_eq!(feed.lost_total(), 2, "too late");
        assert!(!feed.append(vec![record()]).await);
    }
}
