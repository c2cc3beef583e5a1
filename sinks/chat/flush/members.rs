//! A room's viewers on one loop, and whose turn it is.
//!
//! The loop goes round and round: `cursor` is who comes next, `stale` how many visits it
//! takes until everybody has what is there, `due` how many of them should have been made by
//! now. A quiet room's visits are due at once, a hot one's spread over its window, so no two
//! visits to a viewer are farther apart than that, whatever joins and leaves in between.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::room::{Bounds, Room};

#[derive(Debug)]
pub(super) struct Members {
    pub room: Arc<Room>,
    /// Shared with the room: it needs no telling while the loop looks by itself.
    pub is_told: Arc<AtomicBool>,
    /// Keys of connections.
    keys: Vec<u32>,
    cursor: usize,
    stale: usize,
    due: f64,
    head: u64,
    pushed: u64,
    /// Frames pushed when the rate was last taken.
    counted: u64,
    /// Frames each second, over about a second.
    pub rate: f64,
    /// Over how long visits are spread; zero: at once.
    pub window: Duration,
    /// In the loop's list of rooms with something to do.
    pub is_active: bool,
}

impl Members {
    pub fn new(room: Arc<Room>, is_told: Arc<AtomicBool>) -> Self {
        let Bounds { head, pushed, .. } = room.bounds();
        Self {
            room,
            is_told,
            keys: Vec::new(),
            cursor: 0,
            stale: 0,
            due: 0.0,
            head,
            pushed,
            counted: pushed,
            rate: 0.0,
            window: Duration::ZERO,
            is_active: false,
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// Puts a connection last; returns its place.
    pub fn add(&mut self, key: u32) -> u32 {
        self.keys.push(key);
        if self.stale > 0 {
            self.stale += 1;
        }
        self.keys.len() as u32 - 1
    }

    /// Takes out who is at `place`. Others may get another place: told as (key, place).
    pub fn remove(&mut self, place: u32, mut moved: impl FnMut(u32, u32)) {
        let mut hole = place as usize;
        if hole < self.cursor {
            // Those before the cursor were visited in this round: one of them fills the hole,
            // so that nobody who wasn't is skipped.
            self.cursor -= 1;
            self.keys[hole] = self.keys[self.cursor];
            if hole != self.cursor {
                moved(self.keys[hole], hole as u32);
            }
            hole = self.cursor;
        }
        self.keys.swap_remove(hole);
        if let Some(key) = self.keys.get(hole) {
            moved(*key, hole as u32);
        }
        if self.cursor >= self.keys.len() {
            self.cursor = 0;
        }
        self.stale = self.stale.min(self.keys.len());
    }

    /// The loop looked at the room. True if there is news.
    pub fn look(&mut self, bounds: Bounds) -> bool {
        let is_news = bounds.head != self.head;
        if is_news {
            self.stale = self.keys.len();
        }
        (self.head, self.pushed) = (bounds.head, bounds.pushed);
        is_news
    }

    /// Whether everybody has, or will be told by the kernel when they can have, what is there.
    pub fn is_clean(&self) -> bool {
        self.stale == 0
    }

    /// `passed` of the window is over.
    pub fn accrue(&mut self, passed: Duration) {
        if self.window.is_zero() {
            self.due = self.stale as f64;
            return;
        }
        let share = passed.as_secs_f64() / self.window.as_secs_f64();
        self.due = (self.due + self.keys.len() as f64 * share).min(self.stale as f64);
    }

    /// Whole visits that are due.
    pub fn due(&self) -> usize {
        self.due as usize
    }

    /// Who comes next, at most `max`. They count as visited.
    pub fn take(&mut self, max: usize, to: &mut Vec<u32>) {
        let count = self.due().min(self.stale).min(self.keys.len()).min(max);
        for _ in 0..count {
            to.push(self.keys[self.cursor]);
            self.cursor += 1;
            if self.cursor == self.keys.len() {
                self.cursor = 0;
            }
        }
        self.due -= count as f64;
        self.stale -= count;
    }

    /// Takes the rate; called every `passed`, about ten times a second.
    pub fn count(&mut self, passed: Duration) {
        let frames = (self.pushed - self.counted) as f64;
        self.counted = self.pushed;
        let rate = frames / passed.as_secs_f64().max(1e-3);
        self.rate += (rate - self.rate) * 0.2;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn members(count: u32) -> Members {
        let mut members =
            Members::new(Room::new("room", 1, 0, 4096), Arc::new(AtomicBool::new(false)));
        for key in 0..count {
            members.add(key);
        }
        members
    }

    fn news(members: &mut Members) {
        let head = members.head + 1;
        let pushed = members.pushed + 1;
        assert!(members.look(Bounds { tail: 0, head, pushed, last: pushed }));
    }

    fn take(members: &mut Members, max: usize) -> Vec<u32> {
        let mut keys = Vec::new();
        members.take(max, &mut keys);
        keys
    }

    #[test]
    fn a_quiet_room_is_due_at_once() {
        let mut members = members(5);
        assert!(members.is_clean());
        news(&mut members);
        members.accrue(Duration::ZERO);
        assert_eq!(take(&mut members, 3), [0, 1, 2]);
        news(&mut members);
        members.accrue(Duration::ZERO);
        assert_eq!(take(&mut members, 9), [3, 4, 0, 1, 2], "everybody once more, in turn");
        assert!(members.is_clean());
        assert_eq!(members.due(), 0);
    }

    #[test]
    fn a_hot_room_is_spread_over_its_window() {
        let mut members = members(100);
        members.window = Duration::from_millis(200);
        let mut visits = Vec::new();
        for _ in 0..20 {
            news(&mut members);
            members.accrue(Duration::from_millis(10));
            let keys = take(&mut members, usize::MAX);
            assert_eq!(keys.len(), 5, "a twentieth each 10 ms");
            visits.extend(keys);
        }
        visits.sort_unstable();
        assert_eq!(visits, (0..100).collect::<Vec<_>>());
        for _ in 0..20 {
            members.accrue(Duration::from_millis(10));
            take(&mut members, usize::MAX);
        }
        assert!(members.is_clean(), "one more round reaches everybody");
        members.accrue(Duration::from_millis(10));
        assert_eq!(members.due(), 0, "then there is rest");
    }

    #[test]
    fn a_pause_of_the_loop_makes_one_round_due_not_more() {
        let mut members = members(10);
        members.window = Duration::from_millis(200);
        news(&mut members);
        members.accrue(Duration::from_secs(9));
        assert_eq!(members.due(), 10);
    }

    proptest! {
        /// Whoever joins and leaves, nobody waits for more visits than there were viewers
        /// since the last one, but one more for each who left; and places are right.
        #[test]
        fn nobody_is_skipped(steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..300)) {
            let mut members = members(20);
            let mut places: HashMap<u32, u32> = (0..20).map(|key| (key, key)).collect();
            // How many visits to others each may still see.
            let mut patience: HashMap<u32, usize> = (0..20).map(|key| (key, 20)).collect();
            let mut next = 20;
            for (step, index) in steps {
                match step {
                    0 => {
                        patience.values_mut().for_each(|left| *left += 1);
                        places.insert(next, members.add(next));
                        patience.insert(next, members.len());
                        next += 1;
                    }
                    1 if members.len() > 0 => {
                        let key = members.keys()[index.index(members.len())];
                        let place = places.remove(&key).unwrap();
                        members.remove(place, |key, place| { places.insert(key, place); });
                        patience.remove(&key);
                        patience.values_mut().for_each(|left| *left += 1);
                    }
                    _ if members.len() > 0 => {
                        news(&mut members);
                        members.accrue(Duration::ZERO);
                        for key in take(&mut members, 1 + index.index(4)) {
                            patience.insert(key, members.len());
                            for (other, left) in &mut patience {
                                if *other != key {
                                    prop_assert!(*left > 0, "{} waits too long", other);
                                    *left -= 1;
                                }
                            }
                        }
                    }
                    _ => {}
                }
                for (place, key) in members.keys().iter().enumerate() {
                    prop_assert_eq!(places[key], place as u32);
                }
                prop_assert_eq!(places.len(), members.len());
            }
        }
    }
}
