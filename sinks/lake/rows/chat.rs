//! What was said in chats, and what moderators did.
//!
//! Enters: records of the topic `chat`, of which each is a row of one table alone.
//! Never here: what an act did to a message; queries put the two together.

use log::Record;
use records::{Act, ChatRecord, ChatRecordError};
use serde::Serialize;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, value};

impl From<ChatRecordError> for NoRow {
    fn from(error: ChatRecordError) -> Self {
        Self::Unknown(error.to_string())
    }
}

pub(super) fn message(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let ChatRecord::Message(message) = ChatRecord::decode(value(record)?)? else {
        return Err(NoRow::NotHere);
    };
    let (message_id, user_id) = (message.message_id.to_string(), message.user_id.to_string());
    let emotes = match message.emotes.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&message.emotes)?),
    };
    let badges: Vec<_> = message.badges.iter().map(word).collect();
    let badges = (!badges.is_empty()).then(|| badges.join(","));
    rows.push(
        &Common { record, stream: message.stream_id, at_us: message.sent_at_us },
        &[
            long(message.seq),
            Cell::Text(&message_id),
            Cell::Text(&user_id),
            Cell::Text(&message.name),
            Cell::Text(&message.text),
            emotes.as_deref().map_or(Cell::Null, Cell::Text),
            badges.as_deref().map_or(Cell::Null, Cell::Text),
        ],
    )
}

pub(super) fn act(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let ChatRecord::Act(done) = ChatRecord::decode(value(record)?)? else {
        return Err(NoRow::NotHere);
    };
    let (mut user, mut seq, mut until, mut mode) = (None, None, None, None);
    let kind = match &done.act {
        Act::Ban { user_id } => {
            user = Some(user_id.to_string());
            "ban"
        }
        Act::TimeOut { user_id, until_us } => {
            (user, until) = (Some(user_id.to_string()), Some(*until_us));
            "time_out"
        }
        Act::Unban { user_id } => {
            user = Some(user_id.to_string());
            "unban"
        }
        Act::Delete { seq: of } => {
            seq = Some(*of);
            "delete"
        }
        Act::Clear => "clear",
        Act::Pin { seq: of } => {
            seq = Some(*of);
            "pin"
        }
        Act::Unpin => "unpin",
        Act::Mode { mode: set } => {
            mode = Some(serde_json::to_string(set)?);
            "mode"
        }
    };
    let by = done.by.to_string();
    rows.push(
        &Common { record, stream: done.stream_id, at_us: done.sent_at_us },
        &[
            long(done.seq),
            Cell::Text(&by),
            Cell::Text(kind),
            user.as_deref().map_or(Cell::Null, Cell::Text),
            seq.map_or(Cell::Null, long),
            until.map_or(Cell::Null, time),
            mode.as_deref().map_or(Cell::Null, Cell::Text),
        ],
    )
}

fn long(number: u64) -> Cell<'static> {
    Cell::Long(i64::try_from(number).unwrap_or(i64::MAX))
}

fn time(us: u64) -> Cell<'static> {
    Cell::Time(i64::try_from(us).unwrap_or(i64::MAX))
}

/// How records spell it.
fn word(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.trim_matches('"').to_owned()
}
