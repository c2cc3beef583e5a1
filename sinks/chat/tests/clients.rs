//! Clients of other make, through a real HTTP upgrade.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{FlushConfig, Flushers, Handler, Joining, Room, Start, UserTag, Who, ws};
use chat_load::{MEASURED, Options, Publish};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{ClientBuilder, CloseCode, Config, Limits, Message};

use super::support::with_each_outlet;

/// What is said goes to the room; bytes come back.
#[derive(Default)]
struct Relay(parking_lot::Mutex<u64>);

impl Handler for Relay {
    fn text(&self, who: Who<'_>, text: &str) {
        let mut seq = self.0.lock();
        *seq += 1;
        who.room.publish(*seq, text).unwrap();
        who.reply(&format!("ack {seq}"));
    }

    fn binary(&self, who: Who<'_>, bytes: &[u8]) {
        who.reply_binary(bytes);
    }
}

/// Serves until the runtime ends.
async fn serve(config: &FlushConfig, room: &Arc<Room>) -> SocketAddr {
    let flushers = Arc::new(Flushers::start(config, Arc::new(Relay::default())).unwrap());
    let room = room.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (flushers, room) = (flushers.clone(), room.clone());
            let service = hyper::service::service_fn(move |request| {
                let answer = upgrade(request, flushers.clone(), room.clone());
                async move { Ok::<_, Infallible>(answer) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::spawn(connection);
        }
    });
    address
}

fn room() -> Arc<Room> {
    Room::new("room", 1, 0, 1 << 22)
}

fn upgrade(
    mut request: Request<Incoming>,
    flushers: Arc<Flushers>,
    room: Arc<Room>,
) -> Response<Empty<Bytes>> {
    let accept = ws::accept(request.method(), request.headers()).unwrap();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().unwrap();
        let socket = parts.io.into_inner().into_std().unwrap().into();
        let (already_read, user) = (parts.read_buf, UserTag(1));
        flushers.join(Joining { socket, already_read, room, user, start: Start::Live }).unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .body(Empty::new())
        .unwrap()
}

fn on_runtime<T>(task: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(task)
}

#[test]
fn tokio_websockets_talks_with_it() {
    with_each_outlet(|config| {
        let config = FlushConfig { takes_binary: true, message_bytes_max: 1 << 20, ..config };
        on_runtime(async {
            let address = serve(&config, &room()).await;
            let builder = || {
                ClientBuilder::new()
                    .uri(&format!("ws://{address}/"))
                    .unwrap()
                    // Longer messages go in pieces of a hundred bytes.
                    .config(Config::default().frame_size(100))
                    .limits(Limits::unlimited())
            };
            let (mut one, _) = builder().connect().await.unwrap();
            let (mut other, _) = builder().connect().await.unwrap();
            // Whoever got an answer is in the room.
            for socket in [&mut one, &mut other] {
                socket.send(Message::ping(&b"there?"[..])).await.unwrap();
                let pong = socket.next().await.unwrap().unwrap();
                assert_eq!(&pong.as_payload()[..], b"there?");
            }
            for (number, len) in [1, 100, 5000, 200_000].into_iter().enumerate() {
                let said = "κ".repeat(len);
                one.send(Message::text(said.clone())).await.unwrap();
                let (mut got_ack, mut got_text) = (false, false);
                while !(got_ack && got_text) {
                    let message = one.next().await.unwrap().unwrap();
                    let text = message.as_text().unwrap();
                    got_ack |= text == format!("ack {}", number + 1);
                    got_text |= text == said;
                }
                assert_eq!(other.next().await.unwrap().unwrap().as_text().unwrap(), said);
            }
            let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
            other.send(Message::binary(bytes.clone())).await.unwrap();
            assert_eq!(&other.next().await.unwrap().unwrap().as_payload()[..], bytes);

            one.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "bye")).await.unwrap();
            while let Some(message) = one.next().await {
                let message = message.unwrap();
                if let Some((code, _)) = message.as_close() {
                    assert_eq!(code, CloseCode::NORMAL_CLOSURE);
                }
            }
        });
    });
}

/// Listens for a second.
fn options(address: SocketAddr, viewers: usize) -> Options {
    Options {
        host: "test".into(),
        viewers,
        threads: if viewers > 1 { 2 } else { 1 },
        opening_max: 20,
        duration: Duration::from_secs(1),
        ..Options::new(address)
    }
}

#[test]
fn the_load_tool_finds_nothing_wrong() {
    with_each_outlet(|config| {
        on_runtime(async {
            let address = serve(&config, &room()).await;
            let load = tokio::task::spawn_blocking(move || {
                chat_load::run(Options {
                    headers: vec!["X-From: load".into()],
                    duration: Duration::from_millis(500),
                    publish: Publish::Viewer(r#"{"message":"{}"}"#.into()),
                    rate: 200.0,
                    server_pids: vec![std::process::id()],
                    ..options(address, 60)
                })
            });
            let report = load.await.unwrap().unwrap();
            let seen = &report.findings;
            assert_eq!((report.viewers, report.published), (60, 100));
            assert_eq!((seen.gaps, seen.repeated, report.lost), (0, 0, 0), "{report}");
            assert_eq!(seen.deliveries.iter().sum::<u64>(), 6000);
            assert_eq!(seen.latency[MEASURED].total(), 6000);
            assert!(report.is_clean() && report.server.is_some(), "{report}");
        });
    });
}

#[test]
fn the_load_tool_publishes_by_a_callback() {
    on_runtime(async {
        let room = room();
        let address = serve(&FlushConfig::default(), &room).await;
        let mut seq = 0;
        let publish = move |text: &str| {
            seq += 1;
            room.publish(seq, text).unwrap();
        };
        let options = Options {
            publish: Publish::Callback(Box::new(publish)),
            rate: 100.0,
            duration: Duration::from_millis(300),
            ..options(address, 10)
        };
        let report =
            tokio::task::spawn_blocking(|| chat_load::run(options)).await.unwrap().unwrap();
        assert_eq!((report.published, report.lost, report.findings.gaps), (30, 0, 0));
        assert_eq!(report.findings.deliveries.iter().sum::<u64>(), 300);
    });
}

/// What the load tool is for: it must see what is wrong.
#[test]
fn the_load_tool_sees_what_is_lost() {
    on_runtime(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
            let _ping = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(&ws::frame(ws::Opcode::Pong, b"")).unwrap();
            // 1, 4 and 4 of 5.
            for number in [1, 4, 4] {
                let text = chat_load::Mark::now(1, number).text();
                stream.write_all(&ws::frame(ws::Opcode::Text, text.as_bytes())).unwrap();
            }
            let _until_closed = stream.read(&mut [0; 4096]);
        });
        let load = tokio::task::spawn_blocking(move || chat_load::run(options(address, 1)));
        let seen = load.await.unwrap().unwrap().findings;
        assert_eq!((seen.gaps, seen.repeated), (2, 1));
        assert_eq!(seen.deliveries.iter().sum::<u64>(), 3);
    });
}

#[test]
fn the_load_tool_says_who_was_not_let_in() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(refusal).unwrap();
        }
    });
    let outcome = chat_load::run(options(address, 5));
    assert!(
        matches!(outcome, Err(chat_load::LoadError::NotOpen { open: 0, viewers: 5, .. })),
        "{outcome:?}"
    );
}
