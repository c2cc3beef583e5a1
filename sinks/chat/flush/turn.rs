//! A loop: its state, and one turn after the other.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;

use super::connection::Connection;
use super::fan_out::Batch;
use super::handler::{Answers, ConnectionId, Handler, Left, Who};
use super::inbox::{Command, Inbox, Joining};
use super::members::Members;
use super::outlet::Outlet;
use super::pace::{Pace, TICK};
use super::stats::Stats;
use super::{FlushConfig, INPUT_BUDGET, JOINS_BUDGET, VISITS_BUDGET};
use crate::ws::{CloseCode, CloseReason};

pub(super) const WAKER: Token = Token(usize::MAX);
/// Sockets heard in one turn.
const EVENTS: usize = 1024;
/// Bytes read from one socket in one turn: some hundreds of the shortest messages.
const READ_BYTES: usize = 4096;
/// How often pings, deadlines and windows are looked at.
pub(super) const BEAT: Duration = Duration::from_millis(100);

pub(super) struct Loop {
    pub index: usize,
    pub config: FlushConfig,
    pub poll: Poll,
    pub inbox: Arc<Inbox>,
    pub stats: Arc<Stats>,
    pub handler: Arc<dyn Handler>,
    pub connections: Slab<Connection>,
    pub generation: u32,
    pub rooms: Slab<Members>,
    pub rooms_by_id: HashMap<u64, u32>,
    /// Rooms in which somebody doesn't have the newest yet.
    pub active: Vec<u32>,
    /// Which of them the next turn begins with.
    first: usize,
    /// Visits that were due in the last turn and not made.
    left_over: usize,
    /// The inbox holds more replies than one turn takes.
    has_commands: bool,
    /// Sockets that wait to join.
    pub joins: VecDeque<Joining>,
    /// Connections that had more to read or to get than one turn gives them.
    pub again: VecDeque<ConnectionId>,
    pub outlet: Outlet,
    pub pace: Pace,
    pub batch: Batch,
    pub input: Vec<u8>,
    pub now: Instant,
    pub beat: u32,
    beat_at: Instant,
    accrued_at: Instant,
    /// Set by a stop: when the last are dropped, and what whoever still comes is told.
    pub ends: Option<(Instant, CloseReason)>,
}

impl Loop {
    pub fn new(
        index: usize,
        config: FlushConfig,
        poll: Poll,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        handler: Arc<dyn Handler>,
    ) -> io::Result<Self> {
        let outlet = Outlet::new(config.send_by)?;
        tracing::debug!(index, by = outlet.name(), "flush loop");
        let now = Instant::now();
        Ok(Self {
            index,
            poll,
            inbox,
            stats,
            handler,
            connections: Slab::new(),
            generation: 0,
            rooms: Slab::new(),
            rooms_by_id: HashMap::new(),
            active: Vec::new(),
            first: 0,
            left_over: 0,
            has_commands: false,
            joins: VecDeque::new(),
            again: VecDeque::new(),
            outlet,
            pace: Pace::new(config.window),
            batch: Batch::default(),
            input: vec![0; READ_BYTES],
            now,
            beat: 0,
            beat_at: now,
            accrued_at: now,
            ends: None,
            config,
        })
    }

    pub fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_over() {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a flush loop can't wait for its sockets, and ends");
                return;
            }
            self.now = Instant::now();
            self.take_inbox();
            self.take_events(&events);
            self.take_again();
            self.take_joins();
            self.visit();
            self.keep();
        }
    }

    /// Lets go of all that is left, when there will be no other turn, planned or not: new
    /// viewers go to the other loops, and no room counts who isn't there.
    pub fn abandon(&mut self) {
        self.inbox.end_for_good();
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.gone(key, &Left::Gone);
        }
    }

    fn is_over(&self) -> bool {
        let Some((end, _)) = &self.ends else { return false };
        let is_empty = self.connections.is_empty() && self.joins.is_empty();
        is_empty || self.now >= *end
    }

    fn timeout(&self) -> Duration {
        if self.has_commands
            || !self.joins.is_empty()
            || !self.again.is_empty()
            || self.left_over > 0
        {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let beat = (self.beat_at + BEAT).saturating_duration_since(now);
        if self.active.is_empty() {
            return beat;
        }
        beat.min((self.accrued_at + TICK).saturating_duration_since(now))
    }

    fn take_inbox(&mut self) {
        let mut taken = Vec::new();
        self.has_commands = self.inbox.drain(&mut taken, &mut self.joins);
        for command in taken {
            match command {
                Command::Told(id) => self.told(id),
                Command::Ended(id, reason) => self.end_room(id, &reason),
                Command::Reply { id, bytes } => {
                    if let Some(key) = self.find(id) {
                        self.reply(key, &bytes);
                    }
                }
                Command::Close { id, reason } => {
                    if let Some(key) = self.find(id) {
                        self.end(key, reason);
                    }
                }
                Command::Kick { room, user, reason } => self.kick(room, user, &reason),
                Command::Stop(reason) => self.stop(&reason),
            }
        }
    }

    /// The connection's key, if it is still that connection.
    pub fn find(&self, id: ConnectionId) -> Option<usize> {
        let connection = self.connections.get(id.key())?;
        (connection.generation == id.generation()).then_some(id.key())
    }

    pub fn id(&self, key: usize, connection: &Connection) -> ConnectionId {
        ConnectionId::new(self.index, connection.generation, key)
    }

    /// Calls the handler about a viewer and sends what it answers; a panic ends the connection.
    pub fn call<T>(
        &mut self,
        key: usize,
        call: impl FnOnce(&dyn Handler, Who<'_>) -> T,
    ) -> Option<T> {
        let connection = self.connections.get(key)?;
        let members = self.rooms.get(connection.room as usize)?;
        let answers = RefCell::new(Answers::default());
        let who = Who {
            id: self.id(key, connection),
            user: connection.user,
            room: &members.room,
            answers: &answers,
        };
        let call = std::panic::AssertUnwindSafe(|| call(&*self.handler, who));
        let outcome = std::panic::catch_unwind(call);
        if outcome.is_err() {
            tracing::error!(connection = ?who.id, "the chat handler panicked");
        }
        let Answers { frames, close } = answers.take();
        for frame in frames {
            self.reply(key, &frame);
        }
        if outcome.is_err() {
            self.end(key, CloseReason::new(CloseCode::MISTAKE, "the server made a mistake"));
        } else if let Some(reason) = close {
            self.end(key, reason);
        }
        outcome.ok()
    }

    fn take_joins(&mut self) {
        let until = Instant::now() + JOINS_BUDGET;
        while let Some(joining) = self.joins.pop_front() {
            self.join(joining);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// What sockets have to say. Those beyond the turn's budget are called again: one who
    /// floods, or a thousand, hold up visits no longer than that.
    fn take_events(&mut self, events: &Events) {
        let until = Instant::now() + INPUT_BUDGET;
        for event in events {
            if event.token() == WAKER {
                continue;
            }
            let key = event.token().0;
            if Instant::now() >= until {
                self.call_again(key);
                continue;
            }
            if event.is_writable() {
                self.writable(key);
            }
            if event.is_readable() || event.is_error() {
                self.readable(key, event.is_read_closed() || event.is_error());
            }
        }
    }

    fn take_again(&mut self) {
        let until = Instant::now() + INPUT_BUDGET;
        // Those that call again now come behind all that wait.
        for _ in 0..self.again.len() {
            let Some(id) = self.again.pop_front() else { return };
            if let Some(key) = self.find(id) {
                self.writable(key);
                self.catch_up(key);
            }
            if let Some(key) = self.find(id) {
                self.readable(key, true);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Makes the visits that are due, room after room, until the turn's time is over.
    fn visit(&mut self) {
        self.left_over = 0;
        if self.active.is_empty() {
            self.accrued_at = self.now;
            return;
        }
        let passed = self.now.saturating_duration_since(self.accrued_at);
        let passed = if passed >= TICK { passed } else { Duration::ZERO };
        if !passed.is_zero() {
            self.accrued_at = self.now;
        }
        let until = Instant::now() + VISITS_BUDGET;
        let mut is_time_over = false;
        let (count, first) = (self.active.len(), self.first);
        for step in 0..count {
            // Where the last turn's time was over, this one begins: each room gets its share.
            let Some(&room) = self.active.get((first + step) % count) else { continue };
            let Some(members) = self.rooms.get_mut(room as usize) else { continue };
            members.accrue(passed);
            if members.due() == 0 && !members.is_clean() {
                continue;
            }
            if !is_time_over {
                self.visit_room(room, until);
                is_time_over = Instant::now() >= until;
                self.first = first + step + 1;
            }
            self.left_over += self.rooms.get(room as usize).map_or(0, Members::due);
        }
        self.submit();
        self.first %= count;
        self.active.retain(|room| self.rooms.get(*room as usize).is_some_and(|r| r.is_active));
        self.pace.left_over(self.left_over);
    }

    /// Pings, deadlines and windows, ten times a second.
    fn keep(&mut self) {
        let passed = self.now.saturating_duration_since(self.beat_at);
        if passed < BEAT {
            return;
        }
        self.beat_at = self.now;
        self.beat += 1;
        self.survey(passed);
        self.look_after_viewers();
    }

    fn survey(&mut self, passed: Duration) {
        for (_, members) in &mut self.rooms {
            members.count(passed);
        }
        self.pace.survey(self.rooms.iter().map(|(_, members)| (members.rate, members.len())));
        let mut longest = Duration::ZERO;
        for (_, members) in &mut self.rooms {
            members.window = self.pace.window(members.rate);
            longest = longest.max(members.window);
        }
        self.stats.window_us.store(longest.as_micros() as u64, Ordering::Relaxed);
        self.stats.lag_us.store(self.pace.lag().as_micros() as u64, Ordering::Relaxed);
        self.stats.connections.store(self.connections.len() as u64, Ordering::Relaxed);
    }

    fn stop(&mut self, reason: &CloseReason) {
        if self.ends.is_some() {
            return;
        }
        self.ends = Some((self.now + self.config.linger, reason.clone()));
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end(key, reason.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::scene::Scene;

    #[test]
    fn who_waits_to_join_a_loop_that_stops_is_told() {
        let (mut scene, joining) = Scene::new();
        scene.own.inbox.join(joining).unwrap();
        scene.own.inbox.stop(CloseReason::new(CloseCode::GOING_AWAY, "come back"));
        scene.own.take_inbox();
        assert!(!scene.own.is_over(), "it has somebody to tell");
        scene.own.take_joins();
        assert_eq!(scene.rest(), (Vec::new(), 1001, "come back".to_owned()));
    }
}
