//! What happens to streams and how well they do, into the log's topics
//! `events` and `health`, for the lake and for whoever else subscribes.
//!
//! Enters: changes of the catalog, seconds of health. Leaves: records. Held: at
//! most [`WAITING_MAX`] batches of health. Never here: waiting by the caller;
//! health that finds no room is lost, and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Log, NewRecord, Topic};
use parking_lot::Mutex;
use records::{Health, StreamEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::catalog::StreamEntry;

/// Batches of health that may wait for the log.
const WAITING_MAX: usize = 256;

/// How long the log may take for what waits at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records of one append.
const APPEND_MAX: usize = 4096;

/// The event of a stream's change, if its state changed.
#[must_use]
pub fn event(before: Option<&StreamEntry>, after: &StreamEntry, at_us: u64) -> Option<NewRecord> {
    if before.is_some_and(|before| before.state == after.state && before.deleted == after.deleted) {
        return None;
    }
    let mut detail = BTreeMap::from([
        ("title".to_owned(), after.title.clone()),
        ("category".to_owned(), after.category.clone()),
        ("sessions".to_owned(), after.sessions.to_string()),
    ]);
    if let Some(predecessor) = after.predecessor {
        detail.insert("predecessor".into(), predecessor.to_string());
    }
    if after.deleted {
        detail.insert("deleted".into(), "true".into());
    }
    let event = StreamEvent { kind: after.state.to_string(), at_us, detail };
    let partition = Topic::Events.partition(after.stream_id.shard());
    // Plain data with string keys always has a JSON form.
    let value = serde_json::to_vec(&event).ok()?;
    Some(NewRecord::new(partition, after.stream_id.0.as_bytes().to_vec(), value))
}

/// Appends seconds of health, many at a time.
pub struct HealthJournal {
    // None once it is closed, as the task.
    batches: Mutex<Option<mpsc::Sender<Vec<NewRecord>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

impl HealthJournal {
    /// Starts the task that appends; it ends with the journal, which begins
    /// and is closed on a tokio runtime.
    #[must_use]
    pub fn start(log: Arc<dyn Log>) -> Self {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(append(log, waiting, Arc::clone(&lost)));
        Self { batches: Mutex::new(Some(batches)), task: Mutex::new(Some(task)), lost }
    }

    /// Takes what is to be appended. Never waits.
    pub fn push(&self, seconds: &[Health]) {
        let records: Vec<_> = seconds.iter().filter_map(record).collect();
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
            tracing::warn!("publishers' last seconds of health did not reach the log");
        }
    }

    /// Seconds that never reached the log.
    #[must_use]
    pub fn lost_total(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn record(health: &Health) -> Option<NewRecord> {
    let partition = Topic::Health.partition(health.stream.shard());
    let value = serde_json::to_vec(health).ok()?;
    Some(NewRecord::new(partition, health.stream.0.as_bytes().to_vec(), value))
}

async fn append(
    log: Arc<dyn Log>,
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
        if let Err(error) = log.append_many(Topic::Health, records).await {
            // Once: a log that fails says so in /readyz as well.
            if lost.fetch_add(many, Ordering::Relaxed) == 0 {
                tracing::warn!(%error, "publishers' health could not be appended to the log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Embedded;
    use records::{StreamId, StreamState};

    use super::*;

    fn entry(state: StreamState) -> StreamEntry {
        StreamEntry {
            stream_id: StreamId::generate(),
            title: "T".into(),
            category: String::new(),
            key_hash: None,
            state,
            created_at_us: 1,
            started_at_us: None,
            ended_at_us: None,
            sessions: 1,
            successor: None,
            predecessor: None,
            deleted: false,
        }
    }

    #[test]
    fn only_a_new_state_is_an_event() {
        let created = entry(StreamState::Created);
        let renamed = StreamEntry { title: "U".into(), ..created.clone() };
        let active = StreamEntry { state: StreamState::StreamActive, ..created.clone() };
        assert!(event(Some(&created), &renamed, 5).is_none());
        let record = event(Some(&created), &active, 5).unwrap();
        assert_eq!(record.key, created.stream_id.0.as_bytes().as_slice());
        let said: StreamEvent = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!((said.kind.as_str(), said.at_us), ("STREAM_ACTIVE", 5));
        assert_eq!(said.detail["title"], "T");
        assert!(event(None, &created, 5).is_some());
    }

    #[tokio::test]
    async fn health_reaches_the_log_without_anybody_waiting() {
        let place = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
        let journal = HealthJournal::start(Arc::clone(&log));
        let health = Health {
            stream: StreamId::generate(),
            at_us: 7,
            bitrate_kbps: 1,
            video_kbps: 1,
            audio_kbps: 0,
            fps: 25.0,
            keyframe_interval_ms: None,
            av_drift_ms: None,
            dropped: 0,
            discontinuities: 0,
        };
        journal.push(std::slice::from_ref(&health));
        journal.close().await;
        let partition = Topic::Health.partition(health.stream.shard());
        let read = log.read(Topic::Health, partition, 0, 10).await.unwrap();
        let said: Health = serde_json::from_slice(read[0].value.as_ref().unwrap()).unwrap();
        assert_eq!((read.len(), said), (1, health.clone()));
        assert_eq!(journal.lost_total(), 0);
        journal.push(&[health]);
        assert_eq!(journal.lost_total(), 1, "too late");
    }
}
