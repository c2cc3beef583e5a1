//! Autobahn's cases against the real server, also where its suite can't run: classes 1 to 7 and
//! 10, some of 9, and what the RFC says besides. Each case has a socket of its own, by the echo:
//! once with its bytes in one write, once in pieces.

mod cases;

use std::fmt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const ECHO: (&str, &str) = ("chat.echo", "true");

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// First bytes of whole frames, and of a message's pieces.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;

/// Headers of the RFC's example.
const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A frame of the server's: its first byte, and what it holds.
#[derive(Clone, PartialEq, Eq)]
struct Heard(u8, Vec<u8>);

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, payload) = self;
        let start = String::from_utf8_lossy(&payload[..payload.len().min(40)]);
        write!(f, "{first:#x} with {} bytes {start:?}", payload.len())
    }
}

fn text(payload: impl AsRef<[u8]>) -> Heard {
    Heard(TEXT, payload.as_ref().to_vec())
}

fn binary(payload: impl AsRef<[u8]>) -> Heard {
    Heard(BINARY, payload.as_ref().to_vec())
}

fn pong(payload: impl AsRef<[u8]>) -> Heard {
    Heard(PONG, payload.as_ref().to_vec())
}

fn closed(code: u16) -> Heard {
    Heard(CLOSE, code.to_be_bytes().to_vec())
}

/// What is sent, and what has to come of it before the connection ends.
struct Case {
    name: String,
    sent: Vec<u8>,
    heard: Vec<Heard>,
}

/// A case that the client ends if the server doesn't.
fn case(name: impl Into<String>, frames: &[Vec<u8>], heard: &[Heard]) -> Case {
    let mut case = Case { name: name.into(), sent: frames.concat(), heard: heard.to_vec() };
    if heard.last().is_none_or(|last| last.0 != CLOSE) {
        case.sent.extend(close(1000, b""));
        case.heard.push(closed(1000));
    }
    case
}

/// A frame as clients send it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x37u8, 0xfa, 0x21, 0x3d];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// A message in frames of so many bytes.
fn fragments(begins: u8, payload: &[u8], len: usize) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(len) - 1;
    let pieces = payload.chunks(len).enumerate();
    let frames = pieces.map(|(at, piece)| {
        let first = if at == 0 { begins } else { MORE } | if at == last { LAST } else { MORE };
        frame(first, piece)
    });
    frames.collect()
}

/// The server's frames, but for its own pings; of how it closes, the code alone.
fn frames(mut bytes: &[u8]) -> Vec<Heard> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        let Some((Heard(first, mut payload), rest)) = split(bytes) else {
            heard.push(Heard(0, b"and a frame that is cut off".to_vec()));
            break;
        };
        if first == CLOSE {
            payload.truncate(2);
        }
        if first != PING {
            heard.push(Heard(first, payload));
        }
        bytes = rest;
    }
    heard
}

fn split(bytes: &[u8]) -> Option<(Heard, &[u8])> {
    let ([first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = match *second {
        126 => rest.split_at_checked(2)?,
        127 => rest.split_at_checked(8)?,
        _ => (std::slice::from_ref(second), rest),
    };
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let (payload, rest) = rest.split_at_checked(len)?;
    Some((Heard(*first, payload.to_vec()), rest))
}

/// Asks for the echo by these headers, with `early` right behind them; the answer's head.
async fn ask(server: &Server, headers: &[(&str, &str)], early: &[u8]) -> (TcpStream, String) {
    let address = server.http.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.expect("connected");
    socket.set_nodelay(true).expect("an option");
    let mut request = format!("GET /api/chat/echo HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    socket.write_all(&[request.as_bytes(), early].concat()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("an answer"));
    }
    (socket, String::from_utf8(head).expect("text"))
}

async fn open(server: &Server) -> TcpStream {
    let (socket, head) = ask(server, &UPGRADE, b"").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

impl Case {
    /// Tries it, sent in pieces of so many bytes; what is wrong.
    async fn trouble(&self, server: &Server, piece: usize) -> Option<String> {
        let mut socket = open(server).await;
        let (mut reading, mut writing) = socket.split();
        let write = async {
            for piece in self.sent.chunks(piece) {
                // Who has had enough may be gone.
                if writing.write_all(piece).await.is_err() {
                    return;
                }
            }
        };
        let read = async {
            let mut bytes = Vec::new();
            let end = reading.read_to_end(&mut bytes).await;
            (bytes, end)
        };
        let both = async { tokio::join!(write, read) };
        let name = format!("{}, in pieces of {}", self.name, piece.min(self.sent.len()));
        let Ok(((), (bytes, end))) = tokio::time::timeout(PATIENCE, both).await else {
            return Some(format!("{name}: the connection doesn't end"));
        };
        let heard = frames(&bytes);
        let is_right = end.is_ok() && heard == self.heard;
        (!is_right).then(|| format!("{name}: {heard:?} ({end:?}) but not {:?}", self.heard))
    }
}

/// Tries all cases, each in these ways.
async fn hold(server: &Server, cases: &[Case], pieces: impl Fn(&Case) -> Vec<usize>) {
    let mut troubles: Vec<String> = Vec::new();
    for some in cases.chunks(16) {
        let tries = some.iter().flat_map(|case| {
            pieces(case).into_iter().map(move |piece| case.trouble(server, piece))
        });
        troubles.extend(join_all(tries).await.into_iter().flatten());
    }
    assert!(troubles.is_empty(), "{} of {}:\n{}", troubles.len(), cases.len(), troubles.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_protocol_holds() {
    let server = server_with(&[ECHO]).await;
    let cases = cases::all();
    assert!(cases.len() > 250, "{}", cases.len());
    // All at once, and octet by octet or as Autobahn chops what is longer.
    let pieces = |case: &Case| vec![usize::MAX, if case.sent.len() <= 600 { 1 } else { 997 }];
    hold(&server, &cases, pieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_come_back_whole() {
    let server = server_with(&[ECHO]).await;
    let mib = 1 << 20;
    let said = |len: usize| "xκ€κ".repeat(len / 8).into_bytes();
    let (whole, pieces, chops) = (said(16 * mib), said(4 * mib), said(mib));
    let bytes = vec![0xfeu8; 4 * mib];
    let auto = vec![b'*'; 65_536];
    let (quarter, hello) = (said(mib / 4), frame(TEXT, b"Hello, world!"));
    let before_the_end = [frame(TEXT, &quarter), hello, close(1000, b""), frame(PING, b"")];
    let cases = [
        case("9.1.6 16 MiB of text", &[frame(TEXT, &whole)], &[text(&whole)]),
        case("9.2.4 4 MiB", &[frame(BINARY, &bytes)], &[binary(&bytes)]),
        case("9.3.1 in frames of 64", &fragments(TEXT_BEGINS, &pieces, 64), &[text(&pieces)]),
        case(
            "9.4.5 in frames of 16 KiB",
            &fragments(BINARY_BEGINS, &bytes, 1 << 14),
            &[binary(&bytes)],
        ),
        case("10.1.1 in frames of 1300", &fragments(TEXT_BEGINS, &auto, 1300), &[text(&auto)]),
        case(
            "7.1.6 right before the end",
            &before_the_end,
            &[text(&quarter), text("Hello, world!"), closed(1000)],
        ),
    ];
    hold(&server, &cases, |_| vec![usize::MAX]).await;
    let chopped = [case("9.5.1 in chops of 64", &[frame(TEXT, &chops)], &[text(&chops)])];
    hold(&server, &chopped, |_| vec![64]).await;
    for len in [0, 16, 64, 256, 1024, 4096] {
        let trips = round_trips(&server, len);
        tokio::time::timeout(PATIENCE, trips).await.expect("9.7: each comes back");
    }
}

/// 9.7: two hundred messages, each sent once the one before came back.
async fn round_trips(server: &Server, len: usize) {
    let mut socket = open(server).await;
    let payload = vec![b'*'; len];
    let said = frame(TEXT, &payload);
    let mut back = vec![0; len + if len < 126 { 2 } else { 4 }];
    for _ in 0..200 {
        socket.write_all(&said).await.expect("it is sent");
        socket.read_exact(&mut back).await.expect("it comes back");
        assert_eq!(frames(&back), [text(&payload)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_are_opened_as_the_rfc_says() {
    let server = server_with(&[ECHO]).await;
    // An extension is offered, and not taken; who can't wait is heard.
    let deflate = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let offered = [&UPGRADE[..], &deflate[..]].concat();
    let (mut socket, head) = ask(&server, &offered, &frame(TEXT, b"early")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    let mut back = [0; 2 + 5];
    socket.read_exact(&mut back).await.expect("it comes back");
    assert_eq!(&back, b"\x81\x05early");

    for (changed, to, status) in [
        ("Connection", "keep-alive", 426),
        ("Upgrade", "h2c", 426),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Key", "c2hvcnQ=", 400),
    ] {
        let headers = UPGRADE.map(|(name, value)| (name, if name == changed { to } else { value }));
        let (_, head) = ask(&server, &headers, b"").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{changed}: {to}: {head}");
        let says_how = head.to_lowercase().contains("\r\nsec-websocket-version: 13\r\n");
        assert_eq!(says_how, status == 426, "{changed}: {to}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_echo_is_off_and_where_it_is_on_rooms_are_as_they_were() {
    let without = server().await;
    assert_eq!(without.get("/api/chat/echo").await.status, StatusCode::NOT_FOUND);
    drop(without);
    let server = server_with(&[ECHO]).await;
    let stream = server.create("As it was").await;
    let mut viewer = Viewer::join(&server, &stream.id).await;
    viewer.send(&"x".repeat(100_000)).await;
    assert_eq!(viewer.closed().await, 1009);
}
