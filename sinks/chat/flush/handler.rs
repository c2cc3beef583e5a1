//! Who is told of viewers, and what they are told.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::presence::UserTag;
use crate::ring::Position;
use crate::room::Room;
use crate::ws::{CloseCode, CloseReason, Opcode, Violation, frame};

/// One connection of this process. Its loop uses it again after sixteen million others at the
/// earliest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The loop in the top byte, a counter, and where the loop keeps it.
    pub(crate) fn new(loop_index: usize, generation: u32, key: usize) -> Self {
        let generation = u64::from(generation & 0x00ff_ffff);
        Self((loop_index as u64) << 56 | generation << 32 | key as u64 & 0xffff_ffff)
    }

    pub(crate) fn loop_index(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & 0x00ff_ffff
    }

    pub(crate) fn key(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.loop_index(), self.key(), self.generation())
    }
}

/// The viewer that a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// To answer by later, with [`super::Flushers::reply`].
    pub id: ConnectionId,
    /// As it was given with the socket.
    pub user: UserTag,
    /// The room it is in.
    pub room: &'a Arc<Room>,
    pub(super) answers: &'a RefCell<Answers>,
}

/// What a handler answers while it is called; sent when it returns.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub frames: Vec<Vec<u8>>,
    pub close: Option<CloseReason>,
}

impl Who<'_> {
    /// Sends a text to this viewer alone, before anything that it says next is heard.
    pub fn reply(&self, text: &str) {
        self.answers.borrow_mut().frames.push(frame(Opcode::Text, text.as_bytes()));
    }

    /// Sends bytes to this viewer alone.
    pub fn reply_binary(&self, payload: &[u8]) {
        self.answers.borrow_mut().frames.push(frame(Opcode::Binary, payload));
    }

    /// Closes this viewer's connection, behind what was replied.
    pub fn close(&self, reason: CloseReason) {
        self.answers.borrow_mut().close = Some(reason);
    }
}

/// Why a viewer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It closed, with this code if it gave one.
    Closed(Option<CloseCode>),
    /// It broke the protocol.
    Violation(Violation),
    /// It sent bytes, and only text is taken.
    Binary,
    /// It read too slowly: it fell off the ring, or left too many replies unread.
    Behind,
    /// It didn't answer a ping in time.
    Silent,
    /// The connection ended without a word.
    Gone,
    /// It was closed with this code: kicked, the room ended, the server stops.
    Ended(CloseCode),
}

/// What the server does with what viewers do.
///
/// Called in a flush loop, which serves thousands: it must not block. A panic is caught and
/// ends that one connection. A handler that needs [`super::Flushers`] holds them weakly: they
/// hold the handler.
pub trait Handler: Send + Sync + 'static {
    /// A viewer is in the room and stands at `at`. What is returned is sent to it first of
    /// all, as text: the place for the epoch, for `recovered`, and for how long this very
    /// viewer should wait before it comes back one day, lest all come at once.
    fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
        let _ = (who, at);
        None
    }

    /// A viewer sent a text.
    fn text(&self, who: Who<'_>, text: &str);

    /// A viewer sent bytes. Only called where the configuration takes them.
    fn binary(&self, who: Who<'_>, bytes: &[u8]) {
        let _ = (who, bytes);
    }

    /// A viewer left. Called once for each that was handed over, whose room may have ended
    /// before it joined; there is nobody to reply to.
    fn left(&self, who: Who<'_>, why: &Left) {
        let _ = (who, why);
    }
}
