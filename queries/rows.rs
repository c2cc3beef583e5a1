//! The answer of a query.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::Error;
use crate::pool::Task;

/// Rows as they come, a batch at a time. Dropping them ends the query and frees
/// what it holds. An error is the last item.
#[derive(Debug)]
pub struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: mpsc::Receiver<Result<RecordBatch, Error>>,
    // Ends the query with the rows.
    pub(crate) _task: Task<()>,
}

impl Rows {
    /// The columns; those of the lake's tables have a `comment` in their metadata.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// All batches at once.
    ///
    /// # Errors
    /// The query's.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(context)
    }
}
