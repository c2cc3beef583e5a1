//! Opening a table: made if it isn't there, given the columns that it lacks.
//!
//! Enters: where it lies. Leaves: the table as it is now, with every column of ours.
//! Never here: changing or removing a column.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use deltalake_core::kernel::StructField;
use deltalake_core::kernel::engine::arrow_conversion::TryFromArrow;
use deltalake_core::logstore::{StorageConfig, default_logstore};
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;

use crate::files::DurableFiles;
use crate::{Error, Root, Table};

/// The table that lies at `root`.
pub(crate) async fn open(root: &Root, table: Table) -> Result<DeltaTable, Error> {
    if let Some(path) = root.folder() {
        tokio::fs::create_dir_all(path)
            .await
            .map_err(|source| Error::Folder { path: path.to_owned(), source })?;
    }
    let refuse = |action| move |source| Error::delta(action, table, root, source);
    let mut delta = at(root);
    match delta.load().await {
        Ok(()) => {}
        Err(DeltaTableError::NotATable(_)) => {
            delta = create(&delta, table).await.map_err(refuse("make"))?;
        }
        Err(error) => return Err(refuse("open")(error)),
    }
    evolve(delta, table, root).await
}

/// A table of which nothing is read yet. Its log's entries are put only if
/// absent, which every kind of store here can.
fn at(root: &Root) -> DeltaTable {
    let files: Arc<dyn ObjectStore> = match root.folder() {
        Some(_) => Arc::new(DurableFiles::default()),
        None => root.client(),
    };
    let own = PrefixStore::new(Arc::clone(&files), root.path().clone());
    let options = StorageConfig::default();
    DeltaTable::new(default_logstore(Arc::new(own), files, root.url(), &options))
}

async fn create(delta: &DeltaTable, table: Table) -> Result<DeltaTable, DeltaTableError> {
    let schema = table.schema();
    let configuration = HashMap::from([
        // Ours are made by housekeeping; this is for others that write here.
        ("delta.checkpointInterval".to_owned(), Some("100".to_owned())),
        // A commit a second makes many small files of JSON, and each commit lists them all.
        ("delta.logRetentionDuration".to_owned(), Some("interval 1 hours".to_owned())),
        ("delta.deletedFileRetentionDuration".to_owned(), Some("interval 1 days".to_owned())),
    ]);
    delta
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

pub(crate) fn arrow_schema(delta: &DeltaTable) -> Result<SchemaRef, DeltaTableError> {
    Ok(delta.snapshot()?.snapshot().arrow_schema())
}

/// Adds the columns that the table lacks.
async fn evolve(delta: DeltaTable, table: Table, root: &Root) -> Result<DeltaTable, Error> {
    let refuse = |source| Error::delta("add columns to", table, root, source);
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
                    root: root.clone(),
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
