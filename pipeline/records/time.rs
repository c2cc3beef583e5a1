//! Exact media time: ticks of a track's own timescale.

use std::cmp::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point (or span) on a stream's media timeline, `ticks / timescale` seconds
/// since the stream's origin. Comparisons between timescales are exact.
///
/// The timeline of a stream never runs backwards, not across discontinuities,
/// reconnects or restarts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MediaTime {
    /// Ticks since the stream's origin; negative only as a difference.
    pub ticks: i64,
    /// Ticks per second, at least 1.
    pub timescale: u32,
}

impl MediaTime {
    /// `ticks / timescale` seconds. A timescale of 0 is taken as 1.
    #[must_use]
    pub fn new(ticks: i64, timescale: u32) -> Self {
        Self { ticks, timescale: timescale.max(1) }
    }

    /// The same instant in another timescale, rounded to the nearest tick.
    #[must_use]
    pub fn rescale(self, timescale: u32) -> Self {
        if timescale == self.timescale {
            return self;
        }
        let from = i128::from(self.timescale);
        let scaled = i128::from(self.ticks) * i128::from(timescale);
        let rounded = (scaled + if scaled >= 0 { from / 2 } else { -from / 2 }) / from;
        Self::new(rounded as i64, timescale)
    }

    /// Seconds, for playlists and people; not for arithmetic.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale)
    }

    /// Whole microseconds, rounded.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.rescale(1_000_000).ticks
    }

    /// A span as [`Duration`]; negative spans are zero.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_micros(self.as_micros().max(0) as u64)
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.timescale);
        let right = i128::from(other.ticks) * i128::from(self.timescale);
        left.cmp(&right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_across_timescales() {
        assert_eq!(MediaTime::new(90_000, 90_000), MediaTime::new(48_000, 48_000));
        assert!(MediaTime::new(90_001, 90_000) > MediaTime::new(48_000, 48_000));
        assert!(MediaTime::new(-1, 90_000) < MediaTime::new(0, 1));
    }

    #[test]
    fn rescales_to_the_nearest_tick() {
        assert_eq!(MediaTime::new(1, 3).rescale(1000).ticks, 333);
        assert_eq!(MediaTime::new(2, 3).rescale(1000).ticks, 667);
        assert_eq!(MediaTime::new(-2, 3).rescale(1000).ticks, -667);
    }
}
