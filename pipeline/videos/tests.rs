//! What must hold across changes and restarts.

use log::Embedded;
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
        deleted: false,
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
    assert_eq!(videos.list(|_| true), std::slice::from_ref(&first));
    let clip = Clip { video_id: first.video_id, from_us: 1, to_us: 2, begins_us: 0 };
    for _ in 0..2 {
        let video_id = VideoId::generate();
        videos.add(VideoEntry { video_id, clip: Some(clip), ..first.clone() }).await.unwrap();
    }
    assert_eq!(videos.list(|_| true).len(), 3);
    assert_eq!(videos.of_stream(first.stream_id), Some(first));
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
