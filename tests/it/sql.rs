//! SQL by the API and by the command.

use std::process::Output;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::eventually;
use crate::support::feed::Feed;
use crate::support::http::{Answer, request};
use crate::support::scene::{begin, finish, seconds, server_with};
use crate::support::server::{Server, TOKEN, binary};

async fn ask(server: &Server, sql: &str) -> Answer {
    server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await
}

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("sql").args(arguments).env_remove("MILLSTREAM_ADMIN_TOKEN").kill_on_drop(true);
    let output = tokio::time::timeout(seconds(60), command.output()).await;
    output.expect("it ends").expect("it runs")
}

fn out(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_whoever_has_the_token() {
    let server = Server::start().await;
    let url = format!("{}/api/sql", server.http);
    let question = || Some(json!({ "sql": "SELECT 1 AS one" }));
    let without = request(Method::POST, &url, None, question()).await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    let wrong = request(Method::POST, &url, Some("wrong"), question()).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);

    let answer = ask(&server, "SELECT 1 AS one, NULL AS none").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.json()["rows"], json!([{ "one": 1, "none": null }]));
    let columns = ask(&server, "SELECT duration_us FROM segments LIMIT 0").await.json();
    let expected = json!([{
        "name": "duration_us", "type": "Int64", "comment": "duration in microseconds",
    }]);
    assert_eq!(columns["columns"], expected);
    let link = ask(&server, "SELECT play_url('x', '2026-01-01') AS link").await.json();
    let link = link["rows"][0]["link"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&format!("{}/watch/x?at=", server.http)), "{link}");
    let named =
        server.admin(Method::POST, "/api/sql", Some(json!({ "named": "reconnects" }))).await;
    assert_eq!(named.status, StatusCode::OK, "{}", named.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_question_is_said() {
    let server = Server::start().await;
    for (sql, status, said) in [
        ("DROP TABLE segments", StatusCode::FORBIDDEN, "DROP TABLE is not allowed"),
        ("SELECT * FROM '/etc/passwd'", StatusCode::BAD_REQUEST, "not found"),
        ("SELECT nothing FROM segments", StatusCode::BAD_REQUEST, "nothing"),
        ("SELEC 1", StatusCode::BAD_REQUEST, "SELEC"),
        (
            "SELECT * FROM generate_series(1, 3000000)",
            StatusCode::UNPROCESSABLE_ENTITY,
            "more than 1000000 rows",
        ),
        (
            "SELECT repeat('x', 100000) AS x FROM generate_series(1, 2000)",
            StatusCode::UNPROCESSABLE_ENTITY,
            "as JSON",
        ),
    ] {
        let answer = ask(&server, sql).await;
        assert_eq!(answer.status, status, "{sql}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(said), "{sql}: {detail}");
    }
    for body in
        [json!({}), json!({ "sql": "SELECT 1", "named": "reconnects" }), json!({ "named": "x" })]
    {
        let answer = server.admin(Method::POST, "/api/sql", Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_accept_arrow_get_a_stream_that_breaks_off_loudly() {
    let server = Server::start().await;
    let fetch = async |sql: &str| {
        let body: Value = json!({ "sql": sql });
        let request = http::Request::post(format!("{}/api/sql", server.http))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/vnd.apache.arrow.stream")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        Client::builder(TokioExecutor::new())
            .build_http()
            .request(request)
            .await
            .expect("an answer")
    };
    let answer = fetch("SELECT * FROM generate_series(1, 20000)").await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/vnd.apache.arrow.stream");
    let bytes = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    assert_eq!(bytes[..4], [0xff; 4], "the continuation mark of Arrow IPC");
    assert_eq!(bytes[bytes.len() - 8..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], "the end mark");
    let answer = fetch("SELECT * FROM generate_series(1, 3000000)").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.is_err(), "half an answer isn't a whole one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_a_server_and_a_directory() {
    let server = Server::start().await;
    let to_server = ["--server", &server.http, "--token", TOKEN];
    let dir = tempfile::tempdir().expect("a directory");
    let directory = ["--lake", dir.path().to_str().expect("UTF-8")];
    for target in [&to_server[..], &directory[..]] {
        let ask = async |arguments: &[&str]| run(&[arguments, target].concat()).await;
        let table = out(&ask(&["SELECT 1 AS one"]).await);
        assert!(table.contains("| 1   |") && table.ends_with("1 row\n"), "{table}");
        let csv = out(&ask(&["SELECT 1 AS one, 'a,b' AS two", "--format", "csv"]).await);
        assert_eq!(csv, "one,two\n1,\"a,b\"\n");
        let json = out(&ask(&["SELECT * FROM events", "--format", "json"]).await);
        assert_eq!(json, "[]\n");
        let contents = out(&ask(&[]).await);
        assert!(
            contents.contains("stream_health") && contents.contains("reconnects"),
            "{contents}"
        );
        let named = out(&ask(&["--named", "reconnects", "--format", "csv"]).await);
        assert_eq!(named, "stream_id,dropped_at,seconds,came_back,link\n");
        let described = out(&ask(&["DESCRIBE segments"]).await);
        assert!(described.contains("size of its file in bytes"), "{described}");

        let file = dir.path().join("answer.parquet");
        let file = file.to_str().expect("UTF-8");
        out(&ask(&["SELECT 1 AS one", "--format", "parquet", "--output", file]).await);
        let bytes = std::fs::read(file).expect("a file");
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));

        let refused = ask(&["DROP TABLE events"]).await;
        assert!(!refused.status.success());
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(why.contains("DROP TABLE is not allowed"), "{why}");
    }
    let missing = run(&["SELECT 1", "--lake", "/nowhere"]).await;
    assert!(!missing.status.success(), "a typing error isn't an empty lake");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_viewers_report_can_be_asked_for() {
    let server = Server::start().await;
    let stream = server.create("reported").await;
    let url = format!("{}/api/views", server.http);
    let session = "5b0e7e0a-58c5-4d2e-9df5-4a6a3c1f0b11";
    let good = json!({
        "stream": stream.id, "session": session, "rendition": "720p",
        "watched_ms": 9500, "stalls": 1, "stalled_ms": 500, "latency_ms": 1200,
    });
    let answer = request(Method::POST, &url, None, Some(good.clone())).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    let changed = |name: &str, value: Value| {
        let mut report = good.clone();
        report[name] = value;
        report
    };
    for (report, status) in [
        (changed("stream", json!("0198d1a4-0000-7000-8000-000000000000")), StatusCode::NOT_FOUND),
        (changed("video", json!("0198d1a4-0000-7000-8000-000000000000")), StatusCode::NOT_FOUND),
        (changed("watched_ms", json!(-1)), StatusCode::BAD_REQUEST),
        (changed("watched_ms", json!(1_000_000)), StatusCode::BAD_REQUEST),
        (changed("rendition", json!("<b>")), StatusCode::BAD_REQUEST),
        (changed("address", json!("127.0.0.1")), StatusCode::BAD_REQUEST),
        (changed("rendition", json!("x".repeat(4000))), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = request(Method::POST, &url, None, Some(report)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let sql = "SELECT session, rendition, watched_ms, stalls, video_id FROM views";
    let rows = eventually("the report", async || {
        let rows = ask(&server, sql).await.json()["rows"].clone();
        (rows != json!([])).then_some(rows)
    })
    .await;
    let expected = json!([{
        "session": session, "rendition": "720p", "watched_ms": 9500, "stalls": 1, "video_id": null,
    }]);
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_queries_are_not_felt_by_viewers() {
    // Nothing comes of it, so that it works to its time limit.
    const HEAVY: &str = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x) \
         CROSS JOIN generate_series(1, 1000000) AS b(y) WHERE sin(x) + cos(y) > 3";
    let server = Arc::new(server_with(&[]).await);
    let (_, mut publisher, player) = begin(&server, "beside").await;
    let heavy: Vec<_> = (0..3)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { ask(&server, HEAVY).await })
        })
        .collect();
    Feed { length: seconds(10), ..Feed::default() }.run(&mut publisher).await;
    assert!(heavy.iter().all(|query| !query.is_finished()), "all were at work");
    let report = finish(publisher, player).await;
    heavy.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(report.stalls, 0, "{report}");
}
