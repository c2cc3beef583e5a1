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

use records::{StreamId, UserId};
use serde::{Deserialize, Serialize};

use crate::chat::{Act, Badge, CHAT_VERSION, ChatAct, ChatMessage, ChatRecord, Mode, SLOW_S_MAX};
use crate::looks;
use crate::refusal::Refusal;
use crate::retries::Retries;
use crate::rules::Rules;
use crate::said::{CLIENT_ID_BYTES_MAX, Order, Person, Receipt, Said, Standing, Verdict};
use crate::talkers::Talkers;
use crate::text;
use crate::window::{ServerLimit, Window};

/// The longest time-out; longer ones are bans.
const TIME_OUT_US_MAX: u64 = 366 * 86_400 * 1_000_000;
/// The longest time that one may have to have followed: ten years, in seconds.
const FOLLOWERS_S_MAX: u32 = 10 * 366 * 86_400;

/// What a room knows; see the crate's documentation for how much that can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    v: u8,
    stream_id: StreamId,
    /// What the next record gets. None: no record was seen yet.
    next_seq: Option<u64>,
    /// When the latest record was accepted.
    latest_us: u64,
    messages: Window,
    acts: Window,
    talkers: Talkers,
    retries: Retries,
    /// Until when; None: for good.
    bans: HashMap<UserId, Option<u64>>,
    mode: Mode,
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
    rules: Arc<Rules>,
    state: State,
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
    /// room's order when this returns, and must be appended in that order.
    pub fn push(&mut self, said: Said, now_us: u64, server: &ServerLimit) -> Verdict {
        let now_us = now_us.max(self.state.latest_us);
        match self.judge(said, now_us, server) {
            Ok(Verdict::Accepted(message)) => {
                self.apply_message(&message);
                Verdict::Accepted(message)
            }
            Ok(other) => other,
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
            ChatRecord::Message(message) => self.apply_message(message),
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

    fn ban(&self, user: UserId, now_us: u64) -> Option<Refusal> {
        match self.state.bans.get(&user)? {
            None => Some(Refusal::Banned),
            Some(until) if *until > now_us => {
                Some(Refusal::TimedOut { retry_after_us: until - now_us })
            }
            Some(_) => None,
        }
    }

    fn judge(&self, said: Said, now_us: u64, server: &ServerLimit) -> Result<Verdict, Refusal> {
        let (state, rules) = (&self.state, &*self.rules);
        let Said { message_id, from, text, client_id } = said;
        let user = from.user_id;
        if let Some(id) = &client_id {
            if id.len() > CLIENT_ID_BYTES_MAX {
                return Err(Refusal::ClientId);
            }
            if let Some(receipt) = state.retries.find(user, id, rules.retry_us, now_us) {
                return Ok(Verdict::Known(receipt));
            }
        }
        // What costs little comes first: a flood is refused before it is read.
        self.judge_person(&from, now_us)?;
        let limit = |wait: u64, refusal: fn(u64) -> Refusal| match wait {
            0 => Ok(()),
            wait => Err(refusal(wait)),
        };
        let per_user = state.talkers.wait_us(user, rules.config.user_per_minute, now_us);
        limit(per_user, |retry_after_us| Refusal::UserLimit { retry_after_us })?;
        let per_room = state.messages.wait_us(rules.config.room_per_minute, now_us);
        limit(per_room, |retry_after_us| Refusal::RoomLimit { retry_after_us })?;
        let text = text::clean(&text, rules.config.chars_max)?;
        self.judge_text(&text, &from, now_us)?;
        // Last, since it counts.
        server.take(now_us).map_err(|retry_after_us| Refusal::ServerLimit { retry_after_us })?;
        Ok(Verdict::Accepted(ChatMessage {
            v: CHAT_VERSION,
            stream_id: state.stream_id,
            seq: self.next_seq(),
            message_id,
            user_id: user,
            badges: badges(&from),
            name: from.name,
            sent_at_us: now_us,
            emotes: rules.emotes.find(&text),
            text,
            client_id,
        }))
    }

    fn judge_person(&self, from: &Person, now_us: u64) -> Result<(), Refusal> {
        let mode = &self.state.mode;
        if from.standing < Standing::Streamer
            && let Some(refusal) = self.ban(from.user_id, now_us)
        {
            return Err(refusal);
        }
        if from.standing >= Standing::Moderator {
            return Ok(());
        }
        if mode.subscribers && !from.relation.subscribes {
            return Err(Refusal::SubscribersOnly);
        }
        if let Some(followers_s) = mode.followers_s {
            let since_us = from.relation.follows_since_us;
            let is_long =
                |since| now_us.saturating_sub(since) >= u64::from(followers_s) * 1_000_000;
            if !since_us.is_some_and(is_long) {
                return Err(Refusal::FollowersOnly(followers_s));
            }
        }
        let pause_us = u64::from(mode.slow_s.unwrap_or(0)) * 1_000_000;
        match self.state.talkers.slow_us(from.user_id, pause_us, now_us) {
            0 => Ok(()),
            retry_after_us => Err(Refusal::Slow { retry_after_us }),
        }
    }

    fn judge_text(&self, text: &str, from: &Person, now_us: u64) -> Result<(), Refusal> {
        let rules = &*self.rules;
        if rules.config.refuse_look_alikes && looks::has_look_alikes(text) {
            return Err(Refusal::LookAlike);
        }
        if rules.blocked.is_in(text) {
            return Err(Refusal::Word);
        }
        if from.standing >= Standing::Moderator {
            return Ok(());
        }
        if let Some(host) = rules.links.refused(text) {
            return Err(Refusal::Link(host));
        }
        let again = self.state.talkers.repeat_us(from.user_id, gist(text), rules.repeat_us, now_us);
        match again {
            0 => Ok(()),
            retry_after_us => Err(Refusal::Repeated { retry_after_us }),
        }
    }

    fn judge_act(&self, order: &Order, now_us: u64) -> Result<(), Refusal> {
        if order.standing < Standing::Moderator {
            return Err(Refusal::NotAllowed);
        }
        let (state, config) = (&self.state, &self.rules.config);
        match state.acts.wait_us(config.acts_per_minute, now_us) {
            0 => {}
            retry_after_us => return Err(Refusal::RoomLimit { retry_after_us }),
        }
        match &order.act {
            Act::Ban { user_id } | Act::TimeOut { user_id, .. } => {
                if order.target >= order.standing {
                    return Err(Refusal::NotAllowed);
                }
                let is_new = !state.bans.contains_key(user_id);
                let is_active = |until: &&Option<u64>| until.is_none_or(|until| until > now_us);
                if is_new
                    && state.bans.len() >= config.bans_max
                    && state.bans.values().filter(is_active).count() >= config.bans_max
                {
                    return Err(Refusal::TooManyBans(config.bans_max));
                }
                let Act::TimeOut { until_us, .. } = &order.act else { return Ok(()) };
                match *until_us > now_us && *until_us <= now_us + TIME_OUT_US_MAX {
                    true => Ok(()),
                    false => Err(Refusal::Nonsense("a time-out ends in the future, within a year")),
                }
            }
            Act::Delete { seq } | Act::Pin { seq } => match (1..self.next_seq()).contains(seq) {
                true => Ok(()),
                false => Err(Refusal::NoMessage(*seq)),
            },
            Act::Mode { mode } => {
                let is_slow = mode.slow_s.is_none_or(|slow| (1..=SLOW_S_MAX).contains(&slow));
                match is_slow && mode.followers_s.is_none_or(|s| s <= FOLLOWERS_S_MAX) {
                    true => Ok(()),
                    false => Err(Refusal::Nonsense(
                        "slow mode is 1 to 300 s, followers-only at most ten years",
                    )),
                }
            }
            Act::Unban { .. } | Act::Clear | Act::Unpin => Ok(()),
        }
    }

    fn apply_message(&mut self, message: &ChatMessage) {
        let (state, rules) = (&mut self.state, &*self.rules);
        let at_us = message.sent_at_us;
        state.next_seq = Some(message.seq + 1);
        state.latest_us = state.latest_us.max(at_us);
        state.messages.add(at_us);
        state.talkers.add(message.user_id, gist(&message.text), at_us);
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

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

fn badges(from: &Person) -> Vec<Badge> {
    let standing = match from.standing {
        Standing::Viewer => None,
        Standing::Moderator => Some(Badge::Moderator),
        Standing::Streamer => Some(Badge::Streamer),
        Standing::Admin => Some(Badge::Admin),
    };
    let subscriber = from.relation.subscribes.then_some(Badge::Subscriber);
    standing.into_iter().chain(subscriber).collect()
}

/// What a text says, as a number; the same in every process and version.
fn gist(text: &str) -> u64 {
    let hash = blake3::hash(looks::gist(text).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
