//! The log's tail for queries: what is said but not committed to the lake yet.
//!
//! Enters: a table and the offsets that its Delta log holds. Leaves: rows, made
//! by the same functions as those of the lake. Held: nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Table;
use log::Log;
use queries::{RecordBatch, Tail, TailError};

/// Rows of a tail at most; the lake follows the log by seconds, so that a
/// longer one means that it can't be written.
const ROWS_MAX: usize = 200_000;

/// The tail of a log.
pub struct LogTail {
    log: Arc<dyn Log>,
}

impl LogTail {
    /// Of `log`.
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Self {
        Self { log }
    }
}

#[async_trait::async_trait]
impl Tail for LogTail {
    fn partitions(&self, table: &str) -> u16 {
        Table::find(table).map_or(0, |table| table.topic().partitions())
    }

    async fn rows(
        &self,
        table: &str,
        from: &BTreeMap<u16, u64>,
    ) -> Result<Vec<RecordBatch>, TailError> {
        let Some(table) = Table::find(table) else { return Ok(Vec::new()) };
        let mut positions = Vec::new();
        for partition in 0..table.topic().partitions() {
            positions.push(match from.get(&partition) {
                Some(position) => *position,
                // The lake will begin where the log does.
                None => self.log.bounds(table.topic(), partition).await?.start,
            });
        }
        Ok(lake::tail(&*self.log, table, &positions, ROWS_MAX).await?)
    }
}
