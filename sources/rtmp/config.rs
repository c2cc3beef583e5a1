//! What a publisher may cost, and how long it may take.

use std::time::Duration;

use super::amf::{AMF_BYTES_MAX, AmfLimits, Value};
use super::chunk::{ChunkLimits, READ_BYTES};

/// Limits of the RTMP source. Every default suits encoders on the open internet.
#[derive(Clone, Debug)]
pub struct RtmpConfig {
    /// TLS and RTMP handshake together: a slow one ends here.
    pub handshake_timeout: Duration,
    /// From the handshake to a successful `publish`, and from the end of one
    /// broadcast to the next on the same connection.
    pub publish_timeout: Duration,
    /// The longest that the gate may take to decide.
    pub admission_timeout: Duration,
    /// No byte received for this long: the peer is gone (half-open socket) or
    /// starved, and its stream is free for a reconnect. Also how long a reply
    /// may wait for a peer that doesn't read.
    pub idle_timeout: Duration,
    /// How long a closing connection may take to deliver its last words.
    pub linger_timeout: Duration,
    /// Connections at once; one more is closed on arrival.
    pub connections_max: usize,
    /// Bytes that each side may send before it wants an acknowledgement (R 5.4.4).
    pub ack_window_bytes: u32,
    /// Chunk layer: chunk size, message size, chunk streams, unfinished bytes.
    pub chunk: ChunkLimits,
    /// Commands and metadata: nesting and number of values.
    pub amf: AmfLimits,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(10),
            admission_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(1),
            connections_max: 4096,
            ack_window_bytes: 2_500_000,
            chunk: ChunkLimits::default(),
            amf: AmfLimits::default(),
        }
    }
}

impl RtmpConfig {
    /// The most memory one connection can hold, in bytes: unfinished messages
    /// (a buffer grows as it is filled, never beyond what was announced), the
    /// read buffer, the replies to one read, what chunk streams remember, and
    /// one command or data message decoded. What is published on top is
    /// bounded by the stream's budget in the intake.
    #[must_use]
    pub fn connection_bytes_max(&self) -> usize {
        let decoded = 4 * AMF_BYTES_MAX + self.amf.values_max * size_of::<(String, Value)>();
        let streams = self.chunk.chunk_streams_max * 128;
        self.chunk.unfinished_bytes_max + 6 * READ_BYTES + streams + decoded
    }
}
