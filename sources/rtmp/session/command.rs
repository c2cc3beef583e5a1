//! Commands and data as peers write them.

use bytes::{Buf, Bytes};

use crate::rtmp::amf::{AmfError, AmfLimits, Value, decode};
use crate::rtmp::chunk::{Message, kind};

/// A command message (R 7.1.1).
pub(super) struct Command {
    pub(super) name: String,
    /// 0 asks for no answer.
    pub(super) transaction: f64,
    /// The command object, or null.
    pub(super) object: Value,
    /// What comes after it.
    pub(super) args: Vec<Value>,
}

impl Command {
    /// Reads types 20 and 17. None if it isn't a command at all (no name).
    pub(super) fn parse(message: &Message, limits: &AmfLimits) -> Result<Option<Self>, AmfError> {
        let body = amf0_body(message);
        let mut values = decode(&body, limits)?.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Ok(None);
        };
        let transaction = values.next().and_then(|v| v.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Some(Self { name, transaction, object, args: values.collect() }))
    }

    /// The first argument as text, or nothing.
    pub(super) fn text(&self) -> &str {
        self.args.first().and_then(Value::as_str).unwrap_or_default()
    }
}

/// A data message's AMF0 values (types 18 and 15), `@setDataFrame` taken off:
/// what remains is what players would be told. None for `@clearDataFrame`.
pub(super) fn data(message: &Message, limits: &AmfLimits) -> Result<Option<Bytes>, AmfError> {
    // An AMF0 string: marker, length, text.
    const SET: &[u8] = b"\x02\x00\x0d@setDataFrame";
    const CLEAR: &[u8] = b"\x02\x00\x0f@clearDataFrame";

    let mut body = amf0_body(message);
    if body.starts_with(SET) {
        body.advance(SET.len());
    } else if body.starts_with(CLEAR) {
        return Ok(None);
    }
    // Whoever reads it later may trust its depth and counts.
    decode(&body, limits)?;
    Ok(Some(body))
}

/// AMF3 messages begin with one byte 0, then AMF0 (seen: some leave it out).
fn amf0_body(message: &Message) -> Bytes {
    let mut body = message.payload.clone();
    let amf3 = matches!(message.type_id, kind::COMMAND_AMF3 | kind::DATA_AMF3);
    if amf3 && body.first() == Some(&0) {
        body.advance(1);
    }
    body
}
