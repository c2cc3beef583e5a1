//! Peers that misbehave, vanish or are sent away.

use super::*;

#[tokio::test]
async fn a_reset_frees_the_stream_for_the_next() {
    let server = Server::start(RtmpConfig::default()).await;
    for session in 1..=2 {
        let mut peer = Peer::dial(&server).await;
        peer.publish("KEY").await;
        let codes = peer.statuses("NetStream.Publish.Start").await;
        assert_eq!(codes.last().unwrap(), "NetStream.Publish.Start");
        let socket = socket2::SockRef::from(&peer.socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        server.until("its departure", |s| s.departures().len() == session).await;
    }
    assert_eq!(server.closed("io"), 2);
    server.stop().await;
}

#[tokio::test]
async fn an_order_closes_with_its_reason() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let close = Order::Close { reason: "deleted".into(), may_return: false };
    server.gate.orders.send(close).unwrap();
    // It still sends: the reason must reach it all the same.
    peer.send(kind::VIDEO, 0, vec![0; 100_000]).await;
    assert_eq!(peer.statuses("").await, ["NetStream.Publish.Denied"]);
    assert_eq!(
        server.departures(),
        [Departure::Lost { reason: "closed by the server: deleted".into() }]
    );
    server.stop().await;
}

#[tokio::test]
async fn shutdown_tells_publishers_that_they_may_return() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(peer.statuses("").await, ["NetConnection.Connect.Closed"]);
    drop(peer);
    stopping.await.unwrap();
}

#[tokio::test]
async fn silence_and_slowness_have_an_end() {
    let short = Duration::from_millis(200);
    let config = RtmpConfig {
        handshake_timeout: short,
        publish_timeout: 2 * short,
        idle_timeout: 3 * short,
        ..RtmpConfig::default()
    };
    let server = Server::start(config).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&[3, 0, 0]).await.unwrap();
    let mut idle = Peer::dial(&server).await;
    idle.publish("KEY").await;
    let mut undecided = Peer::dial(&server).await;
    undecided.command("connect", &[object([("app", "live".into())])]).await;
    for label in ["handshake_slow", "not_publishing", "idle"] {
        server.until(label, |s| s.closed(label) == 1).await;
    }
    assert!(matches!(&server.departures()[..], [Departure::Lost { .. }]));
    server.stop().await;
}

#[tokio::test]
async fn misbehaving_peers_are_closed_and_counted() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut http = TcpStream::connect(server.address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(http.read(&mut [0; 16]).await.unwrap_or(0), 0);

    for (label, type_id, payload) in [
        ("chunk_size", kind::SET_CHUNK_SIZE, vec![0, 0, 0, 0]),
        ("chunk_size", kind::SET_CHUNK_SIZE, vec![0x80, 0, 0, 0]),
        ("amf", kind::COMMAND, [3, 0, 1, b'a'].repeat(1000)),
    ] {
        let before = server.closed(label);
        let mut peer = Peer::dial(&server).await;
        peer.send(type_id, 0, payload).await;
        assert!(peer.statuses("").await.is_empty());
        server.until(label, |s| s.closed(label) == before + 1).await;
    }
    // 16 MB announced.
    let mut huge = Peer::dial(&server).await;
    huge.socket.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]).await.unwrap();
    server.until("huge", |s| s.closed("message_too_long") == 1).await;
    // 65 thousand chunk streams.
    let mut many = Peer::dial(&server).await;
    let mut bytes = Vec::new();
    for id in 0..=u16::MAX {
        bytes.push(1);
        bytes.extend(id.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    }
    let _ = many.socket.write_all(&bytes).await;
    server.until("many", |s| s.closed("chunk_streams") == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_full_stream_is_not_read() {
    let server = Server::start_with(RtmpConfig::default(), None, 64 << 10).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let flood = tokio::spawn(async move {
        for time in 0..2000 {
            peer.send(kind::VIDEO, time, vec![0; 16 << 10]).await;
        }
        peer
    });
    server.until("full", |s| s.gate.intake.unread_bytes() >= 64 << 10).await;
    // Time passes on purpose: more would come in by then if it were read.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.gate.intake.unread_bytes() < 128 << 10);
    assert!(!flood.is_finished());
    let mut times = Vec::new();
    server
        .until("all packets", |s| {
            times.extend(s.packets().iter().map(|p| match p.body {
                PacketBody::Video { timestamp_ms, .. } => timestamp_ms,
                _ => -1,
            }));
            times.len() == 2000
        })
        .await;
    assert!(times.iter().copied().eq(0..2000));
    flood.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_order_is_obeyed_while_waiting_for_room() {
    let server = Server::start_with(RtmpConfig::default(), None, 1).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    for time in 0..3 {
        peer.send(kind::VIDEO, time, vec![0; 100]).await;
    }
    server.until("full", |s| s.gate.intake.unread_bytes() > 0).await;
    let close = Order::Close { reason: "new key".into(), may_return: false };
    server.gate.orders.send(close).unwrap();
    assert_eq!(peer.statuses("").await, ["NetStream.Publish.Denied"]);
    server.stop().await;
}
