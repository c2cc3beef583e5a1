//! The time, as whoever starts the accounts tells it.
//!
//! Never runs backwards within a process: a session that began before a log-out
//! must look older than it, also when the machine's clock was set back between.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970; clones share what they have told.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
    newest: Arc<AtomicU64>,
}

impl Clock {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
        })
    }

    /// Any other: `read` answers with microseconds since 1970.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), newest: Arc::default() }
    }

    /// Now, or the latest time that was told.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let now = (self.read)();
        self.newest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({} us)", self.newest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_set_back_is_not_told() {
        let told = Arc::new(AtomicU64::new(10));
        let of = Arc::clone(&told);
        let clock = Clock::new(move || of.load(Ordering::Relaxed));
        assert_eq!(clock.now_us(), 10);
        told.store(4, Ordering::Relaxed);
        assert_eq!(clock.clone().now_us(), 10);
        told.store(11, Ordering::Relaxed);
        assert_eq!(clock.now_us(), 11);
    }
}
