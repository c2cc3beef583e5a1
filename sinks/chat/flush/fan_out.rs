//! Windows to viewers: one copy out of the ring, one write each.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::io::{Errno, Result};

use super::connection::{Pending, Phase, frames_down, frames_up};
use super::handler::{ConnectionId, Left};
use super::outlet::{BATCH, Write};
use super::stats::count;
use super::turn::Loop;
use crate::room::Bounds;

/// What a viewer that is behind gets in one write: the copy is for it alone.
const CATCH_UP_BYTES: usize = 64 * 1024;
/// How many of those in one turn.
const CATCH_UPS: usize = 4;

/// What a batch needs, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<u32>,
    done: Vec<Result<usize>>,
    window: Window,
}

/// Some of a room's ring, copied.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    room: u64,
    from: u64,
    to: u64,
}

/// What a viewer was to get: this much of the window.
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

    /// Makes up to [`BATCH`] visits; true if more are due.
    pub fn flush_batch(&mut self, room: u32) -> bool {
        let Some(members) = self.rooms.get_mut(room as usize) else { return false };
        if members.due() > 0 {
            let mut keys = std::mem::take(&mut self.fan_out.keys);
            members.take(BATCH, &mut keys);
            self.send_window(room, &keys, usize::MAX);
            keys.clear();
            self.fan_out.keys = keys;
        }
        self.settle(room);
        self.rooms.get(room as usize).is_some_and(|members| members.due() > 0)
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
            members.accrue(std::time::Duration::ZERO);
            return;
        }
        members.is_active = false;
    }

    /// Sends each of `keys` what it doesn't have, whole frames up to about `bytes_max`.
    fn send_window(&mut self, room: u32, keys: &[u32], bytes_max: usize) -> Option<Bounds> {
        let began = Instant::now();
        let members = self.rooms.get_mut(room as usize)?;
        let window = &mut self.fan_out.window;
        let connections = &self.connections;
        let bounds = window.fill(members, || {
            keys.iter()
                .filter_map(|key| connections.get(*key as usize))
                .filter(|connection| connection.pending.is_none())
                .map(|connection| connection.offset)
        });
        members.look(bounds);

        let (mut pieces, mut writes) =
            (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        let mut behind: Vec<u32> = Vec::new();
        for &key in keys {
            let Some(connection) = connections.get(key as usize) else { continue };
            if connection.offset < bounds.tail {
                behind.push(key);
            } else if connection.pending.is_none() && connection.offset < bounds.head {
                let from = (connection.offset - window.from) as usize;
                let mut to = (bounds.head - window.from) as usize;
                if to - from > bytes_max {
                    to = from + frames_down(&window.bytes[from..to], bytes_max);
                }
                pieces.push(Piece { key, from, to });
                writes.push(Write { socket: connection.socket.as_fd(), from, to });
            }
        }
        if !writes.is_empty() {
            let mut done = std::mem::take(&mut self.fan_out.done);
            self.outlet.write(&self.fan_out.window.bytes, &writes, &mut done);
            self.pace.wrote(writes.len(), began.elapsed());
            drop(writes);
            self.account(&pieces, &done);
            self.fan_out.done = done;
        }
        for key in behind {
            self.fell_behind(key as usize);
        }
        Some(bounds)
    }

    fn account(&mut self, pieces: &[Piece], done: &[Result<usize>]) {
        let mut bytes = 0;
        let (mut full, mut gone) = (Vec::new(), Vec::new());
        for (piece, result) in pieces.iter().zip(done) {
            let Some(connection) = self.connections.get_mut(piece.key as usize) else { continue };
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
            let window = &self.fan_out.window.bytes[piece.from..piece.to];
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
        for _ in 0..CATCH_UPS {
            let Some(connection) = self.connections.get(key) else { return };
            if connection.phase != Phase::Open || connection.pending.is_some() {
                return;
            }
            let room = connection.room;
            let Some(bounds) = self.send_window(room, &[key as u32], CATCH_UP_BYTES) else {
                return;
            };
            let Some(connection) = self.connections.get(key) else { return };
            if connection.offset >= bounds.head {
                return;
            }
        }
        self.call_again(key);
    }

    /// The next turn goes on with this connection.
    pub fn call_again(&mut self, key: usize) {
        if let Some(connection) = self.connections.get(key) {
            self.again.push(ConnectionId::new(self.index, connection.generation, key));
        }
    }
}

impl Window {
    /// Looks at the room and has, from the first of `offsets` that is still held, all there is.
    fn fill<I: Iterator<Item = u64>>(
        &mut self,
        members: &super::members::Members,
        offsets: impl FnOnce() -> I,
    ) -> Bounds {
        let (room, own) = (members.room.id(), (self.room, self.from, self.to));
        let mut filled = None;
        let bounds = members.room.window(&mut self.bytes, |bounds| {
            let from = offsets().filter(|at| (bounds.tail..bounds.head).contains(at)).min()?;
            if own.0 == room && own.1 <= from && own.2 == bounds.head {
                return None;
            }
            filled = Some(from);
            filled
        });
        if let Some(from) = filled {
            (self.room, self.from, self.to) = (room, from, bounds.head);
        }
        bounds
    }
}
