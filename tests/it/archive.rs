//! Broadcasts go up to an object store, whatever happens to it and to us.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clients::playlist::{MediaPlaylist, parse_media};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::interop::output;
use crate::support::eventually;
use crate::support::faults::{Fault, Faults};
use crate::support::feed::Feed;
use crate::support::player::{Player, assert_clean, assert_lawful};
use crate::support::rtmp::Rtmp;
use crate::support::s3::{self, BUCKET, S3, SECRET};
use crate::support::scene::{begin, reconnect, seconds, server_with};
use crate::support::server::{Server, Stream};

/// What an encoder that lacks the processor breaks.
const IN_STEP: &str = "bis 6.2.4 renditions in step within one part";

/// A server that archives to `bucket/live` by way of `faults`; what is over
/// leaves the disk as soon as it is there.
async fn archiving(faults: &Faults, more: &[(&str, &str)]) -> Server {
    let url = format!("s3://{BUCKET}/live");
    let options = s3::options(faults.port);
    let own = [
        ("archive.store", url.as_str()),
        ("archive.store_options", options.as_str()),
        ("archive.local", "0s"),
        ("hls.keep", "0s"),
        ("hls.window_segments", "6"),
    ];
    server_with(&[&own[..], more].concat()).await
}

fn folder(server: &Server, stream: &Stream) -> std::path::PathBuf {
    server.data().join("media").join(&stream.id)
}

/// All files of a broadcast, by name.
fn on_disk(folder: &Path) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("uploaded.json") {
                let name = path.strip_prefix(folder).expect("below it").display().to_string();
                all.insert(format!("/{name}"), std::fs::read(path).expect("a file").into());
            }
        }
    }
    all
}

async fn playlist(server: &Server, video: &Value, rendition: &str) -> MediaPlaylist {
    let id = video["video_id"].as_str().expect("an id");
    let text = server.get(&format!("/vod/{id}/{rendition}/index.m3u8")).await.text();
    parse_media(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

async fn feed(publisher: &mut Rtmp, first_ms: u32, length: Duration) -> u32 {
    Feed { first_ms, length, ..Feed::default() }.run(publisher).await
}

async fn trouble(server: &Server) -> String {
    eventually("trouble in /readyz", async || {
        let ready = server.get("/readyz").await;
        assert_eq!(ready.status, StatusCode::OK, "live doesn't depend on it: {}", ready.text());
        Some(ready.text()).filter(|text| text.contains("is away"))
    })
    .await
}

// Owncast 3230
#[tokio::test(flavor = "multi_thread")]
async fn pain_19_a_broadcast_reaches_the_store_through_faults_and_kills() {
    let s3 = S3::start().await;
    let faults = Faults::start(s3.port).await;
    let ladder = [("transcode.enabled", "true"), ("transcode.ladder", "120:200")];
    let mut server = archiving(&faults, &ladder).await;
    let (stream, mut publisher, player) = begin(&server, "archived").await;
    let prefix = format!("live/{}", stream.id);

    let mut next = feed(&mut publisher, 0, seconds(2)).await;
    eventually("segments in the store", async || {
        let names = s3.names(&prefix).await;
        let has = |rendition: &str| {
            names.iter().any(|name| name.ends_with(&format!("{rendition}/0.m4s")))
        };
        (has("source") && has("audio") && has("120p")).then_some(())
    })
    .await;
    for fault in
        [Fault::Mixed, Fault::Error, Fault::SlowDown, Fault::Slow(Duration::from_millis(400))]
    {
        faults.set(fault);
        next = feed(&mut publisher, next, seconds(2)).await;
    }
    faults.set(Fault::Away);
    next = feed(&mut publisher, next, seconds(3)).await;
    let why = trouble(&server).await;
    assert!(why.contains(&format!("s3://{BUCKET}/live")) && why.contains("wait on disk"), "{why}");
    assert!(!why.contains(SECRET) && !server.output().contains(SECRET));
    assert_eq!(server.metric("millstream_archive_store_up").await, 0.0);
    assert!(server.metric("millstream_archive_spool_files").await >= 6.0);
    // Whatever happened to the store: no viewer noticed. How far the rung is
    // behind depends on who else uses the processor.
    let mut report = player.finish().await;
    report.violation_counts.remove(IN_STEP);
    assert_clean(&report);

    server.restart("KILL").await;
    drop(publisher);
    let player = Player::start(&stream);
    let mut publisher = reconnect(&server, &stream).await;
    feed(&mut publisher, next, seconds(3)).await;
    publisher.finish().await;
    let mut report = player.ended().await;
    report.violation_counts.remove(IN_STEP);
    assert_lawful(&report);
    let video = server.video(&stream).await;
    server.state(&stream, "ARCHIVED").await;
    // The store is away, so all of the broadcast is on disk.
    let kept = on_disk(&folder(&server, &stream));
    assert!(kept.len() > 3 * 12, "{:?}", kept.keys());

    faults.set(Fault::Mixed);
    let uploads = server.metric("millstream_archive_uploads_total").await;
    eventually("uploads in spite of faults", async || {
        (server.metric("millstream_archive_uploads_total").await > uploads + 2.0).then_some(())
    })
    .await;
    faults.set(Fault::None);
    eventually("eviction", async || (!folder(&server, &stream).exists()).then_some(())).await;
    faults.set(Fault::None);
    let stored = s3.objects(&prefix).await;
    assert_eq!(stored.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    assert!(stored == kept, "the same bytes");
    assert_eq!(server.metric("millstream_archive_spool_files").await, 0.0);
    assert_eq!(server.metric("millstream_archive_spool_lost_total").await, 0.0);
    assert_eq!(server.get("/readyz").await.text(), "ready\n");
    from_the_store(&mut server, &faults, &stream, &video).await;

    let video = format!("/api/videos/{}", video["video_id"].as_str().expect("an id"));
    faults.set(Fault::Away);
    let gone = server.admin(Method::DELETE, &video, None).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text());
    assert_eq!(server.get(&video).await.status, StatusCode::NOT_FOUND);
    faults.set(Fault::None);
    // The first sweep of a start finishes what was begun.
    server.restart("INT").await;
    eventually("empty bucket", async || s3.names(&prefix).await.is_empty().then_some(())).await;
    server.state(&stream, "INACTIVE").await;
}

/// The video plays from the store alone, in every way.
async fn from_the_store(server: &mut Server, faults: &Faults, stream: &Stream, video: &Value) {
    server.restart("INT").await;
    let id = video["video_id"].as_str().expect("an id");
    let playback = format!("{}/vod/{id}/index.m3u8", server.http);
    assert_clean(
        &Player::start(&Stream { playback: playback.clone(), ..stream.clone() }).ended().await,
    );
    for rendition in ["source", "120p"] {
        let list = playlist(server, video, rendition).await;
        let url = playback.replace("index.m3u8", &format!("{rendition}/index.m3u8"));
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-count_packets", "-select_streams", "v:0"]);
        probe.args(["-show_entries", "stream=nb_read_packets", "-of", "default=nw=1:nk=1", &url]);
        let (pictures, errors) = output(&mut probe).await;
        assert_eq!(errors, "", "{rendition}");
        let pictures: f64 =
            pictures.lines().next().unwrap_or_default().trim().parse().expect("a number");
        assert!((pictures / 25.0 - list.duration()).abs() < 0.04, "{pictures} in {rendition}");
    }
    let api = format!("/api/videos/{id}");
    let whole = server.get(&format!("{api}/download")).await;
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.text());
    assert_eq!(whole.headers["content-length"], whole.body.len().to_string());
    let picture = server.get(&format!("{api}/thumbnail.jpg")).await;
    assert!(picture.body.starts_with(b"\xff\xd8\xff"), "a JPEG: {}", picture.text());
    let body = json!({ "from_ms": 1000, "to_ms": 2000, "title": "of it" });
    let clip = server.admin(Method::POST, &format!("{api}/clips"), Some(body)).await;
    assert_eq!(clip.status, StatusCode::CREATED, "{}", clip.text());
    let clip = format!("/api/videos/{}", clip.json()["video_id"].as_str().expect("an id"));
    assert!(!folder(server, stream).exists(), "nothing came back to the disk");
    server.admin(Method::DELETE, &clip, None).await;

    // Away: whoever asks for what isn't in memory is told so, others notice nothing.
    server.restart("INT").await;
    let list = playlist(server, video, "source").await;
    faults.set(Fault::SlowDown);
    let msn = list.segments[0].head.msn;
    let refused = server.get(&format!("/vod/{id}/source/{msn}.m4s")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.text().contains("store can't be reached"), "{}", refused.text());
    assert_eq!(refused.headers["cache-control"], "no-store");
    for path in ["/download", "/thumbnail.jpg"] {
        let refused = server.get(&format!("{api}{path}")).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", refused.text());
    }
    faults.set(Fault::None);
    let found = server.get(&format!("/vod/{id}/source/{msn}.m4s")).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_19_a_spool_over_its_bound_loses_the_oldest_and_says_so() {
    let s3 = S3::start().await;
    let faults = Faults::start(s3.port).await;
    faults.set(Fault::Away);
    let bound =
        [("archive.spool", "2MiB"), ("lake.commit_busy", "200ms"), ("lake.commit_idle", "200ms")];
    let mut server = archiving(&faults, &bound).await;
    let (stream, mut publisher, player) = begin(&server, "too much").await;
    let much = Feed { length: seconds(24), speed: 3.0, ..Feed::default() };
    much.run(&mut publisher).await;
    let lost = server.metric("millstream_archive_spool_lost_total").await;
    assert_eq!(lost, 0.0, "all of it may still be listed");
    publisher.finish().await;
    // Published thrice as fast as it plays, a part may be gone before it is asked for.
    assert_lawful(&player.ended().await);
    // Once nobody is live the bound counts, and the recording says what is left.
    eventually("losses", async || {
        (server.metric("millstream_archive_spool_lost_total").await > 0.0).then_some(())
    })
    .await;
    eventually("spool within its bound", async || {
        let bytes = server.metric("millstream_archive_spool_bytes").await;
        (bytes <= f64::from(2 << 20)).then_some(())
    })
    .await;
    let lost = server.metric("millstream_archive_spool_lost_total").await;
    let video = server.video(&stream).await;
    let missing = async |server: &Server| {
        let mut gaps = Vec::new();
        for rendition in ["source", "audio"] {
            let list = playlist(server, &video, rendition).await;
            let own = list.segments.iter().filter(|s| s.head.gap).map(|s| s.head.msn);
            gaps.extend(own.map(|msn| (rendition, msn)));
        }
        gaps
    };
    let gaps = missing(&server).await;
    assert_eq!(gaps.len() as f64, lost, "{gaps:?}");
    assert!(
        gaps.iter().all(|(rendition, _)| *rendition == "source"),
        "the sound is kept: {gaps:?}"
    );
    assert!(gaps.is_sorted() && gaps[0].1 == 0, "the oldest: {gaps:?}");

    let sql = format!(
        "SELECT (SELECT count(*) FROM segments WHERE lost) AS lost, detail FROM events \
         WHERE stream_id = '{}' AND kind = 'SEGMENTS_LOST'",
        stream.id
    );
    let said = server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await.json();
    assert_eq!(said["rows"][0]["lost"].as_f64(), Some(lost), "{said}");
    let detail = said["rows"][0]["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("\"rendition\":\"source\"") && detail.contains("archive.spool"),
        "{detail}"
    );

    server.restart("KILL").await;
    faults.set(Fault::None);
    eventually("eviction", async || (!folder(&server, &stream).exists()).then_some(())).await;
    assert_eq!(missing(&server).await, gaps);
    let id = video["video_id"].as_str().expect("an id");
    let playback = format!("{}/vod/{id}/index.m3u8", server.http);
    assert_clean(&Player::start(&Stream { playback, ..stream.clone() }).ended().await);
    assert!(faults.requests() > 0);
}
