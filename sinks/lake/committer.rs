//! One table's committer: the only one of this process that changes it.
//!
//! Enters: rows, and the positions that follow them. Leaves: Parquet files that
//! nobody sees yet, and commits that make them and the positions visible at
//! once. Held: the table's state as of its last commit. Never here: reading the
//! log, waiting, trying again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use arrow_schema::{DataType, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::TryFromArrow;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, StructField, Transaction, Version};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Error, Root, Table};

/// Rows of a Parquet row group: the unit that a reader skips.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Committed(Version),
    /// Somebody else had committed first, and so nothing was. The committer has
    /// loaded their state: begin again from [`Committer::positions`].
    Overtaken,
}

/// A version of a table, and which records of the log it holds.
#[derive(Clone)]
pub struct Snapshot {
    /// Which table.
    pub table: Table,
    /// Opened at that version; shares its state.
    pub delta: DeltaTable,
    /// By partition, the first offset that it doesn't hold. What the log has
    /// from there on is the tail.
    pub positions: Arc<[u64]>,
}

/// See the module.
pub struct Committer {
    table: Table,
    path: PathBuf,
    delta: DeltaTable,
    positions: Arc<[u64]>,
    // The table's own columns, which may be more than ours.
    schema: SchemaRef,
}

impl Committer {
    /// Opens the table below `root`; makes it if it isn't there, and adds the
    /// columns that it doesn't have yet.
    ///
    /// # Errors
    /// [`Error::Folder`], [`Error::Delta`], [`Error::Column`].
    pub async fn open(root: &Root, table: Table) -> Result<Self, Error> {
        let path = root.table(table);
        tokio::fs::create_dir_all(&path)
            .await
            .map_err(|source| Error::Folder { path: path.clone(), source })?;
        let refuse = |action| {
            let path = path.clone();
            move |source| Error::delta(action, table, path, source)
        };
        let url = root.url(table)?;
        let opened = match DeltaTableBuilder::from_url(url) {
            Ok(builder) => builder.load().await,
            Err(error) => Err(error),
        };
        let delta = match opened {
            Ok(delta) => delta,
            Err(DeltaTableError::NotATable(_)) => {
                create(root, table).await.map_err(refuse("make"))?
            }
            Err(error) => return Err(refuse("open")(error)),
        };
        let delta = evolve(delta, table, &path).await?;
        let schema = arrow_schema(&delta).map_err(refuse("read the columns of"))?;
        let positions = positions(&delta, table).await.map_err(refuse("read positions of"))?;
        Ok(Self { table, path, delta, positions: positions.into(), schema })
    }

    /// By partition of the topic, the first offset that isn't in the table.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// The table as of the last commit.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (delta, positions) = (self.delta.clone(), Arc::clone(&self.positions));
        Snapshot { table: self.table, delta, positions }
    }

    /// The table's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which table.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// Writes rows to one Parquet file per day (zstd, with statistics, sorted by
    /// stream and time). No reader sees them before [`Committer::commit`]; never
    /// committed, they are swept away by vacuum.
    ///
    /// # Errors
    /// [`Error::Rows`]; [`Error::Delta`] if storage refuses.
    pub async fn write(&self, rows: &RecordBatch) -> Result<Vec<Add>, Error> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let misfit = |error: arrow_schema::ArrowError| Error::Rows {
            table: self.table,
            detail: error.to_string(),
        };
        let rows = conform(&sorted(rows).map_err(misfit)?, &self.schema).map_err(misfit)?;
        let failed = |source| Error::delta("write to", self.table, self.path.clone(), source);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let mut writer = RecordBatchWriter::for_table(&self.delta)
            .map_err(failed)?
            .with_writer_properties(properties);
        writer.write(rows).await.map_err(failed)?;
        writer.flush().await.map_err(failed)
    }

    /// Makes files and positions visible in one atomic commit, provided that
    /// nobody has changed the table since this committer last looked.
    ///
    /// # Errors
    /// [`Error::Delta`]: it is open whether it is committed; open the table anew.
    pub async fn commit(&mut self, files: Vec<Add>, next: &[u64]) -> Result<Outcome, Error> {
        let refuse = |source| Error::delta("commit to", self.table, self.path.clone(), source);
        let moved = next.iter().zip(&*self.positions).enumerate();
        let moved = moved.filter(|(_, (next, position))| next > position);
        let transactions = moved.map(|(partition, (next, _))| {
            Transaction::new(self.table.app_id(partition as u16), *next as i64)
        });
        // Checkpoints and clean-up are housekeeping: their failure is not a commit's.
        let properties = CommitProperties::default()
            .with_application_transactions(transactions.collect())
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec!["date".into()]),
            predicate: None,
        };
        let state = self.delta.snapshot().map_err(refuse)?;
        let committed = CommitBuilder::from(properties)
            .with_actions(files.into_iter().map(Action::Add).collect())
            .build(Some(state), self.delta.log_store(), operation)
            .await;
        match committed {
            Ok(done) => {
                self.delta.state = Some(done.snapshot());
                self.positions = next.into();
                Ok(Outcome::Committed(done.version()))
            }
            Err(error) if was_overtaken(&error) => {
                self.reload().await?;
                Ok(Outcome::Overtaken)
            }
            Err(error) => Err(refuse(error)),
        }
    }

    /// Loads what others have committed.
    ///
    /// # Errors
    /// [`Error::Delta`].
    pub async fn reload(&mut self) -> Result<(), Error> {
        let (table, path) = (self.table, &self.path);
        let refuse = |source| Error::delta("reload", table, path.clone(), source);
        self.delta.update_state().await.map_err(refuse)?;
        self.schema = arrow_schema(&self.delta).map_err(refuse)?;
        self.positions = positions(&self.delta, table).await.map_err(refuse)?.into();
        Ok(())
    }

    /// Takes over the state after a commit that changed neither rows nor positions.
    pub(crate) fn adopt(&mut self, state: DeltaTableState) {
        self.delta.state = Some(state);
    }
}

/// By partition of the table's topic, the first offset that the version doesn't
/// hold. Reads the Delta log back to its checkpoint.
///
/// # Errors
/// The Delta log can't be read.
pub async fn positions(delta: &DeltaTable, table: Table) -> Result<Vec<u64>, DeltaTableError> {
    let (state, log_store) = (delta.snapshot()?, delta.log_store());
    let mut found = Vec::new();
    for partition in 0..table.topic().partitions() {
        let app_id = table.app_id(partition);
        let version = state.transaction_version(log_store.as_ref(), app_id).await?;
        found.push(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0));
    }
    Ok(found)
}

fn was_overtaken(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::MaxCommitAttempts(_)
                | TransactionError::VersionAlreadyExists(_)
                | TransactionError::CommitConflict(_)
        ),
        _ => false,
    }
}

async fn create(root: &Root, table: Table) -> Result<DeltaTable, DeltaTableError> {
    let schema = table.schema();
    let location = root.url(table).map_err(|error| DeltaTableError::Generic(error.to_string()))?;
    let configuration = HashMap::from([
        // Ours are made by housekeeping; this is for others that write here.
        ("delta.checkpointInterval".to_owned(), Some("100".to_owned())),
        // A commit a second makes many small files of JSON.
        ("delta.logRetentionDuration".to_owned(), Some("interval 1 days".to_owned())),
        ("delta.deletedFileRetentionDuration".to_owned(), Some("interval 1 days".to_owned())),
    ]);
    DeltaTable::try_from_url(location)
        .await?
        .create()
        .with_table_name(schema.name)
        .with_comment(schema.comment)
        .with_columns(fields(table)?)
        .with_partition_columns(["date"])
        .with_configuration(configuration)
        .with_save_mode(SaveMode::ErrorIfExists)
        .await
}

fn fields(table: Table) -> Result<Vec<StructField>, DeltaTableError> {
    let schema = table.schema().arrow();
    let fields = schema.fields().iter().map(|field| StructField::try_from_arrow(field.as_ref()));
    Ok(fields.collect::<Result<_, _>>()?)
}

fn arrow_schema(delta: &DeltaTable) -> Result<SchemaRef, DeltaTableError> {
    Ok(delta.snapshot()?.snapshot().arrow_schema())
}

/// Adds the columns that the table lacks.
async fn evolve(delta: DeltaTable, table: Table, path: &Path) -> Result<DeltaTable, Error> {
    let refuse = |source| Error::delta("add columns to", table, path.to_owned(), source);
    let found = arrow_schema(&delta).map_err(refuse)?;
    let mut missing = Vec::new();
    for field in fields(table).map_err(refuse)? {
        let wanted = table.schema().arrow();
        let Ok(wanted) = wanted.field_with_name(field.name()).cloned() else { continue };
        match found.field_with_name(field.name()) {
            Ok(found) if same(found.data_type(), wanted.data_type()) => {}
            Ok(found) => {
                return Err(Error::Column {
                    table,
                    path: path.to_owned(),
                    column: field.name().clone(),
                    found: found.data_type().to_string(),
                    wanted: wanted.data_type().to_string(),
                });
            }
            // Rows that are there have none, whatever new rows have.
            Err(_) => missing.push(StructField { nullable: true, ..field }),
        }
    }
    if missing.is_empty() {
        return Ok(delta);
    }
    let names: Vec<_> = missing.iter().map(|field| field.name().as_str()).collect();
    tracing::info!(%table, columns = ?names, "columns added to the lake");
    delta.add_columns().with_fields(missing).await.map_err(refuse)
}

/// Delta knows one type of text.
fn same(left: &DataType, right: &DataType) -> bool {
    let is_text =
        |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    left == right || (is_text(left) && is_text(right))
}

/// By stream, time and position, so that a file's statistics tell readers to skip it.
fn sorted(rows: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let by = ["stream_id", "at", "log_partition", "log_offset"];
    let by = by.iter().filter_map(|name| rows.column_by_name(name));
    let by: Vec<_> =
        by.map(|values| SortColumn { values: Arc::clone(values), options: None }).collect();
    take_record_batch(rows, &lexsort_to_indices(&by, None)?)
}

/// The rows with the table's columns, by name; those of a newer program stay null.
pub(crate) fn conform(
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<ArrayRef>, _>>()?)
}
