//! The lake in an object store that fails in every way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use deltalake_core::DeltaTable;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use lake::{Committer, Lake, LakeConfig, Root, Step, Table};
use log::{Embedded, Log, Topic};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::*;

/// A store in memory behind faults.
#[derive(Debug, Default)]
struct Faulty {
    memory: InMemory,
    /// Nothing is done or answered but errors.
    away: AtomicBool,
    /// Every third object is put, and answered with an error.
    loses_answers: AtomicBool,
    puts: AtomicUsize,
    gets: AtomicUsize,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn refused() -> Error {
    Error::Generic { store: "Faulty", source: "Error performing PUT: 503 SlowDown".into() }
}

impl Faulty {
    fn check(&self) -> Result<()> {
        if self.away.load(Relaxed) { Err(refused()) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.check()?;
        let is_commit = at.as_ref().contains("/_delta_log/") && at.as_ref().ends_with(".json");
        assert!(!is_commit || opts.mode == PutMode::Create, "{at} could replace another's commit");
        let put = self.memory.put_opts(at, payload, opts).await?;
        let is_third = self.puts.fetch_add(1, Relaxed).is_multiple_of(3);
        if is_third && self.loses_answers.load(Relaxed) { Err(refused()) } else { Ok(put) }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check()?;
        self.memory.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.check()?;
        self.gets.fetch_add(1, Relaxed);
        self.memory.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check() {
            Ok(()) => self.memory.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check()?;
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        panic!("stores can't rename: {from} to {to}");
    }
}

fn config_in(store: &Arc<Faulty>) -> LakeConfig {
    let client = Arc::clone(store) as Arc<dyn ObjectStore>;
    let place = store::Place::new(client, "s3://bucket/pre/lake").unwrap();
    config_at(Root::within(&place).unwrap())
}

/// The table as it is in the store, read from its beginning.
async fn stored(config: &LakeConfig) -> DeltaTable {
    Committer::open(&config.root, Table::Events).await.unwrap().snapshot().delta
}

async fn files(delta: &DeltaTable) -> Vec<RecordBatch> {
    let snapshot = delta.snapshot().unwrap().snapshot().clone();
    let mut batches = Vec::new();
    for file in snapshot.try_log_data().unwrap().iter() {
        let file = delta.object_store().get(&file.object_store_path()).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes().await.unwrap()).unwrap();
        batches.extend(reader.build().unwrap().map(std::result::Result::unwrap));
    }
    batches
}

async fn rows(delta: &DeltaTable) -> Vec<Origin> {
    let mut all: Vec<_> = files(delta).await.iter().flat_map(origins_of).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn records_are_there_once_though_the_store_fails_and_loses_answers() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let store = Arc::new(Faulty::default());
    let config = config_in(&store);
    let (mut follower, _) = follower(&log, config.clone());
    store.loses_answers.store(true, Relaxed);
    let mut failures = 0;
    for n in 0..30 {
        append_events(&*log, n * 10..n * 10 + 10).await;
        store.away.store(n % 7 == 3, Relaxed);
        match follower.step(true).await {
            Ok(_) => {}
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("s3://bucket/pre/lake/events"), "{said}");
                assert!(said.contains("once the store answers"), "{said}");
                failures += 1;
            }
        }
    }
    assert!(failures > 8, "{failures} failures are no test");
    store.loses_answers.store(false, Relaxed);
    store.away.store(false, Relaxed);
    while follower.step(true).await.unwrap() != Step::Idle {}
    assert_eq!(rows(&stored(&config).await).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_table_in_a_store_is_kept_small_and_opens_with_few_requests() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let store = Arc::new(Faulty::default());
    let config = LakeConfig { compact_every: 20, checkpoint_every: 30, ..config_in(&store) };
    let (mut follower, snapshot) = follower(&log, config.clone());
    for n in 0..50 {
        append_events(&*log, n * 2..n * 2 + 2).await;
        follower.step(true).await.unwrap();
        if n == 19 {
            merged_into(1, &mut follower, &snapshot).await;
        }
    }
    let before = store.gets.load(Relaxed);
    let delta = stored(&config).await;
    let gets = store.gets.load(Relaxed) - before;
    // The checkpoint, entries since then for files and for columns, and one for positions.
    let since = delta.version().unwrap() % 30 + 1;
    println!("{gets} reads to open {since} commits since the checkpoint");
    assert!(gets as u64 <= 3 * since + 10, "{gets} reads for {since} commits");
    assert_eq!(rows(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_lake_goes_on_when_its_store_is_back() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let store = Arc::new(Faulty::default());
    store.away.store(true, Relaxed);
    let config = config_in(&store);
    let lake = Lake::start(&config, &log).unwrap();
    append_events(&*log, 0..50).await;
    until(|| lake.metrics().troubles().len() == Table::ALL.len()).await;
    let said = lake.metrics().of(Table::Views).trouble().unwrap();
    assert!(said.contains("s3://bucket/pre/lake/views"), "{said}");
    store.away.store(false, Relaxed);
    until(|| {
        lake.snapshot(Table::Events).is_some_and(|shown| shown.positions.iter().sum::<u64>() == 50)
    })
    .await;
    until(|| lake.metrics().troubles().is_empty()).await;
    lake.stop().await;
    assert_eq!(rows(&stored(&config).await).await, in_log(&*log, Topic::Events).await);
}
