//! One table's committer: the only one of this process that changes it.
//!
//! Enters: rows, and the positions that follow them. Leaves: Parquet files that
//! nobody sees yet, and commits that make them and the positions visible at
//! once. Held: the table's state as of its last commit. Never here: reading the
//! log, waiting, trying again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Version};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use deltalake_core::{DeltaTable, DeltaTableError};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use records::schema::ColumnKind;

use crate::opening::{self, arrow_schema};
use crate::positions::{LOST_METADATA, Positions};
use crate::{Error, Lost, Root, Table};

/// Rows of a Parquet row group: the unit that a reader skips.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Columns of texts that hardly two rows have in common.
const OWN_TEXTS: [&str; 5] = ["detail", "message", "message_id", "session", "uri"];

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
    // Where this table lies.
    root: Root,
    delta: DeltaTable,
    positions: Positions,
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
        let root = root.join(table.name());
        let delta = opening::open(&root, table).await?;
        let refuse = |source| Error::delta("read positions of", table, &root, source);
        let schema = arrow_schema(&delta).map_err(refuse)?;
        let positions = Positions::load(&delta, table).await.map_err(refuse)?;
        Ok(Self { table, root, delta, positions, schema })
    }

    /// By partition of the topic, the first offset that isn't in the table.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions.next
    }

    /// Records that will never be in the table, since the log lost them before
    /// they were committed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.positions.lost
    }

    /// Whether the table doesn't say yet where it begins: nothing was ever
    /// committed for some partition.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.positions.incomplete
    }

    /// The table as of the last commit.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (delta, positions) = (self.delta.clone(), Arc::clone(&self.positions.next));
        Snapshot { table: self.table, delta, positions }
    }

    /// Where the table lies.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
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
        let failed = |source| Error::delta("write to", self.table, &self.root, source);
        let mut writer = RecordBatchWriter::for_table(&self.delta)
            .map_err(failed)?
            .with_writer_properties(properties(self.table));
        writer.write(rows).await.map_err(failed)?;
        writer.flush().await.map_err(failed)
    }

    /// Makes files and positions visible in one atomic commit, provided that
    /// nobody has changed the table since this committer last looked. What is
    /// `lost` is written down with it: its range in the commit's metadata, its
    /// count as a `txn` that stays.
    ///
    /// # Errors
    /// [`Error::Delta`]: it is open whether it is committed; open the table anew.
    pub async fn commit(
        &mut self,
        files: Vec<Add>,
        next: &[u64],
        lost: &[Lost],
    ) -> Result<Outcome, Error> {
        let refuse = |source| Error::delta("commit to", self.table, &self.root, source);
        let positions = self.positions.advanced(next, lost);
        let transactions = positions.transactions(self.table);
        let metadata = (!lost.is_empty()).then(|| (LOST_METADATA.to_owned(), Lost::metadata(lost)));
        // Checkpoints and clean-up are housekeeping: their failure is not a commit's.
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_metadata(metadata)
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
                self.positions = positions;
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
        let (table, root) = (self.table, &self.root);
        let refuse = |source| Error::delta("reload", table, root, source);
        self.delta.update_state().await.map_err(refuse)?;
        self.schema = arrow_schema(&self.delta).map_err(refuse)?;
        self.positions = Positions::load(&self.delta, table).await.map_err(refuse)?;
        Ok(())
    }

    /// Takes over the state after a commit of our own that changed neither rows
    /// nor positions, and with which no other came in between.
    pub(crate) fn adopt(&mut self, state: DeltaTableState) {
        self.delta.state = Some(state);
    }
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

/// How a file is written: zstd, with statistics, and no dictionary where nearly every
/// row has a value of its own.
fn properties(table: Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for column in table.schema().columns {
        let path = || ColumnPath::from(column.name);
        let is_number = matches!(column.kind, ColumnKind::Time | ColumnKind::Long);
        if is_number {
            // Numbers and times rise by little from row to row.
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        if is_number || OWN_TEXTS.contains(&column.name) {
            properties = properties.set_column_dictionary_enabled(path(), false);
        }
    }
    properties.build()
}

/// By stream, time and position, so that a file's statistics tell readers to skip it.
fn sorted(rows: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let column = |name| {
        let missing = || arrow_schema::ArrowError::SchemaError(format!("no column {name}"));
        rows.column_by_name(name).ok_or_else(missing)
    };
    let streams: &StringArray = column("stream_id")?.as_string();
    let at = column("at")?.as_primitive::<TimestampMicrosecondType>().values();
    let partitions = column("log_partition")?.as_primitive::<Int32Type>().values();
    let offsets = column("log_offset")?.as_primitive::<Int64Type>().values();
    // Few streams, many rows: their texts are compared once, not for each row.
    let mut ranks: BTreeMap<&str, u32> = streams.iter().flatten().map(|name| (name, 0)).collect();
    ranks.values_mut().zip(0..).for_each(|(rank, place)| *rank = place);
    let mut keys: Vec<_> = streams
        .iter()
        .zip(0u32..)
        .map(|(name, row)| {
            let index = row as usize;
            let rank = name.and_then(|name| ranks.get(name).copied());
            (rank, at[index], partitions[index], offsets[index], row)
        })
        .collect();
    keys.sort_unstable();
    let order: UInt32Array = keys.into_iter().map(|(.., row)| row).collect();
    take_record_batch(rows, &order)
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
