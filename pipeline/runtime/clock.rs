//! The epoch clock: 100 ms of arrival time each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Timely's timestamp in every dataflow: an epoch of [`EPOCH`] of arrival time.
pub type Epoch = u64;

/// How long an epoch lasts.
pub const EPOCH: Duration = Duration::from_millis(100);

/// The current epoch, shared by all workers. Never runs backwards, also when
/// the wall clock does.
#[derive(Clone, Default)]
pub struct Clock {
    now: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that starts at the wall clock's epoch.
    #[must_use]
    pub fn start() -> Self {
        let clock = Self::default();
        clock.tick();
        clock
    }

    /// The current epoch.
    #[must_use]
    pub fn now(&self) -> Epoch {
        self.now.load(Ordering::Acquire)
    }

    /// Moves to the wall clock's epoch, if that is later. Called by the
    /// supervisor once per [`EPOCH`] and by sources as they read.
    pub fn tick(&self) -> Epoch {
        let wall = wall_us() / EPOCH.as_micros() as u64;
        self.now.fetch_max(wall, Ordering::AcqRel).max(wall)
    }
}

/// Wall clock in microseconds since 1970.
#[must_use]
pub fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
