//! What strangers try.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_without_a_session_that_is_one() {
    let server = server().await;
    let stream = server.create("Guarded").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let mut viewer = Viewer::join(&server, &stream.id).await;
    viewer.say("hi", "c1").await;
    let refused = viewer.answer().await;
    assert_eq!(
        (&refused["type"], &refused["status"], &refused["client_id"]),
        (&json!("refused"), &json!(401), &json!("c1")),
        "{refused}"
    );
    // eyJhbGciOiJub25lIn0 is {"alg":"none"}.
    for token in ["", "x", "eyJhbGciOiJub25lIn0.e30.", &format!("{}x", ann.token)] {
        viewer.send(&json!({ "type": "hello", "token": token }).to_string()).await;
        let answer = viewer.answer().await;
        assert_eq!(
            (&answer["type"], &answer["status"]),
            (&json!("refused"), &json!(401)),
            "{token}: {answer}"
        );
    }
    assert_eq!(viewer.hello(&ann).await["type"], "you");
    viewer.say("hi", "c2").await;
    assert_eq!(viewer.answer().await["type"], "accepted");
    // A session that ends takes the open socket's words with it.
    let out = ann.call(&server, Method::DELETE, "/api/sessions", Value::Null).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text());
    viewer.say("still here", "c3").await;
    assert_eq!(viewer.answer().await["status"], 401);
    let answer = server.get("/api/streams/00000000-0000-7000-8000-000000000000/chat").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_isnt_understood_is_answered_and_what_is_too_long_ends_it() {
    let server = server().await;
    let stream = server.create("Odd").await;
    let mut viewer = Viewer::join(&server, &stream.id).await;
    for text in ["", "hello", "{}", "[1", r#"{"type":"sing"}"#, r#"{"type":"say","message":7}"#] {
        viewer.send(text).await;
        let answer = viewer.answer().await;
        assert_eq!(
            (&answer["type"], &answer["status"]),
            (&json!("refused"), &json!(400)),
            "{text}: {answer}"
        );
    }
    viewer.send(&"x".repeat(100_000)).await;
    assert_eq!(viewer.closed().await, 1009);
    let url = format!("{}/subscribe", chat(&stream));
    let plain = server.get(&url).await;
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED, "{}", plain.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_one_and_slow_handshakes_do_no_harm() {
    let server = server_with(&[("chat.sockets_max", "300")]).await;
    let stream = server.create("Crowd").await;
    let ann = Person::new(&server, "ann", &[]).await;
    // Heads that never end.
    let address = server.http.trim_start_matches("http://").to_owned();
    let slow = join_all((0..50).map(async |_| {
        let mut socket = TcpStream::connect(&address).await.expect("connected");
        socket
            .write_all(b"GET /api/streams/x/chat/subscribe HTTP/1.1\r\nHost: x\r\nUpg")
            .await
            .expect("sent");
        socket
    }))
    .await;
    let mut sockets = join_all((0..300).map(|_| Viewer::join(&server, &stream.id))).await;
    let full = Viewer::come(&server, &stream.id, "").await;
    assert!(full.is_err(), "one too many");
    assert_eq!(post(&server, &ann, &stream, json!({ "message": "all of you" })).await["seq"], 1);
    join_all(sockets.iter_mut().map(async |viewer| viewer.until(1).await)).await;
    let polled =
        server.get(&format!("{}/poll?epoch={}&after=0", chat(&stream), sockets[0].epoch())).await;
    assert_eq!(polled.json()["records"][0]["message"], "all of you", "polling goes on");
    drop(sockets);
    eventually("room for others", async || Viewer::come(&server, &stream.id, "").await.ok()).await;
    for mut socket in slow {
        let mut answer = Vec::new();
        // Ten seconds are given to a head.
        let ended = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer));
        ended.await.expect("it is ended").ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_chat_says_so() {
    let server = server_with(&[("chat.enabled", "false")]).await;
    let stream = server.create("Silent").await;
    let answer = server.get(&chat(&stream)).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::NOT_FOUND, json!("off"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_anothers_place() {
    let server = server().await;
    let stream = server.create("Places").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let query = "?viewer=0190a5f0-7c3e-4a11-9d4b-000000000001";
    for n in 1..=10 {
        // Both at once, and both say they are the same page.
        let (mut known, stranger) = tokio::join!(
            Viewer::join_as(&server, &stream.id, query, &ann),
            Viewer::come(&server, &stream.id, query),
        );
        let you = known.answer().await;
        assert_eq!((&you["type"], &you["name"]), (&json!("you"), &json!("ann")), "{you}");
        known.say(&format!("it is me {n}"), &format!("k{n}")).await;
        assert_eq!(known.answer().await["type"], "accepted");
        let mut stranger = stranger.expect("let in");
        stranger.say("it is me, too", "s").await;
        assert_eq!(stranger.answer().await["status"], 401);
    }
}
