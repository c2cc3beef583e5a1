//! Keyed operator state between two generations.
//!
//! Enters: each worker's states when its input ends. Leaves: the same states,
//! to whichever worker of the next generation owns their shard. Held: nothing
//! while a generation runs.

use std::collections::HashMap;

use parking_lot::Mutex;
use records::{Shard, StreamId};

/// The states of one keyed operator, by stream, while no generation runs.
pub struct Handover<S> {
    states: Mutex<HashMap<StreamId, S>>,
}

impl<S> Default for Handover<S> {
    fn default() -> Self {
        Self { states: Mutex::default() }
    }
}

impl<S> Handover<S> {
    /// Leaves states behind for the next generation.
    pub fn give(&self, states: impl IntoIterator<Item = (StreamId, S)>) {
        self.states.lock().extend(states);
    }

    /// Takes the states of the shards that `owned` accepts.
    pub fn take(&self, owned: impl Fn(Shard) -> bool) -> HashMap<StreamId, S> {
        self.states.lock().extract_if(|stream, _| owned(stream.shard())).collect()
    }

    /// Forgets what was left behind, since a generation died: survivors'
    /// states are newer than the checkpoints the others resume from.
    pub fn clear(&self) {
        self.states.lock().clear();
    }
}
