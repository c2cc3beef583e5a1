//! A streamer's own streams and videos, and nobody else's.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Person, assert_is_no_session, call, give, person, text};
use crate::support::eventually;
use crate::support::feed::Feed;
use crate::support::http::Answer;
use crate::support::rtmp::Rtmp;
use crate::support::scene::{server, server_with};
use crate::support::server::{Server, Stream, TOKEN};

async fn create(server: &Server, token: &str, title: &str) -> Answer {
    let body = Some(json!({ "title": title, "category": "tests" }));
    call(server, Some(token), Method::POST, "/api/streams", body).await
}

/// A stream of somebody's own.
async fn stream_of(server: &Server, person: &Person, title: &str) -> Stream {
    let made = create(server, &person.token, title).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let json = made.json();
    let (id, key) = (text(&json, "stream_id"), text(&json, "stream_key"));
    Stream {
        ingest: format!("{}/{key}", server.rtmp),
        playback: text(&json, "playback_url"),
        id,
        key,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_has_streams_of_their_own() {
    let server = server_with(&[("accounts.streams_max", "2")]).await;
    let ann = person(&server, "ann", &["streamer"]).await;
    let bob = person(&server, "bob", &["streamer"]).await;
    let eve = person(&server, "eve", &[]).await;
    assert_eq!(create(&server, &eve.token, "x").await.status, StatusCode::FORBIDDEN);
    let own = stream_of(&server, &ann, "Chess").await;
    let operators = server.create("News").await;
    let path = |stream: &Stream, rest: &str| format!("/api/streams/{}{rest}", stream.id);
    let owner =
        async |id: &str| server.get(&format!("/api/streams/{id}")).await.json()["owner"].clone();
    assert_eq!(owner(&own.id).await, ann.id.as_str());
    assert_eq!(owner(&operators.id).await, json!(null));

    let second = stream_of(&server, &ann, "Go").await;
    let third = create(&server, &ann.token, "Draughts").await;
    assert_eq!(third.status, StatusCode::CONFLICT, "{}", third.text());
    assert!(text(&third.json(), "detail").starts_with("2 of your streams"), "{}", third.text());

    let status = async |token: Option<&str>, method: Method, path: &str| {
        call(&server, token, method, path, None).await.status
    };
    for (who, token) in [("bob", bob.token.as_str()), ("eve", eve.token.as_str())] {
        let key = status(Some(token), Method::POST, &path(&own, "/key")).await;
        let gone = status(Some(token), Method::DELETE, &path(&own, "")).await;
        assert_eq!((key, gone), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN), "{who}");
    }
    let operators_key =
        status(Some(ann.token.as_str()), Method::POST, &path(&operators, "/key")).await;
    assert_eq!(operators_key, StatusCode::FORBIDDEN);
    assert_is_no_session(&call(&server, None, Method::POST, &path(&own, "/key"), None).await);

    let rotated =
        call(&server, Some(ann.token.as_str()), Method::POST, &path(&own, "/key"), None).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.text());
    let key = text(&rotated.json(), "stream_key");
    assert_ne!(key, own.key);
    let gone = status(Some(ann.token.as_str()), Method::DELETE, &path(&second, "")).await;
    assert_eq!(gone, StatusCode::NO_CONTENT);
    let fourth = stream_of(&server, &ann, "Draughts").await;

    // The next broadcast by the same key is theirs as well.
    for _ in 0..2 {
        let mut publisher = Rtmp::publish(&server.rtmp, &key).await;
        let length = Duration::from_millis(1500);
        Feed { length, ..Feed::default() }.run(&mut publisher).await;
        publisher.finish().await;
        server.state(&own, "STREAM_COMPLETE").await;
    }
    let next = eventually("successor", async || {
        let shown = server.get(&path(&own, "")).await.json();
        shown["successor"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(owner(&next).await, ann.id.as_str());

    // Without the role one's streams are the operator's to tend; an admin tends all.
    give(&server, &ann.id, &[]).await;
    let key = status(Some(ann.token.as_str()), Method::POST, &path(&fourth, "/key")).await;
    assert_eq!(key, StatusCode::FORBIDDEN);
    give(&server, &eve.id, &["admin"]).await;
    let gone = status(Some(eve.token.as_str()), Method::DELETE, &path(&fourth, "")).await;
    assert_eq!(gone, StatusCode::NO_CONTENT);
    let gone = status(Some(TOKEN), Method::DELETE, &path(&operators, "")).await;
    assert_eq!(gone, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_has_videos_of_their_own() {
    let server = server().await;
    let ann = person(&server, "ann", &["streamer"]).await;
    let bob = person(&server, "bob", &["streamer"]).await;
    let stream = stream_of(&server, &ann, "Chess").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let length = Duration::from_millis(2500);
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    let video = server.video(&stream).await;
    assert_eq!(text(&video, "owner"), ann.id);
    let id = text(&video, "video_id");
    let by = async |token: Option<&str>, method: Method, rest: &str, body: Option<Value>| {
        call(&server, token, method, &format!("/api/videos/{id}{rest}"), body).await
    };
    let (ann, bob) = (Some(ann.token.as_str()), Some(bob.token.as_str()));

    for (method, rest, body) in [
        (Method::PUT, "", json!({ "title": "Mine" })),
        (Method::PUT, "/status", json!({ "status": "INACTIVE" })),
        (Method::POST, "/clips", json!({ "from_ms": 0, "to_ms": 900, "title": "Mine" })),
        (Method::DELETE, "", json!({})),
    ] {
        let refused = by(bob, method.clone(), rest, Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {rest}: {}", refused.text());
        assert_is_no_session(&by(None, method, rest, Some(body)).await);
    }
    let clip = json!({ "from_ms": 0, "to_ms": 900, "title": "The best of it" });
    let clip = by(ann, Method::POST, "/clips", Some(clip)).await;
    assert_eq!(clip.status, StatusCode::CREATED, "{}", clip.text());
    assert_eq!(clip.json()["owner"], video["owner"]);

    let hidden = by(ann, Method::PUT, "", Some(json!({ "visibility": "PRIVATE" }))).await;
    assert_eq!(hidden.status, StatusCode::OK, "{}", hidden.text());
    let playlist = text(&video, "playback_url");
    for (token, expected) in
        [(ann, StatusCode::OK), (bob, StatusCode::NOT_FOUND), (None, StatusCode::NOT_FOUND)]
    {
        assert_eq!(by(token, Method::GET, "", None).await.status, expected);
        assert_eq!(by(token, Method::GET, "/playback", None).await.status, expected);
        let played = crate::support::http::request(Method::GET, &playlist, token, None).await;
        assert_eq!(played.status, expected);
        let list = call(&server, token, Method::GET, "/api/videos", None).await.json();
        let videos = list["videos"].as_array().expect("videos");
        let is_listed = videos.iter().any(|of| of["video_id"] == id.as_str());
        assert_eq!(is_listed, expected == StatusCode::OK);
    }
    let off = by(ann, Method::PUT, "/status", Some(json!({ "status": "INACTIVE" }))).await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text());
    assert_eq!(by(ann, Method::GET, "/playback", None).await.status, StatusCode::GONE);
    assert_eq!(by(ann, Method::DELETE, "", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(by(ann, Method::GET, "", None).await.status, StatusCode::NOT_FOUND);
}
