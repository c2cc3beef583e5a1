//! Tables that are there already, of this version, an older or a newer one.

use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, DataType, PrimitiveType, StructField, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use lake::{Committer, Error, LakeConfig, Step, Table, pull};
use log::{Embedded, Log, Topic};

use crate::support::*;

/// The table, made by other means, with these columns.
async fn table(config: &LakeConfig, columns: Vec<StructField>) -> DeltaTable {
    std::fs::create_dir_all(folder(config, Table::Events)).unwrap();
    let url = config.root.join("events").url().clone();
    let table = DeltaTable::try_from_url(url).await.unwrap();
    table.create().with_columns(columns).with_partition_columns(["date"]).await.unwrap()
}

/// What an older version committed: the rows without the columns that it didn't know.
async fn commit_without(table: &DeltaTable, unknown: &str, rows: &RecordBatch, next: &[u64]) {
    let known = (0..rows.num_columns()).filter(|i| rows.schema().field(*i).name() != unknown);
    let rows = rows.project(&known.collect::<Vec<_>>()).unwrap();
    let theirs = Arc::new(arrow::array::Int64Array::from(vec![Some(7); rows.num_rows()]));
    let schema = deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow::try_into_arrow(
        table.snapshot().unwrap().schema().as_ref(),
    );
    let schema: arrow_schema::Schema = schema.unwrap();
    let columns = [rows.columns(), &[theirs]].concat();
    let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut writer = RecordBatchWriter::for_table(table).unwrap();
    writer.write(rows).await.unwrap();
    let files = writer.flush().await.unwrap();
    let positions = (0..)
        .zip(next)
        .map(|(partition, next)| Transaction::new(Table::Events.app_id(partition), *next as i64));
    CommitBuilder::from(
        CommitProperties::default().with_application_transactions(positions.collect()),
    )
    .with_actions(files.into_iter().map(Action::Add).collect())
    .build(
        Some(table.snapshot().unwrap()),
        table.log_store(),
        DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lake_of_an_older_version_gets_the_columns_it_lacks() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..30).await;
    let config = LakeConfig { compact_every: 16, ..config(place.path()) };
    // As it was before `detail`, after somebody added a column of their own, and in use.
    let fields = Table::Events.schema().columns.iter().filter(|column| column.name != "detail");
    let mut columns: Vec<_> = fields.map(field).collect();
    columns.push(StructField::new("theirs", DataType::Primitive(PrimitiveType::Long), true));
    let table = table(&config, columns).await;
    let pulled = pull(&*log, Table::Events, &[0; 16], 1000, 1 << 20).await.unwrap();
    let rows = Table::Events.decode(&pulled.records).unwrap().rows;
    commit_without(&table, "detail", &rows, &pulled.next).await;

    append_events(&*log, 30..40).await;
    let (mut follower, snapshot) = follower(&log, config.clone());
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: 10, more: false });
    let delta = snapshot.borrow().clone().unwrap().delta;
    let newest =
        files(&delta).into_iter().map(|file| read(&file)).find(|rows| rows.num_rows() == 10);
    let newest = newest.unwrap();
    assert_eq!((newest["detail"].null_count(), newest["theirs"].null_count()), (0, 10));
    let schema = delta.snapshot().unwrap().schema();
    assert!(schema.field("detail").unwrap().is_nullable());
    assert_eq!(schema.field("detail").unwrap().metadata().len(), 1, "the column's comment");
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);

    // Old and new files merge into one, and neither column is lost.
    commit_tens(&*log, &mut follower, 4..20).await;
    let delta = merged_into(2, &mut follower, &snapshot).await;
    let merged =
        files(&delta).into_iter().map(|file| read(&file)).max_by_key(RecordBatch::num_rows);
    let merged = merged.unwrap();
    assert!(merged.num_rows() > 150, "{} rows", merged.num_rows());
    assert_eq!(merged["detail"].null_count(), 30);
    assert_eq!(merged["theirs"].null_count(), merged.num_rows() - 30);
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    let columns = Table::Events.schema().columns.iter().map(|column| match column.name {
        "kind" => StructField::new("kind", DataType::Primitive(PrimitiveType::Long), true),
        _ => field(column),
    });
    table(&config, columns.collect()).await;
    let error = Committer::open(&config.root, Table::Events).await.err().unwrap();
    assert!(matches!(&error, Error::Column { column, .. } if column == "kind"), "{error}");
}

#[tokio::test]
async fn a_newer_protocol_is_named_with_the_remedy() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    Committer::open(&config.root, Table::Events).await.unwrap();
    let delta_log = folder(&config, Table::Events).join("_delta_log");
    let newer = r#"{"protocol":{"minReaderVersion":99,"minWriterVersion":99}}"#;
    std::fs::write(delta_log.join("00000000000000000001.json"), newer).unwrap();
    let error = Committer::open(&config.root, Table::Events).await.err().unwrap().to_string();
    assert!(error.contains("update Millstream") && error.contains("lake/events"), "{error}");
}
