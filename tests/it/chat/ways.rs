//! Other ways than a socket: polling, server-sent events, history, beside the video.

use super::*;
use crate::support::feed::Feed;
use crate::support::http::get;
use crate::support::rtmp::Rtmp;
use crate::support::scene::seconds;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_polls_misses_nothing() {
    let server = server().await;
    let stream = server.create("Polled").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let poll = format!("{}/poll", chat(&stream));
    let begin = server.get(&poll).await.json();
    assert_eq!((&begin["records"], &begin["seq"]), (&json!([]), &json!(0)), "{begin}");
    let epoch = begin["epoch"].as_str().expect("an epoch").to_owned();
    let url = format!("{}{poll}?epoch={epoch}&after=0&wait_s=20", server.http);
    let waits = tokio::spawn(async move { get(&url).await.json() });
    // It is waiting, or will find it there.
    post(&server, &ann, &stream, json!({ "message": "one" })).await;
    let one = waits.await.expect("no panic");
    assert_eq!(one["records"][0]["message"], "one");
    post(&server, &ann, &stream, json!({ "message": "two" })).await;
    post(&server, &ann, &stream, json!({ "message": "three" })).await;
    let rest = server.get(&format!("{poll}?epoch={epoch}&after=1")).await.json();
    let texts: Vec<_> =
        rest["records"].as_array().unwrap().iter().map(|r| r["message"].clone()).collect();
    assert_eq!((texts, &rest["seq"]), (vec![json!("two"), json!("three")], &json!(3)));
    let lost = server.get(&format!("{poll}?epoch=7&after=1")).await.json();
    assert_eq!(lost["recovered"], false);
    let quiet = server.get(&format!("{poll}?epoch={epoch}&after=3&wait_s=0")).await.json();
    assert_eq!(quiet["records"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_behind_the_last_one() {
    let server = server().await;
    let stream = server.create("Events").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let epoch = server.get(&chat(&stream)).await.json()["epoch"].as_str().unwrap().to_owned();
    for n in 1..=3 {
        post(&server, &ann, &stream, json!({ "message": format!("number {n}") })).await;
    }
    let url = format!("{}{}/events", server.http, chat(&stream));
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sN", "--max-time", "3", "-H", &format!("Last-Event-ID: {epoch}-1"), &url]);
    let told = String::from_utf8(curl.output().await.expect("curl").stdout).expect("text");
    assert!(told.contains(&format!("id: {epoch}-2")) && told.contains("number 3"), "{told}");
    assert!(!told.contains("number 1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_leads_from_memory_into_the_lake() {
    // A ring that holds some fifteen messages.
    let server = server_with(&[("chat.ring", "64KiB"), ("chat.user_per_minute", "120")]).await;
    let stream = server.create("Long").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let bob = Person::new(&server, "bob", &[]).await;
    for n in 1..=200 {
        let person = if n % 2 == 0 { &ann } else { &bob };
        let filler = "x".repeat(400);
        post(&server, person, &stream, json!({ "message": format!("{n} {filler}") })).await;
    }
    let mut before = String::new();
    let mut seqs = Vec::new();
    loop {
        let page = server.get(&format!("{}?limit=30{before}", chat(&stream))).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        let page = page.json();
        let messages = page["messages"].as_array().expect("messages");
        seqs.extend(messages.iter().map(|message| message["seq"].as_u64().expect("seq")));
        if page["more"] != true {
            break;
        }
        before = format!("&before={}", seqs.last().expect("some"));
    }
    assert!(seqs.iter().copied().eq((1..=200).rev()), "{seqs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_has_its_chat_in_step() {
    let server = server().await;
    let stream = server.create("Replayed").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let next = Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let said_us = post(&server, &ann, &stream, json!({ "message": "after three seconds" })).await["sent_at_us"].as_u64().unwrap();
    let rest = Feed { first_ms: next, skip: seconds(3), length: seconds(3), ..Feed::default() };
    rest.run_bare(&mut publisher).await;
    let late = post(&server, &ann, &stream, json!({ "message": "oops" })).await;
    let delete = json!({ "kind": "delete", "seq": late["seq"] });
    let acts = format!("{}/acts", chat(&stream));
    assert_eq!(server.admin(Method::POST, &acts, Some(delete)).await.status, StatusCode::CREATED);
    publisher.finish().await;
    let video = server.video(&stream).await;
    let path = format!("/api/videos/{}/chat", video["video_id"].as_str().expect("an id"));
    let whole = eventually("its chat", async || {
        let told = server.get(&path).await.json();
        (!told["messages"].as_array()?.is_empty()).then_some(told)
    })
    .await;
    let messages = whole["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 1, "what was deleted isn't replayed: {whole}");
    let at_ms = messages[0]["at_ms"].as_u64().expect("a position");
    // By the clock at which the broadcast began, to within what a busy machine adds.
    let began_us = video["started_at_us"].as_u64().expect("started");
    let expected_ms = (said_us - began_us) / 1000;
    assert!(at_ms.abs_diff(expected_ms) < 1500, "{at_ms} ms, not {expected_ms} ms");
    let before = server.get(&format!("{path}?from_ms=0&to_ms={}", at_ms - 500)).await.json();
    assert_eq!(before["messages"], json!([]));
    let then = server.get(&format!("{path}?from_ms={}&to_ms={}", at_ms - 500, at_ms + 500)).await;
    assert_eq!(then.json()["messages"][0]["message"], "after three seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_15_viewers_of_hls_are_counted_each_once() {
    let server = server().await;
    let stream = server.create("Counted").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let feed = async { Feed { length: seconds(14), ..Feed::default() }.run(&mut publisher).await };
    let viewers = async || {
        let told = server.get(&format!("/api/streams/{}/viewers", stream.id)).await.json();
        told["viewers"].as_u64().expect("a number")
    };
    let path = format!("/live/{}/source/index.m3u8", stream.id);
    let watch = async {
        eventually("a playlist", async || {
            (server.get(&path).await.status == StatusCode::OK).then_some(())
        })
        .await;
        assert_eq!(viewers().await, 0, "whom nobody counted yet");
        // Two players, one of them twice; and a page that reports, plays and chats.
        let page = "0190a5f0-7c3e-4a11-9d4b-000000000001";
        let mut chatting = None;
        eventually("three viewers", async || {
            for agent in ["VLC/3", "VLC/3", "mpv/0.36", "Page"] {
                let url = format!("{}{path}", server.http);
                let played = curl(&["-A", agent, &url]).await;
                assert!(played.contains("#EXTM3U"), "{played}");
            }
            let report = json!({ "stream": stream.id, "session": page, "watched_ms": 1000 });
            let url = format!("{}/api/views", server.http);
            curl(&["-A", "Page", "-d", &report.to_string(), &url]).await;
            if chatting.is_none() {
                let query = format!("?viewer={page}");
                chatting = Some(Viewer::come(&server, &stream.id, &query).await.expect("let in"));
            }
            (viewers().await == 3).then_some(())
        })
        .await;
        // And it stays so while they go on.
        tokio::time::sleep(seconds(2)).await;
        assert_eq!(viewers().await, 3);
    };
    tokio::join!(feed, watch);
    eventually("nobody", async || (viewers().await == 0).then_some(())).await;
    publisher.finish().await;
}

async fn curl(arguments: &[&str]) -> String {
    let mut curl = tokio::process::Command::new("curl");
    let output = curl.arg("-s").args(arguments).output().await.expect("curl");
    String::from_utf8(output.stdout).expect("text")
}
