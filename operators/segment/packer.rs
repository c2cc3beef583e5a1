//! From samples to parts: the decode clock of one rendition.
//!
//! Enters: the samples of one rendition in decode order. Leaves: chunks, as
//! soon as they are full. Held: the samples of the open part, and one sample
//! whose duration isn't known yet. Never done here: knowing about segments,
//! runs or cuts; their ends are told to it.
//!
//! The decode clock is ours to choose; presentation isn't. So every rule of
//! parts is met by moving the clock, and each sample's offset makes up for it:
//!
//! * It begins at the first sample's presentation time, and B-frames get
//!   negative offsets. So tfdt is the instant at which a run begins to be seen,
//!   without an edit list.
//! * It never jumps while samples come: `tfdt(n+1) = tfdt(n) + Σ durations`
//!   [A 7.3]. A sample lasts until the next one is due, but never beyond the
//!   part target; a part that another sample would carry over the target, while
//!   it is still below 85 % of it (bis 4.4.4.9), ends exactly at the target.
//!   What that takes away from a sample, the next ones get: after a hole, or
//!   with a variable rate, the clock lags and catches up sample by sample.
//!   The lag is bounded; only beyond that a part gets longer than the target.
//! * While samples come exactly on their grid, a part that is full by their
//!   nominal duration is closed without waiting for the next sample: one
//!   frame less latency. If the next one is off after all, its offset says so.
//!   Only where the next cut is expected it waits: whether the segment ends
//!   there decides which part is hinted next, and a hint that is abandoned
//!   costs a player a request and a playlist (bis 6.2.6).

use bytes::Bytes;
use records::{Pieces, Sample, TrackInit};

use super::chunk::{self, Entry};

// Samples in a row on the grid before the next is trusted to be: half a second
// of pictures at 16 fps, so that a variable rate rarely qualifies.
const STEADY_MIN: u32 = 8;

// How many parts the clock may lag. A picture that stands still for longer, or
// a rate that stays below one picture per part although more were declared,
// makes a part longer than the target: an inexact PART-TARGET harms no player,
// a clock that runs ever further from what is seen does.
const LAG_PARTS_MAX: i64 = 8;

/// A finished part, without its place among segments.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Decode clock at its start.
    pub start: i64,
    /// Sum of its samples' durations.
    pub duration: i64,
    /// Whether it begins with a sync sample.
    pub independent: bool,
    /// Bytes up to the end of its first sample.
    pub first_end: u32,
    /// When its first frame was read.
    pub arrival_us: u64,
    /// moof + mdat.
    pub bytes: Pieces,
}

/// The last sample, whose duration the next one tells.
#[derive(Clone, Debug)]
struct Pending {
    pts: i64,
    sync: bool,
    arrival_us: u64,
    data: Bytes,
}

/// The decode clock and the open part of one rendition.
#[derive(Clone, Debug)]
pub(super) struct Packer {
    sample_ticks: i64,
    part_ticks: i64,
    // Parts shorter than this are allowed at a segment's end only.
    part_ticks_min: i64,
    // Decode time of the pending sample, or of the next.
    clock: i64,
    // What is added to the samples' dts: the first one's composition offset.
    shift: i64,
    // Whether a sample has been placed on the clock since it was (re)set.
    anchored: bool,
    samples: Vec<Entry>,
    filled_ticks: i64,
    arrival_us: u64,
    pending: Option<Pending>,
    last_dts: i64,
    steady: u32,
    // mfhd's sequence number of the next chunk.
    sequence: u32,
}

impl Packer {
    /// For a track whose parts should last about `target_ticks`; `sequence`
    /// continues the rendition's earlier runs.
    pub(super) fn new(init: &TrackInit, target_ticks: i64, sequence: u32) -> Self {
        let sample_ticks = i64::from(init.sample_ticks.max(1));
        // Whole samples, so that parts of a constant rate have exactly the declared length.
        let part_ticks = (target_ticks / sample_ticks).max(1).saturating_mul(sample_ticks);
        Self {
            sample_ticks,
            part_ticks,
            part_ticks_min: (part_ticks * 85 + 99) / 100,
            clock: 0,
            shift: 0,
            anchored: false,
            samples: Vec::new(),
            filled_ticks: 0,
            arrival_us: 0,
            pending: None,
            last_dts: 0,
            steady: 0,
            sequence,
        }
    }

    /// The longest part, for PART-TARGET.
    pub(super) fn part_ticks(&self) -> i64 {
        self.part_ticks
    }

    /// mfhd's sequence number of the next chunk.
    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether samples wait for their part to close.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.pending.is_none()
    }

    /// Lets the next sample set the clock anew, since a gap lies between. Only
    /// after [`Packer::flush`].
    pub(super) fn unanchor(&mut self) {
        self.anchored = false;
        self.steady = 0;
    }

    /// The sample that follows: gives the one before its duration. To be
    /// called before a segment is ended, so that it ends where this begins.
    pub(super) fn announce(&mut self, next: &Sample, out: &mut Vec<Chunk>) {
        let due = next.dts.saturating_add(self.shift);
        self.settle(due.saturating_sub(self.clock), out);
    }

    /// Takes a sample, after [`Packer::announce`]. `anchor`: where the clock
    /// should stand if this is the first since it was reset. `next_cut`: where
    /// the segment is expected to end, if that is known.
    pub(super) fn push(
        &mut self,
        sample: &Sample,
        arrival_us: u64,
        anchor: impl FnOnce(i64) -> i64,
        next_cut: Option<i64>,
        out: &mut Vec<Chunk>,
    ) {
        let pts = sample.dts.saturating_add(i64::from(sample.cts));
        if !self.anchored {
            self.clock = anchor(pts).max(0);
            self.shift = i64::from(sample.cts);
            self.anchored = true;
        }
        let on_grid = sample.dts.wrapping_sub(self.last_dts) == self.sample_ticks;
        self.steady = if on_grid { self.steady.saturating_add(1) } else { 0 };
        self.last_dts = sample.dts;
        let on_time = sample.dts.saturating_add(self.shift) == self.clock;
        self.pending =
            Some(Pending { pts, sync: sample.keyframe, arrival_us, data: sample.data.clone() });
        let full = self.filled_ticks + self.sample_ticks;
        let end = self.clock.saturating_add(self.sample_ticks);
        let may_end = next_cut.is_some_and(|cut| end >= cut - self.sample_ticks / 2);
        if on_time
            && !may_end
            && self.steady >= STEADY_MIN
            && (self.part_ticks_min..=self.part_ticks).contains(&full)
            && full + self.sample_ticks > self.part_ticks
        {
            self.settle(self.sample_ticks, out);
            self.close(out);
        }
    }

    /// Ends the last sample after its nominal duration and closes the part.
    pub(super) fn flush(&mut self, out: &mut Vec<Chunk>) {
        self.settle(self.sample_ticks, out);
        self.close(out);
    }

    /// Decides the pending sample's duration, `natural` if the part allows.
    fn settle(&mut self, natural: i64, out: &mut Vec<Chunk>) {
        let Some(pending) = self.pending.take() else { return };
        let natural = natural.max(1);
        let mut duration = natural;
        if self.filled_ticks + natural > self.part_ticks {
            if self.filled_ticks >= self.part_ticks_min {
                self.close(out);
            }
            let room = self.part_ticks - self.filled_ticks;
            duration = natural.min(room).max(natural - LAG_PARTS_MAX * self.part_ticks);
        }
        if self.samples.is_empty() {
            self.arrival_us = pending.arrival_us;
        }
        let offset = pending.pts.saturating_sub(self.clock);
        self.samples.push(Entry {
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            offset: offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            sync: pending.sync,
            data: pending.data,
        });
        self.filled_ticks += duration;
        self.clock += duration;
        if self.filled_ticks >= self.part_ticks {
            self.close(out);
        }
    }

    /// Closes the open part, if it has samples.
    fn close(&mut self, out: &mut Vec<Chunk>) {
        let Some(first) = self.samples.first() else { return };
        let independent = first.sync;
        let start = self.clock - self.filled_ticks;
        let encoded = chunk::encode(self.sequence, start.max(0) as u64, &self.samples);
        out.push(Chunk {
            start,
            duration: self.filled_ticks,
            independent,
            first_end: encoded.first_end,
            arrival_us: self.arrival_us,
            bytes: encoded.bytes,
        });
        self.sequence = self.sequence.wrapping_add(1);
        self.samples.clear();
        self.filled_ticks = 0;
    }
}
