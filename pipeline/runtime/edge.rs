//! A bounded queue out of the data plane.
//!
//! ```text
//! operators on any worker ──push──► edge ──recv──► one task of the I/O plane
//! ```
//!
//! Bounded by credit rather than by blocking: an operator may not wait, so
//! `push` always succeeds, and sources stop reading while any edge is over its
//! budget ([`Edge::has_room`]). The overshoot is at most what is between the
//! sources and the sink, which sources' fuel bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The queue's counters, for metrics and credit.
pub struct EdgeMeter {
    /// Name in metrics.
    pub name: &'static str,
    /// Bytes beyond which sources stop reading.
    pub budget_bytes: usize,
    bytes: AtomicUsize,
    records_total: AtomicU64,
}

impl EdgeMeter {
    /// Bytes waiting.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records ever pushed.
    #[must_use]
    pub fn records_total(&self) -> u64 {
        self.records_total.load(Ordering::Relaxed)
    }

    /// Whether sources may read on as far as this edge goes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes() < self.budget_bytes
    }
}

struct Shared<T> {
    queue: Mutex<VecDeque<(usize, T)>>,
    filled: Notify,
    meter: Arc<EdgeMeter>,
}

/// The data plane's end of an edge; clones share the queue.
pub struct Edge<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Edge<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The I/O plane's end of an edge.
pub struct EdgeReceiver<T> {
    shared: Arc<Shared<T>>,
}

/// A queue named `name` that asks sources to pause above `budget_bytes`.
#[must_use]
pub fn edge<T>(name: &'static str, budget_bytes: usize) -> (Edge<T>, EdgeReceiver<T>) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        filled: Notify::new(),
        meter: Arc::new(EdgeMeter {
            name,
            budget_bytes,
            bytes: AtomicUsize::new(0),
            records_total: AtomicU64::new(0),
        }),
    });
    (Edge { shared: Arc::clone(&shared) }, EdgeReceiver { shared })
}

impl<T> Edge<T> {
    /// Appends records with their weights in bytes, and wakes the receiver
    /// once. Leaves `records` empty.
    pub fn push(&self, records: &mut Vec<(usize, T)>) {
        if records.is_empty() {
            return;
        }
        let bytes = records.iter().map(|(weight, _)| weight).sum();
        let meter = &self.shared.meter;
        meter.bytes.fetch_add(bytes, Ordering::Relaxed);
        meter.records_total.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.shared.queue.lock().extend(records.drain(..));
        self.shared.filled.notify_one();
    }

    /// The queue's counters.
    #[must_use]
    pub fn meter(&self) -> Arc<EdgeMeter> {
        Arc::clone(&self.shared.meter)
    }
}

impl<T> EdgeReceiver<T> {
    /// Waits for at least one record and moves all that wait into `into`,
    /// oldest first. Cancel-safe.
    pub async fn recv(&self, into: &mut Vec<T>) {
        loop {
            if self.try_recv(into) > 0 {
                return;
            }
            self.shared.filled.notified().await;
        }
    }

    /// Moves all that wait into `into`, oldest first; returns how many came.
    pub fn try_recv(&self, into: &mut Vec<T>) -> usize {
        let drained = std::mem::take(&mut *self.shared.queue.lock());
        let count = drained.len();
        let mut bytes = 0;
        into.extend(drained.into_iter().map(|(weight, record)| {
            bytes += weight;
            record
        }));
        self.shared.meter.bytes.fetch_sub(bytes, Ordering::Relaxed);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_order_and_counts_bytes() {
        let (edge, receiver) = edge("test", 10);
        edge.push(&mut vec![(6, 'a'), (6, 'b')]);
        assert!(!edge.meter().has_room());
        let mut got = Vec::new();
        receiver.recv(&mut got).await;
        assert_eq!(got, ['a', 'b']);
        assert!(edge.meter().has_room());
        assert_eq!((edge.meter().bytes(), edge.meter().records_total()), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_wakes_a_waiting_receiver() {
        let (edge, receiver) = edge("test", 10);
        let waiting = tokio::spawn(async move {
            let mut got = Vec::new();
            receiver.recv(&mut got).await;
            got
        });
        tokio::task::yield_now().await;
        edge.push(&mut vec![(1, 7)]);
        assert_eq!(waiting.await.unwrap(), [7]);
    }
}
