//! Which worker runs which shard.

use records::{SHARDS, Shard};

/// Shards are placed in this many groups, so that a worker's intake queues are
/// its own alone; also the most workers a generation can have.
pub const LANES: u16 = 64;

/// The placement table of one generation: shard → worker.
#[derive(Clone, Debug)]
pub struct ShardTable {
    workers: Box<[u16]>,
    count: usize,
}

impl ShardTable {
    /// Spreads all shards evenly over `workers` (taken as `1..=64`).
    #[must_use]
    pub fn even(workers: usize) -> Self {
        let count = workers.clamp(1, usize::from(LANES));
        Self {
            workers: (0..SHARDS).map(|s| (usize::from(s % LANES) % count) as u16).collect(),
            count,
        }
    }

    /// The worker that runs `shard`, `0..workers()`.
    #[must_use]
    pub fn worker(&self, shard: Shard) -> usize {
        usize::from(self.workers[usize::from(shard.0 % SHARDS)])
    }

    /// How many workers the table spreads over.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.count
    }
}
