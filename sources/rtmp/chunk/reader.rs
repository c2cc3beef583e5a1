//! Joins chunks to messages.
//!
//! Enters: bytes, however split. Leaves: messages, in the order in which they
//! were completed. Held: [`READ_BYTES`] to read into, and the unfinished
//! messages. Never done here: allocating more than that because a header merely
//! announces it: a message grows as its bytes arrive.
//!
//! A message that comes in one chunk, as encoders with large chunks send them,
//! stays where it was read: its payload is a slice of the read buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::{CHUNK_BYTES_DEFAULT, ChunkError, ChunkLimits, Message, TIMESTAMP_ESCAPE, kind};

/// The buffer that a socket is read into, in bytes. Messages are slices of it,
/// so it is set aside anew when it is full.
pub const READ_BYTES: usize = 64 << 10;

/// The least room to read into: below it the rest of the buffer is given up.
const ROOM_MIN: usize = 8 << 10;

/// A message shorter than this is copied, since it would keep a whole buffer
/// alive that no budget counts.
const SHARED_MIN: usize = 4 << 10;

/// Bytes set aside for a message on its header's word alone.
const FIRST_ALLOCATION: usize = 16 << 10;

/// What a chunk stream remembers, so that later headers can leave it out.
struct ChunkStream {
    id: u32,
    timestamp: u32,
    // Last timestamp field: what a type 3 header adds. After a type 0 header
    // that is the timestamp itself (R 5.3.1.2.4); ffmpeg relies on it.
    delta: u32,
    // The last header had four more bytes for it.
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    // The message under way.
    partial: Option<Vec<u8>>,
}

/// The rest of a chunk whose header has been read.
struct OpenChunk {
    stream: usize,
    missing: usize,
    // It is a message of its own: its bytes wait in the buffer.
    whole: bool,
}

/// Joins chunks to messages; see the module.
pub struct ChunkReader {
    limits: ChunkLimits,
    buffer: BytesMut,
    chunk_bytes: usize,
    // Few, so a linear search beats a map.
    streams: Vec<ChunkStream>,
    open: Option<OpenChunk>,
    // Announced lengths of the unfinished messages.
    unfinished_bytes: usize,
}

/// A chunk header in the buffer.
struct Header {
    format: u8,
    id: u32,
    // Where its fields begin, and how many bytes they are.
    fields: usize,
    fields_len: usize,
}

impl ChunkReader {
    /// A reader at the first byte after the handshake.
    #[must_use]
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            chunk_bytes: CHUNK_BYTES_DEFAULT as usize,
            streams: Vec::new(),
            open: None,
            unfinished_bytes: 0,
        }
    }

    /// Appends bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where to read from a socket into, to spare the copy of [`Self::push`].
    /// Call [`Self::next`] until it gives nothing before reading on: then
    /// there is room for what is missing.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let held = self.buffer.len();
        let open = self.open.as_ref().filter(|open| open.whole);
        let wanted = open.map_or(0, |open| open.missing.saturating_sub(held)).max(ROOM_MIN);
        if self.buffer.capacity() - held < wanted {
            self.buffer.reserve(READ_BYTES.saturating_sub(held).max(ROOM_MIN));
        }
        &mut self.buffer
    }

    /// The next whole message, or none until more bytes are pushed. Set Chunk
    /// Size and Abort are obeyed and not returned.
    ///
    /// # Errors
    /// A [`ChunkError`]; the reader is of no use after it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's end is final, here more may follow"
    )]
    pub fn next(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.open.is_none() && !self.read_header()? {
                return Ok(None);
            }
            let Some(payload) = self.read_payload() else {
                return Ok(None);
            };
            if let Some(message) = self.finish(payload)? {
                return Ok(Some(message));
            }
        }
    }

    /// Bytes of memory held for the peer at this moment.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let partial = |s: &ChunkStream| s.partial.as_ref().map_or(0, Vec::capacity);
        self.streams.iter().map(partial).sum::<usize>()
            + self.streams.capacity() * size_of::<ChunkStream>()
            + self.buffer.capacity()
    }

    /// Takes a chunk header off the buffer and opens its chunk; false if the
    /// header isn't all there yet.
    fn read_header(&mut self) -> Result<bool, ChunkError> {
        let Some(header) = basic_header(&self.buffer) else {
            return Ok(false);
        };
        let mut end = header.fields + header.fields_len;
        let Some(fields) = self.buffer.get(header.fields..end) else {
            return Ok(false);
        };
        let known = self.streams.iter().position(|s| s.id == header.id);
        // Type 1 may come first: librtmp begins chunk stream 2 with it.
        if known.is_none() && header.format > 1 {
            return Err(ChunkError::NoEarlierHeader { chunk_stream: header.id });
        }
        let earlier = known.map(|index| &self.streams[index]);

        let mut time = match fields {
            [a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]),
            _ => earlier.map_or(0, |s| s.delta),
        };
        let extended = match earlier {
            Some(stream) if header.format == 3 => stream.extended,
            _ => time == TIMESTAMP_ESCAPE,
        };
        if extended {
            let Some(bytes) = self.buffer.get(end..).and_then(|rest| rest.first_chunk()) else {
                return Ok(false);
            };
            let value = u32::from_be_bytes(*bytes);
            // A type 3 header repeats the value (R 5.3.1.3). Old encoders leave
            // it out, so another value there is the payload already.
            if header.format < 3 || value == time {
                end += 4;
                time = value;
            }
        }
        let shape = match *fields {
            [_, _, _, a, b, c, type_id, ..] => {
                Some((u32::from_be_bytes([0, a, b, c]) as usize, type_id))
            }
            _ => None,
        };
        let stream_id = match *fields {
            [.., a, b, c, d] if header.format == 0 => Some(u32::from_le_bytes([a, b, c, d])),
            _ => None,
        };

        let index = match known {
            Some(index) => index,
            None => self.add_stream(header.id)?,
        };
        let stream = &mut self.streams[index];
        if stream.partial.is_some() && header.format < 3 {
            return Err(ChunkError::Interrupted { chunk_stream: header.id });
        }
        if stream.partial.is_none() {
            (stream.length, stream.type_id) = shape.unwrap_or((stream.length, stream.type_id));
            stream.stream_id = stream_id.unwrap_or(stream.stream_id);
            stream.timestamp =
                if header.format == 0 { time } else { stream.timestamp.wrapping_add(time) };
            stream.delta = time;
            stream.extended = extended;
            check(stream.length, &self.limits, self.unfinished_bytes)?;
            self.unfinished_bytes += stream.length;
        }
        let whole =
            stream.partial.is_none() && stream.length <= self.chunk_bytes.min(READ_BYTES - 64);
        let missing = if whole {
            stream.length
        } else {
            let first = stream.length.min(FIRST_ALLOCATION);
            let partial = stream.partial.get_or_insert_with(|| Vec::with_capacity(first));
            self.chunk_bytes.min(stream.length - partial.len())
        };
        self.open = Some(OpenChunk { stream: index, missing, whole });
        self.buffer.advance(end);
        Ok(true)
    }

    fn add_stream(&mut self, id: u32) -> Result<usize, ChunkError> {
        let max = self.limits.chunk_streams_max;
        if self.streams.len() >= max {
            return Err(ChunkError::TooManyChunkStreams { max });
        }
        self.streams.push(ChunkStream {
            id,
            timestamp: 0,
            delta: 0,
            extended: false,
            length: 0,
            type_id: 0,
            stream_id: 0,
            partial: None,
        });
        Ok(self.streams.len() - 1)
    }

    /// Takes what there is of the open chunk. Some once all of it is there: the
    /// payload of the message that it ends, or none if that goes on.
    fn read_payload(&mut self) -> Option<Option<Bytes>> {
        let open = self.open.as_mut()?;
        if open.whole {
            if self.buffer.len() < open.missing {
                return None;
            }
            let payload = self.buffer.split_to(open.missing);
            return Some(Some(if payload.len() < SHARED_MIN {
                Bytes::copy_from_slice(&payload)
            } else {
                payload.freeze()
            }));
        }
        let stream = &mut self.streams[open.stream];
        if let Some(partial) = &mut stream.partial {
            let ready = open.missing.min(self.buffer.len());
            let needed = partial.len() + ready;
            if needed > partial.capacity() {
                // Doubling, yet never beyond the message's length: it ends
                // exactly full, so that it becomes a `Bytes` without a copy.
                let target = (partial.capacity() * 2).max(needed).min(stream.length);
                partial.reserve_exact(target - partial.len());
            }
            partial.extend_from_slice(&self.buffer[..ready]);
            self.buffer.advance(ready);
            open.missing -= ready;
        }
        let ended = |partial: &mut Vec<u8>| partial.len() == stream.length;
        (open.missing == 0).then(|| stream.partial.take_if(ended).map(Bytes::from))
    }

    /// Closes the open chunk. Gives the message that it ends, if any and not
    /// one that is obeyed here.
    fn finish(&mut self, payload: Option<Bytes>) -> Result<Option<Message>, ChunkError> {
        let (Some(open), Some(payload)) = (self.open.take(), payload) else {
            return Ok(None);
        };
        let stream = &self.streams[open.stream];
        self.unfinished_bytes -= stream.length;
        let message = Message {
            chunk_stream: stream.id,
            stream_id: stream.stream_id,
            type_id: stream.type_id,
            timestamp_ms: stream.timestamp,
            payload,
        };
        match message.type_id {
            kind::SET_CHUNK_SIZE => {
                let size = control_value(&message)?;
                let max = self.limits.chunk_bytes_max;
                if !(1..=max).contains(&size) {
                    return Err(ChunkError::ChunkSize { size, max });
                }
                self.chunk_bytes = size as usize;
                Ok(None)
            }
            kind::ABORT => {
                let id = control_value(&message)?;
                if let Some(stream) = self.streams.iter_mut().find(|s| s.id == id)
                    && stream.partial.take().is_some()
                {
                    self.unfinished_bytes -= stream.length;
                }
                Ok(None)
            }
            _ => Ok(Some(message)),
        }
    }
}

/// Whether a message of `length` bytes may begin.
fn check(length: usize, limits: &ChunkLimits, unfinished_bytes: usize) -> Result<(), ChunkError> {
    if length > limits.message_bytes_max {
        return Err(ChunkError::MessageTooLong { length, max: limits.message_bytes_max });
    }
    if unfinished_bytes + length > limits.unfinished_bytes_max {
        return Err(ChunkError::TooMuchUnfinished { max: limits.unfinished_bytes_max });
    }
    Ok(())
}

/// Format, chunk stream and size of the header at the front (R 5.3.1.1), if
/// the bytes that tell are there.
fn basic_header(bytes: &[u8]) -> Option<Header> {
    let first = *bytes.first()?;
    let (id, fields) = match first & 0x3f {
        0 => (u32::from(*bytes.get(1)?) + 64, 2),
        1 => (u32::from(*bytes.get(1)?) + u32::from(*bytes.get(2)?) * 256 + 64, 3),
        id => (u32::from(id), 1),
    };
    let format = first >> 6;
    let fields_len = match format {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    };
    Some(Header { format, id, fields, fields_len })
}

fn control_value(message: &Message) -> Result<u32, ChunkError> {
    let bytes = message
        .payload
        .first_chunk()
        .ok_or(ChunkError::ControlTooShort { type_id: message.type_id })?;
    Ok(u32::from_be_bytes(*bytes))
}
