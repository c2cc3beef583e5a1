//! What loops did, in numbers that only grow, and what they hold now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One loop's, written by it alone.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) connections: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) blocked: AtomicU64,
    pub(super) behind: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) lag_us: AtomicU64,
    pub(super) window_us: AtomicU64,
}

/// A look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sockets now, those that are being closed included.
    pub connections: u64,
    /// Sockets ever.
    pub joined: u64,
    /// Writes of windows.
    pub writes: u64,
    /// Bytes of windows.
    pub bytes: u64,
    /// Times a viewer's socket was full.
    pub blocked: u64,
    /// Viewers closed because they fell off the ring, or left replies unread.
    pub behind: u64,
    /// Messages from viewers.
    pub received: u64,
    /// By how much visits come late now, in the worst loop.
    pub lag: Duration,
    /// The longest window of a room now.
    pub window: Duration,
}

impl Stats {
    pub(super) fn totals(&self) -> Totals {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Totals {
            connections: read(&self.connections),
            joined: read(&self.joined),
            writes: read(&self.writes),
            bytes: read(&self.bytes),
            blocked: read(&self.blocked),
            behind: read(&self.behind),
            received: read(&self.received),
            lag: Duration::from_micros(read(&self.lag_us)),
            window: Duration::from_micros(read(&self.window_us)),
        }
    }
}

impl Totals {
    pub(super) fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            joined: self.joined + other.joined,
            writes: self.writes + other.writes,
            bytes: self.bytes + other.bytes,
            blocked: self.blocked + other.blocked,
            behind: self.behind + other.behind,
            received: self.received + other.received,
            lag: self.lag.max(other.lag),
            window: self.window.max(other.window),
        }
    }
}

/// Adds without a locked instruction: there is one writer.
pub(super) fn count(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
