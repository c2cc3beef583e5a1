//! The archive with real files in a temporary folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use records::{Media, Rendition, StreamId};

use super::*;
use crate::hls::fake::Fake;
use crate::hls::{Cold, ColdError, HlsBody, HlsConfig, Origin};

const LADDER: [Rendition; 2] = [Rendition::Audio, Rendition::Source];

type Values = Vec<(StreamId, Vec<u8>)>;

/// A log in memory.
#[derive(Clone, Default)]
struct FakeLog {
    values: Arc<Mutex<Values>>,
    fails: Arc<AtomicBool>,
}

impl Announce for FakeLog {
    fn announce(&self, values: &[(StreamId, Vec<u8>)]) -> Result<(), AnnounceError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(AnnounceError("the log is away".into()));
        }
        self.values.lock().unwrap().extend_from_slice(values);
        Ok(())
    }
}

impl FakeLog {
    fn decoded(&self) -> Vec<Announcement> {
        let values = self.values.lock().unwrap();
        values.iter().map(|(_, value)| Announcement::decode(value).unwrap()).collect()
    }
}

fn start(root: &std::path::Path, keep: Keep, log: &FakeLog) -> Archive {
    let config = ArchiveConfig::new(root.to_path_buf(), keep);
    Archive::start(config, || log.clone()).unwrap()
}

fn broadcast(fake: &mut Fake, segments: usize) -> Vec<Media> {
    let mut records = fake.tracks();
    (0..segments).for_each(|_| records.extend(fake.segment(5)));
    records
}

fn source(stream: StreamId, msn: u64) -> Object {
    Object::Segment { stream, rendition: Rendition::Source, msn }
}

#[tokio::test]
async fn what_is_pushed_is_read_back_and_announced_once() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    let archive = start(root.path(), Keep::Forever, &log);
    let reader = archive.reader();
    let records = broadcast(&mut fake, 3);
    for media in records.iter().chain(&records) {
        archive.push(media.clone());
    }
    archive.close();
    let bytes = reader.read(source(fake.stream, 2)).await.unwrap();
    assert!(bytes.starts_with(b"\0\0\0\x0cmoof"));
    assert!(reader.holds(source(fake.stream, 2)) && !reader.holds(source(fake.stream, 3)));
    let missing = reader.read(source(fake.stream, 3)).await;
    assert!(matches!(missing, Err(ColdError::Missing)));
    let init = Object::Init { stream: fake.stream, rendition: Rendition::Audio, run: 0 };
    assert_eq!(reader.read(init).await.unwrap(), "init audio 0");
    // Two tracks and three segments each, in spite of the repeats.
    let announced = log.decoded();
    assert_eq!(announced.len(), 2 + 6);
    let Announcement::Segment(segment) = &announced[7] else { panic!() };
    assert_eq!((segment.msn, segment.parts, segment.bytes), (2, 5, bytes.len() as u64));
    assert!(segment.iframe_bytes.is_some());
}

#[tokio::test]
async fn reads_at_once_share_one_access() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    let archive = start(root.path(), Keep::Forever, &log);
    let reader = Arc::new(archive.reader());
    broadcast(&mut fake, 1).into_iter().for_each(|media| archive.push(media));
    archive.close();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (reader, object) = (Arc::clone(&reader), source(fake.stream, 0));
        reads.spawn(async move { reader.read(object).await.unwrap() });
    }
    let bodies: Vec<Bytes> = reads.join_all().await;
    assert!(bodies.iter().all(|body| body.as_ptr() == bodies[0].as_ptr()));
}

#[test]
fn a_failing_disk_loses_segments_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    // A file where the stream's folder should be.
    std::fs::write(root.path().join(fake.stream.to_string()), b"in the way").unwrap();
    let archive = start(root.path(), Keep::Forever, &log);
    let reader = archive.reader();
    broadcast(&mut fake, 2).into_iter().for_each(|media| archive.push(media));
    let metrics = Arc::clone(&archive.shared);
    archive.close();
    assert_eq!(metrics.metrics.write_lost_total.load(Ordering::Relaxed), 4);
    assert!(!reader.holds(source(fake.stream, 0)));
    let lost =
        log.decoded().into_iter().filter(|a| matches!(a, Announcement::Segment(s) if s.lost));
    assert_eq!(lost.count(), 4);
}

#[test]
fn announcements_wait_for_the_log() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    log.fails.store(true, Ordering::Relaxed);
    let archive = start(root.path(), Keep::Forever, &log);
    broadcast(&mut fake, 1).into_iter().for_each(|media| archive.push(media));
    while archive.metrics().announce_errors_total.load(Ordering::Relaxed) == 0
        || archive.metrics().queue_bytes.load(Ordering::Relaxed) > 0
    {
        std::thread::yield_now();
    }
    assert!(log.decoded().is_empty());
    log.fails.store(false, Ordering::Relaxed);
    archive.push(fake.end());
    archive.close();
    assert_eq!(log.decoded().len(), 2 + 2 + 1);
}

#[test]
fn a_full_queue_loses_what_is_newest_and_never_waits() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    let mut config = ArchiveConfig::new(root.path().to_path_buf(), Keep::Forever);
    config.queue_bytes_max = 1;
    let archive = Archive::start(config, || log.clone()).unwrap();
    broadcast(&mut fake, 2).into_iter().for_each(|media| archive.push(media));
    assert_eq!(archive.metrics().overflow_lost_total.load(Ordering::Relaxed), 4);
    archive.close();
    let lost =
        log.decoded().into_iter().filter(|a| matches!(a, Announcement::Segment(s) if s.lost));
    assert_eq!(lost.count(), 4);
}

#[test]
fn retention_deletes_the_oldest() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    let archive = start(root.path(), Keep::For(Duration::from_secs(4)), &log);
    let reader = archive.reader();
    broadcast(&mut fake, 10).into_iter().for_each(|media| archive.push(media));
    let stream = fake.stream;
    archive.close();
    let folder = files::stream_folder(root.path(), stream).join("source");
    let kept = std::fs::read_dir(folder).unwrap().count();
    // Segments of one second: the last, four more behind it, and the init.
    assert_eq!(kept, 6);
    assert!(reader.holds(source(stream, 9)) && !reader.holds(source(stream, 0)));
}

#[tokio::test]
async fn a_restart_shows_the_old_window_and_goes_on_after_it() {
    let root = tempfile::tempdir().unwrap();
    let (log, mut fake) = (FakeLog::default(), Fake::new(&LADDER));
    let archive = start(root.path(), Keep::Forever, &log);
    let records = broadcast(&mut fake, 8);
    records.into_iter().for_each(|media| archive.push(media));
    archive.close();
    // The crash cost one file, and another is short after a power cut.
    std::fs::remove_file(files::path(root.path(), source(fake.stream, 7))).unwrap();
    std::fs::write(files::path(root.path(), source(fake.stream, 6)), b"short").unwrap();

    let archive = start(root.path(), Keep::Forever, &log);
    let window = Duration::from_secs(60);
    let restored = archive.restore(fake.stream, log.decoded(), window).unwrap();
    assert_eq!((restored.resume.next_msn, restored.resume.next_run), (10, 2));
    assert_eq!(restored.resume.end.as_micros(), 10_000_000);
    let gaps = |track: &crate::hls::RestoredTrack| {
        track.segments.iter().filter(|s| s.gap).map(|s| s.msn).collect::<Vec<_>>()
    };
    assert_eq!(gaps(&restored.tracks[0]), [8, 9]);
    assert_eq!(gaps(&restored.tracks[1]), [6, 7, 8, 9]);

    let origin = Origin::new(HlsConfig::default(), Arc::new(archive.reader()));
    archive.adopt(fake.stream, &restored);
    fake.resume(restored.resume);
    origin.open(fake.stream, Some(restored));
    for media in broadcast(&mut fake, 2) {
        origin.apply(media.clone());
        archive.push(media);
    }
    let get = async |path: &str| {
        let response =
            origin.respond(fake.stream, path, None, &HeaderMap::new(), &Method::GET).await;
        (response.status().as_u16(), HlsBody::into_bytes(response.into_body()))
    };
    let (_, text) = get("source/index.m3u8").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && text.contains("\n11.m4s\n"), "{text}");
    // The runs before, skipped and new: two boundaries.
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 2);
    assert!(text.contains("#EXT-X-MAP:URI=\"init-2.mp4\""));
    for (path, status) in [
        ("source/0.m4s", 200),
        ("source/init-0.mp4", 200),
        ("source/7.m4s", 404),
        ("audio/7.m4s", 200),
        ("source/11.m4s", 200),
        ("source/init-2.mp4", 200),
    ] {
        assert_eq!(get(path).await.0, status, "{path}");
    }
    archive.close();

    // A second restart lists what the first skipped as it did.
    let archive = start(root.path(), Keep::Forever, &log);
    let restored = archive.restore(fake.stream, log.decoded(), window).unwrap();
    assert_eq!(gaps(&restored.tracks[0]), [8, 9, 12, 13]);
    let again = Origin::new(HlsConfig::default(), Arc::new(archive.reader()));
    again.open(fake.stream, Some(restored));
    let headers = HeaderMap::new();
    let response =
        again.respond(fake.stream, "source/index.m3u8", None, &headers, &Method::GET).await;
    let after = HlsBody::into_bytes(response.into_body());
    let after = String::from_utf8(after.to_vec()).unwrap();
    let lines = |text: &str| {
        let from = text.find("\n5.m4s\n").unwrap();
        let to = text.find("\n11.m4s\n").unwrap();
        let is_kept = |line: &&str| !line.starts_with("#EXT-X-PART:");
        text[from..to].lines().filter(is_kept).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&after), lines(&text));
    archive.close();
}

#[test]
fn nothing_left_is_nothing_restored() {
    let stored = |_, _, _| false;
    assert!(restore([], Duration::MAX, stored).is_none());
    assert!(restore([Announcement::End], Duration::MAX, stored).is_none());
}
