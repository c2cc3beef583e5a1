//! A socket becomes a viewer.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::connection::{Connection, Phase};
use super::handler::Left;
use super::inbox::Joining;
use super::members::Members;
use super::stats::count;
use super::turn::Loop;
use crate::room::{Listener, Room};
use crate::ws::{Opcode, Parser, frame};

impl Loop {
    /// Takes a socket in: greeting, what it missed, and what it already said.
    pub fn join(&mut self, joining: Joining) {
        let Joining { socket, already_read, room, user, start } = joining;
        let key = self.connections.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = socket.as_raw_fd();
        let local = self.local(&room);
        // Looked up only now that news are told: nothing can come in between unseen.
        let position = room.seek(start);
        let Some(members) = self.rooms.get_mut(local as usize) else { return };
        let place = members.add(key as u32);
        self.generation = self.generation.wrapping_add(1) & 0x00ff_ffff;
        self.connections.insert(Connection {
            socket,
            user,
            generation: self.generation,
            room: local,
            place,
            offset: position.offset,
            seq: position.seq,
            phase: Phase::Open,
            pending: None,
            parser: Parser::default(),
            pinged_at: self.beat,
            is_in_batch: false,
            is_asked: false,
        });
        room.presence().enter(user);
        count(&self.stats.joined, 1);
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&fd), Token(key), interest)
        {
            tracing::warn!(%error, "a viewer's socket can't be watched, and is closed");
            self.gone(key, &Left::Gone);
            return;
        }
        let stops = || self.ends.as_ref().map(|(_, reason)| reason.clone());
        if let Some(reason) = room.closed().or_else(stops) {
            self.end(key, reason);
            return;
        }
        let greeting = self.call(key, |handler, who| handler.joined(who, &position)).flatten();
        if let Some(text) = greeting {
            self.reply(key, &frame(Opcode::Text, text.as_bytes()));
        }
        self.catch_up(key);
        if !already_read.is_empty() {
            self.hear(key, &mut already_read.to_vec());
        }
    }

    /// Where this loop keeps the room; made for its first viewer here.
    fn local(&mut self, room: &Arc<Room>) -> u32 {
        if let Some(&local) = self.rooms_by_id.get(&room.id()) {
            return local;
        }
        let is_told = Arc::new(AtomicBool::new(false));
        room.listen(Listener { inbox: self.inbox.clone(), is_told: is_told.clone() });
        let local = self.rooms.insert(Members::new(room.clone(), is_told)) as u32;
        self.rooms_by_id.insert(room.id(), local);
        local
    }
}
