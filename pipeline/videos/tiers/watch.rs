//! Who watches what, and who waits for what to be fetched.
//!
//! Enters: requests for videos, and how far fetches got. Leaves: what to tell
//! viewers; whether a broadcast may leave. Held: when each broadcast was last asked
//! for, for as long as that matters, and the fetches under way. Never here: copying.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use records::StreamId;

use super::super::rules::{ready_in_s, speed};
use super::Tiers;

/// What is copied in a second until it was measured: a slow disk's share.
const SPEED_AT_FIRST: u64 = 20_000_000;

/// Players hold less than this: who asked for nothing for so long doesn't watch.
const WATCHED_FOR: Duration = Duration::from_secs(300);

/// Whether a video can be played now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Open,
    /// It is being fetched from the cold store.
    Fetching {
        /// For so many more seconds, as far as can be told; at least 1.
        ready_in_s: u64,
    },
    /// It lies in the cold store.
    Cold {
        /// How long fetching it would take.
        ready_in_s: u64,
    },
    /// It lies in a cold store that can't be reached, or not be made sense of.
    Away,
}

struct Fetch {
    bytes: u64,
    done: Arc<AtomicU64>,
    is_stuck: bool,
}

struct State {
    used: HashMap<StreamId, Instant>,
    /// On the way to the cold store, past the last look at who watches.
    leaving: HashSet<StreamId>,
    fetching: HashMap<StreamId, Fetch>,
    bytes_per_s: u64,
    started: Instant,
}

/// See the module.
pub(super) struct Watch(Mutex<State>);

impl Default for Watch {
    fn default() -> Self {
        let (used, leaving, fetching) = Default::default();
        let started = Instant::now();
        Self(Mutex::new(State { used, leaving, fetching, bytes_per_s: SPEED_AT_FIRST, started }))
    }
}

impl State {
    /// What was asked for by viewers of an earlier process isn't known.
    fn is_idle(&self, stream: StreamId, ago: Duration) -> bool {
        self.used.get(&stream).unwrap_or(&self.started).elapsed() >= ago
    }
}

/// Ends the time in which a broadcast is leaving.
pub(super) struct Leaving<'a> {
    watch: &'a Watch,
    stream: StreamId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.watch.0.lock().leaving.remove(&self.stream);
    }
}

/// Ends a fetch, however it ended.
pub(super) struct Fetching<'a> {
    watch: &'a Watch,
    stream: StreamId,
    /// Bytes that are there.
    pub(super) done: Arc<AtomicU64>,
}

impl Fetching<'_> {
    /// Those who wait are told that it can't be reached, or again that it comes.
    pub(super) fn is_stuck(&self, is_stuck: bool) {
        if let Some(fetch) = self.watch.0.lock().fetching.get_mut(&self.stream) {
            fetch.is_stuck = is_stuck;
        }
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.watch.0.lock().fetching.remove(&self.stream);
    }
}

impl Watch {
    /// Somebody asks for it. True: it is leaving just now.
    fn touch(&self, stream: StreamId) -> bool {
        let mut state = self.0.lock();
        state.used.insert(stream, Instant::now());
        state.leaving.contains(&stream)
    }

    /// How long nobody may have asked for a broadcast that is to leave after `age`.
    pub(super) fn patience(age: Duration) -> Duration {
        age.min(WATCHED_FOR)
    }

    /// Whether nobody asked for it for so long.
    pub(super) fn is_idle(&self, stream: StreamId, ago: Duration) -> bool {
        self.0.lock().is_idle(stream, ago)
    }

    /// Whoever asks for it from now on is told that it is gone; None: somebody
    /// asked meanwhile.
    pub(super) fn leave(&self, stream: StreamId, idle: Duration) -> Option<Leaving<'_>> {
        let mut state = self.0.lock();
        if !state.is_idle(stream, idle) {
            return None;
        }
        state.leaving.insert(stream);
        Some(Leaving { watch: self, stream })
    }

    /// Forgets who asked longer ago than matters.
    pub(super) fn prune(&self, restored_for: Duration) {
        let matters = restored_for.max(WATCHED_FOR);
        self.0.lock().used.retain(|_, at| at.elapsed() < matters);
    }

    /// A fetch begins that was ordered.
    pub(super) fn fetch(&self, stream: StreamId) -> Fetching<'_> {
        let mut state = self.0.lock();
        let fetch = state.fetching.entry(stream).or_insert_with(|| Fetch::of(0));
        Fetching { watch: self, stream, done: Arc::clone(&fetch.done) }
    }

    /// So many bytes were copied in such a time.
    pub(super) fn measured(&self, bytes: u64, took: Duration) {
        if bytes > 0 {
            let mut state = self.0.lock();
            state.bytes_per_s = speed(state.bytes_per_s, bytes, took);
        }
    }
}

impl Fetch {
    fn of(bytes: u64) -> Self {
        Self { bytes, done: Arc::default(), is_stuck: false }
    }

    fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.done.load(Ordering::Relaxed))
    }
}

impl Tiers {
    /// Whether a broadcast's videos can be played now. Whoever asks counts as a viewer;
    /// with `wants`, it is fetched if it has to be.
    pub fn access(&self, stream: StreamId, wants: bool) -> Access {
        let moved = self.around.videos.moved(stream);
        if moved.is_none() && self.config.cold.is_none() {
            return Access::Open;
        }
        // Touched before it is looked at where it lies: what leaves later sees it.
        let is_leaving = self.watch.touch(stream);
        if !is_leaving && !self.around.videos.is_cold(stream) {
            return Access::Open;
        }
        if self.config.cold.is_none() || self.refused.lock().contains(&stream) {
            return Access::Away;
        }
        let bytes = moved.map_or(0, |moved| moved.bytes);
        let mut state = self.watch.0.lock();
        if wants && !state.fetching.contains_key(&stream) && self.orders.try_send(stream).is_ok() {
            state.fetching.insert(stream, Fetch::of(bytes));
        }
        // They share the way here.
        let all: u64 = state.fetching.values().map(Fetch::left).sum();
        match state.fetching.get(&stream) {
            Some(fetch) if fetch.is_stuck => Access::Away,
            Some(_) => Access::Fetching { ready_in_s: ready_in_s(all, state.bytes_per_s) },
            None => Access::Cold { ready_in_s: ready_in_s(all + bytes, state.bytes_per_s) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leaves_while_watched_and_nobody_watches_what_leaves() {
        let (watch, stream) = (Watch::default(), StreamId::generate());
        let long = Duration::from_secs(3600);
        assert!(watch.leave(stream, long).is_none(), "who watched before the start isn't known");
        assert!(watch.is_idle(stream, Duration::ZERO));
        let leaving = watch.leave(stream, Duration::ZERO).unwrap();
        assert!(watch.touch(stream), "whoever comes now is told");
        drop(leaving);
        assert!(!watch.touch(stream));
        watch.prune(Duration::ZERO);
        assert!(!watch.is_idle(stream, long), "who came just now still counts");
        assert_eq!(Watch::patience(Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(Watch::patience(long), WATCHED_FOR);
    }

    #[test]
    fn a_fetch_is_over_however_it_ended() {
        let (watch, stream) = (Watch::default(), StreamId::generate());
        let fetching = watch.fetch(stream);
        fetching.done.fetch_add(7, Ordering::Relaxed);
        fetching.is_stuck(true);
        assert!(watch.0.lock().fetching[&stream].is_stuck);
        drop(fetching);
        assert!(watch.0.lock().fetching.is_empty());
        watch.measured(0, Duration::from_secs(9));
        assert_eq!(watch.0.lock().bytes_per_s, SPEED_AT_FIRST);
        watch.measured(SPEED_AT_FIRST * 3, Duration::from_secs(1));
        assert_eq!(watch.0.lock().bytes_per_s, SPEED_AT_FIRST * 2);
    }
}
