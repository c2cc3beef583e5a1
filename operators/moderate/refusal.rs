//! Why something isn't in a room, and how to say so.

/// Why it was refused; always the sender's to deal with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that could be seen.
    #[error("the message is empty")]
    Empty,
    /// Too many characters.
    #[error("the message has {chars} characters; {max} are allowed")]
    TooLong {
        /// How many it has; no more than are counted.
        chars: usize,
        /// How many it may have.
        max: usize,
    },
    /// Letters buried in marks.
    #[error("the message has too many combining marks")]
    Marks,
    /// The sender's own name for the message is too long.
    #[error("client_id has more than {} bytes", crate::said::CLIENT_ID_BYTES_MAX)]
    ClientId,
    /// A word that isn't allowed here. Which one is not told: it would help to get around it.
    #[error("the message has a word that is not allowed here")]
    Word,
    /// A link that isn't allowed here.
    #[error("links to {0} are not allowed here")]
    Link(String),
    /// Letters of other scripts that look like one's own.
    #[error("the message has letters that pretend to be others")]
    LookAlike,
    /// The same again.
    #[error("you said the same a moment ago")]
    Repeated {
        /// When it may be said again.
        retry_after_us: u64,
    },
    /// Banned for good.
    #[error("you are banned from this chat")]
    Banned,
    /// Banned for a while.
    #[error("you can't write in this chat for {} s", seconds(*.retry_after_us))]
    TimedOut {
        /// For how long.
        retry_after_us: u64,
    },
    /// Followers only.
    #[error("only who has followed the channel for {0} s may write")]
    FollowersOnly(u32),
    /// Subscribers only.
    #[error("only subscribers may write")]
    SubscribersOnly,
    /// Slow mode.
    #[error("slow mode: you can write again in {} s", seconds(*.retry_after_us))]
    Slow {
        /// When one may write again.
        retry_after_us: u64,
    },
    /// The user's limit.
    #[error("you write too fast; try again in {} s", seconds(*.retry_after_us))]
    UserLimit {
        /// When there is room.
        retry_after_us: u64,
    },
    /// The room's limit.
    #[error("this chat is too busy; try again in {} s", seconds(*.retry_after_us))]
    RoomLimit {
        /// When there is room.
        retry_after_us: u64,
    },
    /// The server's limit.
    #[error("chat is too busy; try again in {} s", seconds(*.retry_after_us))]
    ServerLimit {
        /// When there is room.
        retry_after_us: u64,
    },
    /// An act by somebody who may not, or on somebody of the same standing.
    #[error("this needs a moderator of the channel, of more standing than who it is about")]
    NotAllowed,
    /// An act on a message that there isn't.
    #[error("there is no message {0} in this chat")]
    NoMessage(u64),
    /// An act that says something impossible.
    #[error("{0}")]
    Nonsense(&'static str),
    /// As many bans as a room keeps.
    #[error("this chat has {0} bans, which is the limit; lift some")]
    TooManyBans(usize),
}

impl Refusal {
    /// The HTTP status that says this best.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Empty
            | Self::TooLong { .. }
            | Self::Marks
            | Self::ClientId
            | Self::Word
            | Self::Link(_)
            | Self::LookAlike
            | Self::Nonsense(_) => 400,
            Self::Banned
            | Self::TimedOut { .. }
            | Self::FollowersOnly(_)
            | Self::SubscribersOnly
            | Self::NotAllowed => 403,
            Self::NoMessage(_) => 404,
            Self::TooManyBans(_) => 409,
            Self::Repeated { .. }
            | Self::Slow { .. }
            | Self::UserLimit { .. }
            | Self::RoomLimit { .. }
            | Self::ServerLimit { .. } => 429,
        }
    }

    /// For `Retry-After`: in how many seconds a retry may help, at least 1.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Repeated { retry_after_us }
            | Self::TimedOut { retry_after_us }
            | Self::Slow { retry_after_us }
            | Self::UserLimit { retry_after_us }
            | Self::RoomLimit { retry_after_us }
            | Self::ServerLimit { retry_after_us } => Some(seconds(*retry_after_us)),
            _ => None,
        }
    }

    /// A name for metrics and for clients to tell them apart; never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::Marks => "marks",
            Self::ClientId => "client_id",
            Self::Word => "word",
            Self::Link(_) => "link",
            Self::LookAlike => "look_alike",
            Self::Repeated { .. } => "repeated",
            Self::Banned => "banned",
            Self::TimedOut { .. } => "timed_out",
            Self::FollowersOnly(_) => "followers_only",
            Self::SubscribersOnly => "subscribers_only",
            Self::Slow { .. } => "slow",
            Self::UserLimit { .. } => "user_limit",
            Self::RoomLimit { .. } => "room_limit",
            Self::ServerLimit { .. } => "server_limit",
            Self::NotAllowed => "not_allowed",
            Self::NoMessage(_) => "no_message",
            Self::Nonsense(_) => "nonsense",
            Self::TooManyBans(_) => "too_many_bans",
        }
    }
}

fn seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000).max(1)
}
