//! Who wrote lately, and what.

use std::collections::{HashMap, VecDeque};

use records::{SLOW_S_MAX, UserId};
use serde::{Deserialize, Serialize};

use crate::window::WINDOW_US;

/// Texts of one user that are compared with the next one.
const SAID_MAX: usize = 4;
/// For how long it matters that somebody wrote: slow mode and repetition go no further.
const KEEP_US: u64 = SLOW_S_MAX as u64 * 1_000_000;
/// How often those who don't matter any more are forgotten.
const SWEEP_US: u64 = 60_000_000;

/// What is known of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Talker {
    last_us: u64,
    // When, in the last minute; no more than the user's limit.
    recent: VecDeque<u64>,
    // What, as hashes, and when.
    said: VecDeque<(u64, u64)>,
}

/// Those who wrote in the last five minutes. As many as wrote: with 10,000
/// messages a minute at most 60,000 of them, some 200 bytes each (up to 400 for
/// who is always at the limit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Talkers {
    talkers: HashMap<UserId, Talker>,
    sweep_at_us: u64,
}

impl Talkers {
    /// How long until the user has room within `limit` a minute. 0: now.
    pub(crate) fn wait_us(&self, user: UserId, limit: u32, now_us: u64) -> u64 {
        let Some(talker) = self.talkers.get(&user) else { return 0 };
        // The one that must be older than a minute.
        let Some(nth) = talker.recent.len().checked_sub(limit as usize) else { return 0 };
        talker.recent.get(nth).map_or(0, |at| (at + WINDOW_US).saturating_sub(now_us))
    }

    /// How long until the user may write in slow mode. 0: now.
    pub(crate) fn slow_us(&self, user: UserId, pause_us: u64, now_us: u64) -> u64 {
        let talker = self.talkers.get(&user);
        talker.map_or(0, |talker| (talker.last_us + pause_us).saturating_sub(now_us))
    }

    /// How long until the user may say this again. 0: now.
    pub(crate) fn repeat_us(&self, user: UserId, gist: u64, apart_us: u64, now_us: u64) -> u64 {
        let Some(talker) = self.talkers.get(&user) else { return 0 };
        let again = talker.said.iter().rev().find(|(said, _)| *said == gist);
        again.map_or(0, |(_, at)| (at + apart_us).saturating_sub(now_us))
    }

    /// The user wrote.
    pub(crate) fn add(&mut self, user: UserId, gist: u64, at_us: u64) {
        if at_us >= self.sweep_at_us {
            self.sweep_at_us = at_us + SWEEP_US;
            self.talkers.retain(|_, talker| talker.last_us + KEEP_US > at_us);
        }
        let talker = self.talkers.entry(user).or_default();
        while talker.recent.front().is_some_and(|at| at + WINDOW_US <= at_us) {
            talker.recent.pop_front();
        }
        talker.recent.push_back(at_us);
        talker.last_us = at_us;
        if talker.said.len() == SAID_MAX {
            talker.said.pop_front();
        }
        talker.said.push_back((gist, at_us));
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.talkers.len()
    }
}
