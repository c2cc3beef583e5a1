//! Rows of many files in one order, a batch at a time.
//!
//! Enters: batches of each file, whose rows are in the order of [`Key`]. Leaves:
//! batches of all of them in that order. Held: one batch of each file. A file that
//! somebody else wrote in another order comes out as it went in: no row is lost, and
//! statistics are less sharp.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow_schema::{ArrowError, DataType};
use deltalake_core::DeltaTableError;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use uuid::Uuid;

use super::Failed;

/// Stream, time, partition, offset. Texts of streams are in the order of their numbers.
type Key = (u128, i64, i32, i64);

/// Files of which something is fetched at a time: those of a store are far away.
pub(super) const READS: usize = 8;

/// A file's rows.
pub(super) struct Batches(pub BoxStream<'static, Result<RecordBatch, Failed>>);

/// Where the merge is in a file.
struct Cursor {
    rest: Batches,
    rows: RecordBatch,
    keys: Vec<Key>,
    row: usize,
    // Which of the batches that are being put together `rows` is.
    slot: usize,
}

/// See the module.
pub(super) struct Merge {
    cursors: Vec<Cursor>,
    // The next row's key of each file that has one.
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    // What picked rows are in.
    slots: Vec<RecordBatch>,
}

impl Merge {
    /// Reads the first batch of each file.
    ///
    /// # Errors
    /// A file can't be read, or lacks a column of the order.
    pub async fn new(files: Vec<Batches>) -> Result<Self, Failed> {
        let mut merge = Self { cursors: Vec::new(), heads: BinaryHeap::new(), slots: Vec::new() };
        let firsts: Vec<_> = stream::iter(files).map(first).buffered(READS).try_collect().await?;
        for (rest, first) in firsts {
            let Some((rows, keys)) = first else { continue };
            let (index, slot) = (merge.cursors.len(), merge.slots.len());
            merge.heads.extend(keys.first().map(|key| Reverse((*key, index))));
            merge.slots.push(rows.clone());
            merge.cursors.push(Cursor { rest, rows, keys, row: 0, slot });
        }
        Ok(merge)
    }

    /// The next rows, `rows_max` at most; None at the end.
    ///
    /// # Errors
    /// As [`Merge::new`].
    pub async fn next(&mut self, rows_max: usize) -> Result<Option<RecordBatch>, Failed> {
        let mut picked = Vec::with_capacity(rows_max);
        while picked.len() < rows_max {
            let Some(Reverse((_, index))) = self.heads.pop() else { break };
            let Some(cursor) = self.cursors.get_mut(index) else { continue };
            let until = self.heads.peek().map(|Reverse((key, _))| *key);
            // As long as no other file is next.
            loop {
                picked.push((cursor.slot, cursor.row));
                cursor.row += 1;
                let key = cursor.keys.get(cursor.row);
                let goes_on = key.is_some_and(|key| until.is_none_or(|until| *key <= until));
                if !goes_on || picked.len() == rows_max {
                    break;
                }
            }
            if cursor.row == cursor.keys.len() {
                let Some((rows, keys)) = next(&mut cursor.rest).await? else {
                    // What was picked of it is held by its slot.
                    (cursor.row, cursor.keys) = (0, Vec::new());
                    cursor.rows = RecordBatch::new_empty(cursor.rows.schema());
                    cursor.rest = Batches(stream::empty().boxed());
                    continue;
                };
                cursor.slot = self.slots.len();
                self.slots.push(rows.clone());
                (cursor.rows, cursor.keys, cursor.row) = (rows, keys, 0);
            }
            self.heads.extend(cursor.keys.get(cursor.row).map(|key| Reverse((*key, index))));
        }
        if picked.is_empty() {
            return Ok(None);
        }
        let all: Vec<_> = self.slots.iter().collect();
        let rows = interleave_record_batch(&all, &picked).map_err(DeltaTableError::from)?;
        self.slots.clear();
        for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.keys.is_empty()) {
            cursor.slot = self.slots.len();
            self.slots.push(cursor.rows.clone());
        }
        Ok(Some(rows))
    }
}

/// Rows, and their keys.
type Keyed = (RecordBatch, Vec<Key>);

async fn first(mut rest: Batches) -> Result<(Batches, Option<Keyed>), Failed> {
    let first = next(&mut rest).await?;
    Ok((rest, first))
}

/// The next batch that has rows.
async fn next(rest: &mut Batches) -> Result<Option<Keyed>, Failed> {
    while let Some(rows) = rest.0.next().await.transpose()? {
        if rows.num_rows() > 0 {
            let keys = keys(&rows).map_err(DeltaTableError::from)?;
            return Ok(Some((rows, keys)));
        }
    }
    Ok(None)
}

fn keys(rows: &RecordBatch) -> Result<Vec<Key>, ArrowError> {
    // Others may have written them in a wider type.
    let column = |name, kind: &DataType| match rows.column_by_name(name) {
        Some(column) => cast(column, kind),
        None => Err(ArrowError::SchemaError(format!("a file has no column {name}"))),
    };
    let streams = column("stream_id", &DataType::Utf8)?;
    let at = column("at", &DataType::Int64)?;
    let partitions = column("log_partition", &DataType::Int32)?;
    let offsets = column("log_offset", &DataType::Int64)?;
    let streams: &StringArray = streams.as_string();
    let at = at.as_primitive::<Int64Type>().values();
    let partitions = partitions.as_primitive::<Int32Type>().values();
    let offsets = offsets.as_primitive::<Int64Type>().values();
    // Rows of a stream lie together.
    let (mut name, mut number) = ("", 0);
    let numbers = streams.iter().map(|stream| {
        let stream = stream.unwrap_or_default();
        if stream != name {
            (name, number) = (stream, Uuid::try_parse(stream).map_or(0, |id| id.as_u128()));
        }
        number
    });
    let rest = at.iter().zip(partitions.iter()).zip(offsets.iter());
    Ok(numbers
        .zip(rest)
        .map(|(stream, ((at, partition), offset))| (stream, *at, *partition, *offset))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, TimestampMicrosecondArray};
    use futures_util::stream;

    use super::*;

    /// A file with these streams and offsets, in batches of so many rows.
    fn file(rows: &[(u128, i64)], size: usize) -> Batches {
        let batches: Vec<_> = rows.chunks(size).map(|rows| Ok(batch(rows))).collect();
        Batches(stream::iter(batches).boxed())
    }

    fn batch(rows: &[(u128, i64)]) -> RecordBatch {
        let streams = rows.iter().map(|(stream, _)| Some(Uuid::from_u128(*stream).to_string()));
        let times = rows.iter().map(|(_, offset)| offset * 10);
        let columns: [(&str, ArrayRef); 4] = [
            ("stream_id", Arc::new(streams.collect::<StringArray>())),
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
            ("log_partition", Arc::new(Int32Array::from(vec![3; rows.len()]))),
            ("log_offset", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>())),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    async fn merged(files: Vec<Batches>, rows_max: usize) -> Vec<(u128, i64)> {
        let mut merge = Merge::new(files).await.unwrap();
        let mut all = Vec::new();
        while let Some(rows) = merge.next(rows_max).await.unwrap() {
            assert!((1..=rows_max).contains(&rows.num_rows()));
            assert!(merge.slots.len() <= merge.cursors.len());
            all.extend(keys(&rows).unwrap().into_iter().map(|(stream, _, _, at)| (stream, at)));
        }
        all
    }

    #[tokio::test]
    async fn rows_of_all_files_come_once_and_in_order() {
        let rows: Vec<(u128, i64)> =
            (0..40).flat_map(|stream| (0..25).map(move |at| (stream << 100, at))).collect();
        for (files, size, rows_max) in [(1, 7, 10), (3, 1, 8), (7, 10, 64), (16, 100, 1000)] {
            let mut parts = vec![Vec::new(); files];
            for (n, row) in rows.iter().enumerate() {
                // Runs of different lengths, and in one file none.
                parts[(n * n / 7 + n / 3) % files.max(2) % files].push(*row);
            }
            let mut files: Vec<_> = parts.iter().map(|part| file(part, size)).collect();
            files.push(file(&[], 1));
            assert_eq!(merged(files, rows_max).await, rows, "{size} {rows_max}");
        }
        assert_eq!(merged(Vec::new(), 10).await, []);
    }

    #[tokio::test]
    async fn a_file_in_another_order_loses_nothing() {
        let ordered: Vec<(u128, i64)> = (0..50).map(|n| (5, 2 * n)).collect();
        let other: Vec<(u128, i64)> = (0..50).rev().map(|n| (5, 2 * n + 1)).collect();
        let mut all = merged(vec![file(&ordered, 8), file(&other, 8)], 16).await;
        all.sort_unstable();
        assert_eq!(all, (0..100).map(|n| (5, n)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_file_without_the_columns_is_named_for_it() {
        let rows = batch(&[(1, 1)]).project(&[0, 1]).unwrap();
        let files = vec![Batches(stream::iter([Ok(rows)]).boxed())];
        let error = Merge::new(files).await.err().unwrap().source.to_string();
        assert!(error.contains("no column log_partition"), "{error}");
    }
}
