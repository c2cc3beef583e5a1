//! Records that nobody waits for, on their way to the log: publishers' health,
//! viewers' reports.
//!
//! Enters: records of one topic. Leaves: appends, many at a time. Held: at most
//! [`WAITING_MAX`] batches. Ends: with [`Feed::close`]. Never here: waiting by
//! the caller; what finds no room is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Log, NewRecord, Topic};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches that may wait for the log.
const WAITING_MAX: usize = 1024;

/// How long the log may take for what waits at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records of one append.
const APPEND_MAX: usize = 4096;

/// Appends to one topic, many at a time.
pub struct Feed {
    topic: Topic,
    // None once it is closed, as the task.
    batches: Mutex<Option<mpsc::Sender<Vec<NewRecord>>>>,
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
        let many = records.len() as u64;
        if many == 0 {
            return;
        }
        let taken = self.batches.lock().as_ref().map(|batches| batches.try_send(records));
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
    mut waiting: mpsc::Receiver<Vec<NewRecord>>,
    lost: Arc<AtomicU64>,
) {
    while let Some(mut records) = waiting.recv().await {
        while records.len() < APPEND_MAX
            && let Ok(more) = waiting.try_recv()
        {
            records.extend(more);
        }
        let many = records.len() as u64;
        if let Err(error) = log.append_many(topic, records).await {
            // Once: a log that fails says so in /readyz as well.
            if lost.fetch_add(many, Ordering::Relaxed) == 0 {
                tracing::warn!(%error, %topic, "records could not be appended to the log");
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
        feed.push(vec![record()]);
        feed.push(Vec::new());
        feed.close().await;
        let read = log.read(Topic::Health, partition, 0, 10).await.unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].value.as_deref(), Some(&b"said"[..]));
        assert_eq!(feed.lost_total(), 0);
        feed.push(vec![record(), record()]);
        assert_eq!(feed.lost_total(), 2, "too late");
    }
}
