//! One viewer, as its loop knows it: an offset, and a buffer only while something waits.

use std::os::fd::OwnedFd;

use crate::presence::UserTag;
use crate::ws::Parser;

/// About 150 bytes; everything that a quiet viewer costs besides the kernel's socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: OwnedFd,
    pub user: UserTag,
    pub generation: u32,
    /// Where its loop keeps the room.
    pub room: u32,
    /// Its place among the room's members.
    pub place: u32,
    /// Of the first frame that it wasn't given; always where a frame begins.
    pub offset: u64,
    /// The last message before `offset`. Should it fall off the ring, it is told to come back
    /// with this; the ring knows nothing of that offset any more.
    pub seq: u64,
    pub phase: Phase,
    /// What has to be sent before the ring's frames. While there is some the socket is full,
    /// and the kernel says when it isn't.
    pub pending: Option<Box<Pending>>,
    pub parser: Parser,
    /// Beats: when it was last pinged, or joined.
    pub pinged_at: u32,
    /// In the batch that isn't sent yet. Twice in one, and what the socket had no room for of
    /// the first piece would come behind the second.
    pub is_in_batch: bool,
    /// Pinged, and nothing was heard since.
    pub is_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the room.
    Open,
    /// Out of the room. The close frame is sent or pending; what comes in is thrown away until
    /// the viewer ends the connection or this beat comes.
    Closing { until: u32 },
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    sent: usize,
    /// The last of it is a close frame.
    pub is_last: bool,
}

impl Pending {
    /// What is still to be sent.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So much of it was sent.
    pub fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        // The front is dropped once it is half, so that a steady trickle doesn't grow it.
        if self.sent > 4096 && self.sent * 2 > self.bytes.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Puts something behind it; false if that is more than `max` in all.
    pub fn push(&mut self, bytes: &[u8], max: usize) -> bool {
        if self.rest().len() + bytes.len() > max {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Adds what ends it, whatever its size.
    pub fn push_last(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_last = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_keeps_order_and_its_bound() {
        let mut pending = Pending::default();
        assert!(pending.push(&[1; 5000], 6000));
        assert!(!pending.push(&[2; 1001], 6000));
        assert!(pending.push(&[2; 1000], 6000));
        pending.advance(4999);
        assert_eq!(pending.rest()[..2], [1, 2]);
        assert!(pending.push(&[3; 4000], 6000), "what was sent leaves room");
        pending.push_last(b"bye");
        assert_eq!(pending.rest().len(), 1 + 1000 + 4000 + 3);
        assert!(pending.is_last);
    }

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 192, "{} bytes", size_of::<Connection>());
    }
}
