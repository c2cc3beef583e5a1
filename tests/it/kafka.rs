//! The log at a Kafka cluster: the server on a real broker that goes away.

use http::StatusCode;
use std::time::Duration;

use crate::support::eventually;
use crate::support::feed::Feed;
use crate::support::player::{Player, assert_clean};
use crate::support::rtmp::Rtmp;
use crate::support::scene::reset;
use crate::support::server::Server;
use crate::support::tansu::Tansu;

#[tokio::test(flavor = "multi_thread")]
async fn live_goes_on_while_the_broker_is_away() {
    let mut broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    let url = broker.url("live");
    let settings = [("transcode.enabled", "false"), ("data.log", url.as_str())];
    let mut server = Server::with(&settings).await;
    assert_eq!(server.get("/readyz").await.status, StatusCode::OK);

    let stream = server.create("on Kafka").await;
    let player = Player::start(&stream);
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let feed = |first_ms, seconds| Feed {
        first_ms,
        length: Duration::from_secs(seconds),
        ..Feed::default()
    };
    let next = feed(0, 2).run(&mut publisher).await;
    server.state(&stream, "STREAM_ACTIVE").await;

    broker.kill();
    let next = feed(next, 6).run(&mut publisher).await;
    let why = eventually("reason in /readyz", async || {
        let answer = server.get("/readyz").await;
        (answer.status == StatusCode::SERVICE_UNAVAILABLE).then(|| answer.text())
    })
    .await;
    assert!(why.contains("Kafka 127.0.0.1") && why.contains("Connection refused"), "{why}");

    // What was announced meanwhile waits for the broker, and is there in the end.
    let broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    let broker = broker.await.expect("the broker again");
    eventually("readiness", async || {
        (server.get("/readyz").await.status == StatusCode::OK).then_some(())
    })
    .await;
    feed(next, 2).run(&mut publisher).await;
    // Without a goodbye, or the broadcast would be over at once.
    reset(publisher);
    server.state(&stream, "RECONNECTING").await;
    let report = player.finish().await;
    assert_clean(&report);
    let before = server.media(&stream, "source").await;

    assert!(server.restart("INT").await, "it ends in order");
    server.state(&stream, "STREAM_COMPLETE").await;
    let after = server.media(&stream, "source").await;
    assert_eq!(before.media_sequence, after.media_sequence);
    assert!(after.duration() >= before.duration() - 0.5, "{} s are left", after.duration());
    drop(broker);
}
