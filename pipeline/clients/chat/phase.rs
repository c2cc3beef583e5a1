//! How far a run is: what its threads and their starter share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::findings::{AFTER, BACK, JOINING, MEASURED};
use crate::marker::now_ns;

/// What is going on, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Viewers join.
    Opening,
    /// All are there.
    Measuring,
    /// All but those who speak were cut, and come back.
    Returning,
    /// Nothing more is said; what is on its way arrives.
    Draining,
    /// Threads end.
    Over,
}

impl Phase {
    /// Which part of the findings it is, to a thread whose viewers were cut or not.
    pub fn part(self, is_back: bool) -> usize {
        match self {
            Self::Opening => JOINING,
            Self::Measuring => MEASURED,
            Self::Returning if is_back => BACK,
            Self::Returning | Self::Draining | Self::Over => AFTER,
        }
    }
}

/// When things are said, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// From when on.
    pub began_ns: u64,
    /// Until when; `u64::MAX` while that is open.
    pub until_ns: u64,
    /// Now.
    pub now_ns: u64,
}

/// What threads and their starter share.
#[derive(Debug)]
pub struct Shared {
    /// See [`Phase`].
    phase: AtomicUsize,
    began_ns: AtomicU64,
    until_ns: AtomicU64,
    /// Viewers that are in the room, and those that were refused or have ended.
    pub open: AtomicUsize,
    pub failed: AtomicUsize,
    /// The greatest number that any viewer knows of, and of what was accepted here.
    pub seen: AtomicU64,
    pub accepted: AtomicU64,
    /// How many were said by viewers.
    pub said: AtomicU64,
    /// All that was due is said, and answered.
    pub is_settled: AtomicBool,
    /// What viewers must have in the end; 0: that isn't known yet.
    pub target: AtomicU64,
    /// Threads whose viewers all have that.
    pub complete: AtomicUsize,
    /// Numbers that viewers lacked at the end.
    pub lost: AtomicU64,
    /// The room's life.
    pub epoch: OnceLock<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            phase: AtomicUsize::new(0),
            began_ns: AtomicU64::new(0),
            until_ns: AtomicU64::new(u64::MAX),
            open: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            said: AtomicU64::new(0),
            is_settled: AtomicBool::new(false),
            target: AtomicU64::new(0),
            complete: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            epoch: OnceLock::new(),
        }
    }
}

impl Shared {
    /// The next phase. Clocks are set before those who look at them know of it.
    pub fn set(&self, phase: Phase) {
        match phase {
            Phase::Measuring => self.began_ns.store(now_ns(), Ordering::Release),
            Phase::Draining => self.until_ns.store(now_ns(), Ordering::Release),
            Phase::Opening | Phase::Returning | Phase::Over => {}
        }
        self.phase.store(phase as usize, Ordering::Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Opening,
            1 => Phase::Measuring,
            2 => Phase::Returning,
            3 => Phase::Draining,
            _ => Phase::Over,
        }
    }

    pub fn clock(&self) -> Clock {
        Clock {
            began_ns: self.began_ns.load(Ordering::Acquire),
            until_ns: self.until_ns.load(Ordering::Acquire),
            now_ns: now_ns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_go_by_and_set_the_clock() {
        let shared = Shared::default();
        assert_eq!((shared.phase(), shared.clock().until_ns), (Phase::Opening, u64::MAX));
        for phase in [Phase::Measuring, Phase::Returning, Phase::Draining, Phase::Over] {
            shared.set(phase);
            assert_eq!(shared.phase(), phase);
        }
        let clock = shared.clock();
        assert!(0 < clock.began_ns && clock.began_ns <= clock.until_ns);
        assert!(clock.until_ns <= clock.now_ns);
    }

    #[test]
    fn what_comes_back_is_a_part_of_its_own() {
        assert_eq!([true, false].map(|is_back| Phase::Returning.part(is_back)), [BACK, AFTER]);
        assert_eq!([Phase::Opening, Phase::Measuring].map(|phase| phase.part(false)), [0, 1]);
    }
}
