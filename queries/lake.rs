//! The Delta tables: their newest snapshots, and what the log adds to them.
//!
//! Enters: commits of the lake's writer, looked for at each query. Held: one
//! snapshot per table, brought up to date and never reread from the start. A
//! table that isn't there yet is empty. Never here: writing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use records::schema::{TABLES, TableSchema};
use tokio::sync::Mutex;
use url::Url;

use crate::table::{LakeTable, view_schema};
use crate::{Error, Tail};

/// How often a snapshot is taken anew when the log has moved on meanwhile.
const ATTEMPTS: usize = 3;

/// All tables below one root.
pub(crate) struct Lake {
    root: PathBuf,
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
    pub(crate) fn new(root: &Path, tail: Option<Arc<dyn Tail>>) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|error| Error::Start(Arc::new(error)))?;
        Ok(Self { root, tables: TABLES.iter().map(|_| Mutex::default()).collect(), tail })
    }

    /// The newest state of a table; nothing if there is none of that name.
    pub(crate) async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
        let Some(index) = TABLES.iter().position(|table| table.name == name) else {
            return Ok(None);
        };
        let (table, known) = (TABLES[index], &self.tables[index]);
        let mut known = known.lock().await;
        let mut attempt = 1;
        loop {
            self.refresh(table, &mut known).await?;
            match self.tail(table, &mut known).await {
                Ok(tail) => return provider(table, &known, tail).await.map(Some),
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the table or reads what was committed since.
    async fn refresh(&self, table: &TableSchema, known: &mut Known) -> Result<(), Error> {
        let failed = |error: DeltaTableError| lake_error(table.name, &error);
        if let Some(delta) = &mut known.delta {
            return delta.update_state().await.map_err(failed);
        }
        let folder = self.root.join(table.name);
        // A folder alone is a table about to be made.
        match std::fs::metadata(folder.join("_delta_log")) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(lake_error(table.name, &error)),
        }
        let Ok(url) = Url::from_directory_path(&folder) else {
            return Err(lake_error(table.name, &format!("{} is not a path", folder.display())));
        };
        let mut delta =
            DeltaTableBuilder::from_url(url).and_then(DeltaTableBuilder::build).map_err(failed)?;
        if delta.verify_deltatable_existence().await.map_err(failed)? {
            delta.load().await.map_err(failed)?;
            known.delta = Some(delta);
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
        let from = committed(table, known, partitions).await?;
        tail.rows(table.name, &from).await.map_err(|error| lake_error(table.name, &error))
    }
}

/// The next offset of each partition, as the snapshot has it.
async fn committed(
    table: &TableSchema,
    known: &mut Known,
    partitions: u16,
) -> Result<BTreeMap<u16, u64>, Error> {
    let failed = |error: DeltaTableError| lake_error(table.name, &error);
    let Some(delta) = &known.delta else {
        return Ok(BTreeMap::new());
    };
    let state = delta.snapshot().map_err(failed)?;
    let version = state.version();
    if let Some((at, offsets)) = &known.committed
        && *at == version
    {
        return Ok(offsets.clone());
    }
    let log = delta.log_store();
    let mut offsets = BTreeMap::new();
    for partition in 0..partitions {
        let id = format!("{}/{partition}", table.name);
        let next = state.transaction_version(log.as_ref(), id).await.map_err(failed)?;
        if let Some(next) = next.and_then(|next| u64::try_from(next).ok()) {
            offsets.insert(partition, next);
        }
    }
    known.committed = Some((version, offsets.clone()));
    Ok(offsets)
}

/// A table without rows; nothing if there is none of that name.
pub(crate) fn empty(name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
    let table = TABLES.into_iter().find(|table| table.name == name);
    table.map(|table| unite(table, None, Vec::new())).transpose()
}

async fn provider(
    table: &'static TableSchema,
    known: &Known,
    tail: Vec<RecordBatch>,
) -> Result<Arc<dyn TableProvider>, Error> {
    let failed = |error: DataFusionError| lake_error(table.name, &error.strip_backtrace());
    let delta = match &known.delta {
        Some(delta) => Some(delta.table_provider().await.map_err(failed)?),
        None => None,
    };
    unite(table, delta, tail)
}

fn unite(
    table: &'static TableSchema,
    delta: Option<Arc<dyn TableProvider>>,
    tail: Vec<RecordBatch>,
) -> Result<Arc<dyn TableProvider>, Error> {
    let failed = |error: DataFusionError| lake_error(table.name, &error.strip_backtrace());
    let schema = view_schema(table);
    let tail: Result<Vec<_>, _> = tail.iter().map(|batch| fit(batch, &schema)).collect();
    let tail = tail.map_err(failed)?;
    let is_empty = tail.iter().all(|batch| batch.num_rows() == 0);
    let tail = MemTable::try_new(SchemaRef::clone(&schema), vec![tail]).map_err(failed)?;
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

fn lake_error(table: &str, cause: &impl ToString) -> Error {
    Error::Lake { table: table.into(), cause: cause.to_string() }
}
