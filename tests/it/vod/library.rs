//! What is done with videos: clips, search, changes, deletion.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{api, assert_length, media_folder, pictures, playlist, record, rendition_url, text};
use crate::support::eventually;
use crate::support::feed::Feed;
use crate::support::rtmp::Rtmp;
use crate::support::scene::{seconds, server};
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn clips_play_the_same_files_and_outlive_their_recording() {
    let server = server().await;
    let stream = server.create("to be clipped").await;
    let video = record(&server, &stream, seconds(5)).await;
    let clips = api(&video, "/clips");
    let body = json!({ "from_ms": 1500, "to_ms": 3000, "title": "The best of it" });
    let made = server.admin(Method::POST, &clips, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let clip = made.json();
    assert_eq!(
        clip["clip"],
        json!({ "video_id": text(&video, "video_id"), "from_ms": 1500, "to_ms": 3000 })
    );
    let list = playlist(&server, &clip, "source").await;
    assert_eq!(list.segments.len(), 2, "from 1 s to 3 s");
    assert_length(&clip, &list, 50);
    let ladder = crate::support::http::get(text(&clip, "playback_url")).await.text();
    assert!(ladder.contains("#EXT-X-START:TIME-OFFSET=0.5,PRECISE=YES"), "{ladder}");
    assert_eq!(pictures(&rendition_url(&server, &clip, "source")).await, 50);
    let of_clip = json!({ "from_ms": 0, "to_ms": 900, "title": "Less" });
    let smaller = server.admin(Method::POST, &api(&clip, "/clips"), Some(of_clip)).await.json();
    assert_eq!(playlist(&server, &smaller, "source").await.segments.len(), 1);

    for (body, says) in [
        (json!({ "from_ms": 2000, "to_ms": 2000, "title": "x" }), "less than"),
        (json!({ "from_ms": 0, "to_ms": 6000, "title": "x" }), "beyond the end"),
        (json!({ "from_ms": -1, "to_ms": 10, "title": "x" }), "from_ms"),
        (json!({ "from_ms": 0, "to_ms": 10, "title": " " }), "title"),
        (json!({ "from_ms": 0, "title": "x" }), "to_ms"),
        (json!({ "from_ms": 0, "to_ms": 10, "title": "x", "speed": 2 }), "speed"),
    ] {
        let refused = server.admin(Method::POST, &clips, Some(body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
        assert!(text(&refused.json(), "detail").contains(says), "{}", refused.text());
    }

    let gone = server.admin(Method::DELETE, &api(&video, ""), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    assert_eq!(server.get(&api(&video, "")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(pictures(&rendition_url(&server, &clip, "source")).await, 50, "the clip stays");
    let delete = async |clip: &Value| {
        let gone = server.admin(Method::DELETE, &api(clip, ""), None).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    };
    // Both at once: neither may leave the files to the other.
    tokio::join!(delete(&clip), delete(&smaller));
    assert!(!media_folder(&server, &stream).exists(), "the last to play them took them along");
}

/// Titles of the videos that a query finds.
async fn titles(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/videos?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
    let json = answer.json();
    let videos = json["videos"].as_array().expect("videos");
    videos.iter().map(|video| text(video, "title").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_has_all_that_its_key_published() {
    let server = server().await;
    let (one, other) = (server.create("Chess").await, server.create("Cooking").await);
    let length = Duration::from_millis(1500);
    let (first, _) = tokio::join!(record(&server, &one, length), record(&server, &other, length));
    // The same key again is the next broadcast.
    let mut publisher = Rtmp::publish(&server.rtmp, &one.key).await;
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    let of = |id: &str| format!("channel={id}");
    eventually("second video of the channel", async || {
        (titles(&server, &of(&one.id)).await == ["Chess", "Chess"]).then_some(())
    })
    .await;
    let next = server.get(&format!("/api/streams/{}", one.id)).await.json();
    let next = text(&next, "successor");
    assert_eq!(titles(&server, &of(next)).await, ["Chess", "Chess"], "from either");
    let earlier = format!("{}&sort=oldest&limit=1", of(next));
    let page = server.get(&format!("/api/videos?{earlier}")).await.json();
    assert_eq!(page["videos"][0]["video_id"], first["video_id"], "with the other ways to ask");
    assert_eq!(titles(&server, &format!("stream_id={next}")).await.len(), 1);
    assert_eq!(titles(&server, &of(&other.id)).await, ["Cooking"]);
    assert_eq!(titles(&server, &of(text(&first, "video_id"))).await, [] as [&str; 0]);
    assert_eq!(titles(&server, "").await.len(), 3);
    let refused = server.get("/api/videos?channel=chess").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_are_searched_changed_taken_off_and_deleted() {
    let mut server = server().await;
    let (one, other) = (server.create("Chess finals").await, server.create("Cooking").await);
    let (length, more) = (Duration::from_millis(1500), seconds(3));
    let (chess, cooking) =
        tokio::join!(record(&server, &one, length), record(&server, &other, more));
    assert_eq!(titles(&server, "q=CHESS").await, ["Chess finals"]);
    assert_eq!(titles(&server, "sort=title").await, ["Chess finals", "Cooking"]);
    assert_eq!(titles(&server, "sort=longest").await, ["Cooking", "Chess finals"]);
    assert_eq!(titles(&server, "from=2100-01-01").await, [] as [&str; 0]);
    assert_eq!(titles(&server, &format!("stream_id={}", one.id)).await, ["Chess finals"]);
    let page = server.get("/api/videos?sort=title&limit=1").await.json();
    let next = format!("sort=title&limit=1&cursor={}", text(&page, "next_cursor"));
    assert_eq!(titles(&server, &next).await, ["Cooking"]);
    for wrong in ["sort=random", "limit=0", "from=soon", "cursor=zz", "color=red"] {
        let refused = server.get(&format!("/api/videos?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {}", refused.text());
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }

    let rename = json!({ "title": "Chess, round 1", "visibility": "UNLISTED" });
    let changed = server.admin(Method::PUT, &api(&chess, ""), Some(rename)).await;
    assert_eq!(text(&changed.json(), "title"), "Chess, round 1", "{}", changed.text());
    assert_eq!(titles(&server, "").await, ["Cooking"], "it isn't listed any more");
    let segment = format!("/vod/{}/source/0.m4s", text(&chess, "video_id"));
    let answer = server.get(&segment).await;
    assert_eq!(answer.status, StatusCode::OK, "but it plays");
    assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable");
    let hide = json!({ "visibility": "PRIVATE" });
    server.admin(Method::PUT, &api(&chess, ""), Some(hide)).await;
    assert_eq!(server.get(&segment).await.status, StatusCode::NOT_FOUND);
    let live = format!("/live/{}/index.m3u8", one.id);
    assert_eq!(server.get(&live).await.status, StatusCode::NOT_FOUND, "nor this way");
    assert_eq!(server.admin(Method::GET, &segment, None).await.status, StatusCode::OK);

    let off = json!({ "status": "INACTIVE" });
    let off = server.admin(Method::PUT, &api(&cooking, "/status"), Some(off)).await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text());
    assert_eq!(server.get(&api(&cooking, "/playback")).await.status, StatusCode::GONE);
    assert_eq!(
        server.get(&format!("/vod/{}/index.m3u8", text(&cooking, "video_id"))).await.status,
        StatusCode::GONE
    );
    server.state(&other, "INACTIVE").await;
    server.restart("KILL").await;
    assert_eq!(text(&server.get(&api(&cooking, "")).await.json(), "status"), "INACTIVE");
    assert_eq!(server.get(&live).await.status, StatusCode::NOT_FOUND, "nor after a restart");
    let on = json!({ "status": "ARCHIVED" });
    server.admin(Method::PUT, &api(&cooking, "/status"), Some(on)).await;
    assert_eq!(server.get(&api(&cooking, "/playback")).await.status, StatusCode::OK);
    server.state(&other, "ARCHIVED").await;

    for (method, path, body) in [
        (Method::PUT, api(&cooking, ""), json!({ "visibility": "SECRET" })),
        (Method::PUT, api(&cooking, ""), json!({ "title": "x".repeat(201) })),
        (Method::PUT, api(&cooking, "/status"), json!({ "status": "STREAM_ACTIVE" })),
    ] {
        let refused = server.admin(method, &path, Some(body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}: {}", refused.text());
    }
    for (method, path) in [
        (Method::PUT, api(&cooking, "")),
        (Method::DELETE, api(&cooking, "")),
        (Method::PUT, api(&cooking, "/status")),
        (Method::POST, api(&cooking, "/clips")),
    ] {
        let url = format!("{}{path}", server.http);
        let refused = crate::support::http::request(method, &url, None, Some(json!({}))).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let picture = server.get(&api(&cooking, "/thumbnail.jpg")).await;
    assert_eq!(picture.status, StatusCode::OK, "{}", picture.text());
    assert!(picture.body.starts_with(b"\xff\xd8\xff"), "a JPEG");

    assert!(media_folder(&server, &other).exists());
    let gone = server.admin(Method::DELETE, &api(&cooking, ""), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    assert!(!media_folder(&server, &other).exists(), "its files are gone");
    let again = server.admin(Method::DELETE, &api(&cooking, ""), None).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    server.restart("KILL").await;
    assert_eq!(server.get(&api(&cooking, "")).await.status, StatusCode::NOT_FOUND, "for good");
    server.state(&other, "INACTIVE").await;
}
