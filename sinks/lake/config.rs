//! Settings of the lake.

use std::time::Duration;

use store::Root;

use crate::Faults;

/// Settings of the lake.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// Where all tables lie, each below its name.
    pub root: Root,
    /// Pause between commits of a table while much is going on. Default 1 s.
    pub commit_busy: Duration,
    /// How long a record waits for its commit while little is going on. Default 5 s.
    pub commit_idle: Duration,
    /// Records that wait for a table from which on much is going on. Default 1,000.
    pub busy_records: u64,
    /// Records of one commit, which bounds memory. Default 100,000.
    pub commit_rows_max: usize,
    /// Bytes of the records of one commit. Default 32 MiB.
    pub commit_bytes_max: usize,
    /// Commits between checkpoints of a table's Delta log, which bounds what a
    /// reader must read to open it. Default 100.
    pub checkpoint_every: u64,
    /// Commits between looks for small files to merge. Default 32.
    pub compact_every: u64,
    /// For tests; nothing by default.
    pub faults: Faults,
}

impl LakeConfig {
    /// The defaults, at `root`.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            commit_busy: Duration::from_secs(1),
            commit_idle: Duration::from_secs(5),
            busy_records: 1000,
            commit_rows_max: 100_000,
            commit_bytes_max: 32 << 20,
            checkpoint_every: 100,
            compact_every: 32,
            faults: Faults::default(),
        }
    }
}
