//! What the catalog knows of one stream, and why it refuses a change.
//!
//! Enters: texts from outside. Leaves: texts that may be stored. Held: nothing.
//! Never done here: reading or writing the log.

use records::{StreamId, StreamState, UserId};
use serde::{Deserialize, Serialize};

use crate::keys::{KeyError, KeyHash};

/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest category, in characters.
pub const CATEGORY_CHARS_MAX: usize = 100;

/// What is known of one broadcast. Holds a hash of its key: not for API answers as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntry {
    /// Which one.
    pub stream_id: StreamId,
    /// The streamer whose it is. None: the operator's, and all of older logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// As given by its maker.
    pub title: String,
    /// As given by its maker; may be empty.
    pub category: String,
    /// None once the key moved to the successor, or the stream was deleted.
    pub key_hash: Option<KeyHash>,
    /// Where it is in its life.
    pub state: StreamState,
    /// Wall clock in microseconds since 1970, as all times here.
    pub created_at_us: u64,
    /// When its first publisher came.
    pub started_at_us: Option<u64>,
    /// When it was over.
    pub ended_at_us: Option<u64>,
    /// Publishers so far, the present one included.
    pub sessions: u32,
    /// The broadcast that took over its key.
    pub successor: Option<StreamId>,
    /// The broadcast that it took its key over from.
    pub predecessor: Option<StreamId>,
    /// Ended by its maker: never to be shown or continued.
    pub deleted: bool,
}

/// Why the catalog didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The caller's: no such stream.
    #[error("no stream {0}")]
    Unknown(StreamId),
    /// The caller's: the stream is over, so this can't happen to it any more.
    #[error("stream {0} is over")]
    Over(StreamId),
    /// The caller's: the stream is not over yet.
    #[error("stream {0} is not over")]
    NotOver(StreamId),
    /// The caller's: a deleted stream has no successor.
    #[error("stream {0} can't be continued by a new one: it was deleted")]
    NoSuccessor(StreamId),
    /// The caller's: as many streams as an owner may have without using them.
    #[error("{0} of your streams never went live; publish to one of them, or delete one")]
    TooMany(usize),
    /// The caller's: a field is missing or too long.
    #[error("{field} {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk's: what is stored is not a stream.
    #[error(
        "the catalog's entry {key} can't be read ({reason}); restore the data directory from a backup"
    )]
    Entry {
        /// Its key in the topic.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The log's; see there whether a retry helps.
    #[error("the catalog can't be stored: {0}")]
    Log(#[from] log::Error),
    /// The machine's.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Ours: the task that made the change died.
    #[error("a change of the catalog was interrupted")]
    Interrupted,
}

/// A field's text without blanks around it, if its length is right and it is printable.
pub(crate) fn text(
    field: &'static str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<String, CatalogError> {
    let text = text.trim();
    let refuse = |reason| Err(CatalogError::Field { field, reason });
    let chars = text.chars().count();
    if chars < min {
        return refuse("is missing".into());
    }
    if chars > max {
        return refuse(format!("has {chars} characters, the limit is {max}"));
    }
    if text.chars().any(char::is_control) {
        return refuse("holds control characters".into());
    }
    Ok(text.to_owned())
}
