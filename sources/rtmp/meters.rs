//! The source's counters, for whoever prints metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters by a reason out of a fixed list.
#[derive(Debug)]
pub struct ByReason {
    counts: Vec<(&'static str, AtomicU64)>,
}

impl ByReason {
    fn new(reasons: &[&'static str]) -> Self {
        Self { counts: reasons.iter().map(|reason| (*reason, AtomicU64::new(0))).collect() }
    }

    /// Counts one. A reason that isn't listed counts as the last one, `other`.
    pub(super) fn add(&self, reason: &str) {
        let listed = self.counts.iter().find(|(name, _)| *name == reason);
        if let Some((_, count)) = listed.or(self.counts.last()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason with its count, also those that never happened.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }
}

/// What the RTMP source counts.
#[derive(Debug)]
pub struct RtmpMeters {
    /// Connections now.
    pub connections_open: AtomicU64,
    /// Connections ever accepted.
    pub connections_total: AtomicU64,
    /// Admitted publishers now.
    pub publishers_open: AtomicU64,
    /// Bytes read after the handshake.
    pub received_bytes_total: AtomicU64,
    /// Packets handed to the data plane.
    pub packets_total: AtomicU64,
    /// Data messages left out because their AMF0 was unusable.
    pub data_dropped_total: AtomicU64,
    /// Publishers turned away: `bad_key`, `in_use`, `ended`, `unavailable`.
    pub refused_total: ByReason,
    /// Connections by what ended them.
    pub closed_total: ByReason,
}

impl Default for RtmpMeters {
    fn default() -> Self {
        Self {
            connections_open: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            publishers_open: AtomicU64::new(0),
            received_bytes_total: AtomicU64::new(0),
            packets_total: AtomicU64::new(0),
            data_dropped_total: AtomicU64::new(0),
            refused_total: ByReason::new(&["bad_key", "in_use", "ended", "unavailable", "other"]),
            closed_total: ByReason::new(&super::end::REASONS),
        }
    }
}

/// Adds one to a gauge for as long as it lives.
pub(super) struct Held<'a>(&'a AtomicU64);

impl<'a> Held<'a> {
    pub(super) fn new(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason() {
        let meters = RtmpMeters::default();
        meters.refused_total.add("in_use");
        meters.refused_total.add("in_use");
        meters.refused_total.add("unheard of");
        let counts: Vec<_> = meters.refused_total.read().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counts, [("in_use", 2), ("other", 1)]);
    }
}
