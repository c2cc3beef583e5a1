//! What waits for one archive thread. Bounded by its user, who asks for
//! [`Queue::bytes`] before pushing media.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use records::{Rendition, Segment, StreamId, TrackStart};

use crate::hls::SegmentMeta;

/// `(media sequence number, end in microseconds, gap)`.
pub(super) type Adopted = (u64, i64, bool);

pub(super) enum Job {
    Track {
        stream: StreamId,
        start: Box<TrackStart>,
    },
    /// `lost`: it found no room, so it has no bytes.
    Segment {
        stream: StreamId,
        segment: Box<Segment>,
        iframe_bytes: Option<u32>,
        lost: bool,
    },
    End {
        stream: StreamId,
    },
    Adopt {
        stream: StreamId,
        tracks: Vec<(Rendition, Option<u64>, Vec<Adopted>)>,
        /// Gaps of every track that aren't announced yet.
        skipped: Vec<SegmentMeta>,
        ended: bool,
    },
    Delete {
        stream: StreamId,
    },
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Job, usize)>,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes: AtomicUsize,
}

impl Queue {
    pub(super) fn push(&self, job: Job, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.state.lock().jobs.push_back((job, bytes));
        self.filled.notify_one();
    }

    /// Bytes that wait or are being written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// All that waits, after `patience` at the latest. None: closed and empty.
    pub(super) fn take(&self, patience: Duration) -> Option<VecDeque<(Job, usize)>> {
        let mut state = self.state.lock();
        if state.jobs.is_empty() && !state.closed {
            self.filled.wait_for(&mut state, patience);
        }
        let jobs = std::mem::take(&mut state.jobs);
        (!jobs.is_empty() || !state.closed).then_some(jobs)
    }

    /// A job's bytes are written or given up.
    pub(super) fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}
