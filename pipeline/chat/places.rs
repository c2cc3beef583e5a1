//! How many viewers a process takes on sockets.
//!
//! Enters: who comes and who leaves. Leaves: yes or no. Held: a count. Never here: who.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Places, some of them taken.
#[derive(Debug)]
pub struct Places {
    taken: AtomicU64,
    max: u64,
}

impl Places {
    /// So many, all free.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { taken: AtomicU64::new(0), max }
    }

    /// Takes one; false: there is none. Each is to be given back once.
    #[must_use]
    pub fn take(&self) -> bool {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Takes one even where there is none: for a gateway, which stands for thousands.
    pub fn take_anyway(&self) {
        self.taken.fetch_add(1, Relaxed);
    }

    /// Gives one back.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_is_free() {
        let places = Places::new(2);
        assert!(places.take() && places.take() && !places.take());
        places.give_back();
        assert_eq!(places.taken(), 1);
        assert!(places.take() && !places.take());
    }
}
