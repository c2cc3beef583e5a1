//! One message of a publisher, as it came off the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::StreamId;

/// One audio, video or metadata message as published, or a change in the
/// publisher's presence. The unit that the intake retains and replays, so
/// everything that a later operator decides must follow from packets alone
/// (their wall clock included), never from a clock of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Packet {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Position in the stream's intake: 0, 1, 2 …; stamped by the intake.
    pub offset: u64,
    /// Wall clock when its last byte was read, in microseconds since 1970.
    pub arrival_us: u64,
    /// What it carries.
    pub body: PacketBody,
}

/// The payload of a [`Packet`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PacketBody {
    /// A publisher connected (again). Timestamps of the packets that follow
    /// have nothing to do with earlier ones.
    Start {
        /// 1 for the stream's first publisher, then rising; also across restarts.
        session: u32,
    },
    /// An FLV/E-RTMP audio tag body (from its first header byte on).
    Audio {
        /// RTMP timestamp in milliseconds, unwrapped: it never wraps at 2^24 or 2^32.
        timestamp_ms: i64,
        /// The tag body.
        data: Bytes,
    },
    /// An FLV/E-RTMP video tag body (from its first header byte on).
    Video {
        /// RTMP timestamp in milliseconds, unwrapped: it never wraps at 2^24 or 2^32.
        timestamp_ms: i64,
        /// The tag body.
        data: Bytes,
    },
    /// An AMF0 data message (`onMetaData`, `@setDataFrame` …), AMF3's leading byte removed.
    Data {
        /// RTMP timestamp in milliseconds, unwrapped.
        timestamp_ms: i64,
        /// AMF0 values one after the other.
        data: Bytes,
    },
    /// Nothing came since the last packet: the publisher is silent or away.
    /// Sent every 500 ms so that time passes in the data plane too.
    Idle,
    /// The publisher went away; it may come back within the reconnect window.
    Stop,
    /// The broadcast is over: clean end, window expired or deleted. The last packet.
    End,
    /// Test only (`debug.faults`): the named operator panics on this record.
    Fault(FaultSite),
}

/// Where an injected panic happens, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultSite {
    /// Name of the operator: `demux`, `transcode`, `segment`, `hls`, `archive` or `moderate`.
    pub operator: Arc<str>,
    /// How many more times it panics; shared so that a replay counts on.
    pub times_left: Arc<AtomicU32>,
}

impl FaultSite {
    /// Panics if `operator` is the one named and it has times left.
    ///
    /// # Panics
    /// That is its purpose: it shows that an operator's panic ends a generation, not the process.
    pub fn trip(&self, operator: &str) {
        if *self.operator == *operator
            && self
                .times_left
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
                .is_ok()
        {
            panic!("injected fault in {operator}");
        }
    }
}

impl Packet {
    /// Bytes this packet counts for in a budget: payload plus a fixed overhead.
    #[must_use]
    pub fn weight(&self) -> usize {
        let payload = match &self.body {
            PacketBody::Audio { data, .. }
            | PacketBody::Video { data, .. }
            | PacketBody::Data { data, .. } => data.len(),
            _ => 0,
        };
        payload + 96
    }
}
