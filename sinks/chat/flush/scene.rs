//! A loop that does only what a test has it do, with a room and one viewer.
//!
//! So that what otherwise takes a thread that was kept waiting happens each time.

use std::io::{ErrorKind, Read as _};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::Bytes;

use super::handler::{Handler, Who};
use super::inbox::{Inbox, Joining, waker};
use super::turn::Loop;
use super::{FlushConfig, SendBy};
use crate::presence::UserTag;
use crate::ring::Start;
use crate::room::Room;

/// Where the loop keeps its only viewer.
pub(super) const KEY: usize = 0;

/// How long the room's texts are.
pub(super) const TEXT_BYTES: usize = 500;

/// See the module.
pub(super) struct Scene {
    pub own: Loop,
    /// In its life 7, in which message 40 was the last. It holds about 130 texts.
    room: Arc<Room>,
    viewer: UnixStream,
    heard: Vec<u8>,
}

struct Silent;

impl Handler for Silent {
    fn text(&self, _who: Who<'_>, _text: &str) {}
}

impl Scene {
    /// The viewer has still to join.
    pub fn new() -> (Self, Joining) {
        let poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(waker(poll.registry()).unwrap()));
        let config = FlushConfig { send_by: SendBy::Send, ..FlushConfig::default() };
        let own = Loop::new(0, config, poll, inbox, Arc::default(), Arc::new(Silent)).unwrap();
        let room = Room::new("room", 7, 40, 1 << 16);
        let (viewer, socket) = UnixStream::pair().unwrap();
        viewer.set_nonblocking(true).unwrap();
        let joining = Joining {
            socket: socket.into(),
            already_read: Bytes::new(),
            room: room.clone(),
            user: UserTag(1),
            start: Start::Live,
        };
        (Self { own, room, viewer, heard: Vec::new() }, joining)
    }

    /// The viewer is in the room.
    pub fn joined() -> Self {
        let (mut scene, joining) = Self::new();
        scene.own.join(joining);
        scene
    }

    /// Texts that are their number.
    pub fn publish(&self, seqs: RangeInclusive<u64>) {
        let width = TEXT_BYTES;
        for seq in seqs {
            self.room.publish(seq, &format!("{seq:0width$}")).unwrap();
        }
    }

    /// The viewer reads until nothing follows: the numbers that it got, and how it was closed.
    pub fn rest(mut self) -> (Vec<u64>, u16, String) {
        for _ in 0..1000 {
            if self.is_over() {
                return self.told();
            }
            // As the loop does when the kernel tells.
            self.own.writable(KEY);
            self.own.catch_up(KEY);
        }
        panic!("it isn't closed");
    }

    fn is_over(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.viewer.read(&mut bytes) {
                Ok(0) => return true,
                Ok(len) => self.heard.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn told(&self) -> (Vec<u64>, u16, String) {
        let (mut numbers, mut rest): (Vec<u64>, &[u8]) = (Vec::new(), &self.heard);
        while let [0x81, 126, _, _, behind @ ..] = rest {
            let (text, next) = behind.split_at(TEXT_BYTES);
            numbers.push(std::str::from_utf8(text).unwrap().parse().unwrap());
            rest = next;
        }
        let [0x88, _, high, low, why @ ..] = rest else { panic!("no close but {rest:?}") };
        let code = u16::from_be_bytes([*high, *low]);
        (numbers, code, String::from_utf8(why.to_vec()).unwrap())
    }
}
