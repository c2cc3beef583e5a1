//! How many in the last minute: of a room, and of all rooms together.
//!
//! Counts lie in buckets of half a second. What a bucket holds counts until all
//! of it is older than a minute, so a limit is never exceeded in any minute,
//! whichever way it is laid; it may be met half a second late.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What limits are counted over.
pub(crate) const WINDOW_US: u64 = 60_000_000;
const BUCKET_US: u64 = 500_000;
/// Buckets that touch a minute which ends in the last of them.
const BUCKETS: u64 = WINDOW_US / BUCKET_US + 1;

/// Counts of a minute: at most 121 entries of 16 bytes, fewer when it is quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    // Number of the bucket and its count, rising, none of them empty.
    buckets: VecDeque<(u64, u32)>,
    sum: u64,
}

impl Window {
    /// Counts one.
    pub(crate) fn add(&mut self, at_us: u64) {
        self.settle(at_us);
        let number = at_us / BUCKET_US;
        self.sum += 1;
        match self.buckets.back_mut() {
            // Time that went back counts as now.
            Some((last, count)) if *last >= number => *count += 1,
            _ => self.buckets.push_back((number, 1)),
        }
    }

    /// Forgets what is older than a minute.
    pub(crate) fn settle(&mut self, now_us: u64) {
        let oldest = (now_us / BUCKET_US + 1).saturating_sub(BUCKETS);
        while let Some(&(number, count)) = self.buckets.front()
            && number < oldest
        {
            self.sum -= u64::from(count);
            self.buckets.pop_front();
        }
    }

    /// How long until one more is below `limit`. 0: now.
    pub(crate) fn wait_us(&self, limit: u32, now_us: u64) -> u64 {
        let oldest = (now_us / BUCKET_US + 1).saturating_sub(BUCKETS);
        let (mut sum, mut free_at_us) = (self.sum, now_us);
        for &(number, count) in &self.buckets {
            if number >= oldest {
                if sum < u64::from(limit) {
                    break;
                }
                free_at_us = (number + BUCKETS) * BUCKET_US;
            }
            sum -= u64::from(count);
        }
        match sum < u64::from(limit) {
            true => free_at_us - now_us,
            // A limit of nothing.
            false => WINDOW_US,
        }
    }
}

/// The limit of all rooms together: one for the process, shared by its workers.
#[derive(Debug)]
pub struct ServerLimit {
    per_minute: u32,
    window: Mutex<(u64, Window)>,
}

impl ServerLimit {
    /// So many messages a minute, in all rooms.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, window: Mutex::default() }
    }

    /// Counts one, or says how long until there is room. Workers' clocks may
    /// differ a little: what is late counts as now.
    pub(crate) fn take(&self, now_us: u64) -> Result<(), u64> {
        let (newest_us, window) = &mut *self.window.lock();
        *newest_us = now_us.max(*newest_us);
        window.settle(*newest_us);
        match window.wait_us(self.per_minute, *newest_us) {
            0 => {
                window.add(*newest_us);
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit(
            limit in 1u32..20,
            steps in proptest::collection::vec(0u64..8_000_000, 1..300),
        ) {
            let shared = ServerLimit::new(limit);
            let (mut now, mut taken) = (1_000_000_000u64, Vec::new());
            for step in steps {
                now += step;
                match shared.take(now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        // The wait is what it takes, and nothing less.
                        prop_assert!(wait > 0 && wait <= WINDOW_US + BUCKET_US);
                        prop_assert!(shared.take(now + wait - 1).is_err());
                        now += wait;
                        prop_assert!(shared.take(now).is_ok());
                        taken.push(now);
                    }
                }
            }
            for (at, from) in taken.iter().enumerate() {
                let within = taken[at..].iter().take_while(|t| **t < from + WINDOW_US).count();
                prop_assert!(within <= limit as usize, "{within} from {from}");
            }
        }
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        assert_eq!(ServerLimit::new(0).take(1), Err(WINDOW_US));
    }
}
