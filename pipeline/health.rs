//! The last two minutes of every publisher's health.
//!
//! Enters: one [`Health`] per stream and second. Held: [`HISTORY`] of them per
//! live stream; dropped when the stream ends.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use records::{Health, StreamId};

/// Seconds kept per stream.
const HISTORY: usize = 120;

/// Health of all live streams.
#[derive(Default)]
pub struct HealthBoard {
    streams: Mutex<HashMap<StreamId, VecDeque<Health>>>,
}

impl HealthBoard {
    /// Adds a second.
    pub fn record(&self, health: Health) {
        let mut streams = self.streams.lock();
        let history = streams.entry(health.stream).or_default();
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(health);
    }

    /// What is known of a stream, oldest first.
    #[must_use]
    pub fn history(&self, stream: StreamId) -> Vec<Health> {
        self.streams.lock().get(&stream).map_or_else(Vec::new, |h| h.iter().cloned().collect())
    }

    /// The newest second of every stream.
    #[must_use]
    pub fn latest(&self) -> Vec<Health> {
        self.streams.lock().values().filter_map(|h| h.back().cloned()).collect()
    }

    /// The stream is over.
    pub fn forget(&self, stream: StreamId) {
        self.streams.lock().remove(&stream);
    }
}
