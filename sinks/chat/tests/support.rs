//! A viewer that does exactly what it is told, and loops to try it on.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{
    FlushConfig, Flushers, Handler, Joining, Left, Position, Room, SendBy, Start, UserTag, Who,
};
use parking_lot::{Condvar, Mutex};

/// Longer than anything here takes; whoever waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with each way of sending.
pub fn with_each_outlet(test: impl Fn(FlushConfig)) {
    for send_by in [SendBy::Send, SendBy::Uring] {
        // Kernels without io_uring: `Auto` is `send` there, so all is tested that can run.
        let is_there = Flushers::start(&config(SendBy::Uring), Arc::new(Recorder::default()));
        if send_by == SendBy::Uring && is_there.is_err() {
            continue;
        }
        test(config(send_by));
    }
}

fn config(send_by: SendBy) -> FlushConfig {
    FlushConfig { loops: 2, send_by, ..FlushConfig::default() }
}

/// What the handler was told; tests wait for it to change.
#[derive(Default)]
pub struct Recorder {
    /// Held by a test, it keeps the loop in which somebody says "wait".
    pub gate: Mutex<()>,
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
pub struct Told {
    pub joined: Vec<(u128, Position)>,
    pub said: Vec<(u128, String)>,
    pub left: Vec<(u128, Left)>,
    pub ids: Vec<(u128, chat::ConnectionId)>,
}

impl Recorder {
    pub fn wait(&self, until: impl Fn(&Told) -> bool) {
        let mut told = self.told.lock();
        while !until(&told) {
            let waited = self.changed.wait_for(&mut told, PATIENCE);
            assert!(!waited.timed_out(), "what was waited for didn't happen");
        }
    }

    pub fn told<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock())
    }

    fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told.lock());
        self.changed.notify_all();
    }
}

impl Handler for Recorder {
    fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
        self.note(|told| {
            told.joined.push((who.user.0, *at));
            told.ids.push((who.user.0, who.id));
        });
        Some(format!("hello {} {} {}", at.epoch, at.seq, at.recovered))
    }

    fn text(&self, who: Who<'_>, text: &str) {
        if text == "panic" {
            panic!("as asked");
        }
        if text == "wait" {
            drop(self.gate.lock());
        }
        if let Some(echo) = text.strip_prefix("echo ") {
            who.reply(echo);
        }
        self.note(|told| told.said.push((who.user.0, text.to_owned())));
    }

    fn left(&self, who: Who<'_>, why: &Left) {
        self.note(|told| told.left.push((who.user.0, why.clone())));
    }
}

pub struct Fixture {
    pub flushers: Flushers,
    pub handler: Arc<Recorder>,
    pub room: Arc<Room>,
}

impl Fixture {
    pub fn new(config: &FlushConfig, ring_bytes: usize) -> Self {
        let handler = Arc::new(Recorder::default());
        let flushers = Flushers::start(config, handler.clone()).unwrap();
        Self { flushers, handler, room: Room::new("room", 7, 0, ring_bytes) }
    }

    pub fn join(&self, user: u128) -> Viewer {
        self.join_at(user, Start::Live, &[], None)
    }

    /// Joins and reads the greeting, so what is published from now on arrives.
    pub fn join_at(&self, user: u128, start: Start, read: &[u8], rcvbuf: Option<usize>) -> Viewer {
        let mut viewer = self.socket(user, start, read, rcvbuf);
        match viewer.next() {
            Heard::Text(text) if text.starts_with("hello ") => viewer.greeting = text,
            other => panic!("no greeting but {other:?}"),
        }
        viewer
    }

    pub fn socket(&self, user: u128, start: Start, read: &[u8], rcvbuf: Option<usize>) -> Viewer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Some(bytes) = rcvbuf {
            // Inherited by the accepted side and set on the client's: both ends are small.
            socket2::SockRef::from(&listener).set_send_buffer_size(bytes).unwrap();
        }
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if let Some(bytes) = rcvbuf {
            client.set_recv_buffer_size(bytes).unwrap();
        }
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (server, _) = listener.accept().unwrap();
        self.hand_over(server.into(), user, start, read);
        Viewer::new(client.into())
    }

    /// Joins by one end of a pair of local sockets.
    pub fn local(&self, user: u128) -> Viewer {
        let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.hand_over(theirs.into(), user, Start::Live, &[]);
        let mut viewer = Viewer::new(OwnedFd::from(mine).into());
        assert!(viewer.text().starts_with("hello "));
        viewer
    }

    fn hand_over(&self, socket: OwnedFd, user: u128, start: Start, read: &[u8]) {
        let (already_read, room) = (Bytes::copy_from_slice(read), self.room.clone());
        let user = UserTag(user);
        self.flushers.join(Joining { socket, already_read, room, user, start }).unwrap();
    }

    pub fn publish(&self, seqs: std::ops::RangeInclusive<u64>, text: impl Fn(u64) -> String) {
        for seq in seqs {
            self.room.publish(seq, &text(seq)).unwrap();
        }
    }
}

/// What a viewer got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    End,
}

pub struct Viewer {
    pub stream: TcpStream,
    pub greeting: String,
    buffer: Vec<u8>,
    /// Most bytes of one read.
    pub gulp: usize,
}

impl Viewer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, greeting: String::new(), buffer: Vec::new(), gulp: 65_536 }
    }

    /// The next frame, checked: unmasked, whole, without extension bits.
    pub fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            let mut bytes = vec![0; self.gulp];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "the end comes in the middle of a frame");
                    return Heard::End;
                }
                Ok(len) => self.buffer.extend_from_slice(&bytes[..len]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let &[first, second, ..] = &self.buffer[..] else { return None };
        assert_eq!(second & 0x80, 0, "servers don't mask");
        assert_eq!(first & 0xf0, 0x80, "frames to viewers are whole");
        let (head, len) = match second {
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()) as usize),
            126 => (4, u16::from_be_bytes(self.buffer.get(2..4)?.try_into().unwrap()) as usize),
            len => (2, len as usize),
        };
        let payload = self.buffer.get(head..head + len)?.to_vec();
        self.buffer.drain(..head + len);
        Some(match first & 0x0f {
            1 => Heard::Text(String::from_utf8(payload).unwrap()),
            2 => Heard::Binary(payload),
            8 if payload.is_empty() => Heard::Close(1005, String::new()),
            8 => Heard::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            9 => Heard::Ping(payload),
            10 => Heard::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }

    pub fn text(&mut self) -> String {
        match self.next() {
            Heard::Text(text) => text,
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// Until the end of the connection.
    pub fn rest(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Heard::End => return all,
                heard => all.push(heard),
            }
        }
    }

    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&masked(first, payload)).unwrap();
    }

    pub fn say(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    /// Ends its side; the server's answer can still be read.
    pub fn close(&mut self) -> Vec<Heard> {
        self.send(0x88, &1000u16.to_be_bytes());
        self.rest()
    }
}

pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [7, 77, 177, 255];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    bytes
}
