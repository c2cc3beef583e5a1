//! What the lake counts, and whether it keeps up.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Table;

/// Counters of one table.
#[derive(Default)]
pub struct TableMetrics {
    /// Rows committed.
    pub rows_total: AtomicU64,
    /// Commits that held rows or positions.
    pub commits_total: AtomicU64,
    /// Parquet files committed.
    pub files_total: AtomicU64,
    /// Bytes of those.
    pub bytes_total: AtomicU64,
    /// Commits given up because somebody else's came first.
    pub conflicts_total: AtomicU64,
    /// Records that no row could be made of: of a newer version, or damaged.
    pub skipped_total: AtomicU64,
    /// Failures, each followed by another attempt.
    pub errors_total: AtomicU64,
    /// Records in the log that are not committed yet, at the last look.
    pub lag_records: AtomicU64,
    /// Since when the oldest of them has been seen waiting.
    pub(crate) waiting: Mutex<Option<Instant>>,
    /// Records that left the log before they reached the lake, ever.
    pub lost_total: AtomicU64,
    /// Why the last attempt failed; None once one succeeded.
    pub(crate) trouble: Mutex<Option<String>>,
}

impl TableMetrics {
    /// How long the oldest record that isn't committed has been seen waiting.
    /// Goes on while an attempt hangs.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.waiting.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Why the table isn't being written, if so: for people, with a remedy.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}

/// Counters of all tables.
#[derive(Default)]
pub struct LakeMetrics {
    tables: [TableMetrics; Table::ALL.len()],
}

impl LakeMetrics {
    /// Those of one table.
    #[must_use]
    pub fn of(&self, table: Table) -> &TableMetrics {
        &self.tables[table.index()]
    }

    /// Each table that can't be written, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<(Table, String)> {
        let all = Table::ALL.into_iter();
        all.filter_map(|table| Some((table, self.of(table).trouble()?))).collect()
    }
}
