//! Splits messages into chunks.
//!
//! Enters: whole messages. Leaves: bytes, with the shortest headers that every
//! known reader understands. Held: the last header of each chunk stream.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CHUNK_BYTES_DEFAULT, Message, TIMESTAMP_ESCAPE, kind};

/// The last header written on a chunk stream.
struct Last {
    chunk_stream: u32,
    stream_id: u32,
    type_id: u8,
    length: usize,
    timestamp: u32,
    // Of the last header, if it had one; none after a type 0 header, whose
    // "delta" peers understand differently.
    delta: Option<u32>,
}

/// Splits messages into chunks; see the module.
pub struct ChunkWriter {
    chunk_bytes: usize,
    last: Vec<Last>,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkWriter {
    /// A writer at the first byte after the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self { chunk_bytes: CHUNK_BYTES_DEFAULT as usize, last: Vec::new() }
    }

    /// Tells the peer another chunk size (taken as `1..=2^24-1`) and uses it from then on.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut BytesMut) {
        let size = size.clamp(1, 0xff_ffff);
        let message = Message {
            chunk_stream: 2,
            stream_id: 0,
            type_id: kind::SET_CHUNK_SIZE,
            timestamp_ms: 0,
            payload: Bytes::copy_from_slice(&size.to_be_bytes()),
        };
        self.write(&message, out);
        self.chunk_bytes = size as usize;
    }

    /// Appends one message's chunks to `out`.
    pub fn write(&mut self, message: &Message, out: &mut BytesMut) {
        self.write_marked(message, out, |_| ());
    }

    /// As [`Self::write`]; `mark` learns the length of `out` after each chunk:
    /// where chunks of other chunk streams may be put in between.
    pub fn write_marked(
        &mut self,
        message: &Message,
        out: &mut BytesMut,
        mut mark: impl FnMut(usize),
    ) {
        let chunks = message.payload.len().div_ceil(self.chunk_bytes).max(1);
        out.reserve(message.payload.len() + 18 + (chunks - 1) * 7);
        let extended = self.header(message, out);
        let mut pieces = message.payload.chunks(self.chunk_bytes);
        out.put_slice(pieces.next().unwrap_or_default());
        mark(out.len());
        for piece in pieces {
            basic_header(3, message.chunk_stream, out);
            if let Some(value) = extended {
                out.put_u32(value);
            }
            out.put_slice(piece);
            mark(out.len());
        }
    }

    /// Writes the first chunk's header; gives the extended timestamp that the
    /// chunks after it must repeat (R 5.3.1.3).
    fn header(&mut self, message: &Message, out: &mut BytesMut) -> Option<u32> {
        let length = message.payload.len();
        let index = self.last.iter().position(|l| l.chunk_stream == message.chunk_stream);
        // A delta is unsigned: backwards only goes with a whole timestamp.
        let follows = index.map(|i| &self.last[i]).filter(|last| {
            last.stream_id == message.stream_id && last.timestamp <= message.timestamp_ms
        });
        let delta = follows.map(|last| message.timestamp_ms - last.timestamp);
        let format = match follows {
            None => 0,
            Some(last) if last.length != length || last.type_id != message.type_id => 1,
            Some(last) if last.delta.is_none() || last.delta != delta => 2,
            Some(_) => 3,
        };
        let time = delta.unwrap_or(message.timestamp_ms);
        let extended = (time >= TIMESTAMP_ESCAPE).then_some(time);

        basic_header(format, message.chunk_stream, out);
        if format < 3 {
            out.put_uint(u64::from(time.min(TIMESTAMP_ESCAPE)), 3);
        }
        if format < 2 {
            out.put_uint(length as u64, 3);
            out.put_u8(message.type_id);
        }
        if format == 0 {
            out.put_u32_le(message.stream_id);
        }
        if let Some(value) = extended {
            out.put_u32(value);
        }

        let last = Last {
            chunk_stream: message.chunk_stream,
            stream_id: message.stream_id,
            type_id: message.type_id,
            length,
            timestamp: message.timestamp_ms,
            delta,
        };
        match index {
            Some(index) => self.last[index] = last,
            None => self.last.push(last),
        }
        extended
    }
}

fn basic_header(format: u8, chunk_stream: u32, out: &mut BytesMut) {
    let format = format << 6;
    match chunk_stream {
        ..64 => out.put_u8(format | chunk_stream as u8),
        64..320 => out.put_slice(&[format, (chunk_stream - 64) as u8]),
        _ => {
            let [low, high, ..] = (chunk_stream - 64).to_le_bytes();
            out.put_slice(&[format | 1, low, high]);
        }
    }
}
