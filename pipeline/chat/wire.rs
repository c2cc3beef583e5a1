//! The texts that a socket carries, and those of polling and history: JSON, each with
//! its `type`. The README has them all.
//!
//! Enters: records and answers; at a gateway, the texts of others. Leaves: texts, and for
//! the gateway the records that they tell of. Held: nothing. Never here: who gets them.

use std::borrow::Cow;

use std::time::Duration;

use chat::{ConnectionId, Position, Who};
use moderate::{Receipt, Refusal};
use records::{
    Act, Badge, CHAT_VERSION, ChatAct, ChatMessage, ChatRecord, EmoteRange, MessageId, Mode,
    StreamId, UserId,
};
use serde::{Deserialize, Serialize};

use super::lane::Notes;

/// What a room's viewers are spread over when all of them come back at once.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_PER_THOUSAND: Duration = Duration::from_millis(300);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What everybody in a room is told, and what one viewer is.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Text<'a> {
    /// Somebody said something.
    Message(Message<'a>),
    /// A moderator did something.
    Act {
        /// Its place in the room.
        seq: u64,
        /// Who did it.
        by: UserId,
        /// When.
        sent_at_us: u64,
        /// What.
        act: &'a Act,
    },
    /// The first text on a socket.
    Welcome(Welcome<'a>),
    /// How many watch or read.
    Viewers {
        /// Each counts once.
        viewers: usize,
    },
    /// Who the server takes the viewer for.
    You {
        /// Who.
        user_id: UserId,
        /// What they are called.
        name: &'a str,
        /// What they may do on this server.
        roles: Vec<String>,
        /// What their name is shown with here.
        badges: Vec<Badge>,
        /// Whether they moderate here.
        moderates: bool,
    },
    /// What the viewer said is in the room for good.
    Accepted {
        /// Its sender's name for it.
        client_id: Option<&'a str>,
        /// Ours.
        message_id: MessageId,
        /// Its place in the room.
        seq: u64,
        /// When.
        sent_at_us: u64,
    },
    /// It isn't.
    Refused(Refused<'a>),
}

/// An accepted message as others see it.
#[derive(Serialize)]
pub struct Message<'a> {
    seq: u64,
    message_id: MessageId,
    user_id: UserId,
    name: &'a str,
    sent_at_us: u64,
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    emotes: &'a [EmoteRange],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    badges: &'a [Badge],
}

/// See [`Text::Welcome`].
#[derive(Serialize)]
pub struct Welcome<'a> {
    /// The room's life; numbers of another one mean nothing.
    pub epoch: String,
    /// The number before what comes next.
    pub seq: u64,
    /// The room's newest number: up to it everything follows at once.
    pub last: u64,
    /// Whether all that came after what the viewer has will follow.
    pub recovered: bool,
    /// How long this very viewer waits before it comes back, in milliseconds.
    pub retry_ms: u32,
    /// Who may write.
    pub mode: &'a Mode,
    /// The message above the others.
    pub pinned: Option<Message<'a>>,
    /// How many watch or read.
    pub viewers: usize,
}

/// See [`Text::Refused`].
#[derive(Serialize)]
pub struct Refused<'a> {
    /// The sender's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
    /// The HTTP status that says the same.
    pub status: u16,
    /// What clients tell refusals apart by.
    pub code: &'a str,
    /// For people.
    pub detail: Cow<'a, str>,
    /// When a retry may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl<'a> Welcome<'a> {
    /// To a viewer who stands at `at` in a room of so many.
    #[must_use]
    pub fn new(who: Who<'_>, at: &Position, notes: &'a Notes, viewers: usize) -> Self {
        Self {
            epoch: at.epoch.to_string(),
            seq: at.seq,
            last: who.room.last(),
            recovered: at.recovered,
            retry_ms: retry_ms(viewers, who.id),
            mode: &notes.mode,
            pinned: notes.pinned.as_ref().map(Into::into),
            viewers,
        }
    }
}

/// When one of so many viewers should come back, lest all come at once.
fn retry_ms(viewers: usize, id: ConnectionId) -> u32 {
    let spread = (RETRY_PER_THOUSAND * (viewers as u32 / 1000 + 1)).min(RETRY_MAX);
    // Spread evenly over those who come one after the other, the same for one connection.
    let place = blake3::hash(format!("{id:?}").as_bytes()).as_bytes()[0];
    (RETRY_MIN + spread * u32::from(place) / 256).as_millis() as u32
}

impl<'a> From<&'a ChatMessage> for Message<'a> {
    fn from(message: &'a ChatMessage) -> Self {
        Self {
            seq: message.seq,
            message_id: message.message_id,
            user_id: message.user_id,
            name: &message.name,
            sent_at_us: message.sent_at_us,
            message: &message.text,
            emotes: &message.emotes,
            badges: &message.badges,
        }
    }
}

impl<'a> From<&'a ChatRecord> for Text<'a> {
    fn from(record: &'a ChatRecord) -> Self {
        match record {
            ChatRecord::Message(message) => Self::Message(message.into()),
            ChatRecord::Act(act) => {
                Self::Act { seq: act.seq, by: act.by, sent_at_us: act.sent_at_us, act: &act.act }
            }
        }
    }
}

impl<'a> Refused<'a> {
    /// What a room refused.
    #[must_use]
    pub fn by(refusal: &'a Refusal, client_id: Option<&'a str>) -> Self {
        Self {
            client_id,
            status: refusal.status(),
            code: refusal.code(),
            detail: refusal.to_string().into(),
            retry_after_s: refusal.retry_after_s(),
        }
    }

    /// Whether it will be in the room is open.
    #[must_use]
    pub fn busy(client_id: Option<&'a str>) -> Self {
        let detail = "chat can't keep up now; try again shortly";
        Self { retry_after_s: Some(2), ..Self::plain(503, "busy", detail, client_id) }
    }

    /// Nobody knows who says it.
    #[must_use]
    pub fn stranger(client_id: Option<&'a str>) -> Self {
        Self::plain(401, "token", "log in to write", client_id)
    }

    /// Who isn't a gateway speaks as one.
    #[must_use]
    pub fn not_a_gateway() -> Self {
        Self::plain(403, "gateway", "only gateways say who is there", None)
    }

    /// What has nothing to do with what was said.
    #[must_use]
    pub fn plain(status: u16, code: &'a str, detail: &'a str, client_id: Option<&'a str>) -> Self {
        Self { client_id, status, code, detail: detail.into(), retry_after_s: None }
    }
}

impl Text<'_> {
    /// What an accepted message's sender is told.
    #[must_use]
    pub fn accepted(receipt: Receipt, client_id: Option<&str>) -> Text<'_> {
        let Receipt { message_id, seq, sent_at_us } = receipt;
        Text::Accepted { client_id, message_id, seq, sent_at_us }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Plain structs with string keys can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A text of another server's room, as a gateway reads it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Told {
    /// As [`Text::Message`].
    Message(ToldMessage),
    /// As [`Text::Act`].
    Act {
        /// Its place in the room.
        seq: u64,
        /// Who did it.
        by: UserId,
        /// When.
        sent_at_us: u64,
        /// What.
        act: Act,
    },
    /// As [`Text::Welcome`].
    Welcome(ToldWelcome),
    /// As [`Text::Viewers`].
    Viewers {
        /// Each counts once.
        viewers: usize,
    },
    /// What is of no use to a gateway.
    #[serde(other)]
    Other,
}

/// As [`Message`].
#[derive(Deserialize)]
pub struct ToldMessage {
    seq: u64,
    message_id: MessageId,
    user_id: UserId,
    name: String,
    sent_at_us: u64,
    message: String,
    #[serde(default)]
    emotes: Vec<EmoteRange>,
    #[serde(default)]
    badges: Vec<Badge>,
}

/// As [`Welcome`], without what is meant for one viewer.
#[derive(Deserialize)]
pub struct ToldWelcome {
    /// The room's life, a number.
    pub epoch: String,
    /// The number before what comes next.
    pub seq: u64,
    /// The room's newest number.
    pub last: u64,
    /// Whether all that came after what the gateway has will follow.
    pub recovered: bool,
    /// Who may write.
    pub mode: Mode,
    /// The message above the others.
    pub pinned: Option<ToldMessage>,
    /// How many watch or read.
    pub viewers: usize,
}

impl ToldMessage {
    /// The message, but for its sender's own name for it, which nobody is told.
    #[must_use]
    pub fn message(self, stream_id: StreamId) -> ChatMessage {
        ChatMessage {
            v: CHAT_VERSION,
            stream_id,
            seq: self.seq,
            message_id: self.message_id,
            user_id: self.user_id,
            name: self.name,
            sent_at_us: self.sent_at_us,
            text: self.message,
            emotes: self.emotes,
            badges: self.badges,
            client_id: None,
        }
    }
}

impl Told {
    /// The record that a text with a number tells of; an act's own identifier isn't told.
    #[must_use]
    pub fn record(self, stream_id: StreamId) -> Option<ChatRecord> {
        match self {
            Self::Message(message) => Some(ChatRecord::Message(message.message(stream_id))),
            Self::Act { seq, by, sent_at_us, act } => Some(ChatRecord::Act(ChatAct {
                v: CHAT_VERSION,
                stream_id,
                seq,
                act_id: MessageId(uuid::Uuid::nil()),
                by,
                sent_at_us,
                act,
            })),
            Self::Welcome(_) | Self::Viewers { .. } | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn records_are_as_documented() {
        let id = Uuid::from_u128(7);
        let message = ChatRecord::Message(ChatMessage {
            v: CHAT_VERSION,
            stream_id: StreamId(id),
            seq: 7,
            message_id: MessageId(id),
            user_id: UserId(id),
            name: "ann".into(),
            sent_at_us: 9,
            text: "hi".into(),
            emotes: Vec::new(),
            badges: vec![Badge::Moderator],
            client_id: Some("not for others".into()),
        });
        assert_eq!(
            Text::from(&message).json(),
            r#"{"type":"message","seq":7,"message_id":"00000000-0000-0000-0000-000000000007","user_id":"00000000-0000-0000-0000-000000000007","name":"ann","sent_at_us":9,"message":"hi","badges":["moderator"]}"#
        );
        let act = ChatRecord::Act(ChatAct {
            v: CHAT_VERSION,
            stream_id: StreamId(id),
            seq: 8,
            act_id: MessageId(id),
            by: UserId(id),
            sent_at_us: 10,
            act: Act::Delete { seq: 7 },
        });
        assert_eq!(
            Text::from(&act).json(),
            r#"{"type":"act","seq":8,"by":"00000000-0000-0000-0000-000000000007","sent_at_us":10,"act":{"kind":"delete","seq":7}}"#
        );
    }
    #[test]
    fn a_gateway_reads_what_a_room_says() {
        let id = Uuid::from_u128(7);
        let mut message = ChatMessage {
            v: CHAT_VERSION,
            stream_id: StreamId(id),
            seq: 7,
            message_id: MessageId(id),
            user_id: UserId(id),
            name: "a \"quoted\" name".into(),
            sent_at_us: 9,
            text: "hi :wave:".into(),
            emotes: vec![EmoteRange { start: 3, end: 9, id: "wave".into() }],
            badges: vec![Badge::Moderator],
            client_id: Some("not for others".into()),
        };
        let told = |text: String| serde_json::from_str::<Told>(&text).unwrap();
        let read = told(Text::Message((&message).into()).json()).record(StreamId(id));
        message.client_id = None;
        assert_eq!(read, Some(ChatRecord::Message(message.clone())));

        let act = Act::Pin { seq: 7 };
        let text = Text::Act { seq: 8, by: UserId(id), sent_at_us: 10, act: &act };
        let Some(ChatRecord::Act(read)) = told(text.json()).record(StreamId(id)) else { panic!() };
        assert_eq!((read.seq, read.act), (8, act));

        let notes =
            Notes::begin(Mode { slow_s: Some(5), ..Mode::default() }, Some(message.clone()));
        let welcome = Welcome {
            epoch: "77".into(),
            seq: 6,
            last: 9,
            recovered: true,
            retry_ms: 200,
            mode: &notes.mode,
            pinned: notes.pinned.as_ref().map(Into::into),
            viewers: 3,
        };
        let Told::Welcome(read) = told(Text::Welcome(welcome).json()) else { panic!() };
        assert_eq!(
            (read.epoch.as_str(), read.seq, read.recovered, read.viewers),
            ("77", 6, true, 3)
        );
        assert_eq!((read.mode, read.pinned.unwrap().message(StreamId(id))), (notes.mode, message));
        assert!(matches!(told(r#"{"type":"you","more":1}"#.into()), Told::Other));
        assert!(matches!(
            told(r#"{"type":"viewers","viewers":9}"#.into()),
            Told::Viewers { viewers: 9 }
        ));
    }
}
