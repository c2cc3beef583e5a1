//! PROTOCOLS §4, the rows about peers that break the protocol: a clear refusal
//! or a closed connection; never a panic, a hang, unbounded memory, or harm to
//! another stream.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sources::rtmp::chunk::kind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::feed::Feed;
use crate::support::resident_mib;
use crate::support::rtmp::{Answer, Rtmp, chunk_header};
use crate::support::server::{Server, Stream};

const SOON: Duration = Duration::from_secs(15);

/// The server still takes a broadcast and shows it.
async fn still_serves(server: &Server) {
    let stream = server.create("after the storm").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length: Duration::from_secs(3), ..Feed::default() }.run(&mut publisher).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    let playlist = server.get(&format!("/live/{}/source/index.m3u8", stream.id)).await;
    assert!(playlist.text().contains("#EXT-X-PART"), "{}", playlist.text());
    assert_eq!(server.cluster().await["unplanned_ends"], 0, "no operator panicked");
}

async fn publishing(server: &Server) -> (Rtmp, Stream) {
    let stream = server.create("hostile").await;
    (Rtmp::publish(&server.rtmp, &stream.key).await, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_slow_handshakes_are_closed() {
    let server = Server::with(&[("rtmp.handshake_timeout", "1s")]).await;
    let address = server.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live").to_owned();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[3; 10], &[]] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest);
        let _ = tokio::time::timeout(SOON, read).await.expect("closed in time");
    }
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_chunk_sizes_are_closed() {
    let server = Server::start().await;
    for size in [0u32, 1 << 31, u32::MAX] {
        let (mut rtmp, _) = publishing(&server).await;
        let payload = Bytes::copy_from_slice(&size.to_be_bytes());
        rtmp.message(2, 0, kind::SET_CHUNK_SIZE, 0, payload).await;
        assert!(rtmp.is_closed_within(SOON).await, "chunk size {size}");
    }
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_messages_and_many_chunk_streams_are_closed_without_the_memory() {
    let server = Server::start().await;
    let before = resident_mib(server.pid());
    // 16 MB announced on many chunk streams, none ever finished.
    let mut open = Vec::new();
    for _ in 0..20 {
        let (mut rtmp, _) = publishing(&server).await;
        for chunk_stream in 3..60 {
            let mut bytes = chunk_header(chunk_stream, 0xff_ffff, kind::VIDEO, 1);
            bytes.put_bytes(0, 4096);
            rtmp.send_raw(&bytes).await;
        }
        assert!(rtmp.is_closed_within(SOON).await);
        open.push(rtmp);
    }
    // Every chunk stream that three-byte headers can name.
    let (mut rtmp, _) = publishing(&server).await;
    let mut bytes = BytesMut::new();
    for id in 0..65_536u32 {
        bytes.put_slice(&[0x01, (id & 0xff) as u8, (id >> 8) as u8]);
        bytes.put_slice(&chunk_header(3, 1000, kind::VIDEO, 1)[1..]);
        bytes.put_bytes(0, 1000);
    }
    rtmp.send_raw(&bytes).await;
    assert!(rtmp.is_closed_within(SOON).await);
    let grown = resident_mib(server.pid()).saturating_sub(before);
    assert!(grown < 150, "memory grew by {grown} MiB");
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amf_bombs_are_refused() {
    let server = Server::start().await;
    let mut deep = vec![2, 0, 7];
    deep.extend(b"connect");
    for _ in 0..100_000 {
        deep.extend([3, 0, 1, b'a']);
    }
    let mut long = vec![2, 0, 7];
    long.extend(b"connect");
    // A strict array that claims 2^32 - 1 values, and a long string of 2^32 - 1 bytes.
    let array = [&long[..], &[10, 255, 255, 255, 255]].concat();
    let string = [&long[..], &[12, 255, 255, 255, 255]].concat();
    for payload in [deep, array, string] {
        let mut rtmp = Rtmp::connect(&server.rtmp).await;
        rtmp.message(3, 0, kind::COMMAND, 0, payload.into()).await;
        assert!(rtmp.is_closed_within(SOON).await);
    }
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_after_the_handshake_is_closed() {
    let server = Server::start().await;
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..20 {
        let mut rtmp = Rtmp::connect(&server.rtmp).await;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(50_000)
        .collect();
        rtmp.send_raw(&noise).await;
        rtmp.socket.shutdown().await.ok();
        assert!(rtmp.is_closed_within(SOON).await);
    }
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_tags_harm_nobody() {
    let server = Server::start().await;
    let (mut rtmp, stream) = publishing(&server).await;
    let feed = Feed { length: Duration::from_secs(4), ..Feed::default() };
    feed.headers(&mut rtmp).await;
    for (i, tag) in feed.clip.tags.iter().enumerate() {
        let at = (tag.dts_ns / 1_000_000) as u32;
        // Every fifth tag is cut short or has its bits turned.
        let mut body = tag.body.to_vec();
        match i % 10 {
            3 => body.truncate(body.len() / 3),
            8 => body.iter_mut().skip(5).for_each(|b| *b = !*b),
            _ => {}
        }
        let broken = clients::publish::Tag { body: body.into(), ..tag.clone() };
        feed.tag(&mut rtmp, at, &broken).await;
    }
    for junk in [&[][..], &[0x17], &[0x17, 1, 0], &[0xff; 40], &[0x90, b'n', b'o', b'n', b'e']] {
        rtmp.video(6000, junk.to_vec()).await;
        rtmp.audio(6000, junk.to_vec()).await;
    }
    let health = crate::support::eventually("counted drops", async || {
        let health = server.get(&format!("/api/streams/{}/health", stream.id)).await.json();
        let history = health["history"].as_array()?.clone();
        history.iter().any(|h| h["dropped"].as_u64() > Some(0)).then_some(history)
    })
    .await;
    assert!(!health.is_empty());
    still_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let server = Server::start().await;
    let (mut first, stream) = publishing(&server).await;
    let mut second = Rtmp::connect(&server.rtmp).await;
    let Answer::Refused { code, description } = second.start(&stream.key).await else {
        panic!("a duplicate publisher was let in");
    };
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(!description.is_empty() && !description.contains(&stream.key));

    let mut stranger = Rtmp::connect(&server.rtmp).await;
    let Answer::Refused { code, .. } = stranger.start("ms_no_such_key").await else {
        panic!("a wrong key was let in");
    };
    assert_eq!(code, "NetStream.Publish.Denied");

    // The first publisher is not harmed, and its key works again once it left.
    Feed { length: Duration::from_secs(1), ..Feed::default() }.run(&mut first).await;
    first.finish().await;
    server.state(&stream, "STREAM_COMPLETE").await;
    let mut again = Rtmp::connect(&server.rtmp).await;
    assert_eq!(again.start(&stream.key).await, Answer::Started, "a key outlives a broadcast");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_socket_frees_the_key() {
    let server = Server::with(&[("rtmp.idle_timeout", "2s"), ("transcode.enabled", "false")]).await;
    let (mut silent, stream) = publishing(&server).await;
    Feed { length: Duration::from_secs(1), ..Feed::default() }.run(&mut silent).await;
    // It says nothing more, as a machine whose power was cut.
    server.state(&stream, "RECONNECTING").await;
    let mut again = Rtmp::connect(&server.rtmp).await;
    assert_eq!(again.start(&stream.key).await, Answer::Started);
}
