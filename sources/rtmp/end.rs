//! Why a connection ended.

use std::io;
use std::sync::Arc;

use super::chunk::ChunkError;
use super::gate::Refusal;
use super::handshake::HandshakeError;
use super::session::SessionError;

/// What ended a connection; its `Display` goes to logs and events.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The peer closed, or the network did.
    #[error("the connection was closed")]
    Closed,
    /// Reading or writing failed; mostly a reset by the peer.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Not RTMP, or too slow about it.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The peer broke the chunk layer's rules.
    #[error("protocol: {0}")]
    Chunk(#[from] ChunkError),
    /// The peer broke the session's rules.
    #[error("protocol: {0}")]
    Session(#[from] SessionError),
    /// No byte came for the idle time-out.
    #[error("nothing was received for the idle time-out")]
    Idle,
    /// Connected, but didn't publish in time.
    #[error("nothing was published in time")]
    NotPublishing,
    /// The peer doesn't read what it is sent.
    #[error("the peer does not read")]
    NotReading,
    /// The gate said no.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The gate wanted it closed.
    #[error("closed by the server: {reason}")]
    Ordered {
        /// The gate's words.
        reason: Arc<str>,
    },
    /// The server stops.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The data plane takes no more of this stream.
    #[error("the stream is closed")]
    StreamClosed,
}

/// Every label that [`End::label`] gives.
pub(super) const REASONS: [&str; 21] = [
    "closed",
    "io",
    "handshake_garbage",
    "handshake_slow",
    "handshake_tls",
    "chunk_size",
    "message_too_long",
    "chunk_streams",
    "unfinished",
    "chunk_header",
    "control",
    "amf",
    "command",
    "aggregate",
    "playback",
    "idle",
    "not_publishing",
    "not_reading",
    "refused",
    "ordered",
    "other",
];

impl End {
    /// A short name for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Handshake(error) => error.label(),
            Self::Chunk(error) => error.label(),
            Self::Session(error) => error.label(),
            Self::Idle => "idle",
            Self::NotPublishing => "not_publishing",
            Self::NotReading => "not_reading",
            Self::Refused(_) => "refused",
            Self::Ordered { .. } | Self::ShuttingDown | Self::StreamClosed => "ordered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::amf::AmfError;

    #[test]
    fn every_label_is_counted_under_its_own_name() {
        let ends = [
            End::Closed,
            End::Io(io::ErrorKind::ConnectionReset.into()),
            HandshakeError::NotRtmp { looks_like: "" }.into(),
            HandshakeError::Slow.into(),
            HandshakeError::Tls(io::ErrorKind::Other.into()).into(),
            ChunkError::ChunkSize { size: 0, max: 1 }.into(),
            ChunkError::MessageTooLong { length: 2, max: 1 }.into(),
            ChunkError::TooManyChunkStreams { max: 1 }.into(),
            ChunkError::TooMuchUnfinished { max: 1 }.into(),
            ChunkError::Interrupted { chunk_stream: 2 }.into(),
            ChunkError::ControlTooShort { type_id: 1 }.into(),
            SessionError::Amf(AmfError::TooDeep).into(),
            SessionError::AddressTooLong.into(),
            SessionError::TooManyParts.into(),
            SessionError::Playback.into(),
            End::Idle,
            End::NotPublishing,
            End::NotReading,
            Refusal::BadKey.into(),
            End::ShuttingDown,
        ];
        let labels: Vec<_> = ends.iter().map(End::label).collect();
        assert_eq!(labels, REASONS[..REASONS.len() - 1]);
    }
}
