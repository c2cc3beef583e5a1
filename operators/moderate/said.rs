//! What goes into a room and what comes out.

use records::{Act, ChatMessage, MessageId, UserId};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// What somebody is in a room.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Standing {
    /// Anybody.
    #[default]
    Viewer,
    /// Moderates the channel.
    Moderator,
    /// Whose channel it is.
    Streamer,
    /// Runs the server.
    Admin,
}

/// What somebody is to a channel; comes with what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Since when they follow it, in microseconds since 1970.
    pub follows_since_us: Option<u64>,
    /// Whether they subscribe to it.
    pub subscribes: bool,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub user_id: UserId,
    /// What they are called.
    pub name: String,
    /// What they are here.
    pub standing: Standing,
    /// What they are to the channel.
    pub relation: Relation,
}

/// What somebody would like to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// A new identifier, made by whoever received it.
    pub message_id: MessageId,
    /// Who says it.
    pub from: Person,
    /// What.
    pub text: String,
    /// The sender's own name for it, the same in a retry; at most [`CLIENT_ID_BYTES_MAX`].
    pub client_id: Option<String>,
}

/// The longest name of a sender's own for a message, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 64;

/// What a moderator would like to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// A new identifier, made by whoever received it.
    pub act_id: MessageId,
    /// Who wants it.
    pub by: UserId,
    /// What they are here.
    pub standing: Standing,
    /// What.
    pub act: Act,
    /// What the user that the act is about is here. Nobody bans their equals.
    pub target: Standing,
}

/// What a sender is told of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which one it is.
    pub message_id: MessageId,
    /// Its place in the room.
    pub seq: u64,
    /// When it was accepted, in microseconds since 1970.
    pub sent_at_us: u64,
}

/// What becomes of what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the room: to be shown, and to be appended to the log. The
    /// sender is told once it is durable.
    Accepted(ChatMessage),
    /// It was accepted before: a retry. Nothing is to be done but to tell the
    /// sender, as soon as that one is durable.
    Known(Receipt),
    /// It isn't in the room.
    Refused(Refusal),
}
