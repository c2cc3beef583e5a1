//! A room: what is accepted, in which order.
//!
//! ```text
//! Said ──judge──► Verdict::Accepted(ChatMessage) ─┐
//! Order ─judge──► ChatAct ────────────────────────┼──apply──► state ──bytes──► the next worker
//! log ──replay── ChatRecord ──────────────────────┘
//! ```
//!
//! Judging looks and changes nothing; applying a record changes the state and
//! decides nothing. So a room that is rebuilt from its records is the room that
//! accepted them, and what was refused leaves no trace.

use std::collections::HashMap;
use std::sync::Arc;

use records::{Act, CHAT_VERSION, ChatAct, ChatMessage, ChatRecord, Mode, StreamId, UserId};
use serde::{Deserialize, Serialize};

use crate::looks;
use crate::refusal::Refusal;
use crate::retries::Retries;
use crate::rules::Rules;
use crate::said::{Order, Receipt, Said, Verdict};
use crate::talkers::Talkers;
use crate::window::{ServerLimit, Window};

/// What a room knows; see the crate's documentation for how much that can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    v: u8,
    pub(crate) stream_id: StreamId,
    /// What the next record gets. None: no record was seen yet.
    next_seq: Option<u64>,
    /// When the latest record was accepted.
    latest_us: u64,
    pub(crate) messages: Window,
    pub(crate) acts: Window,
    pub(crate) talkers: Talkers,
    pub(crate) retries: Retries,
    /// Until when; None: for good.
    pub(crate) bans: HashMap<UserId, Option<u64>>,
    pub(crate) mode: Mode,
    pinned: Option<u64>,
}

/// A record that can't be the room's next; the log's fault, or the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// One is missing.
    #[error("record {found} of chat {stream_id} follows where {expected} should")]
    Gap {
        /// Which room.
        stream_id: StreamId,
        /// The next one's number.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Another room's.
    #[error("a record of chat {found} came to chat {stream_id}")]
    OtherRoom {
        /// Which room.
        stream_id: StreamId,
        /// Whose it is.
        found: StreamId,
    },
}

/// Not a room's state; its writer's fault, or that of a newer version.
#[derive(Debug, thiserror::Error)]
#[error("a chat room's state can't be read: {0}")]
pub struct StateError(#[from] serde_json::Error);

/// A room. Time goes in with each call, in microseconds since 1970; time that
/// went back counts as the latest.
#[derive(Clone, Debug)]
pub struct Room {
    pub(crate) rules: Arc<Rules>,
    pub(crate) state: State,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub fn new(stream_id: StreamId, rules: Arc<Rules>) -> Self {
        let state = State {
            v: CHAT_VERSION,
            stream_id,
            next_seq: None,
            latest_us: 0,
            messages: Window::default(),
            acts: Window::default(),
            talkers: Talkers::default(),
            retries: Retries::default(),
            bans: HashMap::new(),
            mode: Mode::default(),
            pinned: None,
        };
        Self { rules, state }
    }

    /// The room of the channel's next broadcast: bans and mode go on, nothing else.
    #[must_use]
    pub fn succeed(&self, stream_id: StreamId) -> Self {
        let mut next = Self::new(stream_id, Arc::clone(&self.rules));
        next.state.bans = self.state.bans.clone();
        next.state.mode = self.state.mode.clone();
        next
    }

    /// Other rules from now on. What was accepted by the old ones stays.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Somebody would like to say something. An accepted message is in the
    /// room's order when this returns, and must be appended in that order. If it
    /// can't be appended, the room is ahead of the log: drop it and replay.
    pub fn push(&mut self, said: Said, now_us: u64, server: &ServerLimit) -> Verdict {
        let now_us = now_us.max(self.state.latest_us);
        match self.judge(said, now_us, server) {
            Ok((Verdict::Accepted(message), gist)) => {
                self.apply_message(&message, gist);
                Verdict::Accepted(message)
            }
            Ok((other, _)) => other,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// A moderator would like to do something. An accepted act is in the
    /// room's order when this returns, and must be appended in that order.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`], [`Refusal::NoMessage`], [`Refusal::Nonsense`],
    /// [`Refusal::RoomLimit`], [`Refusal::TooManyBans`].
    pub fn act(&mut self, order: Order, now_us: u64) -> Result<ChatAct, Refusal> {
        let now_us = now_us.max(self.state.latest_us);
        self.judge_act(&order, now_us)?;
        let act = ChatAct {
            v: CHAT_VERSION,
            stream_id: self.state.stream_id,
            seq: self.next_seq(),
            act_id: order.act_id,
            by: order.by,
            sent_at_us: now_us,
            act: order.act,
        };
        self.apply_act(&act);
        Ok(act)
    }

    /// Takes a record of the log in: whether it was new. Those that the room
    /// has already are passed over; the first one of an empty room may have any
    /// number, since the log's beginning may be gone.
    ///
    /// # Errors
    /// [`ReplayError`]; the room is as before.
    pub fn replay(&mut self, record: &ChatRecord) -> Result<bool, ReplayError> {
        let (stream_id, found) = (self.state.stream_id, record.seq());
        if record.stream_id() != stream_id {
            return Err(ReplayError::OtherRoom { stream_id, found: record.stream_id() });
        }
        if let Some(expected) = self.state.next_seq {
            if found < expected {
                return Ok(false);
            }
            if found > expected {
                return Err(ReplayError::Gap { stream_id, expected, found });
            }
        }
        match record {
            ChatRecord::Message(message) => self.apply_message(message, gist(&message.text)),
            ChatRecord::Act(act) => self.apply_act(act),
        }
        Ok(true)
    }

    /// All that the room knows, for another worker or process.
    ///
    /// # Errors
    /// [`StateError`], which these types don't cause.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        Ok(serde_json::to_vec(&self.state)?)
    }

    /// The room that [`Room::to_bytes`] was called on.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_bytes(bytes: &[u8], rules: Arc<Rules>) -> Result<Self, StateError> {
        Ok(Self { rules, state: serde_json::from_slice(bytes)? })
    }

    /// Whose room it is.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.state.stream_id
    }

    /// The number of the next record.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.state.next_seq.unwrap_or(1)
    }

    /// Who may write.
    #[must_use]
    pub fn mode(&self) -> &Mode {
        &self.state.mode
    }

    /// Which message is shown above the others.
    #[must_use]
    pub fn pinned(&self) -> Option<u64> {
        self.state.pinned
    }

    /// Whether the user may not write now, for good or for a while.
    #[must_use]
    pub fn is_banned(&self, user: UserId, now_us: u64) -> bool {
        self.ban(user, now_us).is_some()
    }

    /// About how many bytes the room takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let State { talkers, retries, bans, .. } = &self.state;
        4096 + talkers.len() * 300 + retries.len() * 100 + bans.len() * 60
    }

    fn apply_message(&mut self, message: &ChatMessage, gist: u64) {
        let (state, rules) = (&mut self.state, &*self.rules);
        let at_us = message.sent_at_us;
        state.next_seq = Some(message.seq + 1);
        state.latest_us = state.latest_us.max(at_us);
        state.messages.add(at_us);
        state.talkers.add(message.user_id, gist, at_us);
        if let Some(client_id) = &message.client_id {
            let receipt =
                Receipt { message_id: message.message_id, seq: message.seq, sent_at_us: at_us };
            let max = rules.config.retries_max;
            state.retries.add(message.user_id, client_id, receipt, rules.retry_us, max);
        }
    }

    fn apply_act(&mut self, act: &ChatAct) {
        let (state, bans_max) = (&mut self.state, self.rules.config.bans_max);
        let at_us = act.sent_at_us;
        state.next_seq = Some(act.seq + 1);
        state.latest_us = state.latest_us.max(at_us);
        state.acts.add(at_us);
        match &act.act {
            Act::Ban { user_id } => {
                state.bans.insert(*user_id, None);
            }
            Act::TimeOut { user_id, until_us } => {
                state.bans.insert(*user_id, Some(*until_us));
            }
            Act::Unban { user_id } => {
                state.bans.remove(user_id);
            }
            Act::Delete { seq } if state.pinned == Some(*seq) => state.pinned = None,
            Act::Delete { .. } => {}
            Act::Pin { seq } => state.pinned = Some(*seq),
            Act::Clear | Act::Unpin => state.pinned = None,
            Act::Mode { mode } => state.mode = mode.clone(),
        }
        // What was over when this was accepted made room for it.
        if state.bans.len() > bans_max {
            state.bans.retain(|_, until| until.is_none_or(|until| until > at_us));
        }
    }
}

/// What a text says, as a number; the same in every process and version.
pub(crate) fn gist(text: &str) -> u64 {
    let hash = blake3::hash(looks::gist(text).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
