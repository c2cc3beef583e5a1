//! Many small files into few large ones: a commit a second leaves 86,400 a day.
//!
//! ```text
//! the table's files ──plan──► a task: rows of each ──merge──► a file that nobody sees yet
//!                                                                    │ between two commits
//!                                                                    ▼
//!                                              one commit that puts it in their place
//! ```
//!
//! Enters: a table between its commits. Leaves: commits that replace files of one day by
//! one with the same rows, by stream and time over all of them. A query that reads an
//! older version goes on: its files stay until vacuum's retention is over. Held: of each
//! file that is merged a row group as it is stored and a page of each column unpacked, a
//! few row groups of what is written; one merge at a time in the process. Ends when
//! dropped: a file that was written is swept away by vacuum (parts of one that was on its
//! way to an object store are for a rule of the bucket). Never here: waiting for a merge,
//! so that rows don't wait for their commits.

mod file;
mod merge;
mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{Date32Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Remove};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::writer::DeltaWriter as _;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::writer::{Writer, conform};
use crate::{Committer, Error};
use file::StoredFile;
use merge::{Batches, Merge, READS};
use plan::{BYTES_MAX, File, plan};

const DAY_SECONDS: u64 = 86_400;

/// Rows read at once from each file.
const READ_ROWS: usize = 1024;

/// Rows written at once.
const WRITE_ROWS: usize = 8192;

/// How long a merge may wait for its commit: others' vacuum takes files that nobody
/// refers to, and knows them by their age.
const WAITING_MAX: Duration = Duration::from_secs(3600);

/// Merges of the whole process: each takes memory and a processor.
static TURN: Semaphore = Semaphore::const_new(1);

/// One table's merges.
#[derive(Default)]
pub(crate) struct Compaction {
    // One at most.
    task: JoinSet<Result<Merged, Failed>>,
    // Files that can't be read, by path: a merge that always fails would keep all others
    // from their turn.
    unreadable: HashSet<String>,
}

/// A merge that is done, but for its commit.
struct Merged {
    paths: Vec<String>,
    actions: Vec<Action>,
    at: SystemTime,
}

/// Why a merge came to nothing.
#[derive(Debug)]
struct Failed {
    // The file that it was about.
    path: Option<String>,
    source: Box<DeltaTableError>,
}

impl Failed {
    fn of(path: String, source: DeltaTableError) -> Self {
        Self { path: Some(path), source: Box::new(source) }
    }
}

impl From<DeltaTableError> for Failed {
    fn from(source: DeltaTableError) -> Self {
        Self { path: None, source: Box::new(source) }
    }
}

impl Compaction {
    /// Begins a merge, if none is under way and there is enough to merge.
    ///
    /// # Errors
    /// [`Error::Delta`]: the table's files can't be listed.
    pub fn begin(&mut self, committer: &Committer) -> Result<(), Error> {
        if !self.task.is_empty() {
            return Ok(());
        }
        let refuse = |source| Error::delta("compact", committer.table(), committer.root(), source);
        let files = list(&committer.snapshot().delta).map_err(refuse)?;
        let files = files.into_iter().map(|(file, _)| file);
        let files: Vec<_> = files.filter(|file| !self.unreadable.contains(&file.path)).collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let today = i32::try_from(now.as_secs() / DAY_SECONDS).unwrap_or(i32::MAX);
        if let Some(chosen) = plan(&files, today) {
            let chosen = chosen.into_iter().filter_map(|index| files.get(index).cloned());
            self.task.spawn(merge(committer.writer(), chosen.collect()));
        }
        Ok(())
    }

    /// Forgets which files couldn't be read.
    pub fn try_all_again(&mut self) {
        self.unreadable.clear();
    }

    /// Commits a merge that is done; how many files it took away, None if none is done.
    ///
    /// # Errors
    /// [`Error::Delta`], [`Error::Rows`]: nothing has changed.
    pub async fn end(&mut self, committer: &mut Committer) -> Result<Option<usize>, Error> {
        let Some(done) = self.task.try_join_next() else { return Ok(None) };
        let (table, root) = (committer.table(), committer.root().clone());
        let refuse = |source| Error::delta("compact", table, &root, source);
        let died = |error| DeltaTableError::generic(format!("a merge died: {error}"));
        let Merged { paths, mut actions, at } = match done.map_err(|error| refuse(died(error)))? {
            Ok(merged) => merged,
            Err(Failed { path: Some(path), source }) => {
                let error = refuse(*source);
                tracing::warn!(%table, path, %error, "a file of the lake can't be merged");
                self.unreadable.insert(path);
                return Ok(Some(0));
            }
            Err(Failed { path: None, source }) => return Err(refuse(*source)),
        };
        if at.elapsed().map_or(true, |waited| waited > WAITING_MAX) {
            return Ok(Some(0));
        }
        // What others have committed since is no obstacle, unless it is about these files.
        committer.reload().await?;
        let delta = committer.snapshot().delta;
        let listed = list(&delta).map_err(refuse)?.into_iter();
        let mut removes: HashMap<_, _> = listed.map(|(file, remove)| (file.path, remove)).collect();
        for path in &paths {
            // Replaced, or some of its rows deleted.
            let Some(remove) = removes.remove(path) else { return Ok(Some(0)) };
            actions.push(Action::Remove(remove));
        }
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
        Ok(Some(paths.len()))
    }
}

/// The files that can be merged, and what removes each.
fn list(delta: &DeltaTable) -> Result<Vec<(File, Remove)>, DeltaTableError> {
    let mut files = Vec::new();
    for view in delta.snapshot()?.snapshot().try_log_data()?.iter() {
        // Others may have marked rows of it as deleted.
        if view.deletion_vector_descriptor().is_some() {
            continue;
        }
        let day = view.partition_values_map().remove("date").flatten().unwrap_or_default();
        let Some(day) = File::parse_day(&day) else { continue };
        let (path, bytes) = (view.object_store_path().to_string(), view.size().unsigned_abs());
        let rows = view.num_records().unwrap_or(0) as u64;
        files.push((File { path, day, bytes, rows }, view.remove_action(false)));
    }
    Ok(files)
}

async fn merge(writer: Writer, files: Vec<File>) -> Result<Merged, Failed> {
    // Never closed.
    let _turn = TURN.acquire().await;
    let opened = stream::iter(files.clone()).map(|file| {
        let (path, writer) = (file.path.clone(), writer.clone());
        async { open(writer, file).await.map_err(|source| Failed::of(path, source)) }
    });
    let mut rows = Merge::new(opened.buffered(READS).try_collect().await?).await?;
    let mut file = writer.open()?.with_target_file_size(2 * BYTES_MAX);
    while let Some(rows) = rows.next(WRITE_ROWS).await? {
        file.write(rows).await?;
    }
    let written = file.flush().await?;
    let moved = written.into_iter().map(|mut add| {
        add.data_change = false;
        Action::Add(add)
    });
    let actions = moved.collect();
    let paths = files.into_iter().map(|file| file.path).collect();
    Ok(Merged { paths, actions, at: SystemTime::now() })
}

/// A file's rows, in the table's columns.
async fn open(writer: Writer, file: File) -> Result<Batches, DeltaTableError> {
    let path = Path::parse(&file.path).map_err(object_store::Error::from)?;
    let (schema, day, name) = (writer.schema, file.day, file.path);
    let file = StoredFile { store: writer.delta.object_store(), path, bytes: file.bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(file).await?;
    let batches = builder.with_batch_size(READ_ROWS).build()?;
    let whole = move |rows: Result<RecordBatch, ParquetError>| -> Result<_, DeltaTableError> {
        Ok(conform(&with_day(&rows?, day)?, &schema)?)
    };
    let failed = move |source| Failed::of(name.clone(), source);
    Ok(Batches(batches.map(move |rows| whole(rows).map_err(&failed)).boxed()))
}

/// With the column `date`, which is in no file.
fn with_day(rows: &RecordBatch, day: i32) -> Result<RecordBatch, ArrowError> {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("date", DataType::Date32, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Date32Array::from_value(day, rows.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
