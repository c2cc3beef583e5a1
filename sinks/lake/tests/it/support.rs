//! Records with known origins, and what a reader of the table finds of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::StructField;
use deltalake_core::kernel::engine::arrow_conversion::TryFromArrow;
use lake::{Follower, LakeConfig, LakeMetrics, Root, Snapshot, Table};
use log::{Log, NewRecord, Topic};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use records::schema::Column;
use records::{StreamEvent, StreamId};
use tokio::sync::watch;
use uuid::Uuid;

/// 2026-07-01T12:00:00Z.
pub const AT_US: u64 = 1_782_907_200_000_000;

/// Partition and offset of a record.
pub type Origin = (u16, u64);

pub fn config(place: &Path) -> LakeConfig {
    config_at(Root::at(&place.join("lake")).unwrap())
}

pub fn config_at(root: Root) -> LakeConfig {
    LakeConfig { commit_busy: Duration::from_millis(20), ..LakeConfig::new(root) }
}

/// The folder of a table.
pub fn folder(config: &LakeConfig, table: Table) -> PathBuf {
    config.root.folder().unwrap().join(table.name())
}

pub fn follower(
    log: &Arc<dyn Log>,
    config: LakeConfig,
) -> (Follower, watch::Receiver<Option<Snapshot>>) {
    follower_with(Table::Events, log, config, Arc::new(LakeMetrics::default()))
}

pub fn follower_with(
    table: Table,
    log: &Arc<dyn Log>,
    config: LakeConfig,
    metrics: Arc<LakeMetrics>,
) -> (Follower, watch::Receiver<Option<Snapshot>>) {
    let (shown, snapshot) = watch::channel(None);
    (Follower::new(Arc::clone(log), table, config, metrics, shown), snapshot)
}

pub fn event(n: u64, at_us: u64) -> NewRecord {
    let stream = StreamId(Uuid::from_u128(u128::from(n % 40) << 64 | 7));
    let detail = BTreeMap::from([("n".to_owned(), n.to_string())]);
    let event = StreamEvent { kind: "STREAM_ACTIVE".into(), at_us, detail };
    let partition = Topic::Events.partition(stream.shard());
    let value = serde_json::to_vec(&event).unwrap();
    NewRecord::new(partition, stream.0.as_bytes().to_vec(), value)
}

pub async fn append_events(log: &dyn Log, range: Range<u64>) {
    append_events_at(log, range, |n| AT_US + n).await;
}

pub async fn append_events_at(log: &dyn Log, range: Range<u64>, at_us: impl Fn(u64) -> u64) {
    let records = range.map(|n| event(n, at_us(n))).collect();
    log.append_many(Topic::Events, records).await.unwrap();
}

/// Every record of a topic, in order.
pub async fn in_log(log: &dyn Log, topic: Topic) -> Vec<Origin> {
    let mut all = Vec::new();
    for partition in 0..topic.partitions() {
        let mut from = 0;
        loop {
            let page = log.read(topic, partition, from, 1000).await.unwrap();
            let Some(last) = page.last() else { break };
            from = last.offset + 1;
            all.extend(page.iter().map(|record| (record.partition, record.offset)));
        }
    }
    all
}

/// The table's files, as its Delta log names them.
pub fn files(delta: &DeltaTable) -> Vec<PathBuf> {
    let uris = delta.get_file_uris().unwrap();
    uris.map(|uri| PathBuf::from(uri.strip_prefix("file://").unwrap_or(&uri))).collect()
}

/// So many commits of ten events each: the first one's begin with event 0.
pub async fn commit_tens(log: &dyn Log, follower: &mut Follower, commits: Range<u64>) {
    for n in commits {
        append_events(log, n * 10..n * 10 + 10).await;
        follower.step(true).await.unwrap();
    }
}

/// Steps until so many files are left: merges go on beside commits.
pub async fn merged_into(
    count: usize,
    follower: &mut Follower,
    snapshot: &watch::Receiver<Option<Snapshot>>,
) -> DeltaTable {
    let begun = Instant::now();
    loop {
        follower.step(true).await.unwrap();
        let delta = snapshot.borrow().clone().unwrap().delta;
        let files = delta.get_file_uris().unwrap().count();
        if files == count {
            return delta;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{files} files are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn read(file: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

pub fn compression(file: &Path) -> String {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    format!("{:?}", reader.metadata().row_group(0).column(0).compression())
}

/// Stream and time of each row.
pub fn order(rows: &RecordBatch) -> Vec<(String, i64)> {
    let streams = rows["stream_id"].as_string::<i32>();
    let times = rows["at"].as_primitive::<TimestampMicrosecondType>();
    (0..rows.num_rows()).map(|row| (streams.value(row).to_owned(), times.value(row))).collect()
}

pub fn origins_of(rows: &RecordBatch) -> Vec<Origin> {
    let partitions = rows["log_partition"].as_primitive::<Int32Type>();
    let offsets = rows["log_offset"].as_primitive::<Int64Type>();
    let row = |row| (partitions.value(row) as u16, offsets.value(row) as u64);
    (0..rows.num_rows()).map(row).collect()
}

pub async fn origins(delta: &DeltaTable) -> Vec<Origin> {
    files(delta).iter().flat_map(|file| origins_of(&read(file))).collect()
}

/// In order, each as often as the table has it.
pub async fn sorted_origins(delta: &DeltaTable) -> Vec<Origin> {
    let mut all = origins(delta).await;
    all.sort_unstable();
    all
}

pub fn field(column: &Column) -> StructField {
    let field = arrow_schema::Field::new(column.name, column.kind.arrow(), column.nullable);
    StructField::try_from_arrow(&field).unwrap()
}

pub fn commit_text(place: &Path, table: Table, version: u64) -> String {
    let name = format!("lake/{table}/_delta_log/{version:020}.json");
    std::fs::read_to_string(place.join(name)).unwrap()
}

/// Waits for what other tasks bring about.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
