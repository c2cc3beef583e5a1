//! What a room said lately, as bytes that can be sent as they are.
//!
//! ```text
//! push(seq, text) ─► │ header+text │ header+text │ … │ ─► copy(from..head): one slice, any number of frames
//!                    tail (offset)                  head
//! seek(epoch, seq) ─► the offset behind that message, or the head with `recovered: false`
//! ```
//!
//! - **Enters**: texts with their sequence number, and texts without one (counts,
//!   notices). **Leaves**: WebSocket frames, contiguous, or their payloads alone.
//! - **Held**: at most `bytes_max`; the oldest frames make room. A new ring is small
//!   and doubles, so that ten thousand quiet rooms cost little.
//! - **Ends**: never by itself.
//! - **Never here**: a hole that nobody is told of. An offset whose bytes are gone is
//!   [`Behind`], and a sequence number whose successors are gone isn't recovered.
//!
//! Offsets count bytes since the ring was made and never wrap; the bytes lie in a
//! power-of-two buffer under them. A frame's header is part of its bytes, so a window
//! is one slice for `send`, and polling readers skip the headers.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::ws::header;

/// How large a new ring is, in bytes.
const BYTES_MIN: usize = 4096;
/// A ring's frames are at least this long on average, or it holds fewer bytes than it may:
/// what is known about each frame is bounded too.
const FRAME_BYTES_MIN: usize = 32;

/// Which frames are still there, and where.
#[derive(Debug)]
pub struct Ring {
    epoch: u64,
    /// Its length is a power of two.
    bytes: Vec<u8>,
    bytes_max: usize,
    tail: u64,
    head: u64,
    frames: VecDeque<Entry>,
    /// Frames ever pushed.
    pushed: u64,
    /// The greatest number that isn't held any more: nothing above it is missing.
    gone: u64,
    /// The greatest number so far.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    /// Its own number, or that of the frame before if it has none.
    seq: u64,
    is_numbered: bool,
}

/// A frame as polling readers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number; None for a notice, which nobody recovers.
    pub seq: Option<u64>,
    /// The text, without the WebSocket header.
    pub payload: Bytes,
}

/// Some frames and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub frames: Vec<Frame>,
    /// The offset behind them.
    pub next: u64,
    /// The greatest number up to `next`.
    pub seq: u64,
}

/// Where a frame ends in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of the copy up to there.
    pub end: usize,
    /// The greatest number up to there.
    pub seq: u64,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Live,
    /// With the oldest frame that is held.
    Oldest,
    /// Behind a message that the reader has.
    After {
        /// The room's life in which it got the message.
        epoch: u64,
        /// The message's number.
        seq: u64,
    },
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The room's life; numbers of another one mean nothing.
    pub epoch: u64,
    /// The number of the last message before the offset.
    pub seq: u64,
    /// In bytes since the ring was made.
    pub offset: u64,
    /// Whether the reader gets all that came after the message it named. True where none
    /// was named.
    pub recovered: bool,
}

/// A reader fell off the ring: frames that it hasn't read are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what comes next at this offset is no longer held; read the history from the log")]
pub struct Behind;

/// Why a text isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Ours: numbers grow, and a room gives each but once.
    #[error("number {seq} doesn't follow {last}; a room's numbers grow")]
    Number {
        /// What was given.
        seq: u64,
        /// The greatest so far.
        last: u64,
    },
    /// Ours: the text would push out most of what others still read.
    #[error("a text of {bytes} bytes is more than a quarter of the ring ({max} bytes); shorten it")]
    TooLong {
        /// With its header.
        bytes: usize,
        /// What is taken.
        max: usize,
    },
}

impl Ring {
    /// An empty ring in the room's life `epoch`, in which messages up to `last` were given
    /// out before and aren't held. `bytes_max` is rounded up to a power of two, at least 4 KiB.
    pub fn new(epoch: u64, last: u64, bytes_max: usize) -> Self {
        let bytes_max = bytes_max.max(BYTES_MIN).next_power_of_two();
        Self {
            epoch,
            bytes: vec![0; BYTES_MIN],
            bytes_max,
            tail: 0,
            head: 0,
            frames: VecDeque::new(),
            pushed: 0,
            gone: last,
            last,
        }
    }

    /// Adds message `seq`, which must be greater than all before. Numbers may be left out
    /// (of messages that were refused later): no reader takes that for a hole.
    pub fn push(&mut self, seq: u64, text: &str) -> Result<(), PushError> {
        if seq <= self.last {
            return Err(PushError::Number { seq, last: self.last });
        }
        self.append(seq, true, text)
    }

    /// Adds a text that has no number: nobody is given it again on recovery alone.
    pub fn notice(&mut self, text: &str) -> Result<(), PushError> {
        self.append(self.last, false, text)
    }

    fn append(&mut self, seq: u64, is_numbered: bool, text: &str) -> Result<(), PushError> {
        let (head, head_len) = header(text.len());
        let bytes = head_len + text.len();
        let max = self.bytes_max / 4;
        if bytes > max {
            return Err(PushError::TooLong { bytes, max });
        }
        self.make_room(bytes);
        self.frames.push_back(Entry { offset: self.head, seq, is_numbered });
        self.put(&head[..head_len]);
        self.put(text.as_bytes());
        self.last = seq;
        self.pushed += 1;
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) {
        let held = (self.head - self.tail) as usize;
        if held + bytes > self.bytes.len() && self.bytes.len() < self.bytes_max {
            self.grow(held + bytes);
        }
        let frames_max = self.bytes_max / FRAME_BYTES_MIN;
        while (self.head - self.tail) as usize + bytes > self.bytes.len()
            || self.frames.len() >= frames_max
        {
            let Some(oldest) = self.frames.pop_front() else { return };
            self.gone = oldest.seq;
            self.tail = self.frames.front().map_or(self.head, |next| next.offset);
        }
    }

    fn grow(&mut self, needed: usize) {
        let len = needed.next_power_of_two().min(self.bytes_max);
        let mut held = Vec::new();
        self.copy_held(self.tail, &mut held);
        self.bytes = vec![0; len];
        let head = self.head;
        self.head = self.tail;
        self.put(&held);
        debug_assert_eq!(self.head, head, "growing moves no offset");
    }

    fn put(&mut self, piece: &[u8]) {
        let at = self.index(self.head);
        let first = piece.len().min(self.bytes.len() - at);
        self.bytes[at..at + first].copy_from_slice(&piece[..first]);
        self.bytes[..piece.len() - first].copy_from_slice(&piece[first..]);
        self.head += piece.len() as u64;
    }

    fn index(&self, offset: u64) -> usize {
        (offset & (self.bytes.len() as u64 - 1)) as usize
    }

    /// Appends all from `from`, where a frame begins, to the head to `to`, and to `marks` where
    /// each of these frames ends in it.
    pub fn copy(&self, from: u64, to: &mut Vec<u8>, marks: &mut Vec<Mark>) -> Result<(), Behind> {
        if from < self.tail || from > self.head {
            return Err(Behind);
        }
        let base = to.len();
        self.copy_held(from, to);
        // Counted from the newest back: most readers lack but the last few.
        let count = self.frames.iter().rev().take_while(|frame| frame.offset >= from).count();
        let frames = self.frames.range(self.frames.len() - count..);
        let ends = frames.clone().skip(1).map(|next| next.offset).chain([self.head]);
        marks.extend(
            frames
                .zip(ends)
                .map(|(frame, end)| Mark { end: base + (end - from) as usize, seq: frame.seq }),
        );
        Ok(())
    }

    fn copy_held(&self, from: u64, to: &mut Vec<u8>) {
        let len = (self.head - from) as usize;
        let at = self.index(from);
        let first = len.min(self.bytes.len() - at);
        to.extend_from_slice(&self.bytes[at..at + first]);
        to.extend_from_slice(&self.bytes[..len - first]);
    }

    /// Where a reader that starts so stands.
    pub fn seek(&self, start: Start) -> Position {
        let live = Position {
            epoch: self.epoch,
            seq: self.last,
            offset: self.head,
            recovered: matches!(start, Start::Live),
        };
        let (epoch, seq) = match start {
            Start::Live => return live,
            Start::Oldest => {
                let (seq, offset) = (self.gone, self.tail);
                return Position { seq, offset, recovered: true, ..live };
            }
            Start::After { epoch, seq } => (epoch, seq),
        };
        if epoch != self.epoch || seq < self.gone || seq > self.last {
            return live;
        }
        // Notices behind the message carry its number: they were shown, or are outdated.
        let next = self.frames.partition_point(|frame| frame.seq <= seq);
        let offset = self.frames.get(next).map_or(self.head, |frame| frame.offset);
        Position { epoch, seq, offset, recovered: true }
    }

    /// The frames at `from`, whole ones up to `bytes_max`, at least one if there is one.
    pub fn page(&self, from: u64, bytes_max: usize) -> Result<Page, Behind> {
        if from < self.tail || from > self.head {
            return Err(Behind);
        }
        let first = self.frames.partition_point(|frame| frame.offset < from);
        let mut bytes = BytesMut::new();
        let mut bounds = Vec::new();
        let (mut next, mut seq) = (from, self.seq_before(from).unwrap_or(self.gone));
        for index in first..self.frames.len() {
            let frame = self.frames[index];
            let end = self.frames.get(index + 1).map_or(self.head, |after| after.offset);
            if end - from > bytes_max as u64 && !bounds.is_empty() {
                break;
            }
            let begins = frame.offset + header_len(end - frame.offset);
            bounds.push((frame.is_numbered.then_some(frame.seq), (end - begins) as usize));
            self.copy_range(begins, end, &mut bytes);
            (next, seq) = (end, frame.seq);
        }
        let mut bytes = bytes.freeze();
        let frames = bounds
            .into_iter()
            .map(|(seq, len)| Frame { seq, payload: bytes.split_to(len) })
            .collect();
        Ok(Page { frames, next, seq })
    }

    fn copy_range(&self, from: u64, end: u64, to: &mut BytesMut) {
        let at = self.index(from);
        let len = (end - from) as usize;
        let first = len.min(self.bytes.len() - at);
        to.extend_from_slice(&self.bytes[at..at + first]);
        to.extend_from_slice(&self.bytes[..len - first]);
    }

    /// The number of the last message before `offset`; None if that isn't held any more.
    pub fn seq_before(&self, offset: u64) -> Option<u64> {
        if offset < self.tail {
            return None;
        }
        let next = self.frames.partition_point(|frame| frame.offset < offset);
        let before = next.checked_sub(1).and_then(|index| self.frames.get(index));
        Some(before.map_or(self.gone, |frame| frame.seq))
    }

    /// The room's life.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The offset behind the newest frame.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The offset of the oldest frame.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The greatest number so far.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Frames ever pushed.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }
}

/// How long the header of a frame of `bytes` in all is.
fn header_len(bytes: u64) -> u64 {
    match bytes {
        0..=127 => 2,
        128..=65_539 => 4,
        _ => 10,
    }
}
