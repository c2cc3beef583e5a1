//! What a server's rooms go by: settings, compiled once, shared by all rooms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emotes::Emotes;
use crate::links::{self, LinkPolicy};
use crate::words::{Blocked, PATTERNS_MAX, WORDS_MAX};

/// Settings of all rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// The longest message, in characters; at most 500, which is what viewers count on.
    pub chars_max: usize,
    /// Messages of one user in one room, in any minute; at most 120.
    pub user_per_minute: u32,
    /// Messages of one room, in any minute.
    pub room_per_minute: u32,
    /// Acts of moderators in one room, in any minute.
    pub acts_per_minute: u32,
    /// The same may not be said again by the same user for so long; at most 300 s.
    pub repeat: Duration,
    /// A retry is recognised for so long; at most an hour.
    pub retry: Duration,
    /// Retries that one room recognises, the newest; 100 bytes each.
    pub retries_max: usize,
    /// Bans and time-outs of one room; 60 bytes each.
    pub bans_max: usize,
    /// Words that aren't allowed: whole ones, or with `*` parts of words.
    pub blocked_words: Vec<String>,
    /// Regular expressions that aren't allowed to match; case doesn't count.
    pub blocked_patterns: Vec<String>,
    /// Which links are allowed.
    pub links: LinkPolicy,
    /// Whether words are refused that mix scripts in order to look Latin.
    pub refuse_look_alikes: bool,
    /// Emotes: code without colons, and id.
    pub emotes: Vec<(String, String)>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            chars_max: 500,
            user_per_minute: 20,
            room_per_minute: 10_000,
            acts_per_minute: 600,
            repeat: Duration::from_secs(30),
            retry: Duration::from_secs(300),
            retries_max: 20_000,
            bans_max: 50_000,
            blocked_words: Vec::new(),
            blocked_patterns: Vec::new(),
            links: LinkPolicy::Allow,
            refuse_look_alikes: true,
            emotes: Vec::new(),
        }
    }
}

/// Settings that can't be used; the operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A number out of range.
    #[error("{key} must be {range}")]
    Range {
        /// Which setting.
        key: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// Longer lists than are taken.
    #[error(
        "{words} blocked words and {patterns} patterns; at most {WORDS_MAX} and {PATTERNS_MAX} are taken"
    )]
    TooMany {
        /// How many words.
        words: usize,
        /// How many patterns.
        patterns: usize,
    },
    /// Not a word.
    #[error("blocked word {0:?} has no letter, or is too long")]
    Word(String),
    /// The words can't be compiled.
    #[error("the blocked words can't be compiled: {0}")]
    Words(String),
    /// A pattern that can't be used.
    #[error("blocked pattern {pattern:?} can't be used: {reason}")]
    Pattern {
        /// Its beginning.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// Each of the patterns is small enough, but not all of them.
    #[error(
        "the blocked patterns need more than {0} bytes when compiled; use fewer or simpler ones"
    )]
    Patterns(usize),
    /// Not a domain.
    #[error("allowed link {0:?} is not a domain such as example.com")]
    Domain(String),
    /// Not an emote, or twice.
    #[error(
        "emote {0:?}: a code has 2 to 32 letters, digits, _, - or +, an id 1 to 64 bytes, and none is there twice"
    )]
    Emote(String),
    /// More emotes than are taken.
    #[error("{0} emotes; at most {max} are taken", max = crate::emotes::EMOTES_MAX)]
    TooManyEmotes(usize),
}

/// Settings, compiled.
#[derive(Debug)]
pub struct Rules {
    pub(crate) config: RulesConfig,
    pub(crate) blocked: Blocked,
    pub(crate) links: LinkPolicy,
    pub(crate) emotes: Emotes,
    pub(crate) repeat_us: u64,
    pub(crate) retry_us: u64,
}

impl Rules {
    /// Checks and compiles settings; takes milliseconds.
    ///
    /// # Errors
    /// [`RulesError`] names what can't be used and why.
    pub fn compile(config: RulesConfig) -> Result<Self, RulesError> {
        let range = |is_fine: bool, key, range| match is_fine {
            true => Ok(()),
            false => Err(RulesError::Range { key, range }),
        };
        range((1..=500).contains(&config.chars_max), "chars_max", "1 to 500")?;
        range((1..=120).contains(&config.user_per_minute), "user_per_minute", "1 to 120")?;
        range(
            (1..=10_000_000).contains(&config.room_per_minute),
            "room_per_minute",
            "1 to 10000000",
        )?;
        range((1..=10_000).contains(&config.acts_per_minute), "acts_per_minute", "1 to 10000")?;
        range(config.repeat <= Duration::from_secs(300), "repeat", "at most 300 s")?;
        range(config.retry <= Duration::from_secs(3600), "retry", "at most an hour")?;
        range(config.retries_max <= 1_000_000, "retries_max", "at most 1000000")?;
        range(config.bans_max <= 1_000_000, "bans_max", "at most 1000000")?;
        let links = match &config.links {
            LinkPolicy::Only(domains) => {
                let domain = |text: &String| {
                    links::domain(text).ok_or_else(|| RulesError::Domain(text.clone()))
                };
                LinkPolicy::Only(domains.iter().map(domain).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        };
        Ok(Self {
            blocked: Blocked::compile(&config.blocked_words, &config.blocked_patterns)?,
            links,
            emotes: Emotes::compile(&config.emotes)?,
            repeat_us: config.repeat.as_micros() as u64,
            retry_us: config.retry.as_micros() as u64,
            config,
        })
    }
}
