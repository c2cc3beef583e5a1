//! What one query may use.

use std::time::Duration;

/// Bounds of each query, and of all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From being asked to the last row fetched, waiting for a place included.
    pub time: Duration,
    /// Memory for sorts, joins and groups of one query, in bytes; beyond it
    /// goes to temporary files where the operator can.
    pub memory_bytes: usize,
    /// Temporary files of one query, in bytes.
    pub spill_bytes: u64,
    /// Rows of one answer. More is an error, since half an answer looks like a whole one.
    pub rows: u64,
    /// Queries at once; more wait. So all of them use at most `at_once * memory_bytes`.
    pub at_once: usize,
    /// Threads that each query's work is divided among, at a lower priority than
    /// everything live. There is one more than queries at once, so that none that
    /// computes without a pause is in another's way.
    pub threads: usize,
}

/// Longest query, in bytes: planning can't be interrupted.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Most operators within one another: `a + b + c` is two deep. The time that
/// planning takes grows with the square of it.
pub(crate) const EXPRESSION_DEPTH_MAX: usize = 256;

/// Most mentions of tables, in FROM, JOIN and UNION together.
pub(crate) const TABLES_MAX: usize = 256;

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            time: Duration::from_secs(60),
            memory_bytes: 256 << 20,
            spill_bytes: 4 << 30,
            rows: 1_000_000,
            at_once: 4,
            threads: cores.div_ceil(2),
        }
    }
}
