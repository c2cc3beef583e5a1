//! Where each stream's replay begins.
//!
//! At every cut the demuxer sends its own state along with the frames; when it
//! reaches the segmenter, the two states together are a consistent snapshot of
//! the stream (everything before it went through both, nothing after it did).
//! The snapshot then follows the media to the sinks and counts once both have
//! passed on all that came before: only then may the intakes forget.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use operators::demux::Demuxer;
use parking_lot::Mutex;
use records::{Frame, Packet, StreamId};
use runtime::{Handover, Intake};

use super::Segmenting;

/// Sinks that must have passed a checkpoint before it counts: `hls` and `archive`.
const SINKS: u8 = 2;

/// A stream's state at a cut.
pub struct Checkpoint {
    stream: StreamId,
    // None: the stream is over.
    state: Option<State>,
    sinks_left: AtomicU8,
}

struct State {
    packet_next: u64,
    demuxer: Arc<Demuxer>,
    segmenting: Segmenting,
}

impl Checkpoint {
    /// The state after the packet before `packet_next`; none if `demuxer` isn't one.
    #[must_use]
    pub fn at(
        stream: StreamId,
        packet_next: u64,
        demuxer: &Arc<dyn Any + Send + Sync>,
        segmenting: &Segmenting,
    ) -> Option<Arc<Self>> {
        let demuxer = Arc::clone(demuxer).downcast().ok()?;
        let state = State { packet_next, demuxer, segmenting: segmenting.clone() };
        Some(Arc::new(Self { stream, state: Some(state), sinks_left: AtomicU8::new(SINKS) }))
    }

    /// The stream is over: nothing of it is needed any more.
    #[must_use]
    pub fn over(stream: StreamId) -> Arc<Self> {
        Arc::new(Self { stream, state: None, sinks_left: AtomicU8::new(SINKS) })
    }
}

/// The last checkpoint of each stream.
pub struct Checkpoints {
    last: Mutex<HashMap<StreamId, Arc<Checkpoint>>>,
    packets: Intake<Packet>,
    encoded: Intake<Frame>,
}

impl Checkpoints {
    /// No checkpoints yet; they will let these intakes forget.
    #[must_use]
    pub fn new(packets: Intake<Packet>, encoded: Intake<Frame>) -> Self {
        Self { last: Mutex::default(), packets, encoded }
    }

    /// A sink passed on all that came before `checkpoint`.
    pub fn delivered(&self, checkpoint: &Arc<Checkpoint>) {
        if checkpoint.sinks_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let stream = checkpoint.stream;
        match &checkpoint.state {
            Some(state) => {
                self.last.lock().insert(stream, Arc::clone(checkpoint));
                self.packets.ack(stream, state.packet_next);
                self.encoded.ack(stream, state.segmenting.encoded_next);
            }
            None => {
                self.forget(stream);
                self.packets.discard(stream);
                self.encoded.discard(stream);
            }
        }
    }

    /// Drops the stream's checkpoint.
    pub fn forget(&self, stream: StreamId) {
        self.last.lock().remove(&stream);
    }

    /// After an unplanned end: puts every stream back to its checkpoint. A
    /// stream without one begins again from its first packet.
    pub fn restore(&self, demuxers: &Handover<Demuxer>, segmenters: &Handover<Segmenting>) {
        let last = self.last.lock();
        let states = || last.iter().filter_map(|(s, c)| Some((*s, c.state.as_ref()?)));
        demuxers.give(states().map(|(s, state)| (s, Demuxer::clone(&state.demuxer))));
        segmenters.give(states().map(|(s, state)| (s, state.segmenting.clone())));
        let state_of = |stream| last.get(&stream).and_then(|c| c.state.as_ref());
        self.packets.rewind(|s| state_of(s).map_or(0, |state| state.packet_next));
        self.encoded.rewind(|s| state_of(s).map_or(0, |state| state.segmenting.encoded_next));
    }
}
