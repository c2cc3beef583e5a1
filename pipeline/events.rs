//! What happens to ladders: one typed event, a log line and a count.

use std::collections::BTreeMap;

use operators::transcode::TranscodeEvent;
use parking_lot::Mutex;

/// Events by kind.
#[derive(Default)]
pub struct EventCounts {
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl EventCounts {
    /// Counts one, and writes its log line.
    pub fn record(&self, event: &TranscodeEvent) {
        tracing::warn!(stream = %event.stream, event = event.kind.name(), "{}", event.kind);
        *self.counts.lock().entry(event.kind.name()).or_default() += 1;
    }

    /// Every kind that happened, with its count.
    #[must_use]
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.counts.lock().iter().map(|(name, count)| (*name, *count)).collect()
    }
}
