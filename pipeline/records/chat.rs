//! What is said and done in a room, as it is kept: the values of the log's
//! topic `chat`, whose key is the stream.
//!
//! One record each, JSON, versioned by `v`. Fields may be added; readers ignore
//! what they don't know. Messages and acts of a room share one sequence, so a
//! viewer who has everything up to a `seq` also knows what was deleted.

use std::fmt;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{StreamId, UserId};

/// The version that is written.
pub const CHAT_VERSION: u8 = 1;

/// A message or an act, as UUIDv7, made by whoever received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// What a name is shown with: what its user was when the message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Badge {
    /// Whose channel it is.
    Streamer,
    /// Runs the server.
    Admin,
    /// Moderates the channel.
    Moderator,
    /// Subscribes to the channel.
    Subscriber,
}

/// An emote in a message. Positions count characters (Unicode scalar values),
/// as the length of a message does, not bytes or UTF-16 units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmoteRange {
    /// The first character, a colon.
    pub start: u16,
    /// Behind the last one, a colon as well.
    pub end: u16,
    /// Which emote of the server's set.
    pub id: String,
}

/// An accepted message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// [`CHAT_VERSION`].
    pub v: u8,
    /// The room.
    pub stream_id: StreamId,
    /// Its place in the room, from 1, without gaps.
    pub seq: u64,
    /// Which one.
    pub message_id: MessageId,
    /// Who said it.
    pub user_id: UserId,
    /// What they were called then.
    pub name: String,
    /// When it was accepted, in microseconds since 1970; never falls along `seq`.
    pub sent_at_us: u64,
    /// What was said: 1 to 500 characters in normal form C, no control
    /// characters, not to be read as markup.
    pub text: String,
    /// Emotes in the text, by position, not overlapping.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emotes: Vec<EmoteRange>,
    /// What the name was shown with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub badges: Vec<Badge>,
    /// The sender's own name for it, by which a retry is recognised, also after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// Who may write now. The default: everybody, at their limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// Seconds between two messages of one user; at most [`SLOW_S_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_s: Option<u16>,
    /// Only who has followed for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followers_s: Option<u32>,
    /// Only who subscribes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscribers: bool,
}

/// The slowest mode. It also bounds how long a room remembers who wrote.
pub const SLOW_S_MAX: u16 = 300;

/// What moderators do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Act {
    /// The user may not write any more.
    Ban {
        /// Who.
        user_id: UserId,
    },
    /// The user may not write for a while.
    TimeOut {
        /// Who.
        user_id: UserId,
        /// Until when, in microseconds since 1970.
        until_us: u64,
    },
    /// The user may write again.
    Unban {
        /// Who.
        user_id: UserId,
    },
    /// A message isn't to be shown any more.
    Delete {
        /// Which one.
        seq: u64,
    },
    /// No message before this act is to be shown any more.
    Clear,
    /// A message is to be shown above the others.
    Pin {
        /// Which one.
        seq: u64,
    },
    /// None is.
    Unpin,
    /// Who may write from now on.
    Mode {
        /// All of it, not only what changed.
        mode: Mode,
    },
}

/// An act of a moderator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatAct {
    /// [`CHAT_VERSION`].
    pub v: u8,
    /// The room.
    pub stream_id: StreamId,
    /// Its place in the room, from 1, without gaps.
    pub seq: u64,
    /// Which one.
    pub act_id: MessageId,
    /// Who did it.
    pub by: UserId,
    /// When, in microseconds since 1970; never falls along `seq`.
    pub sent_at_us: u64,
    /// What.
    pub act: Act,
}

/// A record of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChatRecord {
    /// Somebody said something.
    Message(ChatMessage),
    /// A moderator did something.
    Act(ChatAct),
}

/// Not a record of a room; the disk's fault, or that of a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatRecordError {
    /// It can't be read.
    #[error("not a record of a chat: {0}")]
    Malformed(String),
    /// It was written by a newer program.
    #[error("a record of a chat of version {0}; this program knows {CHAT_VERSION}")]
    Version(u8),
}

impl ChatRecord {
    /// The value in the log.
    ///
    /// # Errors
    /// [`ChatRecordError::Malformed`], which these types don't cause.
    pub fn encode(&self) -> Result<Vec<u8>, ChatRecordError> {
        serde_json::to_vec(self).map_err(|error| ChatRecordError::Malformed(error.to_string()))
    }

    /// What a value in the log says.
    ///
    /// # Errors
    /// [`ChatRecordError`].
    pub fn decode(value: &[u8]) -> Result<Self, ChatRecordError> {
        // Looked at first, since serde would copy all of a record to find out which it is.
        #[derive(Deserialize)]
        struct Head {
            v: u8,
            act: Option<IgnoredAny>,
        }
        let malformed = |error: serde_json::Error| ChatRecordError::Malformed(error.to_string());
        match serde_json::from_slice(value).map_err(malformed)? {
            Head { v, .. } if v > CHAT_VERSION => return Err(ChatRecordError::Version(v)),
            Head { act: None, .. } => serde_json::from_slice(value).map(Self::Message),
            Head { act: Some(_), .. } => serde_json::from_slice(value).map(Self::Act),
        }
        .map_err(malformed)
    }

    /// Its room.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        match self {
            Self::Message(message) => message.stream_id,
            Self::Act(act) => act.stream_id,
        }
    }

    /// Its place in the room.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Message(message) => message.seq,
            Self::Act(act) => act.seq,
        }
    }

    /// When it was accepted, in microseconds since 1970.
    #[must_use]
    pub fn sent_at_us(&self) -> u64 {
        match self {
            Self::Message(message) => message.sent_at_us,
            Self::Act(act) => act.sent_at_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written out: what is in logs must stay readable.
    const MESSAGE: &str = r#"{"v":1,"stream_id":"0190a5f0-7c3e-7a11-9d4b-3f2e1d0c9b8a","seq":7,"message_id":"0190a5f0-7c3e-7a11-9d4b-000000000001","user_id":"0190a5f0-7c3e-7a11-9d4b-000000000002","name":"ann","sent_at_us":1790000000000000,"text":"hi :wave:","emotes":[{"start":3,"end":9,"id":"wave"}],"badges":["moderator"],"client_id":"c1"}"#;
    const ACT: &str = r#"{"v":1,"stream_id":"0190a5f0-7c3e-7a11-9d4b-3f2e1d0c9b8a","seq":8,"act_id":"0190a5f0-7c3e-7a11-9d4b-000000000003","by":"0190a5f0-7c3e-7a11-9d4b-000000000002","sent_at_us":1790000000000001,"act":{"kind":"time_out","user_id":"0190a5f0-7c3e-7a11-9d4b-000000000004","until_us":1790000060000000}}"#;

    #[test]
    fn records_are_written_as_ever() {
        for text in [MESSAGE, ACT] {
            let record = ChatRecord::decode(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(record.encode().unwrap()).unwrap(), text);
        }
        let plain = MESSAGE.replace(r#","badges":["moderator"],"client_id":"c1""#, "");
        assert!(ChatRecord::decode(plain.as_bytes()).is_ok());
        let newer = MESSAGE.replace(r#""v":1"#, r#""v":1,"later":{}"#);
        assert_eq!(ChatRecord::decode(newer.as_bytes()).unwrap().seq(), 7, "fields may be added");
    }

    #[test]
    fn what_isnt_a_record_is_refused() {
        let newer = MESSAGE.replace(r#""v":1"#, r#""v":2"#);
        assert_eq!(ChatRecord::decode(newer.as_bytes()), Err(ChatRecordError::Version(2)));
        for text in ["", "{}", "[]", r#"{"v":1}"#, &MESSAGE[..100]] {
            let error = ChatRecord::decode(text.as_bytes());
            assert!(matches!(error, Err(ChatRecordError::Malformed(_))), "{text}");
        }
    }
}
