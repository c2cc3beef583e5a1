//! Viewers who are cut off, slow, or don't read at all.

use std::net::SocketAddr;

use clients::net::Trust;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::support::certificate::{certificate, https};
use crate::support::{resident_mib, sockets_of};

/// Messages of each who talks, and requests that say each of them at once.
const EACH: u64 = 15;
const AT_ONCE: usize = 20;
const TALKERS: u64 = 4;

/// All of them, each once.
const ALL: u64 = EACH * TALKERS;

#[tokio::test(flavor = "multi_thread")]
async fn each_is_said_once_however_often_it_is_sent_and_whoever_is_cut() {
    let server = server_with(&[("chat.user_per_minute", "120")]).await;
    let stream = server.create("Sent again").await;
    let people: Vec<_> = join_all(
        (0..TALKERS).map(async |n| Person::new(&server, &format!("talker{n}"), &[]).await),
    )
    .await;
    // Here all along, and reads nothing yet.
    let mut late = Viewer::join(&server, &stream.id).await;
    let epoch = late.epoch();

    let talk = join_all(people.iter().enumerate().map(async |(who, person)| {
        let mut said = Vec::new();
        for n in 0..EACH {
            let body = json!({ "message": format!("{who}: {n}"), "client_id": format!("c{n}") });
            let answers =
                join_all((0..AT_ONCE).map(|_| told(&server, person, &stream, &body))).await;
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
            let seq = answers[0]["seq"].as_u64().expect("a number");
            said.push((seq, body["message"].clone(), answers[0]["message_id"].clone()));
        }
        said
    }));
    let rescale = async {
        for workers in [2, 4, 1, 3, 2] {
            sleep(Duration::from_millis(300)).await;
            server.scale(workers).await;
        }
    };
    // Each is cut after as many messages as it can take, and comes back for the next ones.
    let cut = join_all((2..=5).map(async |patience: u64| {
        let (mut records, mut has) = (Vec::new(), 0);
        while has < ALL {
            let mut viewer = Viewer::rejoin(&server, &stream.id, &epoch, has).await;
            assert_eq!(viewer.welcome["recovered"], true, "{}", viewer.welcome);
            has = (has + patience).min(ALL);
            viewer.until(has).await;
            records.append(&mut viewer.records);
            viewer.cut();
        }
        records
    }));
    // One sip after the other.
    let sip = async {
        let mut viewer = Viewer::rejoin(&server, &stream.id, &epoch, 0).await;
        for seq in 1..=ALL {
            viewer.until(seq).await;
            sleep(Duration::from_millis(40)).await;
        }
        viewer.records
    };
    let (said, (), cut, sipped) = tokio::join!(talk, rescale, cut, sip);
    late.until(ALL).await;

    let all = history(&server, &stream).await;
    let seqs = all.iter().map(|message| message["seq"].as_u64());
    assert!(seqs.eq((1..=ALL).map(Some)), "{all:?}");
    let mut said: Vec<_> = said.into_iter().flatten().collect();
    said.sort_unstable_by_key(|(seq, ..)| *seq);
    assert_eq!(said.len(), all.len());
    for ((seq, message, id), kept) in said.iter().zip(&all) {
        assert_eq!(
            (&kept["seq"], &kept["message"], &kept["message_id"]),
            (&json!(seq), message, id)
        );
    }
    for (who, records) in cut.iter().chain([&sipped, &late.records]).enumerate() {
        assert_eq!(*records, all, "reader {who}");
    }
    assert_eq!(server.metric("millstream_chat_behind_total").await, 0.0);
}

/// Somebody in the room over TLS who reads nothing after the welcome, into a small buffer.
async fn deaf(https: &str, stream: &Stream) -> TlsStream<TcpStream> {
    let address = https.trim_start_matches("https://");
    let address: SocketAddr = address.parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket option");
    let tcp = socket.connect(address).await.expect("connected");
    let config = Trust::Any.client_config(&[b"http/1.1"]).expect("a configuration");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = TlsConnector::from(config).connect(name, tcp).await.expect("TLS");
    let head = format!(
        "GET {}/subscribe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: bWlsbHN0cmVhbSBsb2FkIQ==\r\n\r\n",
        chat(stream)
    );
    tls.write_all(head.as_bytes()).await.expect("sent");
    let (mut answer, mut piece) = (Vec::<u8>::new(), [0_u8; 1024]);
    while !String::from_utf8_lossy(&answer).contains(r#""type":"welcome""#) {
        let read = tls.read(&mut piece).await.expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    tls
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_over_tls_is_let_go_of_and_holds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = certificate(folder.path()).await;
    let own = [("chat.user_per_minute", "120"), ("chat.ring", "128KiB")];
    let server = server_with(&[&own[..], &https(&cert, &key)].concat()).await;
    let stream = server.create("Flooded").await;
    let people: Vec<_> =
        join_all((0..8).map(async |n| Person::new(&server, &format!("talker{n}"), &[]).await))
            .await;
    let mut others = join_all((0..3).map(|_| Viewer::join(&server, &stream.id))).await;
    // Requests of before may not be over yet.
    let mut open = usize::MAX;
    for _ in 0..10 {
        open = open.min(sockets_of(server.pid()));
        sleep(Duration::from_millis(20)).await;
    }
    let memory_mib = resident_mib(server.pid());
    let mut deaf = deaf(&server.found_at("https://"), &stream).await;
    assert_eq!(server.metric("millstream_chat_sockets").await, 4.0);

    // Some 1.6 kB each: beyond half a megabyte nobody should hold it for one viewer.
    let filler = "\u{8a9e}".repeat(480);
    let mut said = 0;
    while server.metric("millstream_chat_behind_total").await == 0.0 {
        assert!(said < 800, "1.3 MB wait somewhere for a viewer who doesn't read");
        let (before, goal) = (said, said + 40);
        let talk = join_all(people.iter().map(async |person| {
            for n in 0..5 {
                let message = format!("{before} {n} {filler}");
                post(&server, person, &stream, json!({ "message": message })).await;
            }
        }));
        let read = join_all(others.iter_mut().map(async |viewer| viewer.until(goal).await));
        tokio::join!(talk, read);
        said = goal;
    }
    // Nothing is held for it any more, although it still reads nothing.
    eventually("end of what was held for it", async || {
        let viewers = server.metric("millstream_chat_sockets").await;
        (viewers == 3.0 && sockets_of(server.pid()) <= open).then_some(())
    })
    .await;
    let grown_mib = resident_mib(server.pid()).saturating_sub(memory_mib);
    assert!(grown_mib < 100, "memory grew by {grown_mib} MiB");
    // What the kernel has of it ends with the connection.
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(20), deaf.read_to_end(&mut rest)).await;
    let how = ended.expect("its connection ends");
    assert!(rest.len() < 800_000, "{} bytes came: {how:?}", rest.len());

    // The others missed nothing, and go on.
    let last = json!({ "message": "who is still here?" });
    assert_eq!(post(&server, &people[0], &stream, last).await["seq"], said + 1);
    for viewer in &mut others {
        viewer.until(said + 1).await;
        let seqs = viewer.records.iter().map(|record| record["seq"].as_u64());
        assert!(seqs.eq((1..=said + 1).map(Some)), "{} records", viewer.records.len());
    }
    assert_eq!(server.metric("millstream_chat_behind_total").await, 1.0);
}
