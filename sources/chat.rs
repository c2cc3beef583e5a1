//! What viewers, and gateways for them, say on a chat's socket.
//!
//! Enters: texts, from strangers. Leaves: what they mean. Held: nothing. Never here: who
//! they are, and whether they may.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest text of a client in bytes: a message of 500 characters, each escaped, and
/// a token.
pub const CLIENT_TEXT_BYTES_MAX: u64 = 16 * 1024;

/// The longest name that a sender gives a message, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 64;

/// A text of a client; `type` tells which. Members may be added, and unknown ones are
/// passed over.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientText {
    /// It says who it is.
    Hello {
        /// A session's token.
        token: String,
    },
    /// It would like to say something.
    Say {
        /// What.
        message: String,
        /// Its own name for it, by which a retry is known.
        #[serde(default)]
        client_id: Option<String>,
    },
    /// A gateway: who came to it and who left since it last said so. Who is there
    /// twice comes twice.
    Crowd {
        /// What the viewers call themselves.
        entered: Vec<Uuid>,
        /// The same.
        left: Vec<Uuid>,
    },
}

/// Viewers in one [`ClientText::Crowd`], at most: it stays below [`CLIENT_TEXT_BYTES_MAX`].
pub const CROWD_MAX: usize = 400;

/// Not such a text. The words are for its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientTextError {
    /// Not JSON, or not with these members.
    #[error(
        "this isn't understood; say {{\"type\":\"say\",\"message\":\"…\"}} or {{\"type\":\"hello\",\"token\":\"…\"}}"
    )]
    Malformed,
    /// A name that is too long.
    #[error("client_id may have {CLIENT_ID_BYTES_MAX} bytes")]
    ClientId,
}

impl ClientText {
    /// What a text means.
    ///
    /// # Errors
    /// [`ClientTextError`].
    pub fn parse(text: &str) -> Result<Self, ClientTextError> {
        let parsed = serde_json::from_str(text).map_err(|_| ClientTextError::Malformed)?;
        match &parsed {
            Self::Say { client_id: Some(id), .. } if id.len() > CLIENT_ID_BYTES_MAX => {
                Err(ClientTextError::ClientId)
            }
            _ => Ok(parsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_understood() {
        let said = |text| ClientText::parse(text).map_err(|error| error.to_string());
        let hello = ClientText::Hello { token: "t".into() };
        assert!(said(r#"{"type":"hello","token":"t","more":1}"#) == Ok(hello));
        let say = |client_id| ClientText::Say { message: "hi".into(), client_id };
        assert!(said(r#"{"type":"say","message":"hi"}"#) == Ok(say(None)));
        let named = r#"{"type":"say","message":"hi","client_id":"c"}"#;
        assert!(said(named) == Ok(say(Some("c".into()))));
    }

    #[test]
    fn others_are_not() {
        let error = |text: &str| ClientText::parse(text).err();
        for text in ["", "hi", "{}", r#"{"type":"say"}"#, r#"{"type":"sing","message":"la"}"#, "[["]
        {
            assert_eq!(error(text), Some(ClientTextError::Malformed), "{text}");
        }
        let long = format!(r#"{{"type":"say","message":"","client_id":"{}"}}"#, "x".repeat(65));
        assert_eq!(error(&long), Some(ClientTextError::ClientId));
    }
}
