//! What the log holds and the lake doesn't yet.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

/// Why the tail can't be had.
pub type TailError = Box<dyn std::error::Error + Send + Sync>;

/// Gives the rows that aren't committed yet, so that a query sees them too.
///
/// The server implements it over the log; a session over a lake without a
/// server has none.
#[async_trait]
pub trait Tail: Send + Sync + 'static {
    /// How many partitions of the log feed `table`; 0 if nothing does. The
    /// table's `txn` of partition p has the id `table/p`, its version is the
    /// next offset.
    fn partitions(&self, table: &str) -> u16;

    /// The rows of `table` from these offsets on (by partition; one that is
    /// missing begins at 0), with the columns of `records::schema` by name.
    ///
    /// # Errors
    /// Also if the log no longer has what lies at an offset: the lake then has
    /// newer commits than the caller knew, who looks again.
    async fn rows(
        &self,
        table: &str,
        from: &BTreeMap<u16, u64>,
    ) -> Result<Vec<RecordBatch>, TailError>;
}
