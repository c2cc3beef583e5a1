//! The Delta tables: their newest snapshots, and what the log adds to them.
//!
//! Enters: commits of the lake's writer, looked for at each query. Held: one
//! snapshot per table, brought up to date and never reread from the start. A
//! table that isn't there yet is empty. Never here: writing, or waiting for
//! storage longer than [`OPEN_MAX`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use deltalake_core::kernel::Action;
use deltalake_core::logstore::{StorageConfig, default_logstore, get_actions};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::prefix::PrefixStore;
use records::schema::{TABLES, TableSchema};
use store::Root;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::table::{LakeTable, view_schema};
use crate::{Error, Tail};

/// How often a snapshot is taken anew when the log has moved on meanwhile.
const ATTEMPTS: usize = 3;

/// How long a table may take to open, others who wait for it before included.
const OPEN_MAX: Duration = Duration::from_secs(20);

/// Commits that are looked through for positions before the log is replayed.
const RECENT: usize = 8;

/// All tables below one root.
pub(crate) struct Lake {
    root: Root,
    // One for each of TABLES.
    tables: Vec<Mutex<Known>>,
    tail: Option<Arc<dyn Tail>>,
}

/// What is known of a table.
#[derive(Default)]
struct Known {
    // None: not there when last looked.
    delta: Option<DeltaTable>,
    // Next offset of each partition, at the version it belongs to.
    committed: Option<(u64, BTreeMap<u16, u64>)>,
}

impl Lake {
    /// The tables below `root`, with what `tail` adds to them.
    pub(crate) fn new(root: Root, tail: Option<Arc<dyn Tail>>) -> Self {
        Self { root, tables: TABLES.iter().map(|_| Mutex::default()).collect(), tail }
    }

    /// Where they lie.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// The newest state of a table; nothing if there is none of that name.
    pub(crate) async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
        let Some(index) = TABLES.iter().position(|table| table.name == name) else {
            return Ok(None);
        };
        let (table, known) = (TABLES[index], &self.tables[index]);
        match timeout(OPEN_MAX, self.open_known(table, known)).await {
            Ok(opened) => opened.map(Some),
            Err(_) => {
                let cause = format!(
                    "its storage or the log did not answer within {} s",
                    OPEN_MAX.as_secs()
                );
                Err(self.error(table, &cause))
            }
        }
    }

    /// As if a table were being opened, until what this gives is dropped.
    #[cfg(test)]
    pub(crate) async fn blocked(&self, name: &str) -> impl Sized {
        let index = TABLES.iter().position(|table| table.name == name);
        self.tables[index.unwrap_or_default()].lock().await
    }

    async fn open_known(
        &self,
        table: &'static TableSchema,
        known: &Mutex<Known>,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let mut known = known.lock().await;
        let mut attempt = 1;
        loop {
            self.refresh(table, &mut known).await?;
            match self.tail(table, &mut known).await {
                Ok(tail) => return self.provider(table, &known, tail).await,
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the table or reads what was committed since.
    async fn refresh(&self, table: &TableSchema, known: &mut Known) -> Result<(), Error> {
        let failed = |error: DeltaTableError| self.error(table, &error);
        if let Some(delta) = &mut known.delta {
            return delta.update_state().await.map_err(failed);
        }
        let root = self.root.join(table.name);
        if let Some(folder) = root.folder() {
            // A folder alone is a table about to be made.
            match std::fs::metadata(folder.join("_delta_log")) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(self.error(table, &error)),
            }
        }
        let files = root.client();
        let own = PrefixStore::new(Arc::clone(&files), root.path().clone());
        let options = StorageConfig::default();
        let mut delta =
            DeltaTable::new(default_logstore(Arc::new(own), files, root.url(), &options));
        match delta.load().await {
            Ok(()) => known.delta = Some(delta),
            Err(DeltaTableError::NotATable(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    /// The rows that the log has beyond the snapshot.
    async fn tail(
        &self,
        table: &TableSchema,
        known: &mut Known,
    ) -> Result<Vec<RecordBatch>, Error> {
        let Some(tail) = &self.tail else {
            return Ok(Vec::new());
        };
        let partitions = tail.partitions(table.name);
        if partitions == 0 {
            return Ok(Vec::new());
        }
        let from = known.committed(table, partitions).await;
        let from = from.map_err(|error| self.error(table, &error))?;
        tail.rows(table.name, &from).await.map_err(|error| self.error(table, &error))
    }

    async fn provider(
        &self,
        table: &'static TableSchema,
        known: &Known,
        tail: Vec<RecordBatch>,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let failed = |error: DataFusionError| self.error(table, &error.strip_backtrace());
        let delta = match &known.delta {
            Some(delta) => Some(delta.table_provider().await.map_err(failed)?),
            None => None,
        };
        unite(table, delta, tail).map_err(failed)
    }

    fn error(&self, table: &TableSchema, cause: &impl ToString) -> Error {
        let (table, root) = (table.name.into(), self.root.to_string());
        Error::Lake { table, root, cause: store::one_line(&cause.to_string()) }
    }
}

impl Known {
    /// The next offset of each partition, as the snapshot has it.
    async fn committed(
        &mut self,
        table: &TableSchema,
        partitions: u16,
    ) -> Result<BTreeMap<u16, u64>, DeltaTableError> {
        let Some(delta) = &self.delta else {
            return Ok(BTreeMap::new());
        };
        let state = delta.snapshot()?;
        let version = state.version();
        if let Some((at, offsets)) = &self.committed
            && *at == version
        {
            return Ok(offsets.clone());
        }
        let mut offsets = recent(delta, table, partitions).await?;
        let log = delta.log_store();
        for partition in 0..partitions {
            if offsets.contains_key(&partition) {
                continue;
            }
            let id = format!("{}/{partition}", table.name);
            let next = state.transaction_version(log.as_ref(), id).await?;
            if let Some(next) = next.and_then(|next| u64::try_from(next).ok()) {
                offsets.insert(partition, next);
            }
        }
        self.committed = Some((version, offsets.clone()));
        Ok(offsets)
    }
}

/// The same as far as the newest commits say it, most of which say all.
async fn recent(
    delta: &DeltaTable,
    table: &TableSchema,
    partitions: u16,
) -> Result<BTreeMap<u16, u64>, DeltaTableError> {
    let mut offsets = BTreeMap::new();
    let Some(newest) = delta.version() else { return Ok(offsets) };
    let log = delta.log_store();
    for version in (0..=newest).rev().take(RECENT) {
        // Cleaned up: a checkpoint holds it.
        let Some(entry) = log.read_commit_entry(version).await? else { break };
        for action in get_actions(version, &entry)? {
            let Action::Txn(said) = action else { continue };
            let Some((of, partition)) = said.app_id.split_once('/') else { continue };
            if let (true, Ok(partition)) = (of == table.name, partition.parse())
                && let Ok(next) = u64::try_from(said.version)
            {
                offsets.entry(partition).or_insert(next);
            }
        }
        if offsets.len() >= usize::from(partitions) {
            break;
        }
    }
    Ok(offsets)
}

/// A table without rows; nothing if there is none of that name.
pub(crate) fn empty(name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
    let table = TABLES.into_iter().find(|table| table.name == name);
    Ok(table.map(|table| unite(table, None, Vec::new())).transpose()?)
}

fn unite(
    table: &'static TableSchema,
    delta: Option<Arc<dyn TableProvider>>,
    tail: Vec<RecordBatch>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = view_schema(table);
    let tail: Result<Vec<_>, _> = tail.iter().map(|batch| fit(batch, &schema)).collect();
    let tail = tail?;
    let is_empty = tail.iter().all(|batch| batch.num_rows() == 0);
    let tail = MemTable::try_new(SchemaRef::clone(&schema), vec![tail])?;
    Ok(Arc::new(LakeTable::new(table, schema, delta, tail, is_empty)))
}

/// The batch with these columns, in their order and types.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type())?,
            None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}
