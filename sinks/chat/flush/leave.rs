//! What goes to one viewer besides windows, and how its connection ends.
//!
//! Ended by us or by the viewer's close frame, the order is: out of the room, a close frame
//! behind what is pending, our side shut; then what comes is thrown away until the viewer
//! ends its side or the linger time is over, lest a reset overtake the close frame.

use std::os::fd::AsFd as _;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::connection::Phase;
use super::handler::Left;
use super::outlet::send_now;
use super::stats::count;
use super::turn::{BEAT, Loop};
use crate::presence::UserTag;
use crate::ws::{CloseCode, CloseReason, Opcode, frame};

impl Loop {
    /// Sends a whole frame, or what of it the socket has room for; the rest is pending.
    pub fn put(&mut self, key: usize, frame: &[u8]) {
        let max = self.config.pending_bytes_max;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(pending) = &mut connection.pending {
            if !pending.push(frame, max) {
                self.fell_behind(key);
            }
            return;
        }
        match send_now(connection.socket.as_fd(), frame) {
            Ok(sent) if sent == frame.len() => {}
            Ok(sent) => self.wait_with(key, &frame[sent..], false),
            Err(Errno::AGAIN) => self.wait_with(key, frame, false),
            Err(_) => self.gone(key, &Left::Gone),
        }
    }

    /// A reply for a viewer that is in its room.
    pub fn reply(&mut self, key: usize, frame: &[u8]) {
        if self.connections.get(key).is_some_and(|c| c.phase == Phase::Open) {
            self.put(key, frame);
        }
    }

    fn wait_with(&mut self, key: usize, rest: &[u8], is_last: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let pending = connection.pending.get_or_insert_default();
        if is_last {
            pending.push_last(rest);
        } else {
            // One frame alone may be larger than what may gather: it was accepted whole.
            pending.push(rest, usize::MAX);
        }
        count(&self.stats.blocked, 1);
        self.flush_pending(key);
    }

    /// The kernel has room again, perhaps.
    pub fn writable(&mut self, key: usize) {
        if self.connections.get(key).is_none_or(|connection| connection.pending.is_none()) {
            return;
        }
        self.flush_pending(key);
        self.catch_up(key);
    }

    /// Sends what is pending until it is gone or the socket is full.
    pub fn flush_pending(&mut self, key: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Some(pending) = &mut connection.pending else { return };
            if pending.rest().is_empty() {
                let is_last = pending.is_last;
                connection.pending = None;
                if is_last {
                    self.shut(key);
                }
                return;
            }
            match send_now(connection.socket.as_fd(), pending.rest()) {
                Ok(sent) => pending.advance(sent),
                Err(Errno::AGAIN) => return,
                Err(_) => return self.gone(key, &Left::Gone),
            }
        }
    }

    /// Out of the room, with a close frame.
    pub fn end(&mut self, key: usize, reason: CloseReason) {
        let why = Left::Ended(reason.code);
        self.end_with(key, &reason.payload(), &why);
    }

    /// The same with any close frame and reason.
    pub fn end_with(&mut self, key: usize, payload: &[u8], why: &Left) {
        if !self.leave_room(key, why) {
            return;
        }
        let until = self.beat + self.config.linger.div_duration_f32(BEAT).ceil() as u32;
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.phase = Phase::Closing { until };
        let close = frame(Opcode::Close, payload);
        if let Some(pending) = &mut connection.pending {
            pending.push_last(&close);
            return;
        }
        match send_now(connection.socket.as_fd(), &close) {
            Ok(sent) if sent == close.len() => self.shut(key),
            Ok(sent) => self.wait_with(key, &close[sent..], true),
            Err(Errno::AGAIN) => self.wait_with(key, &close, true),
            Err(_) => self.gone(key, why),
        }
    }

    /// Nothing follows from us.
    fn shut(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key) else { return };
        if shutdown(&connection.socket, Shutdown::Write).is_err() {
            self.gone(key, &Left::Gone);
        }
    }

    /// It fell off the ring, or leaves its replies unread. What is pending is sent before it
    /// is told, so it has all messages up to its place.
    pub fn fell_behind(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key) else { return };
        let seq = connection.seq;
        let Some(members) = self.rooms.get(connection.room as usize) else { return };
        let epoch = members.room.epoch();
        let text = format!(r#"{{"reason":"behind","epoch":{epoch},"seq":{seq}}}"#);
        count(&self.stats.behind, 1);
        let reason = CloseReason::new(CloseCode::BEHIND, text);
        self.end_with(key, &reason.payload(), &Left::Behind);
    }

    /// The connection is over: nothing more can be sent.
    pub fn gone(&mut self, key: usize, why: &Left) {
        self.leave_room(key, why);
        if self.connections.contains(key) {
            // Closing the socket takes it out of the poll as well.
            self.connections.remove(key);
            self.inbox.gone();
        }
    }

    /// False if it isn't in a room (any more).
    fn leave_room(&mut self, key: usize, why: &Left) -> bool {
        let until = self.beat;
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if connection.phase != Phase::Open {
            return false;
        }
        connection.phase = Phase::Closing { until };
        self.call(key, |handler, who| handler.left(who, why));
        let Some(connection) = self.connections.get(key) else { return false };
        let (room, place, user) = (connection.room, connection.place, connection.user);
        let Some(members) = self.rooms.get_mut(room as usize) else { return false };
        members.room.presence().leave(user);
        let connections = &mut self.connections;
        members.remove(place, |key, place| {
            if let Some(moved) = connections.get_mut(key as usize) {
                moved.place = place;
            }
        });
        if members.len() == 0 {
            members.room.forget(&members.is_told);
            self.rooms_by_id.remove(&members.room.id());
            self.active.retain(|active| *active != room);
            self.rooms.remove(room as usize);
        }
        true
    }

    /// Everybody out of the room.
    pub fn end_room(&mut self, id: u64, reason: &CloseReason) {
        let Some(members) =
            self.rooms_by_id.get(&id).and_then(|room| self.rooms.get(*room as usize))
        else {
            return;
        };
        for key in members.keys().to_vec() {
            self.end(key as usize, reason.clone());
        }
    }

    /// Everybody out who is `user`.
    pub fn kick(&mut self, room: Option<u64>, user: UserTag, reason: &CloseReason) {
        let room = room.map(|id| self.rooms_by_id.get(&id).copied());
        if room == Some(None) {
            return;
        }
        let room = room.flatten();
        let is_meant = |room_here: u32, user_here: UserTag| {
            user_here == user && room.is_none_or(|room| room == room_here)
        };
        let keys: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, c)| c.phase == Phase::Open && is_meant(c.room, c.user))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.end(key, reason.clone());
        }
    }
}
