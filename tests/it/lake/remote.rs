//! The lake in a real S3 server that fails: nothing is lost or twice there,
//! nobody who is live notices, and whoever asks is told why.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use http::{Method, StatusCode};
use log::{Embedded, Topic};
use records::schema::TABLES;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Origin, expected, in_log};
use crate::support::faults::{Fault, Faults};
use crate::support::feed::Feed;
use crate::support::http::Answer;
use crate::support::player::{Player, assert_clean, assert_lawful};
use crate::support::rtmp::Rtmp;
use crate::support::s3::{self, BUCKET, S3, SECRET};
use crate::support::scene::{begin, reconnect, seconds, server_with};
use crate::support::server::{Server, binary};
use crate::support::{eventually, root};

fn url() -> String {
    format!("s3://{BUCKET}/the/lake")
}

async fn server_on(faults: &Faults) -> Server {
    let (url, options) = (url(), s3::options(faults.port));
    server_with(&[
        ("lake.root", &url),
        ("lake.options", &options),
        ("lake.commit_busy", "200ms"),
        ("lake.commit_idle", "400ms"),
    ])
    .await
}

async fn ask(server: &Server, sql: &str) -> Answer {
    server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await
}

async fn feed(publisher: &mut Rtmp, first_ms: u32, length: Duration) -> u32 {
    Feed { first_ms, length, ..Feed::default() }.run(publisher).await
}

/// Waits until all that is in the log is committed.
async fn caught_up(server: &Server) {
    eventually("commits of all there is", async || {
        let behind = server.metric("millstream_lake_lag_records").await;
        let up = server.metric("millstream_lake_up").await;
        (behind == 0.0 && up == TABLES.len() as f64).then_some(())
    })
    .await;
}

/// A stream more, and a commit more of its event and of its state.
async fn create(server: &Server) {
    let before = server.metric("millstream_lake_commits_total").await;
    server.create("one more").await;
    eventually("commits", async || {
        (server.metric("millstream_lake_commits_total").await >= before + 2.0).then_some(())
    })
    .await;
}

/// What the server's own program finds there without a server.
async fn by_command(lake: &str, s3: &S3, sql: &str) -> Output {
    let mut command = Command::new(binary());
    command
        .args(["sql", sql, "--format", "json", "--lake", lake])
        .env("AWS_ENDPOINT", format!("http://127.0.0.1:{}", s3.port))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .kill_on_drop(true);
    let output = tokio::time::timeout(seconds(60), command.output()).await;
    output.expect("it ends").expect("it runs")
}

/// What another program finds there: partition and offset of each row, by table.
async fn by_others(s3: &S3) -> BTreeMap<String, Vec<Origin>> {
    let packages = root().join(".cache/python-lake");
    assert!(packages.exists(), "{} is missing: make python-lake", packages.display());
    let output = Command::new("python3")
        .arg(root().join("tests/it/lake/remote.py"))
        .args([url(), format!("http://127.0.0.1:{}", s3.port)])
        .env("PYTHONPATH", packages)
        .output()
        .await
        .expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_in_the_store_once_through_faults_and_a_kill() {
    let s3 = S3::start().await;
    let faults = Faults::start(s3.port).await;
    let mut server = server_on(&faults).await;
    let (stream, mut publisher, player) = begin(&server, "far away").await;
    let mut next = feed(&mut publisher, 0, seconds(2)).await;
    eventually("rows in the store", async || {
        (server.metric("millstream_lake_rows_total").await > 4.0).then_some(())
    })
    .await;
    for fault in [
        Fault::Mixed,
        Fault::LostAnswer,
        Fault::Error,
        Fault::SlowDown,
        Fault::Slow(Duration::from_millis(300)),
    ] {
        faults.set(fault);
        next = feed(&mut publisher, next, seconds(2)).await;
    }
    faults.set(Fault::Away);
    next = feed(&mut publisher, next, seconds(2)).await;
    let why = eventually("trouble in /readyz", async || {
        let ready = server.get("/readyz").await;
        assert_eq!(ready.status, StatusCode::OK, "live doesn't depend on it: {}", ready.text());
        Some(ready.text()).filter(|text| text.contains(&url()))
    })
    .await;
    assert!(why.contains("once the store answers"), "{why}");
    assert!(server.metric("millstream_lake_up").await < TABLES.len() as f64);
    let refused = ask(&server, "SELECT count(*) FROM events").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.text().contains(&url()), "{}", refused.text());
    assert!(![why, refused.text(), server.output()].iter().any(|said| said.contains(SECRET)));
    // Whatever happened to the store: no viewer noticed.
    assert_clean(&player.finish().await);

    faults.set(Fault::Mixed);
    // Not at a cut, which a kill may hide from the log (README, "Limits").
    next = feed(&mut publisher, next, Duration::from_millis(1500)).await;
    server.restart("KILL").await;
    drop(publisher);
    let player = Player::start(&stream);
    let mut publisher = reconnect(&server, &stream).await;
    feed(&mut publisher, next + 500, seconds(2)).await;
    publisher.finish().await;
    assert_lawful(&player.ended().await);
    server.state(&stream, "STREAM_COMPLETE").await;
    faults.set(Fault::None);
    caught_up(&server).await;
    assert_eq!(server.get("/readyz").await.text(), "ready\n");
    let counted = ask(&server, "SELECT count(*) AS n FROM stream_health").await.json();
    let data = server.stop("INT").await;

    let log = Embedded::open(data.path()).expect("the log");
    let stored = by_others(&s3).await;
    for (table, topic) in [("events", Topic::Events), ("stream_health", Topic::Health)] {
        let records = in_log(&log, topic).await;
        assert!(records.len() >= 6, "{} records of {topic}", records.len());
        assert_eq!(stored[table], expected(&records), "{table}");
    }
    let announced: Vec<_> = in_log(&log, Topic::Segments)
        .await
        .into_iter()
        .filter(|record| {
            let value = record.value.as_deref().expect("a value");
            serde_json::from_slice::<Value>(value).expect("JSON").get("segment").is_some()
        })
        .collect();
    assert_eq!(stored["segments"], expected(&announced), "segments");
    assert_eq!(counted["rows"][0]["n"], stored["stream_health"].len());

    let answer = by_command(&url(), &s3, "SELECT count(*) AS n FROM events").await;
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let rows: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    assert_eq!(rows[0]["n"], stored["events"].len());
    let nothing = by_command(&format!("s3://{BUCKET}/typo"), &s3, "SELECT 1").await;
    let why = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.status.success() && why.contains("there is nothing in"), "{why}");
    let bucket = by_command("s3://elsewhere/lake", &s3, "SELECT 1").await;
    let why = String::from_utf8_lossy(&bucket.stderr).into_owned();
    assert!(why.contains("s3://elsewhere/lake") && why.contains("NoSuchBucket"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_takes_few_requests_and_a_bounded_time() {
    let s3 = S3::start().await;
    let faults = Faults::start(s3.port).await;
    let server = server_on(&faults).await;
    for _ in 0..12 {
        create(&server).await;
    }
    let sql = "SELECT count(*) AS n FROM events";
    assert_eq!(ask(&server, sql).await.json()["rows"][0]["n"], 12);
    for what in ["the same", "one commit later"] {
        let before = faults.requests();
        assert_eq!(ask(&server, sql).await.status, StatusCode::OK);
        let requests = faults.requests() - before;
        println!("{requests} requests for a query, {what}");
        assert!(requests < 12, "{requests} requests for a query, {what}");
        create(&server).await;
    }
    // A store that hangs: whoever asks isn't left hanging.
    faults.set(Fault::Slow(seconds(300)));
    let refused = tokio::time::timeout(seconds(45), ask(&server, sql)).await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.text().contains(&url()), "{}", refused.text());
}
