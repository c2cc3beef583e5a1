//! One table's committer: the only one of this process that changes it.
//!
//! Enters: rows, and the positions that follow them. Leaves: Parquet files that
//! nobody sees yet, and commits that make them and the positions visible at
//! once. Held: the table's state as of its last commit. Never here: reading the
//! log, waiting, trying again.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Version};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError};

use crate::opening::{self, arrow_schema};
use crate::positions::{LOST_METADATA, Positions};
use crate::writer::Writer;
use crate::{Error, Lost, Root, Table};

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
        self.writer().write(rows).await
    }

    /// What writes files of the table as of the last commit.
    pub(crate) fn writer(&self) -> Writer {
        let (root, delta) = (self.root.clone(), self.delta.clone());
        Writer { table: self.table, root, delta, schema: Arc::clone(&self.schema) }
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
