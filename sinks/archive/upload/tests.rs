//! The way to a store that fails in every way, with real files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path as FilePath;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use records::{Media, Rendition, StreamId};

use super::*;
use crate::archive::{AnnounceError, Archive, ArchiveConfig, Keep, files};
use crate::hls::Cold;
use crate::hls::fake::Fake;
use crate::hls::vod::{Moment, RecordedTrack, Recording};

const LADDER: [Rendition; 3] = [Rendition::Audio, Rendition::Source, Rendition::Rung(160)];

/// What a request meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Every request fails.
    Away,
    /// Each second one fails, after it was done.
    LosesAnswers,
    /// None is answered.
    Hangs,
}

/// A store in memory behind faults.
#[derive(Default)]
struct Faulty {
    memory: InMemory,
    fault: Mutex<Option<Fault>>,
    turn: AtomicBool,
    /// Names as they were put.
    puts: Mutex<Vec<String>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn refused() -> Error {
    Error::Generic { store: "Faulty", source: "503 SlowDown".into() }
}

impl Faulty {
    fn set(&self, fault: Option<Fault>) {
        *self.fault.lock() = fault;
    }

    async fn before(&self) -> Result<()> {
        let fault = *self.fault.lock();
        match fault {
            Some(Fault::Away) => Err(refused()),
            Some(Fault::Hangs) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn after(&self) -> Result<()> {
        let loses = *self.fault.lock() == Some(Fault::LosesAnswers);
        match loses && !self.turn.fetch_xor(true, Ordering::Relaxed) {
            true => Err(refused()),
            false => Ok(()),
        }
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
        self.before().await?;
        let put = self.memory.put_opts(at, payload, opts).await?;
        self.puts.lock().push(at.to_string());
        self.after().map(|()| put)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        self.memory.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match *self.fault.lock() {
            Some(Fault::Away) => futures_util::stream::once(async { Err(refused()) }).boxed(),
            _ => self.memory.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

fn start(root: &FilePath, faulty: &Arc<Faulty>, bytes_max: u64) -> Archive {
    let archive = start_idle(root, faulty, bytes_max);
    archive.spool().unwrap().start();
    archive
}

/// Nothing goes up until its spool is started.
fn start_idle(root: &FilePath, faulty: &Arc<Faulty>, bytes_max: u64) -> Archive {
    let client: Arc<dyn ObjectStore> = Arc::clone(faulty) as _;
    let spool = SpoolConfig {
        store: Store::new(store::Place::new(client, "s3://bucket/pre/fix").unwrap()),
        bytes_max,
        uploads: 4,
        window: Duration::from_secs(3),
        listed_for: Duration::ZERO,
    };
    let config =
        ArchiveConfig { spool: Some(spool), ..ArchiveConfig::new(root.into(), Keep::Forever) };
    Archive::start(config, || |_: &_| Ok::<(), AnnounceError>(())).unwrap()
}

fn broadcast(fake: &mut Fake, segments: usize) -> Vec<Media> {
    let mut records = fake.tracks();
    (0..segments).for_each(|_| records.extend(fake.segment(5)));
    records
}

/// Publishes, and waits until it is written.
async fn publish(archive: &Archive, records: Vec<Media>) {
    records.into_iter().for_each(|media| archive.push(media));
    until(|| archive.metrics().queue_bytes.load(Ordering::Relaxed) == 0).await;
}

async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it happens");
}

/// What is stored below a folder, by name.
fn on_disk(root: &FilePath, stream: StreamId) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.join(stream.to_string())];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("uploaded.json") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                all.insert(format!("pre/fix/{name}"), std::fs::read(path).unwrap());
            }
        }
    }
    all
}

async fn in_store(store: &Faulty) -> BTreeMap<String, Vec<u8>> {
    let listed: Vec<_> = store.memory.list(None).try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for ObjectMeta { location, .. } in listed {
        let bytes = store.memory.get(&location).await.unwrap().bytes().await.unwrap();
        all.insert(location.to_string(), bytes.to_vec());
    }
    all
}

fn recording() -> Recording {
    let moment =
        Moment { msn: 0, run: 0, start_us: 0, end_us: 1, wall_us: 0, discontinuity: false };
    let track =
        RecordedTrack { rendition: Rendition::Audio, inits: Vec::new(), stored: vec![None] };
    Recording { moments: vec![moment], tracks: vec![track] }
}

fn waits(archive: &Archive) -> u64 {
    archive.spool().unwrap().waiting().0
}

#[tokio::test]
async fn everything_goes_up_in_order_whatever_the_store_does() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let archive = start(root.path(), &store, u64::MAX);
    let spool = Arc::clone(archive.spool().unwrap());
    store.set(Some(Fault::Away));
    publish(&archive, broadcast(&mut fake, 4)).await;
    until(|| spool.trouble().is_some()).await;
    assert!(spool.trouble().unwrap().contains("503 SlowDown"));
    assert!(store.puts.lock().is_empty());

    store.set(Some(Fault::LosesAnswers));
    publish(&archive, broadcast(&mut fake, 4)).await;
    archive.put_recording(fake.stream, &recording()).unwrap();
    until(|| waits(&archive) == 0).await;
    assert_eq!(in_store(&store).await, on_disk(root.path(), fake.stream));
    let puts = store.puts.lock().clone();
    assert_eq!(puts.len(), 3 * (1 + 8) + 1, "each once");
    for rendition in LADDER {
        let folder = format!("/{rendition}/");
        let own = puts.iter().filter(|name| name.contains(&folder));
        let number = |name: &String| name.rsplit('/').next()?.strip_suffix(".m4s")?.parse().ok();
        let numbers: Vec<u64> = own.filter_map(number).collect();
        assert!(numbers.is_sorted() && numbers.len() == 8, "{numbers:?}");
    }
    assert!(puts.last().unwrap().ends_with("/recording.json"));
    assert!(spool.metrics().repeats_total.load(Ordering::Relaxed) > 0, "lost answers");
    assert_eq!((spool.trouble(), spool.whole()), (None, vec![fake.stream]));
    archive.close();
}

#[tokio::test]
async fn what_was_just_written_goes_up_from_memory() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let archive = start_idle(root.path(), &store, u64::MAX);
    publish(&archive, broadcast(&mut fake, 1)).await;
    let (stream, written) = (fake.stream, on_disk(root.path(), fake.stream));
    for rendition in LADDER {
        let object = Object::Segment { stream, rendition, msn: 0 };
        std::fs::remove_file(files::path(root.path(), object)).unwrap();
    }
    archive.spool().unwrap().start();
    until(|| waits(&archive) == 0).await;
    assert_eq!(in_store(&store).await, written);
    archive.close();
}

#[tokio::test]
async fn after_a_failure_the_file_goes_up() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    store.set(Some(Fault::Away));
    let archive = start(root.path(), &store, u64::MAX);
    publish(&archive, broadcast(&mut fake, 1)).await;
    until(|| archive.spool().unwrap().trouble().is_some()).await;
    // Other than what was in memory, to tell them apart.
    let stream = fake.stream;
    let object = Object::Segment { stream, rendition: Rendition::Source, msn: 0 };
    std::fs::write(files::path(root.path(), object), b"from the file").unwrap();
    store.set(None);
    until(|| waits(&archive) == 0).await;
    assert_eq!(in_store(&store).await, on_disk(root.path(), stream));
    archive.close();
}

#[tokio::test]
async fn what_waits_is_known_again_after_a_restart() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let archive = start(root.path(), &store, u64::MAX);
    publish(&archive, broadcast(&mut fake, 2)).await;
    until(|| waits(&archive) == 0).await;
    store.set(Some(Fault::Hangs));
    publish(&archive, broadcast(&mut fake, 2)).await;
    assert_eq!(waits(&archive), 6);
    // Killed: no mark was written, and uploads are under way.
    drop(archive);
    store.set(None);
    let archive = start(root.path(), &store, u64::MAX);
    publish(&archive, broadcast(&mut fake, 2)).await;
    until(|| waits(&archive) == 0 && store.puts.lock().len() == 3 * (1 + 6)).await;
    assert_eq!(in_store(&store).await, on_disk(root.path(), fake.stream));
    archive.put_recording(fake.stream, &recording()).unwrap();
    until(|| archive.spool().unwrap().whole() == [fake.stream]).await;
    archive.spool().unwrap().close(Duration::from_secs(5)).await;

    // Closed in order: what is up isn't even asked for.
    store.set(Some(Fault::Away));
    let archive = start(root.path(), &store, u64::MAX);
    until(|| archive.spool().unwrap().whole() == [fake.stream]).await;
    assert_eq!((waits(&archive), archive.spool().unwrap().trouble()), (0, None));
}

#[tokio::test]
async fn what_left_the_disk_is_read_from_the_store() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let stream = fake.stream;
    let archive = start(root.path(), &store, u64::MAX);
    let reader = archive.reader();
    publish(&archive, broadcast(&mut fake, 3)).await;
    until(|| waits(&archive) == 0).await;
    assert!(!archive.evict(stream).unwrap(), "its recording isn't there yet");
    archive.put_recording(stream, &recording()).unwrap();
    until(|| waits(&archive) == 0).await;
    let object = |msn| Object::Segment { stream, rendition: Rendition::Source, msn };
    let before = std::fs::read(files::path(root.path(), object(1))).unwrap();
    assert!(archive.evict(stream).unwrap());
    assert!(!root.path().join(stream.to_string()).exists());
    assert!(!archive.evict(stream).unwrap());

    assert_eq!(reader.read(object(1)).await.unwrap(), before);
    let (archive_reader, wanted) = (archive.reader(), object(2));
    let opened = tokio::task::spawn_blocking(move || archive_reader.open(wanted));
    let opened = opened.await.unwrap().unwrap();
    let mut head = [0; 4];
    opened.read_exact_at(&mut head, 4).unwrap();
    assert_eq!((&head, opened.length().unwrap() > 4), (b"moof", true));
    assert!(opened.read_exact_at(&mut head, u64::MAX).is_err());
    assert!(matches!(reader.read(object(9)).await, Err(ColdError::Missing)));
    store.set(Some(Fault::Away));
    assert_eq!(reader.read(object(1)).await.unwrap(), before, "in memory");
    assert!(matches!(reader.read(object(2)).await, Err(ColdError::Away(_))));
    store.set(Some(Fault::Hangs));
    tokio::time::pause();
    let slow = reader.read(object(2)).await.unwrap_err();
    assert_eq!(slow.answer().0, http::StatusCode::GATEWAY_TIMEOUT);
    tokio::time::resume();

    store.set(Some(Fault::Away));
    assert!(archive.remove_stored(stream).await.is_err());
    store.set(None);
    archive.remove_stored(stream).await.unwrap();
    assert!(in_store(&store).await.is_empty());
}

#[tokio::test]
async fn too_much_costs_small_rungs_and_never_what_is_live() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let (stream, rung) = (fake.stream, Rendition::Rung(160));
    store.set(Some(Fault::Away));
    let archive = start(root.path(), &store, 1);
    let reader = archive.reader();
    let spool = Arc::clone(archive.spool().unwrap());
    publish(&archive, broadcast(&mut fake, 8)).await;
    let victims = spool.overflow().await;
    assert_eq!(victims[0].rendition, rung);
    let count = |rendition| victims.iter().filter(|v| v.rendition == rendition).count();
    assert!(count(rung) <= 4 && count(rung) >= 3, "one may be under way");
    let path = |msn| files::path(root.path(), Object::Segment { stream, rendition: rung, msn });
    assert!(path(victims[0].msn).exists(), "not before it is announced");
    archive.discard(&victims);
    for victim in victims.iter().filter(|victim| victim.rendition == rung) {
        let gone = Object::Segment { stream, rendition: rung, msn: victim.msn };
        assert!(!path(victim.msn).exists() && !reader.holds(gone));
    }
    assert!(path(7).exists() && reader.holds(Object::Segment { stream, rendition: rung, msn: 7 }));

    store.set(None);
    until(|| waits(&archive) == 0).await;
    assert_eq!(in_store(&store).await, on_disk(root.path(), stream));
    assert_eq!(spool.metrics().lost_total.load(Ordering::Relaxed), victims.len() as u64);
    archive.close();
}

#[tokio::test]
async fn deletion_waits_for_what_is_under_way() {
    let (root, store) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let mut fake = Fake::new(&LADDER);
    let archive = Arc::new(start(root.path(), &store, u64::MAX));
    store.set(Some(Fault::Hangs));
    publish(&archive, broadcast(&mut fake, 2)).await;
    let stream = fake.stream;
    until(|| archive.spool().unwrap().waiting.lock().is_busy(stream)).await;
    archive.remove(stream).unwrap();
    let deletion = tokio::spawn({
        let archive = Arc::clone(&archive);
        async move { archive.remove_stored(stream).await }
    });
    tokio::task::yield_now().await;
    assert!(!deletion.is_finished());
    store.set(None);
    // The store's patience with a request that hangs is over some time.
    tokio::time::pause();
    deletion.await.unwrap().unwrap();
    assert!(in_store(&store).await.is_empty());
    assert_eq!(waits(&archive), 0);
}
