//! Who is told of viewers, and what they are told.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::inbox::{Command, Full, Inbox};
use crate::presence::UserTag;
use crate::ring::Position;
use crate::room::Room;
use crate::ws::{CloseCode, CloseReason, Opcode, Violation, frame};

/// One connection of this process, never used again for another.
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
    pub(crate) inbox: &'a Arc<Inbox>,
}

impl Who<'_> {
    /// Sends a text to this viewer alone.
    pub fn reply(&self, text: &str) -> Result<(), Full> {
        let bytes = Bytes::from(frame(Opcode::Text, text.as_bytes()));
        self.inbox.command(Command::Reply { id: self.id, bytes })
    }

    /// Sends bytes to this viewer alone.
    pub fn reply_binary(&self, payload: &[u8]) -> Result<(), Full> {
        let bytes = Bytes::from(frame(Opcode::Binary, payload));
        self.inbox.command(Command::Reply { id: self.id, bytes })
    }

    /// Closes this viewer's connection.
    pub fn close(&self, reason: CloseReason) -> Result<(), Full> {
        self.inbox.command(Command::Close { id: self.id, reason })
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
/// ends that one connection.
pub trait Handler: Send + Sync + 'static {
    /// A viewer is in the room and stands at `at`. What is returned is sent to it first of
    /// all, as text.
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

    /// A viewer left. Called once for each that joined.
    fn left(&self, who: Who<'_>, why: &Left) {
        let _ = (who, why);
    }
}
