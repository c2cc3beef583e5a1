//! Between the source's ticks and GStreamer's nanoseconds, for one run.
//!
//! Enters: samples in decode order, cuts, and the timestamps of pictures as
//! the decoder lets them out. Leaves: for each picture its exact source time,
//! and which segments begin or were missed with it. Held: what the decoder was
//! given and has not let out yet, and cuts not yet reached. Never done here:
//! arithmetic in floating point.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use records::{Cut, MediaTime};

/// Room below the first sample for pictures that are shown before it.
const LEAD_SECONDS: i64 = 10;

#[derive(Clone, Copy, Debug)]
struct Stamp {
    pts: i64,
    arrival_us: u64,
    /// Samples before this one were skipped: wait for a cut.
    realign: bool,
}

#[derive(Default)]
struct State {
    base: i64,
    stamps: BTreeMap<u64, Stamp>,
    cuts: VecDeque<Cut>,
    // Pictures are wanted: the current segment's first one was seen.
    aligned: bool,
}

/// A picture that the decoder let out and that encoders want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub pts: i64,
    pub arrival_us: u64,
    /// Segments that went by without a picture.
    pub missed: Vec<u64>,
    /// The segment that this picture begins.
    pub begins: Option<u64>,
}

/// Timing of one run.
pub(super) struct Timeline {
    timescale: u32,
    start: i64,
    newest: AtomicI64,
    newest_arrival_us: AtomicU64,
    state: Mutex<State>,
}

impl Timeline {
    pub fn new(timescale: u32, start: MediaTime) -> Self {
        let start = start.rescale(timescale).ticks;
        Self {
            timescale,
            start,
            newest: AtomicI64::new(start),
            newest_arrival_us: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// A sample with this time was published.
    pub fn published(&self, pts: i64, arrival_us: u64) {
        self.newest.fetch_max(pts, Ordering::Relaxed);
        self.newest_arrival_us.fetch_max(arrival_us, Ordering::Relaxed);
    }

    /// Milliseconds from one arrival to the newest.
    pub fn age_ms(&self, arrival_us: u64) -> u64 {
        self.newest_arrival_us.load(Ordering::Relaxed).saturating_sub(arrival_us) / 1000
    }

    /// Milliseconds from `pts` (none: from the run's start) to the newest published sample.
    pub fn lag_ms(&self, pts: Option<i64>) -> u64 {
        let behind = self.newest.load(Ordering::Relaxed) - pts.unwrap_or(self.start);
        MediaTime::new(behind, self.timescale).rescale(1000).ticks.max(0) as u64
    }

    /// A new decoder begins with a sample of this decode time.
    pub fn begin(&self, first_dts: i64) {
        let mut state = self.state.lock();
        state.base = first_dts - LEAD_SECONDS * i64::from(self.timescale);
        state.stamps.clear();
        state.aligned = false;
    }

    /// A sample goes to the decoder. Returns its pts and dts in nanoseconds.
    pub fn feed(&self, dts: i64, pts: i64, arrival_us: u64, realign: bool) -> (u64, u64) {
        let mut state = self.state.lock();
        let pts_ns = self.nanoseconds(pts - state.base);
        let dts_ns = self.nanoseconds(dts - state.base);
        state.stamps.insert(pts_ns, Stamp { pts, arrival_us, realign });
        (pts_ns, dts_ns)
    }

    /// Rounded to the nearest; below 2^29 ticks per second no two ticks share one.
    fn nanoseconds(&self, ticks: i64) -> u64 {
        MediaTime::new(ticks, self.timescale).rescale(1_000_000_000).ticks.max(0) as u64
    }

    /// A segment begins at the first picture not before `cut.at`.
    pub fn cut(&self, cut: Cut) {
        self.state.lock().cuts.push_back(cut);
    }

    /// The decoder let out a picture. None: it was not asked for, or served
    /// only to decode later ones.
    pub fn pass(&self, ns: u64) -> Option<Passed> {
        let mut state = self.state.lock();
        let stamp = state.stamps.remove(&ns)?;
        // Pictures come out in order, so those before it never will.
        state.stamps = state.stamps.split_off(&ns);
        let now = MediaTime::new(stamp.pts, self.timescale);
        let mut missed = Vec::new();
        let mut begins = None;
        while state.cuts.front().is_some_and(|cut| cut.at <= now) {
            missed.extend(begins.take());
            begins = state.cuts.pop_front().map(|cut| cut.msn);
        }
        if begins.is_some() {
            state.aligned = true;
        } else if stamp.realign {
            state.aligned = false;
        }
        state.aligned.then_some(Passed {
            pts: stamp.pts,
            arrival_us: stamp.arrival_us,
            missed,
            begins,
        })
    }

    /// The cuts not yet reached, which no picture will reach any more.
    pub fn lose_cuts(&self) -> Vec<u64> {
        let mut state = self.state.lock();
        state.aligned = false;
        state.cuts.drain(..).map(|cut| cut.msn).collect()
    }

    /// Samples that the decoder has not answered.
    pub fn unanswered(&self) -> usize {
        self.state.lock().stamps.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(msn: u64, ticks: i64) -> Cut {
        Cut { msn, at: MediaTime::new(ticks, 1000), gap: false }
    }

    #[test]
    fn pictures_before_the_first_cut_serve_only_to_decode() {
        let line = Timeline::new(1000, MediaTime::new(80, 1000));
        line.begin(0);
        let fed: Vec<u64> = (0..4).map(|i| line.feed(i * 40, i * 40, 5, false).0).collect();
        line.cut(cut(9, 80));
        assert_eq!(line.pass(fed[0]), None);
        assert_eq!(line.pass(fed[1]), None);
        let first = line.pass(fed[2]).unwrap();
        assert_eq!((first.pts, first.begins), (80, Some(9)));
        assert_eq!(line.pass(fed[3]).unwrap().begins, None);
        assert_eq!(line.unanswered(), 0);
    }

    #[test]
    fn what_was_skipped_is_missed() {
        let line = Timeline::new(1000, MediaTime::new(0, 1000));
        line.begin(0);
        line.cut(cut(1, 0));
        let first = line.feed(0, 0, 5, false).0;
        line.cut(cut(2, 100));
        line.cut(cut(3, 200));
        let after = line.feed(250, 250, 5, true).0;
        line.cut(cut(4, 300));
        let next = line.feed(300, 300, 5, false).0;
        assert_eq!(line.pass(first).unwrap().begins, Some(1));
        let passed = line.pass(after).unwrap();
        assert_eq!((passed.missed, passed.begins), (vec![2], Some(3)));
        assert_eq!(line.pass(next).unwrap().begins, Some(4));
        assert_eq!(line.pass(12345), None);
        // Skipped within a segment: the rest of it is not wanted.
        let again = line.feed(350, 350, 5, true).0;
        assert_eq!(line.pass(again), None);
    }

    #[test]
    fn lag_is_from_the_newest_published() {
        let line = Timeline::new(90_000, MediaTime::new(1, 1));
        line.published(180_000, 9000);
        line.published(90_000, 7000);
        assert_eq!((line.age_ms(2000), line.age_ms(10_000)), (7, 0));
        assert_eq!(line.lag_ms(Some(135_000)), 500);
        assert_eq!(line.lag_ms(None), 1000);
    }

    proptest! {
        #[test]
        fn every_tick_has_nanoseconds_of_its_own(
            timescale in 1u32..1_000_000, first in -1_000_000i64..1_000_000_000, step in 1i64..5,
        ) {
            let line = Timeline::new(timescale, MediaTime::new(first, timescale));
            line.begin(first);
            line.cut(Cut { msn: 0, at: MediaTime::new(first, timescale), gap: false });
            let fed: Vec<u64> =
                (0..8).map(|i| line.feed(first + i * step, first + i * step, 0, false).0).collect();
            for (i, ns) in fed.iter().enumerate() {
                prop_assert_eq!(line.pass(*ns).map(|p| p.pts), Some(first + i as i64 * step));
            }
        }
    }
}
