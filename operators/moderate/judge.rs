//! Whether something may be said or done, as the room is: looks, and changes nothing.

use records::{Act, Badge, CHAT_VERSION, ChatMessage, SLOW_S_MAX, UserId};

use crate::looks;
use crate::refusal::Refusal;
use crate::room::{Room, gist};
use crate::said::{CLIENT_ID_BYTES_MAX, Order, Person, Said, Standing, Verdict};
use crate::text;
use crate::window::ServerLimit;

/// The longest time-out; longer ones are bans.
const TIME_OUT_US_MAX: u64 = 366 * 86_400 * 1_000_000;
/// The longest time that one may have to have followed: ten years, in seconds.
const FOLLOWERS_S_MAX: u32 = 10 * 366 * 86_400;

impl Room {
    pub(crate) fn ban(&self, user: UserId, now_us: u64) -> Option<Refusal> {
        match self.state.bans.get(&user)? {
            None => Some(Refusal::Banned),
            Some(until) if *until > now_us => {
                Some(Refusal::TimedOut { retry_after_us: until - now_us })
            }
            Some(_) => None,
        }
    }

    /// The verdict, and what was said as a number.
    pub(crate) fn judge(
        &self,
        said: Said,
        now_us: u64,
        server: &ServerLimit,
    ) -> Result<(Verdict, u64), Refusal> {
        let (state, rules) = (&self.state, &*self.rules);
        let Said { message_id, from, text, client_id } = said;
        let user = from.user_id;
        if let Some(id) = &client_id {
            if id.len() > CLIENT_ID_BYTES_MAX {
                return Err(Refusal::ClientId);
            }
            if let Some(receipt) = state.retries.find(user, id, rules.retry_us, now_us) {
                return Ok((Verdict::Known(receipt), 0));
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
        let gist = gist(&text);
        self.judge_text(&text, gist, &from, now_us)?;
        // Last, since it counts.
        server.take(now_us).map_err(|retry_after_us| Refusal::ServerLimit { retry_after_us })?;
        let message = ChatMessage {
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
        };
        Ok((Verdict::Accepted(message), gist))
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

    fn judge_text(&self, text: &str, gist: u64, from: &Person, now_us: u64) -> Result<(), Refusal> {
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
        let again = self.state.talkers.repeat_us(from.user_id, gist, rules.repeat_us, now_us);
        match again {
            0 => Ok(()),
            retry_after_us => Err(Refusal::Repeated { retry_after_us }),
        }
    }

    pub(crate) fn judge_act(&self, order: &Order, now_us: u64) -> Result<(), Refusal> {
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
