//! The chunk layer: one byte stream ⇄ messages of several chunk streams.
//!
//! ```text
//! bytes ──push──► ChunkReader ──next──► Message      (interleaved chunks joined)
//! Message ──write──► ChunkWriter ──► bytes           (split into chunks)
//! ```
//!
//! Enters and leaves: [`Message`]. Held: unfinished messages, bounded by
//! [`ChunkLimits`]. Ends: never by itself; after an error the connection is
//! lost, since nobody knows where the next chunk begins. Never done here: I/O,
//! and looking into messages other than Set Chunk Size and Abort, which change
//! how the bytes after them are read.
//!
//! Rule source: *R* = Adobe's RTMP 1.0, section 5.3 and 5.4.

mod reader;
mod writer;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use reader::{ChunkReader, READ_BYTES};
pub use writer::ChunkWriter;

/// Chunk payload size before anybody sets another, in bytes (R 5.4.1).
pub const CHUNK_BYTES_DEFAULT: u32 = 128;

/// The largest timestamp that fits the header; this value itself says that
/// four more bytes follow (R 5.3.1.3).
pub(crate) const TIMESTAMP_ESCAPE: u32 = 0xff_ffff;

/// Message type ids (R 5.4, 6.2, 7.1).
pub mod kind {
    /// Set Chunk Size: applies to the chunks that follow.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort: the rest of an unfinished message won't come.
    pub const ABORT: u8 = 2;
    /// Acknowledgement: bytes received so far.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User control: stream begin, ping …
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const PEER_BANDWIDTH: u8 = 6;
    /// An audio tag's body.
    pub const AUDIO: u8 = 8;
    /// A video tag's body.
    pub const VIDEO: u8 = 9;
    /// Data, AMF3: one byte, then as [`DATA`].
    pub const DATA_AMF3: u8 = 15;
    /// Shared object, AMF3.
    pub const SHARED_OBJECT_AMF3: u8 = 16;
    /// Command, AMF3: one byte, then as [`COMMAND`].
    pub const COMMAND_AMF3: u8 = 17;
    /// Data: AMF0 values.
    pub const DATA: u8 = 18;
    /// Shared object.
    pub const SHARED_OBJECT: u8 = 19;
    /// Command: AMF0 values.
    pub const COMMAND: u8 = 20;
    /// Several audio, video or data messages in one.
    pub const AGGREGATE: u8 = 22;
}

/// One RTMP message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream that carried it, `2..=65599`.
    pub chunk_stream: u32,
    /// Message stream it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// What it is, see [`kind`].
    pub type_id: u8,
    /// Milliseconds modulo 2^32.
    pub timestamp_ms: u32,
    /// Its body, at most 2^24 - 1 bytes.
    pub payload: Bytes,
}

/// What one peer may make a [`ChunkReader`] hold.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimits {
    /// Largest chunk size that the peer may set. Costs no memory: chunks are
    /// never held, only messages.
    pub chunk_bytes_max: u32,
    /// Longest message.
    pub message_bytes_max: usize,
    /// Most chunk streams that may ever be used.
    pub chunk_streams_max: usize,
    /// Announced lengths of all unfinished messages together.
    pub unfinished_bytes_max: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            chunk_bytes_max: 0xff_ffff,
            message_bytes_max: 8 << 20,
            chunk_streams_max: 64,
            unfinished_bytes_max: 12 << 20,
        }
    }
}

/// The peer broke a rule of the chunk layer, or wants more than it may have.
/// Its fault; trying again with the same bytes won't help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Set Chunk Size with 0, with the top bit set, or beyond the cap.
    #[error("chunk size {size} is outside 1..={max}")]
    ChunkSize {
        /// What was asked for.
        size: u32,
        /// The cap.
        max: u32,
    },
    /// A message longer than the cap.
    #[error("message of {length} bytes is longer than {max}")]
    MessageTooLong {
        /// Its announced length.
        length: usize,
        /// The cap.
        max: usize,
    },
    /// One chunk stream more than the cap.
    #[error("more than {max} chunk streams")]
    TooManyChunkStreams {
        /// The cap.
        max: usize,
    },
    /// Unfinished messages together exceed the cap.
    #[error("unfinished messages exceed {max} bytes")]
    TooMuchUnfinished {
        /// The cap.
        max: usize,
    },
    /// A chunk refers to an earlier header that its chunk stream never had.
    #[error("chunk stream {chunk_stream} begins with a header that needs an earlier one")]
    NoEarlierHeader {
        /// The chunk stream.
        chunk_stream: u32,
    },
    /// A new message began on a chunk stream whose last one isn't finished.
    #[error("chunk stream {chunk_stream} begins a message inside another")]
    Interrupted {
        /// The chunk stream.
        chunk_stream: u32,
    },
    /// Set Chunk Size or Abort without its four bytes.
    #[error("protocol control message {type_id} is too short")]
    ControlTooShort {
        /// The message's type.
        type_id: u8,
    },
}

impl ChunkError {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::ChunkSize { .. } => "chunk_size",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::TooManyChunkStreams { .. } => "chunk_streams",
            Self::TooMuchUnfinished { .. } => "unfinished",
            Self::NoEarlierHeader { .. } | Self::Interrupted { .. } => "chunk_header",
            Self::ControlTooShort { .. } => "control",
        }
    }
}
