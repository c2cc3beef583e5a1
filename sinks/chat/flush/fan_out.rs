//! Windows to viewers: one copy out of each ring, one write for each viewer, many writes a batch.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};

use super::connection::{Connection, Pending, Phase, frames_down, frames_up};
use super::handler::{ConnectionId, Left};
use super::outlet::{BATCH, Write};
use super::stats::count;
use super::turn::Loop;
use crate::room::Bounds;

/// What a viewer that is behind gets in one write: the copy is for it alone.
const CATCH_UP_BYTES: usize = 64 * 1024;
/// A batch goes out once its windows are that long, so that the copy stays in the cache.
const BATCH_BYTES: usize = 256 * 1024;
/// What the copy may keep of a day when it was long.
const KEPT_BYTES: usize = 4 * BATCH_BYTES;

/// The batch that is being put together: windows of rooms, and who gets what of them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
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
    to: usize,
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
        let bounds = members.room.window(&mut batch.bytes, |bounds| {
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
                let mut to = batch.bytes.len();
                if to - from > bytes_max {
                    to = from + frames_down(&batch.bytes[from..to], bytes_max);
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
                Some(Write { socket, from: piece.from, to: piece.to })
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
        let mut bytes = 0;
        let (mut full, mut gone) = (Vec::new(), Vec::new());
        for (piece, result) in pieces.iter().zip(done) {
            let Some(connection) = self.connections.get_mut(piece.key as usize) else { continue };
            connection.is_in_batch = false;
            let len = piece.to - piece.from;
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
                continue;
            }
            // The frame that was cut goes on alone, so that replies and a close frame find
            // their place behind it.
            let window = &self.batch.bytes[piece.from..piece.to];
            let whole = frames_up(window, sent);
            connection.offset += whole as u64;
            let mut pending = Box::<Pending>::default();
            pending.push(&window[sent..whole], usize::MAX);
            connection.pending = Some(pending);
            full.push((piece.key as usize, sent > 0));
        }
        count(&self.stats.writes, pieces.len() as u64);
        count(&self.stats.bytes, bytes);
        count(&self.stats.blocked, full.len() as u64);
        for (key, is_in_part) in full {
            self.note_position(key);
            if is_in_part {
                // The kernel tells when there is room only to who was refused: try on.
                self.flush_pending(key);
                self.call_again(key);
            }
        }
        for key in gone {
            self.gone(key as usize, &Left::Gone);
        }
    }

    /// Notes the last message of a viewer that has to wait: should it fall off, it is told.
    pub fn note_position(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(pending) = &mut connection.pending else { return };
        let Some(members) = self.rooms.get(connection.room as usize) else { return };
        pending.seq = members.room.seq_before(connection.offset);
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

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.began = None;
    }
}
