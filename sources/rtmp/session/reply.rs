//! What the server says.

use bytes::{BufMut, Bytes, BytesMut};

use crate::rtmp::amf::{Value, encode, object};
use crate::rtmp::chunk::{Message, kind};

/// Chunk stream of protocol control messages (R 5.4).
const CONTROL: u32 = 2;
/// Chunk stream of everything else that is said.
const COMMANDS: u32 = 3;

fn control(type_id: u8, payload: Bytes) -> Message {
    Message { chunk_stream: CONTROL, stream_id: 0, type_id, timestamp_ms: 0, payload }
}

/// Acknowledgement: bytes received, modulo 2^32 (R 5.4.3).
pub(super) fn acknowledgement(received: u32) -> Message {
    control(kind::ACKNOWLEDGEMENT, Bytes::copy_from_slice(&received.to_be_bytes()))
}

/// Window Acknowledgement Size (R 5.4.4).
pub(super) fn window_ack_size(bytes: u32) -> Message {
    control(kind::WINDOW_ACK_SIZE, Bytes::copy_from_slice(&bytes.to_be_bytes()))
}

/// Set Peer Bandwidth, "dynamic" (R 5.4.5).
pub(super) fn peer_bandwidth(bytes: u32) -> Message {
    const DYNAMIC: u8 = 2;
    let [a, b, c, d] = bytes.to_be_bytes();
    control(kind::PEER_BANDWIDTH, Bytes::copy_from_slice(&[a, b, c, d, DYNAMIC]))
}

/// User control: Stream Begin (R 7.1.7).
pub(super) fn stream_begin(stream_id: u32) -> Message {
    user_control(0, &stream_id.to_be_bytes())
}

/// User control: Ping Response, with the request's bytes (R 7.1.7).
pub(super) fn ping_response(echo: &[u8]) -> Message {
    user_control(7, echo)
}

fn user_control(event: u16, data: &[u8]) -> Message {
    let mut payload = BytesMut::with_capacity(2 + data.len());
    payload.put_u16(event);
    payload.put_slice(data);
    control(kind::USER_CONTROL, payload.freeze())
}

/// A command with these values after its name and transaction.
pub(super) fn command<const N: usize>(
    stream_id: u32,
    name: &str,
    transaction: f64,
    values: [Value; N],
) -> Message {
    let mut payload = Vec::with_capacity(256);
    encode(&name.into(), &mut payload);
    encode(&transaction.into(), &mut payload);
    for value in &values {
        encode(value, &mut payload);
    }
    Message {
        chunk_stream: COMMANDS,
        stream_id,
        type_id: kind::COMMAND,
        timestamp_ms: 0,
        payload: payload.into(),
    }
}

/// How bad a status is.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Status,
    Error,
}

/// The object that says how something went (R 7.2.2).
pub(super) fn info(level: Level, code: &str, description: &str) -> Value {
    let level = match level {
        Level::Status => "status",
        Level::Error => "error",
    };
    object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

/// `onStatus`, transaction 0.
pub(super) fn status(stream_id: u32, level: Level, code: &str, description: &str) -> Message {
    command(stream_id, "onStatus", 0.0, [Value::Null, info(level, code, description)])
}
