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
    /// The last message it was given whole, as far as that is known.
    pub seq: Option<u64>,
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

/// How many bytes of `window`, which begins with a frame, are whole frames if `sent` of them
/// are sent, rounded up: where the frame ends that `sent` lies in.
pub(super) fn frames_up(window: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        end += frame_len(&window[end..]);
    }
    end.min(window.len())
}

/// The same, rounded down, but at least one frame.
pub(super) fn frames_down(window: &[u8], max: usize) -> usize {
    let mut end = 0;
    while end < window.len() {
        let next = end + frame_len(&window[end..]);
        if next > max && end > 0 {
            break;
        }
        end = next;
    }
    end.min(window.len())
}

fn frame_len(frame: &[u8]) -> usize {
    match *frame {
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
        }
        [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
        [_, len, ..] => 2 + usize::from(len),
        // Not a frame: nothing more can be told apart.
        _ => frame.len().max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Opcode, frame};

    #[test]
    fn frames_are_found_in_a_window() {
        let frames: Vec<_> =
            [5, 200, 70_000, 0].iter().map(|len| frame(Opcode::Text, &vec![b'x'; *len])).collect();
        let window = frames.concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        assert_eq!(ends, [7, 211, 70_221, 70_223]);
        for (sent, end) in [(0, 0), (1, 7), (7, 7), (8, 211), (70_221, 70_221), (70_222, 70_223)] {
            assert_eq!(frames_up(&window, sent), end, "{sent} up");
        }
        for (max, end) in [(0, 7), (7, 7), (210, 7), (211, 211), (70_000, 211), (1 << 20, 70_223)] {
            assert_eq!(frames_down(&window, max), end, "{max} down");
        }
    }

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
