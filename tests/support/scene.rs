//! A broadcast under way, on a server whose segments are short enough for tests.

use std::time::Duration;

use clients::WatchReport;

use super::eventually;
use super::player::Player;
use super::rtmp::{Answer, Rtmp};
use super::server::{Server, Stream};

/// A server that cuts every second, so that a few seconds show much.
pub async fn server() -> Server {
    server_with(&[]).await
}

/// The same with settings.
pub async fn server_with(settings: &[(&str, &str)]) -> Server {
    let short = [
        ("transcode.enabled", "false"),
        ("hls.segment_target", "1s"),
        ("hls.segment_max", "2s"),
        ("debug.faults", "true"),
    ];
    Server::with(&[&short[..], settings].concat()).await
}

/// Begins a broadcast: its stream, its publisher, its player.
pub async fn begin(server: &Server, title: &str) -> (Stream, Rtmp, Player) {
    let stream = server.create(title).await;
    let publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let player = Player::start(&stream);
    (stream, publisher, player)
}

/// Ends the broadcast properly; what the player saw of it.
pub async fn finish(mut publisher: Rtmp, player: Player) -> WatchReport {
    publisher.finish().await;
    let report = player.ended().await;
    assert!(report.ended > 0, "the player saw the end:\n{report}");
    report
}

/// The connection is reset, as by a router that restarts.
pub fn reset(publisher: Rtmp) {
    publisher.socket.set_zero_linger().expect("a socket option");
}

/// Publishes again after a fault, as soon as the server lets it.
pub async fn reconnect(server: &Server, stream: &Stream) -> Rtmp {
    eventually("reconnect", async || {
        let mut rtmp = Rtmp::connect(&server.rtmp).await;
        (rtmp.start(&stream.key).await == Answer::Started).then_some(rtmp)
    })
    .await
}

/// The connection is reset, and nobody publishes for so long that gaps are
/// listed; the publisher that comes then.
pub async fn reconnect_after_gaps(server: &Server, stream: &Stream, publisher: Rtmp) -> Rtmp {
    reset(publisher);
    server.state(stream, "RECONNECTING").await;
    eventually("gap", async || {
        server.media(stream, "source").await.segments.iter().any(|s| s.head.gap).then_some(())
    })
    .await;
    reconnect(server, stream).await
}

/// Seconds as a span.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
