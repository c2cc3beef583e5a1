//! The pages and Shaka, in headless Chromium.

use std::time::Duration;

use http::Method;
use records::schema::TABLES;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use super::{AAC, FFMPEG, H264, publish, server};
use crate::support::feed::Feed;
use crate::support::rtmp::Rtmp;
use crate::support::server::{Server, Stream, TOKEN};
use crate::support::{eventually, root};

/// Chromium is heavy, and two cores are few: one at a time. Taken before
/// anything is published, so that no broadcast ends while its viewer waits.
static BROWSERS: Semaphore = Semaphore::const_new(1);

pub async fn turn() -> SemaphorePermit<'static> {
    BROWSERS.acquire().await.expect("never closed")
}

/// Twice the least distance that low latency allows: a starved browser stalls
/// at the least, whatever the server does. Stalls there are measured by the benches.
const STEADY: (&str, &str) = ("hls.part_hold_back", "6.0");

/// A publisher that costs next to nothing: an encoder that is starved by the
/// browser sends too late, and the browser stalls for it.
struct Broadcast {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Broadcast {
    async fn begin(server: &Server, stream: &Stream) -> Self {
        // Encodes the clip, once; the server must not be kept waiting for it.
        let feed = Feed { length: Duration::from_secs(120), ..Feed::default() };
        let mut rtmp = Rtmp::publish(&server.rtmp, &stream.key).await;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = feed.run(&mut rtmp) => {}
                _ = stopped => {}
            }
            rtmp.finish().await;
        });
        Self { task, stop }
    }

    /// The connection is lost without a word.
    fn drop_connection(self) {
        self.task.abort();
    }

    /// Ends properly.
    async fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Runs a script of `tests/browser`; what it reports.
pub async fn script(name: &str, arguments: &[String]) -> Value {
    let folder = root().join("tests/browser");
    assert!(
        folder.join("node_modules").exists(),
        "{}/node_modules is missing: `make test` installs it",
        folder.display()
    );
    let mut command = Command::new("node");
    command.arg(folder.join(name)).args(arguments).kill_on_drop(true);
    let run = tokio::time::timeout(Duration::from_secs(100), command.output()).await;
    let run = run.expect("the script ends").expect("node runs");
    let text = String::from_utf8_lossy(&run.stdout);
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}\n{}", String::from_utf8_lossy(&run.stderr)));
    assert!(report.get("error").is_none(), "{name}: {report}");
    report
}

/// A browser on the stream's watch page for `seconds`.
async fn watch(server: &Server, stream: &Stream, seconds: u32) -> Value {
    let url = format!("{}/watch/{}", server.http, stream.id);
    script("play.mjs", &["--url".into(), url, "--seconds".into(), seconds.to_string()]).await
}

/// Waits until a player asks for parts.
async fn watched(server: &Server) {
    eventually("viewer", async || {
        (server.metric("millstream_hls_waiting").await > 0.0).then_some(())
    })
    .await;
}

/// The states that the page was in, in order.
fn states(report: &Value) -> Vec<&str> {
    let states = report["states"].as_array().expect("states");
    states.iter().filter_map(|state| state["state"].as_str()).collect()
}

/// It began to play, nothing failed, and it asked nobody else for anything.
#[track_caller]
fn assert_played(report: &Value, seconds: f64) {
    assert!(states(report).contains(&"playing"), "{report}");
    assert!(report["frames"].as_f64() > Some(seconds * 20.0), "the picture moved: {report}");
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
    assert_eq!(report["foreign_requests"], serde_json::json!([]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_page_plays_with_low_latency() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = server.create("watched").await;
    let _broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let report = watch(&server, &stream, 11).await;
    assert_played(&report, 8.0);
    assert_eq!(report["stalls"], 0, "{report}");
    assert_eq!(report["discontinuities"], 0, "{report}");
    // Without low latency it would be three target durations: 6 s.
    assert!(report["latency_s"]["p50"].as_f64() < Some(4.0), "{report}");
    assert!(report["last"]["target_s"].as_f64() < Some(2.5), "{report}");
    // The page told of it.
    let sql = "SELECT stream_id, watched_ms, stalls, latency_ms, startup_ms FROM views";
    let told = eventually("a report of the page", async || {
        let answer = server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await;
        answer.json()["rows"].as_array().and_then(|rows| rows.first().cloned())
    })
    .await;
    assert_eq!(told["stream_id"], stream.id.to_string(), "{told}");
    assert!(told["watched_ms"].as_u64().is_some_and(|ms| (4000..=11_000).contains(&ms)), "{told}");
    assert_eq!(told["stalls"], 0, "{told}");
    assert!(told["latency_ms"].as_u64() < Some(4000), "{told}");
    assert!(told["startup_ms"].is_u64(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shaka_plays_with_low_latency() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = server.create("shaka").await;
    // Segments of one length, unlike those of `Broadcast`: Shaka reports hints
    // that come to nothing, and they do where a segment is shorter than the last.
    let _publisher = publish(FFMPEG, H264, AAC, 60, &stream.ingest);
    server.state(&stream, "STREAM_ACTIVE").await;
    let arguments = ["--playlist", &stream.playback, "--seconds", "11"].map(str::to_owned);
    let report = script("shaka.mjs", &arguments).await;
    assert_eq!(report["started"], true, "{report}");
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
    assert!(report["frames"].as_f64() > Some(8.0 * 20.0), "{report}");
    assert!(report["player_latency_s"].as_f64() < Some(4.0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_do_not_notice_a_rescale() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = server.create("rescaled").await;
    let _broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let rescale = async {
        watched(&server).await;
        for workers in [2, 1] {
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(server.scale(workers).await["workers"], workers);
        }
    };
    let (report, ()) = tokio::join!(watch(&server, &stream, 12), rescale);
    assert_played(&report, 8.0);
    assert_eq!(report["discontinuities"], 0, "{report}");
    assert_eq!(report["stalls"], 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_a_publisher_drop_come_back_and_end() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = server.create("away").await;
    let broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let story = async {
        watched(&server).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        broadcast.drop_connection();
        server.state(&stream, "RECONNECTING").await;
        // What was buffered runs out, and the page asks every three seconds.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let broadcast = Broadcast::begin(&server, &stream).await;
        server.state(&stream, "STREAM_ACTIVE").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        broadcast.finish().await;
        server.state(&stream, "STREAM_COMPLETE").await;
    };
    let (report, ()) = tokio::join!(watch(&server, &stream, 24), story);
    let mut expected = ["playing", "reconnecting", "playing", "ended"].iter().peekable();
    for state in states(&report) {
        expected.next_if(|next| **next == state);
    }
    assert!(expected.peek().is_none(), "never {:?}: {report}", expected.peek());
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
    assert_eq!(report["discontinuities"], 1, "one, where the publisher came back: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn qualities_can_be_chosen() {
    let _turn = turn().await;
    let server =
        server(&[STEADY, ("transcode.enabled", "true"), ("transcode.ladder", "120:200")]).await;
    let stream = server.create("menu").await;
    let _broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let url = format!("{}/watch/{}", server.http, stream.id);
    let report = script("menu.mjs", &["--url".into(), url]).await;
    let chosen = report["chosen"].as_array().expect("what was chosen");
    let labels: Vec<_> = chosen.iter().filter_map(|c| c["label"].as_str()).collect();
    assert_eq!(labels, ["Auto", "360p", "120p", "Audio only"], "{report}");
    for (choice, height) in chosen.iter().zip([None, Some(360), Some(120), None]) {
        assert_eq!(choice["moved"], true, "it plays on: {report}");
        assert!(height.is_none_or(|h| choice["height"] == h), "{report}");
    }
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_lists_what_is_live_with_its_picture() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = server.create("On the front page").await;
    let _broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let report = script("home.mjs", &["--url".into(), format!("{}/", server.http)]).await;
    let cards = report["cards"].as_array().expect("cards");
    assert_eq!(cards.len(), 1, "{report}");
    assert_eq!(cards[0]["title"], "On the front page", "{report}");
    assert_eq!(cards[0]["href"], format!("/watch/{}", stream.id), "{report}");
    assert_eq!(cards[0]["picture_width"], 640, "{report}");
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn analysts_ask_on_the_console_and_watch_what_they_found() {
    let _turn = turn().await;
    let server = server(&[STEADY, ("hls.dvr", "60s")]).await;
    let stream = server.create("asked about").await;
    let _broadcast = Broadcast::begin(&server, &stream).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let count = json!({ "sql": "SELECT count(*) AS n FROM segments WHERE rendition = 'source'" });
    eventually("segments in the lake", async || {
        let answer = server.admin(Method::POST, "/api/sql", Some(count.clone())).await;
        (answer.json()["rows"][0]["n"].as_u64() >= Some(14)).then_some(())
    })
    .await;
    let url = format!("{}/sql", server.http);
    let report = script("sql.mjs", &["--url".into(), url, "--token".into(), TOKEN.into()]).await;

    assert_eq!(report["refused"], "The server doesn’t accept this token.", "{report}");
    let tables = report["tables"].as_array().expect("tables");
    let names: Vec<_> = tables.iter().filter_map(|table| table["name"].as_str()).collect();
    assert_eq!(names, TABLES.map(|table| table.name), "{report}");
    for (table, schema) in tables.iter().zip(TABLES) {
        let columns = table["columns"].as_array().expect("columns");
        for (column, known) in columns.iter().zip(schema.columns) {
            assert_eq!(column["name"], known.name);
            assert_eq!(column["comment"], known.comment);
        }
        assert_eq!(columns.len(), schema.columns.len());
    }
    let queries = report["queries"].as_array().expect("queries");
    assert_eq!(queries.len(), queries::named::ALL.len(), "{report}");
    assert!(queries.iter().all(|query| query["trouble"].is_null()), "{report}");
    assert!(queries[0]["rows"].as_u64() >= Some(1), "the broadcast: {report}");

    let grid = &report["grid"];
    assert!(grid["rows"].as_u64() >= Some(14), "{report}");
    assert_eq!(grid["sticky"], "sticky", "{report}");
    let heads = json!({
        "name": "duration_us", "hint": "µs", "title": "duration_us: duration in microseconds",
    });
    assert_eq!(grid["heads"][3], heads, "{report}");
    assert_eq!(grid["first"][3]["align"], "right", "{report}");
    assert_eq!(grid["first"][4]["text"], "null", "{report}");
    assert_eq!(grid["first"][4]["kind"], "is-null", "{report}");
    let csv = report["csv"]["text"].as_str().expect("a file");
    assert!(csv.starts_with("at,stream_id,msn,duration_us,nothing,link\r\n"), "{csv}");
    assert_eq!(csv.lines().count() as u64, grid["rows"].as_u64().expect("a number") + 1);

    assert_eq!(report["inserted"]["text"], "SELECT kind FROM events  LIMIT 3", "{report}");
    assert!(report["inserted"]["trouble"].is_null(), "{report}");
    assert_eq!(report["inserted"]["focus_after_escape"], "Run", "{report}");
    let said = |index: usize| report["troubles"][index].as_str().unwrap_or_default();
    assert!(said(0).contains("nothing"), "{report}");
    assert!(said(1).contains("DROP TABLE is not allowed"), "{report}");
    let cancelled = json!({ "label": "Cancel", "status": "Cancelled.", "after": null });
    assert_eq!(report["cancelled"], cancelled, "{report}");
    assert!(report["long"]["rows"].as_u64() < Some(100), "only what is in sight: {report}");
    assert_eq!(report["long"]["last"], "50,000", "{report}");

    let chart = &report["chart"];
    assert_eq!(chart["title"], "bitrate_bps (bit/s)", "{report}");
    assert!(chart["points"].as_u64() >= Some(10), "{report}");
    assert!(chart["tip"].as_str().is_some_and(|tip| tip.contains("bit/s")), "{report}");
    assert!(chart["spoken"].as_str().is_some_and(|said| said.contains("bit/s")), "{report}");
    assert!(chart["bars"].as_u64() >= Some(2), "picture and sound: {report}");
    assert_eq!(report["phone"], json!({ "overflow": 0, "side": false, "unfolded": true }));
    assert_eq!(report["kept"], true, "{report}");
    assert_eq!(report["unnamed"], json!([]), "{report}");
    assert!(report["link"]["off_s"].as_f64().is_some_and(|off| off.abs() < 3.0), "{report}");
    assert_eq!(report["errors"], json!([]), "{report}");
    assert_eq!(report["foreign_requests"], json!([]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_broadcasts_are_said_to_be_unknown() {
    let _turn = turn().await;
    let server = server(&[STEADY]).await;
    let stream = Stream {
        id: "01900000-0000-7000-8000-000000000000".into(),
        key: String::new(),
        ingest: String::new(),
        playback: String::new(),
    };
    let report = watch(&server, &stream, 2).await;
    assert_eq!(states(&report).last(), Some(&"missing"), "{report}");
}
