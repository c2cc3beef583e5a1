//! What each operator did, readable at any time from the I/O plane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;
use serde::Serialize;

use crate::Epoch;

/// The frontier of an input that is complete: nothing more will come.
const CLOSED: u64 = u64::MAX;

/// The counters of one operator on one worker. They go on counting across
/// generations, so that rates stay true through a rescale.
pub struct OperatorMeter {
    records_in: AtomicU64,
    records_out: AtomicU64,
    busy_ns: AtomicU64,
    frontier: AtomicU64,
    capability: AtomicU64,
}

impl Default for OperatorMeter {
    fn default() -> Self {
        Self {
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            frontier: AtomicU64::new(CLOSED),
            capability: AtomicU64::new(CLOSED),
        }
    }
}

impl OperatorMeter {
    /// Counts what one activation did and how long it took.
    pub fn activation(&self, since: Instant, records_in: usize, records_out: usize) {
        self.busy_ns.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.records_in.fetch_add(records_in as u64, Ordering::Relaxed);
        self.records_out.fetch_add(records_out as u64, Ordering::Relaxed);
    }

    /// Notes the input's frontier (`None`: complete) and the oldest epoch the
    /// operator may still emit at (`None`: it holds no capability of its own).
    pub fn progress(&self, frontier: Option<Epoch>, capability: Option<Epoch>) {
        self.frontier.store(frontier.unwrap_or(CLOSED), Ordering::Relaxed);
        self.capability.store(capability.unwrap_or(CLOSED), Ordering::Relaxed);
    }
}

/// One row of [`Meters::snapshot`].
#[derive(Clone, Debug, Serialize)]
pub struct OperatorReport {
    /// The operator's name.
    pub operator: &'static str,
    /// The worker, from 0.
    pub worker: usize,
    /// Records taken in since the process started; replays count again.
    pub records_in: u64,
    /// Records passed on since the process started; replays count again.
    pub records_out: u64,
    /// Time spent inside the operator since the process started, in microseconds.
    pub busy_us: u64,
    /// Epochs by which its input's frontier is behind the clock; none if its input is complete.
    pub frontier_lag_epochs: Option<u64>,
    /// The oldest epoch it holds a capability for; none if it holds none.
    pub oldest_capability: Option<Epoch>,
}

type Key = (&'static str, usize);

/// All operators' counters.
#[derive(Clone, Default)]
pub struct Meters {
    operators: Arc<RwLock<BTreeMap<Key, Arc<OperatorMeter>>>>,
}

impl Meters {
    /// The counters of `operator` on `worker`, made at the first call.
    #[must_use]
    pub fn operator(&self, operator: &'static str, worker: usize) -> Arc<OperatorMeter> {
        Arc::clone(self.operators.write().entry((operator, worker)).or_default())
    }

    /// Every operator's counters, seen from epoch `now`.
    #[must_use]
    pub fn snapshot(&self, now: Epoch) -> Vec<OperatorReport> {
        let open = |epoch: &AtomicU64| Some(epoch.load(Ordering::Relaxed)).filter(|e| *e != CLOSED);
        self.operators
            .read()
            .iter()
            .map(|((operator, worker), meter)| OperatorReport {
                operator,
                worker: *worker,
                records_in: meter.records_in.load(Ordering::Relaxed),
                records_out: meter.records_out.load(Ordering::Relaxed),
                busy_us: meter.busy_ns.load(Ordering::Relaxed) / 1000,
                frontier_lag_epochs: open(&meter.frontier).map(|f| now.saturating_sub(f)),
                oldest_capability: open(&meter.capability),
            })
            .collect()
    }

    /// Marks every operator as holding nothing: its generation is over.
    pub fn close(&self) {
        for meter in self.operators.read().values() {
            meter.progress(None, None);
        }
    }
}
