//! Old recordings take less room and cheaper room, and nothing of what is kept is
//! lost, whenever the server dies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clients::playlist::{parse_media, parse_multivariant};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::faults::{Fault, Faults};
use crate::support::feed::Feed;
use crate::support::http::Answer;
use crate::support::player::{Player, assert_clean};
use crate::support::rtmp::Rtmp;
use crate::support::s3::{BUCKET, S3};
use crate::support::scene::{seconds, server_with};
use crate::support::server::{Server, Stream};

/// A folder as object store.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    fn files(&self, stream: &Stream) -> BTreeMap<String, Bytes> {
        files(&self.0.path().join(&stream.id))
    }
}

/// All media files below a folder and the description, by name.
fn files(folder: &Path) -> BTreeMap<String, Bytes> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("uploaded.json") {
                let name = path.strip_prefix(folder).expect("below it").display().to_string();
                // It may go while we look.
                if let Ok(bytes) = std::fs::read(&path) {
                    all.insert(name, bytes.into());
                }
            }
        }
    }
    all
}

fn renditions(files: &BTreeMap<String, Bytes>) -> BTreeSet<&str> {
    files.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect()
}

fn media(server: &Server, stream: &Stream) -> PathBuf {
    server.data().join("media").join(&stream.id)
}

/// What leaves the disk at once, and is in the lake at once.
const SOON: [(&str, &str); 4] = [
    ("archive.local", "0s"),
    ("hls.keep", "0s"),
    ("lake.commit_busy", "200ms"),
    ("lake.commit_idle", "200ms"),
];

/// A ladder that is whole, however busy the machine is.
const LADDER: [(&str, &str); 4] = [
    ("transcode.enabled", "true"),
    ("transcode.ladder", "180:300,120:200"),
    ("transcode.lag_shed", "60s"),
    ("transcode.lag_restore", "59s"),
];

async fn record(server: &Server, stream: &Stream, length: Duration) -> Value {
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    server.video(stream).await
}

fn id(video: &Value) -> &str {
    video["video_id"].as_str().expect("an id")
}

async fn show(server: &Server, video: &Value) -> Value {
    let answer = server.get(&format!("/api/videos/{}", id(video))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn in_tier(server: &Server, video: &Value, tier: &str) -> Value {
    eventually(tier, async || {
        let video = show(server, video).await;
        (video["tier"] == tier).then_some(video)
    })
    .await
}

fn names(video: &Value) -> Vec<&str> {
    let renditions = video["renditions"].as_array().expect("renditions");
    renditions.iter().map(|of| of["rendition"].as_str().expect("a name")).collect()
}

async fn playback(server: &Server, video: &Value) -> Answer {
    server.get(&format!("/api/videos/{}/playback", id(video))).await
}

async fn vod(server: &Server, video: &Value, path: &str) -> Answer {
    server.get(&format!("/vod/{}/{path}", id(video))).await
}

/// Every map and segment of a video, as viewers get them.
async fn fetched(server: &Server, video: &Value) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    for rendition in names(video) {
        let list = vod(server, video, &format!("{rendition}/index.m3u8")).await.text();
        let list = parse_media(&list).unwrap_or_else(|error| panic!("{error}: {list}"));
        let mut uris: BTreeSet<_> =
            list.heads().filter_map(|head| Some(head.map.as_ref()?.uri.clone())).collect();
        uris.extend(list.segments.iter().map(|segment| segment.uri.clone()));
        for uri in uris {
            let name = format!("{rendition}/{uri}");
            let answer = vod(server, video, &name).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
            all.insert(name, answer.body);
        }
    }
    assert!(all.len() > 6, "{:?}", all.keys());
    all
}

async fn rows(server: &Server, sql: &str) -> Vec<Value> {
    let answer = server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["rows"].as_array().expect("rows").clone()
}

/// What was told of a stream beside its states, as kind and detail.
async fn told(server: &Server, stream: &Stream) -> Vec<(String, Value)> {
    let sql = format!(
        "SELECT kind, detail FROM events WHERE stream_id = '{}' AND kind IN \
         ('RENDITIONS_DROPPED', 'TIER_CHANGED', 'VIDEO_DELETED') ORDER BY log_offset",
        stream.id
    );
    let told = rows(server, &sql).await.into_iter().map(|row| {
        let detail = row["detail"].as_str().expect("a detail");
        let kind = row["kind"].as_str().expect("a kind").to_owned();
        (kind, serde_json::from_str(detail).expect("JSON"))
    });
    told.collect()
}

async fn order_death(server: &Server, at: &str, times: u32) {
    let body = json!({ "at": at, "times": times });
    let ordered = server.admin(Method::POST, "/api/cluster/faults/tiers", Some(body)).await;
    assert_eq!(ordered.status, StatusCode::ACCEPTED, "{}", ordered.text());
}

/// The server dies at a step of its sweep, and is there again.
async fn die_at(server: &mut Server, at: &str, times: u32) {
    order_death(server, at, times).await;
    assert!(!server.revive().await, "it died at {at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_recordings_lose_their_upper_renditions_whenever_the_server_dies() {
    let warm = Place::new();
    let url = warm.url();
    let settings = [&SOON[..], &LADDER, &[("archive.store", url.as_str())]].concat();
    let mut server = server_with(&settings).await;
    let stream = server.create("thinned").await;
    let video = record(&server, &stream, seconds(5)).await;
    let video = in_tier(&server, &video, "WARM").await;
    assert_eq!(names(&video), ["source", "180p", "120p", "audio"]);
    let body = json!({ "from_ms": 1000, "to_ms": 3000, "title": "of it" });
    let path = format!("/api/videos/{}/clips", id(&video));
    let clip = server.admin(Method::POST, &path, Some(body)).await;
    assert_eq!(clip.status, StatusCode::CREATED, "{}", clip.text());
    let clip = clip.json();
    let before = fetched(&server, &video).await;
    assert_eq!(renditions(&warm.files(&stream)).len(), 4);

    server.set("vod.thin_after", "2s");
    server.set("vod.thin_to", "120p");
    server.restart("INT").await;
    for step in ["thin-decided", "thin-told", "thin-shown", "thin-cleared"] {
        die_at(&mut server, step, 1).await;
    }
    let kept = BTreeSet::from(["120p", "audio"]);
    eventually("fewer renditions", async || {
        let is_done = server.metric("millstream_archive_dropped_renditions_total").await == 2.0;
        is_done.then_some(())
    })
    .await;
    assert_eq!(renditions(&warm.files(&stream)), kept);
    assert!(warm.files(&stream).contains_key("recording.json"), "as it was");
    // Also for a server that knows it from its log alone.
    server.restart("KILL").await;

    for old in [&video, &clip] {
        let new = show(&server, old).await;
        assert_eq!(names(&new), ["120p", "audio"]);
        let bytes = |of: &Value| of["bytes"].as_u64().expect("bytes");
        let sum = |of: &Value| {
            of["renditions"].as_array().expect("renditions").iter().map(bytes).sum::<u64>()
        };
        assert_eq!(bytes(&new), sum(&new));
        assert!(bytes(&new) < bytes(old) && new["duration_us"] == old["duration_us"]);
        let ladder = parse_multivariant(&vod(&server, old, "index.m3u8").await.text());
        let ladder = ladder.expect("a multivariant playlist");
        let uris: BTreeSet<_> =
            ladder.variants.iter().filter_map(|of| Some(of.uri.split_once('/')?.0)).collect();
        assert_eq!(uris, kept, "{ladder:?}");
        for gone in ["source/index.m3u8", "source/1.m4s", "180p/iframes.m3u8", "180p/1.m4s"] {
            let refused = vod(&server, old, gone).await;
            assert_eq!(refused.status, StatusCode::NOT_FOUND, "{gone}");
            assert_eq!(refused.headers["cache-control"], "no-store");
        }
    }
    let after = fetched(&server, &show(&server, &video).await).await;
    let is_kept = |name: &str| kept.contains(name.split_once('/').expect("a folder").0);
    let expected: BTreeMap<_, _> = before.into_iter().filter(|(name, _)| is_kept(name)).collect();
    assert!(after == expected, "what is kept is what it was");
    let url = format!("{}/vod/{}/index.m3u8", server.http, id(&video));
    assert_clean(&Player::start(&Stream { playback: url, ..stream.clone() }).ended().await);
    let whole = server.get(&format!("/api/videos/{}/download", id(&video))).await;
    assert_eq!(whole.status, StatusCode::OK, "the best that is left");

    let told = told(&server, &stream).await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    assert_eq!(
        (told[0].0.as_str(), &told[0].1["renditions"]),
        ("RENDITIONS_DROPPED", &json!("180p,source"))
    );
    let sql = format!(
        "SELECT renditions, bytes, tier, deleted FROM videos WHERE video_id = '{}' \
         ORDER BY log_offset DESC LIMIT 1",
        id(&video)
    );
    let row = &rows(&server, &sql).await[0];
    assert_eq!((&row["renditions"], &row["tier"]), (&json!("120p,audio"), &json!("WARM")));
    assert_eq!(row["bytes"], show(&server, &video).await["bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_goes_to_the_cold_store_and_comes_back_whenever_the_server_dies() {
    let (warm, cold) = (Place::new(), Place::new());
    let (url, cold_url) = (warm.url(), cold.url());
    let settings = [&SOON[..], &[("archive.store", url.as_str())]].concat();
    let mut server = server_with(&settings).await;
    let stream = server.create("cold").await;
    let video = record(&server, &stream, seconds(5)).await;
    let video = in_tier(&server, &video, "WARM").await;
    let before = fetched(&server, &video).await;
    let stored = warm.files(&stream);

    server.set("archive.cold", &cold_url);
    server.set("archive.cold_after", "2s");
    server.set("archive.restored_for", "30s");
    server.restart("INT").await;
    for (step, times) in [
        ("cold-copying", 1),
        ("cold-copying", 4),
        ("cold-copied", 1),
        ("cold-decided", 1),
        ("cold-shown", 1),
        ("cold-cleared", 1),
    ] {
        die_at(&mut server, step, times).await;
        let (here, there) = (warm.files(&stream), cold.files(&stream));
        let both: BTreeMap<_, _> = here.into_iter().chain(there).collect();
        assert!(both == stored, "nothing is lost at {step}");
    }
    eventually("an empty warm store", async || {
        renditions(&warm.files(&stream)).is_empty().then_some(())
    })
    .await;
    in_tier(&server, &video, "COLD").await;
    assert!(cold.files(&stream) == stored, "all of it is there");

    let listed = server.get("/api/videos").await.json();
    assert_eq!(listed["videos"][0]["tier"], "COLD");
    for (step, times) in [("fetch-copying", 3), ("fetch-copied", 1), ("fetch-decided", 1)] {
        order_death(&server, step, times).await;
        let waits = playback(&server, &video).await;
        assert_eq!(waits.status, StatusCode::ACCEPTED, "{}", waits.text());
        assert!(!server.revive().await, "it died at {step}");
        assert!(cold.files(&stream) == stored, "the cold copy stays");
    }
    // The last one died behind what made it durable.
    in_tier(&server, &video, "RESTORED").await;
    assert_eq!(playback(&server, &video).await.status, StatusCode::OK);
    assert!(warm.files(&stream) == stored, "the same bytes");
    assert!(fetched(&server, &show(&server, &video).await).await == before);
    let url = format!("{}/vod/{}/index.m3u8", server.http, id(&video));
    assert_clean(&Player::start(&Stream { playback: url, ..stream.clone() }).ended().await);

    let told = told(&server, &stream).await;
    let told: Vec<_> = told.iter().map(|(kind, of)| (kind.as_str(), &of["tier"])).collect();
    let expected = [("TIER_CHANGED", &json!("COLD")), ("TIER_CHANGED", &json!("RESTORED"))];
    assert_eq!(told, expected, "each told once");

    let gone = server.admin(Method::DELETE, &format!("/api/videos/{}", id(&video)), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    assert!(warm.files(&stream).is_empty() && cold.files(&stream).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_video_says_when_it_can_be_played_and_leaves_again() {
    let s3 = S3::start().await;
    let faults = Faults::start(s3.port).await;
    let url = format!("s3://{BUCKET}/cold");
    let options = format!(
        "endpoint=http://127.0.0.1:{};allow_http=true;region=us-east-1;\
         access_key_id=test;secret_access_key=not-to-be-shown",
        faults.port
    );
    let own = [
        ("archive.cold", url.as_str()),
        ("archive.cold_options", options.as_str()),
        ("archive.cold_after", "1s"),
        ("archive.restored_for", "3s"),
    ];
    // Without a store it goes there from the disk.
    let server = server_with(&[&SOON[..], &own].concat()).await;
    let stream = server.create("asked for").await;
    let there = async || {
        let objects = s3.objects(&format!("cold/{}", stream.id)).await.into_iter();
        objects.map(|(name, bytes)| (name[1..].to_owned(), bytes)).collect::<BTreeMap<_, _>>()
    };
    let video = record(&server, &stream, seconds(4)).await;
    let folder = media(&server, &stream);
    let video = in_tier(&server, &video, "COLD").await;
    eventually("an empty folder", async || renditions(&files(&folder)).is_empty().then_some(()))
        .await;
    let stored = there().await;
    assert_eq!(renditions(&stored), BTreeSet::from(["audio", "source"]));

    // Nothing of this fetches it.
    for path in ["source/0.m4s", "storyboard-0.jpg"] {
        let refused = vod(&server, &video, path).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(refused.text().contains("cold archive"), "{}", refused.text());
    }
    let picture = server.get(&format!("/api/videos/{}/thumbnail.jpg", id(&video))).await;
    assert_eq!(picture.status, StatusCode::NOT_FOUND, "{}", picture.text());
    let body = json!({ "from_ms": 0, "to_ms": 1000, "title": "unseen" });
    let path = format!("/api/videos/{}/clips", id(&video));
    let clip = server.admin(Method::POST, &path, Some(body.clone())).await;
    assert_eq!(clip.status, StatusCode::CONFLICT, "{}", clip.text());
    assert_eq!(show(&server, &video).await["tier"], "COLD");

    // The cold store away: whoever asks is told so, and it is tried again.
    faults.set(Fault::Away);
    eventually("a refusal", async || {
        let answer = playback(&server, &video).await;
        (answer.status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert!(server.metric("millstream_archive_tier_errors_total").await >= 1.0);
    assert!(!server.output().contains("not-to-be-shown"));
    // Slow enough to be seen at work.
    faults.set(Fault::Slow(Duration::from_millis(300)));
    let waits = eventually("a wait", async || {
        let answer = playback(&server, &video).await;
        (answer.status == StatusCode::ACCEPTED).then_some(answer)
    })
    .await;
    let (told, after) = (waits.json(), &waits.headers["retry-after"]);
    assert_eq!(told["status"], "RESTORING");
    assert!(told["ready_in_s"].as_u64().is_some_and(|s| s >= 1), "{told}");
    assert!(after.to_str().expect("text").parse::<u64>().is_ok_and(|s| (1..=30).contains(&s)));
    let asked = eventually("playback", async || {
        let answer = playback(&server, &video).await;
        match answer.status {
            StatusCode::OK => Some(answer.json()),
            StatusCode::ACCEPTED => None,
            status => panic!("{status}: {}", answer.text()),
        }
    })
    .await;
    assert_eq!(asked["status"], "ARCHIVED");
    assert!(files(&folder) == stored, "the same bytes");
    fetched(&server, &show(&server, &video).await).await;
    assert_eq!(server.metric("millstream_archive_cold_restored_total").await, 1.0);
    faults.set(Fault::None);
    // Once it plays it can be clipped; the clip goes where its recording goes.
    let clip = server.admin(Method::POST, &path, Some(body)).await;
    assert_eq!(clip.status, StatusCode::CREATED, "{}", clip.text());
    let clip = clip.json();
    assert_eq!(clip["tier"], "RESTORED");

    in_tier(&server, &video, "COLD").await;
    in_tier(&server, &clip, "COLD").await;
    eventually("an empty folder", async || renditions(&files(&folder)).is_empty().then_some(()))
        .await;
    assert!(there().await == stored, "the cold copy stayed");
    // A player that kept the address has it fetched as well, and so has a download.
    let refused = vod(&server, &clip, "index.m3u8").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));
    let download = format!("/api/videos/{}/download", id(&video));
    eventually("download", async || {
        let answer = server.get(&download).await;
        assert!(answer.status == StatusCode::OK || answer.status == StatusCode::ACCEPTED);
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;

    for video in [&video, &clip] {
        let gone = server.admin(Method::DELETE, &format!("/api/videos/{}", id(video)), None).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    }
    assert!(there().await.is_empty() && !folder.exists());
    let deleted = rows(&server, "SELECT video_id FROM videos WHERE deleted").await;
    let deleted: BTreeSet<_> = deleted.iter().map(id).collect();
    assert_eq!(deleted, BTreeSet::from([id(&video), id(&clip)]), "the lake knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_keeps_its_newest_recordings_within_its_bytes() {
    let server = server_with(&[&SOON[..], &[("vod.channel_bytes_max", "1B")]].concat()).await;
    let (channel, other) = (server.create("much").await, server.create("little").await);
    let length = Duration::from_millis(1500);
    let (first, kept) =
        tokio::join!(record(&server, &channel, length), record(&server, &other, length));
    assert_eq!(show(&server, &first).await["status"], "ARCHIVED", "the newest stays");
    let mut publisher = Rtmp::publish(&server.rtmp, &channel.key).await;
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    eventually("deletion", async || {
        let answer = server.get(&format!("/api/videos/{}", id(&first))).await;
        (answer.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    server.state(&channel, "INACTIVE").await;
    let left = server.get("/api/videos").await.json()["videos"].as_array().expect("videos").clone();
    assert_eq!(left.len(), 2, "one of each channel: {left:?}");
    assert!(left.iter().any(|video| id(video) == id(&kept)));
    assert!(!media(&server, &channel).exists());
    let told = told(&server, &channel).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (kind, detail) = &told[0];
    assert_eq!((kind.as_str(), detail["video_id"].as_str()), ("VIDEO_DELETED", Some(id(&first))));
    assert!(detail["why"].as_str().is_some_and(|why| why.contains("vod.channel_bytes_max")));
    let there = server.admin(Method::POST, "/api/sql", Some(json!({ "named": "videos" }))).await;
    let there = there.json()["rows"].as_array().expect("rows").len();
    assert_eq!(there, 2, "by SQL as well");
}
