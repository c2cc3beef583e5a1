//! How long a room's messages are gathered before they are sent.
//!
//! A write costs the same however much it holds, so gathering is what saves, and costs
//! latency. It pays only where it is needed: while writing each message at once would take
//! little of the core, that is done. Beyond, visits are spread over a window in which the
//! rooms' rounds take about [`SHARE`] of the core, and at most the budget. A loop that is
//! behind all the same spreads them over the whole budget.

use std::time::Duration;

/// As long as writing at once takes less of a core than this, it is done.
const QUIET: f64 = 0.05;
/// What a window's length aims at.
const SHARE: f64 = 0.10;
/// Ticks of a window: shorter ones are none.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// A write's cost before one was measured.
const WRITE: f64 = 6e-6;

/// One loop's.
#[derive(Debug)]
pub(super) struct Pace {
    budget: Duration,
    /// Seconds for a write, over the last few hundred batches.
    write: f64,
    /// Seconds by which visits come later than they were due.
    lag: f64,
    /// Of a core, if each room's messages were written one by one.
    demand: f64,
    /// Seconds that one round of all rooms that talk takes.
    round: f64,
}

impl Pace {
    /// `budget` is the longest window; zero turns gathering off.
    pub fn new(budget: Duration) -> Self {
        Self { budget, write: WRITE, lag: 0.0, demand: 0.0, round: 0.0 }
    }

    /// So many writes took so long.
    pub fn wrote(&mut self, writes: usize, took: Duration) {
        if writes == 0 {
            return;
        }
        // A batch that was interrupted by others counts for what the core really gives.
        let each = (took.as_secs_f64() / writes as f64).clamp(1e-7, 1e-3);
        self.write += (each - self.write) * 0.02;
    }

    /// So many visits were due at the end of a turn and not made.
    pub fn left_over(&mut self, visits: usize) {
        let lag = visits as f64 * self.write;
        self.lag += (lag - self.lag) * if lag > self.lag { 0.5 } else { 0.05 };
    }

    /// The rooms anew: messages a second and viewers of each.
    pub fn survey(&mut self, rooms: impl Iterator<Item = (f64, usize)>) {
        (self.demand, self.round) = (0.0, 0.0);
        for (rate, viewers) in rooms {
            let round = viewers as f64 * self.write;
            self.demand += rate * round;
            if rate > 0.1 {
                self.round += round;
            }
        }
    }

    /// The window of a room with so many messages a second.
    pub fn window(&self, rate: f64) -> Duration {
        let budget = self.budget.as_secs_f64();
        // With less than one message in a window there is nothing to gather.
        if self.demand < QUIET || rate * budget < 1.0 {
            return Duration::ZERO;
        }
        let window = if self.lag > budget / 8.0 { budget } else { self.round / SHARE };
        let window = Duration::from_secs_f64(window.min(budget));
        if window < TICK { Duration::ZERO } else { window }
    }

    /// By how much visits come late now.
    pub fn lag(&self) -> Duration {
        Duration::from_secs_f64(self.lag.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rooms: &[(f64, usize)]) -> Pace {
        let mut pace = Pace::new(Duration::from_millis(200));
        for _ in 0..2000 {
            pace.wrote(100, Duration::from_micros(500));
        }
        pace.survey(rooms.iter().copied());
        pace
    }

    #[test]
    fn what_is_cheap_is_sent_at_once() {
        assert_eq!(pace(&[(1.0, 10)]).window(1.0), Duration::ZERO);
        assert_eq!(pace(&[(10.0, 900)]).window(10.0), Duration::ZERO);
        assert_eq!(pace(&[(1.0, 9000)]).window(1.0), Duration::ZERO);
    }

    #[test]
    fn what_is_dear_is_gathered_up_to_the_budget() {
        assert_eq!(pace(&[(10.0, 9000)]).window(10.0), Duration::from_millis(200));
        let between = pace(&[(100.0, 1000)]).window(100.0);
        assert!(between > TICK && between < Duration::from_millis(100), "{between:?}");
    }

    #[test]
    fn a_room_with_nothing_to_gather_is_never_held_back() {
        assert_eq!(pace(&[(100.0, 9000), (0.5, 10)]).window(0.5), Duration::ZERO);
    }

    #[test]
    fn lag_widens_the_window_and_goes_by() {
        let mut pace = pace(&[(100.0, 1000)]);
        let before = pace.window(100.0);
        for _ in 0..20 {
            pace.left_over(20_000);
        }
        assert_eq!(pace.window(100.0), Duration::from_millis(200));
        for _ in 0..200 {
            pace.left_over(0);
        }
        assert_eq!(pace.window(100.0), before);
    }

    #[test]
    fn without_a_budget_nothing_is_gathered() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.survey([(1000.0, 10_000)].into_iter());
        assert_eq!(pace.window(1000.0), Duration::ZERO);
    }
}
