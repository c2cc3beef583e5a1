//! One stream's way into an intake.
//!
//! Enters: records, from whoever publishes. Leaves: the same, stamped, at the
//! end of the stream's log. Held: nothing; a writer beyond its stream's budget
//! waits, and so reads no more from its socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use records::StreamId;

use super::{Intake, Retained, StreamLog};

/// The stream is closed: it takes no more records.
#[derive(Debug, thiserror::Error)]
#[error("the stream's intake is closed")]
pub struct Closed;

/// One stream's way in. Clones write to the same stream, in turn.
pub struct Writer<T> {
    pub(super) intake: Intake<T>,
    pub(super) log: Arc<StreamLog<T>>,
}

impl<T> Clone for Writer<T> {
    fn clone(&self) -> Self {
        Self { intake: self.intake.clone(), log: Arc::clone(&self.log) }
    }
}

impl<T: Retained> Writer<T> {
    /// The stream this writer belongs to.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.log.stream
    }

    /// Appends one record, after waiting for room if the stream's budget is
    /// used up. Cancel-safe: a cancelled push has appended nothing.
    ///
    /// # Errors
    /// [`Closed`] once the stream is closed.
    pub async fn push(&self, record: T) -> Result<(), Closed> {
        loop {
            let room = self.log.room.notified();
            {
                let log = self.log.log.lock();
                if log.closed {
                    // Other clones may wait too.
                    self.log.room.notify_one();
                    return Err(Closed);
                }
                if log.unread_bytes < self.intake.shared.limits.unread_bytes_max {
                    drop(log);
                    return self.push_now(record);
                }
            }
            room.await;
        }
    }

    /// Appends one record whatever the budget says: for the few that must not wait.
    ///
    /// # Errors
    /// [`Closed`] once the stream is closed.
    pub fn push_now(&self, mut record: T) -> Result<(), Closed> {
        let weight = record.weight();
        let mut log = self.log.log.lock();
        if log.closed {
            return Err(Closed);
        }
        record.stamp(log.end());
        log.entries.push_back(record);
        log.unread_bytes += weight;
        let newly_ready = !std::mem::replace(&mut log.queued, true);
        drop(log);
        let shared = &self.intake.shared;
        shared.unread_bytes.fetch_add(weight, Ordering::Relaxed);
        shared.written_total.fetch_add(1, Ordering::Relaxed);
        if newly_ready {
            self.intake.enqueue(&self.log);
        }
        Ok(())
    }

    /// How many records were ever appended: the next one's offset.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.log.log.lock().end()
    }

    /// Whether [`Writer::push`] would not have to wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.log.log.lock().unread_bytes < self.intake.shared.limits.unread_bytes_max
    }

    /// Takes no more records. What is there is still read, then forgotten once acknowledged.
    pub fn close(&self) {
        self.log.log.lock().closed = true;
        self.log.room.notify_one();
    }
}
