//! The stream API: its answers, and what survives a restart.

use http::{Method, StatusCode};
use serde_json::json;

use crate::support::http::request;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_created_shown_and_deleted() {
    let server = Server::start().await;
    let stream = server.create("First light").await;
    let path = format!("/api/streams/{}", stream.id);

    let shown = server.get(&path).await.json();
    assert_eq!(shown["title"], "First light");
    assert_eq!(shown["state"], "CREATED");
    assert!(!shown.to_string().contains(&stream.key), "the key is shown once only");
    assert_eq!(server.get("/api/streams").await.json()["streams"], json!([]), "not live yet");
    assert_eq!(server.get(&format!("{path}/playback")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&format!("{path}/health")).await.json()["latest"], json!(null));

    assert_eq!(server.admin(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&format!("{path}/playback")).await.status, StatusCode::GONE);
    let unknown = "/api/streams/01900000-0000-7000-8000-000000000000";
    assert_eq!(server.get(unknown).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/api/streams/nonsense").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problem_documents() {
    let server = Server::start().await;
    let url = format!("{}/api/streams", server.http);
    let body = || Some(json!({ "title": "x" }));

    let without = request(Method::POST, &url, None, body()).await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    assert_eq!(without.headers["content-type"], "application/problem+json");
    assert_eq!(without.headers["www-authenticate"], "Bearer");
    assert_eq!(without.json()["status"], 401);
    let wrong = request(Method::POST, &url, Some("wrong"), body()).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);

    for bad in [json!({}), json!({ "title": "  " }), json!({ "title": "x", "colour": 1 })] {
        let answer = server.admin(Method::POST, "/api/streams", Some(bad)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    for (bad, says) in [
        (json!({ "title": "x".repeat(201) }), "title has 201 characters, the limit is 200"),
        (json!({ "title": "x", "category": "x".repeat(101) }), "category has 101 characters"),
        (json!({ "title": "bell\u{7}" }), "title holds control characters"),
    ] {
        let answer = server.admin(Method::POST, "/api/streams", Some(bad)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_keys_survive_a_kill() {
    let mut server = Server::start().await;
    let stream = server.create("Durable").await;
    server.restart("KILL").await;
    let path = format!("/api/streams/{}", stream.id);
    assert_eq!(server.get(&path).await.json()["title"], "Durable");

    let answer = server.admin(Method::POST, &format!("{path}/key"), None).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_ne!(answer.json()["stream_key"], stream.key.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_neither_stored_nor_logged() {
    let server = Server::with(&[("log.level", "trace"), ("transcode.enabled", "false")]).await;
    let stream = server.create("Secret").await;
    assert!(!server.output().contains(&stream.key));
    let mut files = vec![server.data().to_path_buf()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let found = bytes.windows(stream.key.len()).any(|w| w == stream.key.as_bytes());
            assert!(!found, "the key is in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_endpoints_answer() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
    assert_eq!(server.get("/readyz").await.status, StatusCode::OK);
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("millstream_publishers 0"), "{metrics}");
    server.scale(0).await;
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("data plane"), "it says why: {}", answer.text());
}
