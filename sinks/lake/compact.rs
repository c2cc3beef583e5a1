//! Many small files into one: a commit a second leaves 86,400 a day.
//!
//! Enters: the list of a table's files. Leaves: one commit that replaces some
//! files of one day by one with the same rows, sorted by stream and time over
//! all of them. A query that reads the older version goes on: the files stay
//! until vacuum's retention is over.
//!
//! Files are merged with others of about their size (each tier eight times the
//! one below), so that a row is rewritten once per tier and not once per merge.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Remove};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Committer, Error};

/// Files of one tier from which on they are merged.
const FILES_MIN: usize = 16;

/// Files merged at once.
const FILES_MAX: usize = 256;

/// Bytes merged at once, compressed. Decoded they are several times as many,
/// and all in memory.
const BYTES_MAX: u64 = 16 << 20;

/// Files read at a time: those of a store are far away.
const READS: usize = 8;

/// Each tier holds files up to eight times as large as the one below.
const TIER_BITS: u32 = 3;

/// A file of the table, as far as the plan needs it.
#[derive(Clone, Debug)]
struct File {
    path: String,
    day: String,
    bytes: u64,
}

/// Merges once, if there is enough to merge; how many files went.
///
/// # Errors
/// [`Error::Delta`], [`Error::Rows`]: nothing has changed.
pub(crate) async fn compact(committer: &mut Committer) -> Result<usize, Error> {
    let (table, root) = (committer.table(), committer.root().clone());
    let refuse = |source| Error::delta("compact", table, &root, source);
    let delta = committer.snapshot().delta;
    let (files, removes) = list(&delta).map_err(refuse)?;
    let Some(chosen) = plan(&files) else { return Ok(0) };
    let paths = chosen.iter().filter_map(|index| Some(files.get(*index)?.path.clone()));
    let paths: Vec<_> = paths.collect();
    let reads = stream::iter(paths).map(|path| read(&delta, path)).buffered(READS);
    let batches: Vec<_> = reads.try_concat().await.map_err(refuse)?;
    let misfit = |error: ArrowError| Error::Rows { table, detail: error.to_string() };
    let rows = together(&batches).map_err(misfit)?;
    drop(batches);
    let mut actions = Vec::new();
    for mut add in committer.write(&rows).await? {
        add.data_change = false;
        actions.push(Action::Add(add));
    }
    actions
        .extend(chosen.iter().filter_map(|index| removes.get(*index).cloned()).map(Action::Remove));
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false));
    let operation = DeltaOperation::Optimize { predicate: None, target_size: BYTES_MAX as i64 };
    let state = delta.snapshot().map_err(refuse)?;
    let done = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(state), delta.log_store(), operation)
        .await
        .map_err(refuse)?;
    committer.adopt(done.snapshot());
    Ok(chosen.len())
}

fn list(delta: &DeltaTable) -> Result<(Vec<File>, Vec<Remove>), DeltaTableError> {
    let (mut files, mut removes) = (Vec::new(), Vec::new());
    for view in delta.snapshot()?.snapshot().try_log_data()?.iter() {
        // Others may have marked rows of it as deleted.
        if view.deletion_vector_descriptor().is_some() {
            continue;
        }
        let day = view.partition_values_map().remove("date").flatten().unwrap_or_default();
        let path = view.object_store_path().to_string();
        files.push(File { path, day, bytes: view.size().unsigned_abs() });
        removes.push(view.remove_action(false));
    }
    Ok((files, removes))
}

/// The files to merge, by index: of one day and one tier, smallest tiers first.
fn plan(files: &[File]) -> Option<Vec<usize>> {
    let mut tiers: BTreeMap<(u32, &str), Vec<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        if file.bytes < BYTES_MAX / 2 {
            let tier = file.bytes.max(1).ilog2() / TIER_BITS;
            tiers.entry((tier, &file.day)).or_default().push(index);
        }
    }
    tiers.into_values().filter(|tier| tier.len() >= FILES_MIN).find_map(|tier| {
        let mut bytes = 0;
        let fits = tier.into_iter().take(FILES_MAX).take_while(|index| {
            bytes += files.get(*index).map_or(0, |file| file.bytes);
            bytes <= BYTES_MAX
        });
        let chosen: Vec<_> = fits.collect();
        (chosen.len() > 1).then_some(chosen)
    })
}

async fn read(delta: &DeltaTable, path: String) -> Result<Vec<RecordBatch>, DeltaTableError> {
    let path = Path::parse(path).map_err(object_store::Error::from)?;
    let bytes = delta.object_store().get(&path).await?.bytes().await?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

/// One batch with every column of any, and `date`, which is in no file.
fn together(batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let schemas = batches.iter().map(|rows| {
        let schema = rows.schema();
        let fields = schema.fields().iter().map(|field| {
            field.as_ref().clone().with_nullable(true).with_metadata(Default::default())
        });
        Schema::new(fields.collect::<Vec<_>>())
    });
    let schema = Arc::new(Schema::try_merge(schemas)?);
    let widened = batches.iter().map(|rows| crate::committer::conform(rows, &schema));
    let rows = concat_batches(&schema, &widened.collect::<Result<Vec<_>, _>>()?)?;
    let at = rows
        .column_by_name("at")
        .ok_or_else(|| ArrowError::SchemaError("a file has no column at".into()))?;
    let date: ArrayRef = cast(at, &DataType::Date32)?;
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("date", DataType::Date32, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(date);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[(&str, u64)]) -> Vec<File> {
        let file = |(day, bytes): &(&str, u64)| File {
            path: String::new(),
            day: (*day).into(),
            bytes: *bytes,
        };
        sizes.iter().map(file).collect()
    }

    #[test]
    fn only_neighbours_in_size_of_one_day_are_merged() {
        let mut sizes = vec![("2026-07-01", 5000); FILES_MIN - 1];
        sizes.extend(vec![("2026-07-02", 5000); FILES_MIN - 1]);
        sizes.extend(vec![("2026-07-01", 2_000_000); FILES_MIN - 1]);
        assert_eq!(plan(&files(&sizes)), None);
        sizes.push(("2026-07-02", 6000));
        let chosen = plan(&files(&sizes)).unwrap();
        assert_eq!(chosen.len(), FILES_MIN);
        assert!(chosen.iter().all(|index| sizes[*index].0 == "2026-07-02"));
    }

    #[test]
    fn a_merge_is_bounded_and_large_files_stay() {
        let many = files(&vec![("d", 3000); 1000]);
        assert_eq!(plan(&many).unwrap().len(), FILES_MAX);
        let large = files(&vec![("d", 3 << 20); 40]);
        assert_eq!(plan(&large).unwrap().len(), 5);
        assert_eq!(plan(&files(&vec![("d", BYTES_MAX); 40])), None);
    }
}
