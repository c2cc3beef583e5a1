//! Which rungs a stream can afford.
//!
//! Enters: at each cut, how far the ladder is behind the publisher and what time it is.
//! Leaves: how many of the highest rungs go without pictures from this cut on.
//! Held: a few numbers. Never done here: looking at a clock.

use super::TranscodeConfig;

/// How often the wait for a restored rung doubles at most.
const PATIENCE_MAX: u32 = 5;

/// The shedding policy of one stream and run.
pub(super) struct Shedder {
    rungs: usize,
    shed: usize,
    lag_shed_ms: u64,
    lag_restore_ms: u64,
    restore_after_ms: u64,
    last_lag_ms: u64,
    calm_since_ms: Option<u64>,
    restored_at_ms: Option<u64>,
    patience: u32,
}

impl Shedder {
    /// A policy for `rungs` pictures, none of them shed.
    pub fn new(rungs: usize, config: &TranscodeConfig) -> Self {
        Self {
            rungs,
            shed: 0,
            lag_shed_ms: u64::from(config.lag_shed_ms),
            lag_restore_ms: u64::from(config.lag_restore_ms),
            restore_after_ms: u64::from(config.restore_after_ms),
            last_lag_ms: 0,
            calm_since_ms: None,
            restored_at_ms: None,
            patience: 0,
        }
    }

    /// Decides for the segment that begins: the highest `n` rungs are shed.
    ///
    /// `lag_ms` is in media time, `age_ms` since the oldest picture arrived.
    /// Publishers may begin with seconds of media at once: then the lag is long
    /// at first, while nothing has waited long, and falls.
    ///
    /// One rung goes per multiple of `lag_shed_ms` that both have reached,
    /// unless the lag is already falling: a burst is being worked off, or what
    /// was shed at the last cut begins to show.
    pub fn at_cut(&mut self, lag_ms: u64, age_ms: u64, now_ms: u64) -> usize {
        let falling = lag_ms * 20 < self.last_lag_ms * 19;
        self.last_lag_ms = lag_ms;
        let lag_ms = lag_ms.min(age_ms);
        if lag_ms >= self.lag_shed_ms && !falling {
            let steps = (lag_ms / self.lag_shed_ms.max(1)).max(1) as usize;
            if self.restored_at_ms.take().is_some_and(|at| now_ms < at + 30_000) {
                self.patience = (self.patience + 1).min(PATIENCE_MAX);
            }
            self.shed = (self.shed + steps).min(self.rungs);
            self.calm_since_ms = None;
        } else if lag_ms >= self.lag_restore_ms {
            self.calm_since_ms = None;
        } else if self.shed > 0 {
            let since = *self.calm_since_ms.get_or_insert(now_ms);
            if now_ms - since >= self.restore_after_ms << self.patience {
                self.shed -= 1;
                self.calm_since_ms = Some(now_ms);
                self.restored_at_ms = Some(now_ms);
            }
        }
        self.shed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shedder() -> Shedder {
        Shedder::new(3, &TranscodeConfig::default())
    }

    #[test]
    fn one_after_the_other_and_back() {
        let mut s = shedder();
        assert_eq!(s.at_cut(300, 300, 0), 0);
        assert_eq!(s.at_cut(1100, 1100, 2000), 1);
        assert_eq!(s.at_cut(1500, 1500, 4000), 2);
        assert_eq!(s.at_cut(100, 100, 6000), 2);
        assert_eq!(s.at_cut(100, 100, 14_000), 2);
        assert_eq!(s.at_cut(100, 100, 16_000), 1);
        assert_eq!(s.at_cut(100, 100, 18_000), 1);
        assert_eq!(s.at_cut(100, 100, 26_000), 0);
    }

    #[test]
    fn far_behind_sheds_several_and_at_last_all() {
        let mut s = shedder();
        assert_eq!(s.at_cut(2500, 2500, 0), 2);
        assert_eq!(s.at_cut(9000, 9000, 2000), 3);
        assert_eq!(s.at_cut(9000, 9000, 4000), 3);
    }

    #[test]
    fn a_falling_lag_is_given_time() {
        let mut s = shedder();
        s.at_cut(1900, 1900, 0);
        assert_eq!(s.at_cut(1200, 1200, 2000), 1);
        assert_eq!(s.at_cut(1190, 1190, 4000), 2);
    }

    #[test]
    fn coming_back_too_early_makes_it_patient() {
        let mut s = shedder();
        s.at_cut(1100, 1100, 0);
        s.at_cut(0, 0, 2000);
        assert_eq!(s.at_cut(0, 0, 12_000), 0);
        assert_eq!(s.at_cut(1100, 1100, 14_000), 1);
        s.at_cut(0, 0, 16_000);
        assert_eq!(s.at_cut(0, 0, 26_000), 1);
        assert_eq!(s.at_cut(0, 0, 36_000), 0);
    }

    #[test]
    fn a_burst_at_the_start_is_worked_off() {
        let mut s = shedder();
        assert_eq!(s.at_cut(8000, 0, 0), 0);
        assert_eq!(s.at_cut(7000, 900, 900), 0);
        assert_eq!(s.at_cut(6000, 1900, 1900), 0);
        assert_eq!(s.at_cut(6000, 2900, 2900), 2);
    }
}
