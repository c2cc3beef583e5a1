//! Latencies of millions of deliveries in fixed memory.

/// Steps within each doubling: a value is known to within 1/64.
const STEPS: u64 = 64;
const BUCKETS: usize = 33 * STEPS as usize;

/// Counts of durations in microseconds, in buckets that widen with the value.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0, max_us: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, us: u64) {
        self.counts[bucket(us).min(BUCKETS - 1)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += *more;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1e3
    }

    /// What `share` (0 to 1) of them don't exceed, in milliseconds, to within a 64th.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return (upper(bucket).min(self.max_us)) as f64 / 1e3;
            }
        }
        0.0
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let doubling = u64::from(us.ilog2()) - u64::from(STEPS.ilog2());
    (doubling * STEPS + (us >> doubling)) as usize
}

fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let doubling = bucket / STEPS - 1;
    ((bucket - doubling * STEPS + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.record(us);
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let got = histogram.quantile_ms(share);
            assert!((got - ms).abs() <= ms / 64.0, "{share}: {got}");
        }
        let mut both = Histogram::default();
        both.merge(&histogram);
        assert_eq!((both.total(), both.max_ms()), (100_000, 100.0));
    }

    #[test]
    fn each_value_lies_in_its_bucket() {
        for us in (0..200).chain([1000, 1 << 20, (1 << 20) + 1, 1 << 35]) {
            let bucket = bucket(us);
            assert!(us <= upper(bucket), "{us}");
            assert!(bucket == 0 || us > upper(bucket - 1), "{us}");
        }
    }
}
