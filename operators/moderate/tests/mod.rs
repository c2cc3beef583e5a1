//! What must hold in rooms.

mod any;
mod people;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use records::{
    Act, Badge, ChatAct, ChatMessage, ChatRecord, EmoteRange, MessageId, Mode, StreamId, UserId,
};
use uuid::Uuid;

use crate::*;

/// A Tuesday in 2026, in microseconds.
pub(super) const START_US: u64 = 1_790_000_000_000_000;
pub(super) const S: u64 = 1_000_000;

pub(super) fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(0x1000 + n))
}

pub(super) fn stream() -> StreamId {
    StreamId(Uuid::from_u128(1))
}

pub(super) fn person(n: u128) -> Person {
    Person {
        user_id: user(n),
        name: format!("user{n}"),
        standing: Standing::Viewer,
        relation: Relation::default(),
    }
}

pub(super) fn with(n: u128, standing: Standing) -> Person {
    Person { standing, ..person(n) }
}

pub(super) fn room(config: RulesConfig) -> Room {
    Room::new(stream(), Arc::new(Rules::compile(config).unwrap()))
}

/// A room and the server's limit; numbers the messages.
pub(super) struct Fixture {
    pub room: Room,
    pub server: ServerLimit,
    pub sent: u128,
    pub records: Vec<ChatRecord>,
}

impl Fixture {
    pub fn new(config: RulesConfig) -> Self {
        let server = ServerLimit::new(1_000_000);
        Self { room: room(config), server, sent: 0, records: Vec::new() }
    }

    pub fn say(&mut self, from: Person, text: &str, now_us: u64) -> Verdict {
        self.say_as(from, text, None, now_us)
    }

    pub fn say_as(
        &mut self,
        from: Person,
        text: &str,
        client_id: Option<&str>,
        now_us: u64,
    ) -> Verdict {
        self.sent += 1;
        let message_id = MessageId(Uuid::from_u128(self.sent));
        let client_id = client_id.map(str::to_owned);
        let said = Said { message_id, from, text: text.into(), client_id };
        let verdict = self.room.push(said, now_us, &self.server);
        if let Verdict::Accepted(message) = &verdict {
            self.records.push(ChatRecord::Message(message.clone()));
        }
        verdict
    }

    /// What was said, if it was accepted.
    pub fn accepted(&mut self, from: Person, text: &str, now_us: u64) -> ChatMessage {
        match self.say(from, text, now_us) {
            Verdict::Accepted(message) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Why it was refused.
    pub fn refused(&mut self, from: Person, text: &str, now_us: u64) -> Refusal {
        match self.say(from, text, now_us) {
            Verdict::Refused(refusal) => refusal,
            other => panic!("{text}: {other:?}"),
        }
    }

    pub fn act(&mut self, by: Person, act: Act, now_us: u64) -> Result<ChatAct, Refusal> {
        self.act_on(by, act, Standing::Viewer, now_us)
    }

    pub fn act_on(
        &mut self,
        by: Person,
        act: Act,
        target: Standing,
        now_us: u64,
    ) -> Result<ChatAct, Refusal> {
        self.sent += 1;
        let act_id = MessageId(Uuid::from_u128(self.sent));
        let (standing, by) = (by.standing, by.user_id);
        let done = self.room.act(Order { act_id, by, standing, act, target }, now_us);
        if let Ok(act) = &done {
            self.records.push(ChatRecord::Act(act.clone()));
        }
        done
    }
}

pub(super) fn moderator() -> Person {
    with(900, Standing::Moderator)
}
