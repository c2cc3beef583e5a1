//! Windows to viewers: one copy out of each ring, one write for each viewer, many writes a batch.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};

use super::connection::{Connection, Pending, Phase};
use super::handler::{ConnectionId, Left};
use super::outlet::{BATCH, Write};
use super::stats::count;
use super::turn::Loop;
use crate::ring::Mark;
use crate::room::Bounds;

/// What a viewer that is behind gets in one write: the copy is for it alone.
const CATCH_UP_BYTES: usize = 64 * 1024;
/// A batch goes out once its windows are that long, so that the copy stays in the cache.
const BATCH_BYTES: usize = 256 * 1024;
/// What the copy may keep of a day when it was long.
const KEPT_BYTES: usize = 4 * BATCH_BYTES;
/// The same for its frames.
const KEPT_MARKS: usize = KEPT_BYTES / 64;

/// The batch that is being put together: windows of rooms, and who gets what of them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where the frames in it end. By the time a piece turns out to be cut the ring may hold
    /// them no more.
    marks: Vec<Mark>,
    pieces: Vec<Piece>,
    began: Option<Instant>,
    // Kept for their memory alone.
    keys: Vec<u32>,
    done: Vec<Result<usize>>,
}

/// What a viewer is to get: this much of the batch's bytes.
#[derive(Debug)]
struct Piece {
    key: u32,
    from: usize,
    to: Mark,
}

impl Loop {
    /// A room has news.
    pub fn told(&mut self, id: u64) {
        let Some(&room) = self.rooms_by_id.get(&id) else { return };
        let Some(members) = self.rooms.get_mut(room as usize) else { return };
        members.look(members.room.bounds());
        if !members.is_active {
            members.is_active = true;
            self.active.push(room);
        }
    }

    /// Makes the visits to a room that are due, until `until`. The last of them may still be
    /// in the batch: nobody is visited twice before [`Loop::submit`].
    pub fn visit_room(&mut self, room: u32, until: Instant) {
        let mut keys = std::mem::take(&mut self.batch.keys);
        while let Some(members) = self.rooms.get_mut(room as usize)
            && members.due() > 0
        {
            members.take(BATCH - self.batch.pieces.len(), &mut keys);
            self.gather(room, &keys, usize::MAX);
            keys.clear();
            if self.batch.is_full() {
                self.submit();
                if Instant::now() >= until {
                    break;
                }
            }
        }
        self.batch.keys = keys;
        self.settle(room);
    }

    /// Lets go of a room in which everybody has everything, unless there is news by now.
    fn settle(&mut self, room: u32) {
        let Some(members) = self.rooms.get_mut(room as usize) else { return };
        if !members.is_clean() {
            return;
        }
        // In this order: news between the two is told, news before the look is seen.
        members.is_told.store(false, Ordering::Release);
        if members.look(members.room.bounds()) {
            members.is_told.store(true, Ordering::Release);
            members.accrue(Duration::ZERO);
            return;
        }
        members.is_active = false;
    }

    /// Puts into the batch what each of `keys` doesn't have: whole frames up to about
    /// `bytes_max`. At most [`BATCH`] in all may be gathered before they are submitted.
    fn gather(&mut self, room: u32, keys: &[u32], bytes_max: usize) -> Option<Bounds> {
        let members = self.rooms.get_mut(room as usize)?;
        let (batch, connections) = (&mut self.batch, &mut self.connections);
        batch.began.get_or_insert_with(Instant::now);
        let base = batch.bytes.len();
        let mut first = 0;
        let bounds = members.room.window(&mut batch.bytes, &mut batch.marks, |bounds| {
            let held = bounds.tail..bounds.head;
            first = keys
                .iter()
                .filter_map(|key| connections.get(*key as usize))
                .filter(|connection| connection.pending.is_none() && !connection.is_in_batch)
                .map(|connection| connection.offset)
                .filter(|offset| held.contains(offset))
                .min()?;
            Some(first)
        });
        members.look(bounds);
        let mut behind: Vec<u32> = Vec::new();
        for &key in keys {
            let Some(connection) = connections.get_mut(key as usize) else { continue };
            if connection.is_in_batch {
                continue;
            }
            if connection.offset < bounds.tail {
                behind.push(key);
            } else if connection.pending.is_none() && connection.offset < bounds.head {
                let from = base + (connection.offset - first) as usize;
                let mut to = Mark { end: batch.bytes.len(), seq: bounds.last };
                if to.end - from > bytes_max {
                    to = batch.down(from, bytes_max).unwrap_or(to);
                }
                connection.is_in_batch = true;
                batch.pieces.push(Piece { key, from, to });
            }
        }
        for key in behind {
            self.fell_behind(key as usize);
        }
        Some(bounds)
    }

    /// Sends the batch.
    pub fn submit(&mut self) {
        if self.batch.pieces.is_empty() {
            self.batch.clear();
            return;
        }
        let mut pieces = std::mem::take(&mut self.batch.pieces);
        pieces.retain(|piece| self.connections.contains(piece.key as usize));
        let mut done = std::mem::take(&mut self.batch.done);
        let writes: Vec<Write<'_>> = pieces
            .iter()
            .filter_map(|piece| {
                let socket = self.connections.get(piece.key as usize)?.socket.as_fd();
                Some(Write { socket, from: piece.from, to: piece.to.end })
            })
            .collect();
        self.outlet.write(&self.batch.bytes, &writes, &mut done);
        drop(writes);
        if let Some(began) = self.batch.began {
            self.pace.wrote(pieces.len(), began.elapsed());
        }
        self.account(&pieces, &done);
        (self.batch.pieces, self.batch.done) = (pieces, done);
        self.batch.clear();
    }

    fn account(&mut self, pieces: &[Piece], done: &[Result<usize>]) {
        let (mut bytes, mut blocked) = (0, 0);
        let (mut cut, mut gone) = (Vec::new(), Vec::new());
        for (piece, result) in pieces.iter().zip(done) {
            let Some(connection) = self.connections.get_mut(piece.key as usize) else { continue };
            connection.is_in_batch = false;
            let len = piece.to.end - piece.from;
            let sent = match result {
                Ok(sent) => *sent,
                Err(Errno::AGAIN) => 0,
                Err(_) => {
                    gone.push(piece.key);
                    continue;
                }
            };
            bytes += sent as u64;
            if sent == len {
                connection.offset += len as u64;
                connection.seq = piece.to.seq;
                continue;
            }
            blocked += 1;
            let mut pending = Box::<Pending>::default();
            if sent > 0 {
                // The frame that was cut goes on alone, so that replies and a close frame find
                // their place behind it.
                let at = piece.from + sent;
                let whole = self.batch.up(at).unwrap_or(piece.to);
                connection.offset += (whole.end - piece.from) as u64;
                connection.seq = whole.seq;
                pending.push(&self.batch.bytes[at..whole.end], usize::MAX);
                cut.push(piece.key as usize);
            }
            connection.pending = Some(pending);
        }
        count(&self.stats.writes, pieces.len() as u64);
        count(&self.stats.bytes, bytes);
        count(&self.stats.blocked, blocked);
        for key in cut {
            // The kernel tells when there is room only to who was refused: try on.
            self.flush_pending(key);
            self.call_again(key);
        }
        for key in gone {
            self.gone(key as usize, &Left::Gone);
        }
    }

    /// Gives one viewer what it doesn't have, as far as a turn allows.
    pub fn catch_up(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.phase != Phase::Open || connection.pending.is_some() {
            return;
        }
        let Some(bounds) = self.gather(connection.room, &[key as u32], CATCH_UP_BYTES) else {
            return;
        };
        self.submit();
        // Where the socket is full the kernel calls.
        let has_more = |c: &Connection| c.pending.is_none() && c.offset < bounds.head;
        if self.connections.get(key).is_some_and(has_more) {
            self.call_again(key);
        }
    }

    /// The next turn goes on with this connection.
    pub fn call_again(&mut self, key: usize) {
        if let Some(connection) = self.connections.get(key) {
            self.again.push_back(ConnectionId::new(self.index, connection.generation, key));
        }
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.pieces.len() >= BATCH || self.bytes.len() >= BATCH_BYTES
    }

    /// Where the frame ends that the byte before `at` is of.
    fn up(&self, at: usize) -> Option<Mark> {
        let index = self.marks.partition_point(|mark| mark.end < at);
        self.marks.get(index).copied()
    }

    /// Where the last frame ends that lies within `max` bytes from `from`, where one begins;
    /// that one if none does.
    fn down(&self, from: usize, max: usize) -> Option<Mark> {
        let first = self.marks.partition_point(|mark| mark.end <= from);
        let behind = self.marks.partition_point(|mark| mark.end <= from + max);
        self.marks.get(first.max(behind.saturating_sub(1))).copied()
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.marks.clear();
        self.marks.shrink_to(KEPT_MARKS);
        self.began = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::outlet::send_now;
    use crate::flush::scene::{KEY, Scene, TEXT_BYTES};

    /// With its header.
    const FRAME_BYTES: usize = 4 + TEXT_BYTES;

    /// What somebody hears who got so many messages and fell off then.
    fn fallen(got: u64) -> (Vec<u64>, u16, String) {
        let seq = 40 + got;
        let why = format!(r#"{{"reason":"behind","epoch":7,"seq":{seq}}}"#);
        ((41..=seq).collect(), 4008, why)
    }

    #[test]
    fn frames_are_found_in_a_batch() {
        let ends = [7, 211, 70_221, 70_223].into_iter().zip(1..);
        let marks = ends.map(|(end, seq)| Mark { end, seq }).collect();
        let batch = Batch { marks, ..Batch::default() };
        for (at, end) in [(1, 7), (7, 7), (8, 211), (70_221, 70_221), (70_222, 70_223)] {
            assert_eq!(batch.up(at).unwrap().end, end, "{at} up");
        }
        for (from, max, end) in [
            (0, 0, 7),
            (0, 210, 7),
            (0, 211, 211),
            (0, 70_000, 211),
            (0, 1 << 20, 70_223),
            (7, 100, 211),
            (7, 204, 211),
            (211, 1, 70_221),
        ] {
            assert_eq!(batch.down(from, max).unwrap().end, end, "{from} {max} down");
        }
    }

    #[test]
    fn who_falls_off_between_two_looks_is_told_its_place() {
        for got in [0, 3] {
            let mut scene = Scene::joined();
            scene.publish(41..=40 + got);
            scene.own.catch_up(KEY);
            // Its socket has room, but the loop was kept from looking.
            scene.publish(41 + got..=400);
            scene.own.catch_up(KEY);
            assert_eq!(scene.rest(), fallen(got));
        }
    }

    #[test]
    fn who_falls_off_while_it_is_written_to_is_told_its_place() {
        for sent in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES] {
            let mut scene = Scene::joined();
            scene.publish(41..=43);
            let room = scene.own.connections[KEY].room;
            scene.own.gather(room, &[KEY as u32], usize::MAX);
            // The ring lets go of what is being written.
            scene.publish(44..=400);
            let pieces = std::mem::take(&mut scene.own.batch.pieces);
            // As if the socket had room for so much.
            let socket = scene.own.connections[KEY].socket.as_fd();
            assert_eq!(send_now(socket, &scene.own.batch.bytes[..sent]), Ok(sent));
            scene.own.account(&pieces, &[Ok(sent)]);
            scene.own.batch.clear();
            let whole = sent.div_ceil(FRAME_BYTES) as u64;
            assert_eq!(scene.rest(), fallen(whole), "{sent} bytes sent");
        }
    }

    #[test]
    fn who_falls_off_with_something_pending_is_told_its_place() {
        let mut scene = Scene::joined();
        scene.publish(41..=43);
        scene.own.catch_up(KEY);
        scene.publish(44..=400);
        // A reply found no room, and that only once the ring had moved on.
        scene.own.connections[KEY].pending = Some(Box::default());
        let room = scene.own.connections[KEY].room;
        scene.own.gather(room, &[KEY as u32], usize::MAX);
        assert_eq!(scene.rest(), fallen(3));
    }
}
