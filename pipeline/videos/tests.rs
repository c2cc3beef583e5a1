//! What must hold across changes and restarts.

use log::Embedded;
use records::Rendition;
use sinks::hls::Shape;
use sinks::hls::vod::RecordedRendition;
use tempfile::TempDir;

use super::*;

pub(super) fn entry() -> VideoEntry {
    VideoEntry {
        video_id: VideoId::generate(),
        stream_id: StreamId::generate(),
        clip: None,
        title: "Chess".into(),
        category: "games".into(),
        created_at_us: 3,
        started_at_us: 1,
        ended_at_us: 2,
        duration_us: 1_000_000,
        bytes: 1000,
        renditions: Vec::new(),
        status: VideoStatus::Archived,
        visibility: Visibility::Public,
        tier: Tier::Hot,
        changed_at_us: 0,
        deleted: false,
        deletion: None,
        erased: false,
    }
}

async fn open(dir: &TempDir) -> Videos {
    Videos::load(Arc::new(Embedded::open(dir.path()).unwrap())).await.unwrap()
}

#[tokio::test]
async fn videos_survive_a_restart_beside_other_entities() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (entry(), entry());
    {
        let log: Arc<dyn Log> = Arc::new(Embedded::open(dir.path()).unwrap());
        let streams = Catalog::load(Arc::clone(&log)).await.unwrap();
        streams.create("a stream", "").await.unwrap();
        let videos = Videos::load(log).await.unwrap();
        videos.add(one.clone()).await.unwrap();
        videos.add(other.clone()).await.unwrap();
        let renamed = videos.update(one.video_id, |video| video.title = "Go".into()).await.unwrap();
        assert_eq!(renamed.title, "Go");
        videos.remove(other.video_id).await.unwrap();
        videos.remove(other.video_id).await.unwrap();
    }
    let videos = open(&dir).await;
    assert_eq!(videos.of_stream(one.stream_id).unwrap().title, "Go");
    assert_eq!((videos.get(other.video_id), videos.of_stream(other.stream_id)), (None, None));
    let unknown = videos.update(other.video_id, |_| {}).await.unwrap_err();
    assert!(matches!(unknown, VideoError::Unknown(_)), "{unknown}");
}

#[tokio::test]
async fn a_broadcast_has_one_recording_and_any_number_of_clips() {
    let dir = tempfile::tempdir().unwrap();
    let videos = open(&dir).await;
    let first = entry();
    videos.add(first.clone()).await.unwrap();
    let again = VideoEntry { video_id: VideoId::generate(), ..first.clone() };
    videos.add(again).await.unwrap();
    let [only] = &videos.list(|_| true)[..] else { panic!("one") };
    // But for the time, which nobody gave.
    assert_eq!(VideoEntry { changed_at_us: 0, ..only.clone() }, first);
    let clip = Clip { video_id: first.video_id, from_us: 1, to_us: 2, begins_us: 0 };
    for _ in 0..2 {
        let video_id = VideoId::generate();
        videos.add(VideoEntry { video_id, clip: Some(clip), ..first.clone() }).await.unwrap();
    }
    assert_eq!(videos.list(|_| true).len(), 3);
    assert_eq!(videos.of_stream(first.stream_id).unwrap().video_id, first.video_id);
}

#[tokio::test]
async fn what_is_being_deleted_is_hidden_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let video = entry();
    {
        let videos = open(&dir).await;
        videos.add(video.clone()).await.unwrap();
        videos.update(video.video_id, |video| video.deleted = true).await.unwrap();
    }
    let log: Arc<dyn Log> = Arc::new(Embedded::open(dir.path()).unwrap());
    let streams = Catalog::load(Arc::clone(&log)).await.unwrap();
    let videos = Videos::load(log).await.unwrap();
    assert_eq!((videos.get(video.video_id), videos.of_stream(video.stream_id)), (None, None));
    assert_eq!(videos.list(|video| video.deleted).len(), 1);
    let page = videos.search(&Search::default(), &streams, |_| true).unwrap();
    assert!(page.videos.is_empty());
}

#[tokio::test]
async fn an_unreadable_entry_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(dir.path()).unwrap());
    log.append(Topic::Catalog, NewRecord::new(0, "video/1", "{}")).await.unwrap();
    let refused = Videos::load(log).await.err().unwrap();
    assert!(refused.to_string().contains("video/1"), "{refused}");
}

fn rendition(rendition: Rendition, bytes: u64) -> RecordedRendition {
    let shape = Shape { codec: "c".into(), resolution: None, frame_rate: None, channels: None };
    RecordedRendition { rendition, shape, bandwidth: 1, average_bandwidth: 1, bytes }
}

#[tokio::test]
async fn what_became_of_media_shows_in_their_videos_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let renditions = vec![rendition(Rendition::Source, 700), rendition(Rendition::Audio, 300)];
    let whole = VideoEntry { renditions, ..entry() };
    let stream = whole.stream_id;
    let clip = Clip { video_id: whole.video_id, from_us: 1, to_us: 2, begins_us: 0 };
    let late = VideoEntry { video_id: VideoId::generate(), clip: Some(clip), ..whole.clone() };
    let moved = Moved { tier: Tier::Cold, at_us: 5, bytes: 300, is_open: true };
    let media = MediaEntry {
        dropped: vec![Rendition::Source],
        moved: Some(moved),
        ..MediaEntry::plain(stream)
    };
    {
        let videos = open(&dir).await;
        videos.add(whole.clone()).await.unwrap();
        let added_us = videos.get(whole.video_id).unwrap().changed_at_us;
        assert!(added_us > 0);
        videos.put_media(media.clone()).await.unwrap();
        assert_eq!(videos.get(whole.video_id).unwrap().bytes, 1000, "not yet");
        for _ in 0..2 {
            videos.show_media(&media).await.unwrap();
            let shown = videos.get(whole.video_id).unwrap();
            assert_eq!((shown.bytes, shown.renditions.len(), shown.tier), (300, 1, Tier::Cold));
            assert!(shown.changed_at_us > added_us);
        }
        // Cut before the rendition was dropped, and added after it.
        videos.add(late.clone()).await.unwrap();
        videos.left_disk(stream).await.unwrap();
    }
    let videos = open(&dir).await;
    for id in [whole.video_id, late.video_id] {
        let shown = videos.get(id).unwrap();
        assert_eq!((shown.bytes, shown.tier), (300, Tier::Cold), "cold isn't on disk");
    }
    assert_eq!(videos.media(stream), Some(media.clone()));
    assert!(videos.is_cold(stream) && media.is_open());
    assert_eq!(videos.list_media(MediaEntry::is_open), [media]);
    videos.forget_media(stream).await.unwrap();
    videos.forget_media(stream).await.unwrap();
    assert!(!videos.is_cold(stream) && videos.moved(stream).is_none());
}

#[test]
fn records_of_older_servers_can_be_read() {
    let mut old = serde_json::to_value(entry()).unwrap();
    for new in ["tier", "changed_at_us"] {
        assert!(old.as_object_mut().unwrap().remove(new).is_some());
    }
    let read: VideoEntry = serde_json::from_value(old).unwrap();
    assert_eq!((read.tier, read.changed_at_us, read.deletion), (Tier::Hot, 0, None));
    let media = MediaEntry::plain(StreamId::generate());
    let text = serde_json::to_string(&media).unwrap();
    assert_eq!(text, format!(r#"{{"stream_id":"{}"}}"#, media.stream_id));
    assert_eq!(serde_json::from_str::<MediaEntry>(&text).unwrap(), media);
}
