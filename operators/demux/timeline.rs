//! The stream's own time: runs, cuts, gaps and their numbers.
//!
//! Media time is arrival time since the stream's origin, except that it never
//! goes back: a run that outpaced the wall clock pushes the next one on. So one
//! map (`origin + media time`) gives EXT-X-PROGRAM-DATE-TIME for all runs (bis
//! 4.4.4.6) and a viewer's clock survives discontinuities.
//!
//! While nobody publishes, gap segments tile the time after the last run, with
//! its number: parameters are unchanged and only media is absent (bis
//! 4.4.4.7). The last of them ends where the next run begins.
//!
//! Held: numbers and instants. Outlives sessions; goes on after a restart by
//! [`Resume`].

use std::time::Duration;

use records::{Cut, MediaTime};

use super::config::{Resume, micros};

/// Gap segments listed at most for the time before a restart's first packet.
const GAPS_AFTER_RESTART_MAX: i64 = 3;

/// A cut is at least this long after the one before it, also around runs that ended at once.
pub(super) const CUT_DISTANCE_MIN: Duration = Duration::from_millis(100);

/// Arrival time in microseconds that only moves forward.
///
/// The server's wall clock may be set while a stream runs. A step is kept
/// apart, so that it moves the dates of later runs but not media time.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    last: Option<u64>,
    now: i64,
    skew: i64,
}

/// Steps beyond this were not waited for: idle packets come twice a second.
const STEP_MAX_US: i64 = 60_000_000;

impl Arrival {
    /// Notes a packet's arrival; gives the time it now is.
    pub(super) fn advance(&mut self, arrival_us: u64) -> i64 {
        let arrival = i64::try_from(arrival_us).unwrap_or(i64::MAX / 2).min(i64::MAX / 2);
        match self.last {
            None => self.now = arrival,
            Some(last) => {
                let step = arrival - last as i64;
                if (0..=STEP_MAX_US).contains(&step) {
                    self.now += step;
                } else {
                    self.skew += step;
                }
            }
        }
        self.last = Some(arrival as u64);
        self.now
    }

    /// The time it is.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// What the wall clock showed, or will show, at a time.
    pub(super) fn wall(&self, at: i64) -> u64 {
        u64::try_from(at.saturating_add(self.skew)).unwrap_or(0)
    }
}

/// Runs, cuts and gaps of one stream.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    next_msn: u64,
    next_run: u64,
    // Media time used up: nothing begins before it.
    end: MediaTime,
    last_cut: Option<MediaTime>,
    // Last decode time of the picture, which B-frames let lag behind `end`.
    last_dts: Option<MediaTime>,
    // Arrival time of media time 0; none before the first run.
    origin: Option<i64>,
    // Where the next gap would begin; none while a run is open.
    gap: Option<MediaTime>,
    // Whether a gap is open already.
    in_gap: bool,
}

impl Timeline {
    /// A new stream's timeline, or the continuation of one.
    pub(super) fn new(resume: Option<Resume>) -> Self {
        let fresh = Self {
            next_msn: 0,
            next_run: 0,
            end: MediaTime::new(0, 1),
            last_cut: None,
            last_dts: None,
            origin: None,
            gap: None,
            in_gap: false,
        };
        match resume {
            // A stream that never had a run has no origin either.
            Some(resume) if resume.next_msn > 0 || resume.next_run > 0 => Self {
                next_msn: resume.next_msn,
                next_run: resume.next_run,
                end: resume.end,
                last_dts: Some(resume.end),
                origin: i64::try_from(resume.origin_wall_us).ok(),
                gap: Some(resume.end),
                ..fresh
            },
            _ => fresh,
        }
    }

    /// Where the stream would go on if the process ended now.
    pub(super) fn resume(&self, arrival: &Arrival) -> Option<Resume> {
        Some(Resume {
            next_msn: self.next_msn,
            next_run: self.next_run,
            end: self.end,
            origin_wall_us: arrival.wall(self.origin?),
        })
    }

    /// Decides where a run begins whose first sample arrived at `now` and is
    /// shown `offset` ticks after it is decoded. `hint` is where the run
    /// before it would have put that sample, if its time still counts.
    pub(super) fn start(
        &mut self,
        now: i64,
        timescale: u32,
        offset: i64,
        hint: Option<MediaTime>,
    ) -> MediaTime {
        let mut at = self.end;
        // Listed gaps follow the wall clock, so what ends the last one must too.
        let hint = hint.filter(|_| !self.in_gap);
        if let Some(origin) = self.origin {
            at = at.max(hint.unwrap_or(MediaTime::new(now.saturating_sub(origin), 1_000_000)));
        }
        if let Some(cut) = self.last_cut {
            at = at.max(plus(cut, CUT_DISTANCE_MIN));
        }
        let mut ticks = ceil(at, timescale);
        // Decode times rise over the whole stream, and begin at 0.
        let decoded = self.last_dts.map_or(0, |dts| ceil(dts, timescale) + 1);
        ticks = ticks.max(decoded + offset);
        let start = MediaTime::new(ticks, timescale);
        self.origin.get_or_insert(now - start.as_micros());
        start
    }

    /// Opens a run: its number, and the arrival time of its start.
    pub(super) fn open(&mut self, start: MediaTime) -> (u64, i64) {
        let number = self.next_run;
        self.next_run += 1;
        self.end = self.end.max(start);
        self.gap = None;
        self.in_gap = false;
        (number, self.origin.unwrap_or(0).saturating_add(start.as_micros()))
    }

    /// Closes the run: from its end on there may be gaps.
    pub(super) fn close(&mut self) {
        self.gap = Some(self.end);
        self.in_gap = false;
    }

    /// A segment begins.
    pub(super) fn cut(&mut self, at: MediaTime, gap: bool) -> Cut {
        let msn = self.next_msn;
        self.next_msn += 1;
        self.last_cut = Some(at);
        self.end = self.end.max(at);
        Cut { msn, at, gap }
    }

    /// The next gap segment to begin by now, if there is one.
    pub(super) fn gap(&mut self, now: i64, target: Duration, delay: Duration) -> Option<Cut> {
        let wall = MediaTime::new(now.saturating_sub(self.origin?), 1_000_000);
        let mut at = self.gap?;
        if !self.in_gap {
            if wall < plus(at, delay) {
                return None;
            }
            // After a restart the time before may be long; it stays unlisted.
            let span = micros(target).saturating_mul(GAPS_AFTER_RESTART_MAX);
            at = at.max(MediaTime::new(wall.ticks.saturating_sub(span), 1_000_000));
            if let Some(cut) = self.last_cut {
                at = at.max(plus(cut, CUT_DISTANCE_MIN));
            }
        }
        if wall < at {
            return None;
        }
        self.in_gap = true;
        self.gap = Some(plus(at, target));
        Some(self.cut(at, true))
    }

    /// Media time is used up to `end`.
    pub(super) fn reach(&mut self, end: MediaTime) {
        self.end = self.end.max(end);
    }

    /// A picture was decoded at this time.
    pub(super) fn decoded(&mut self, dts: MediaTime) {
        self.last_dts = Some(dts);
    }

    /// Media time used up.
    pub(super) fn end(&self) -> MediaTime {
        self.end
    }

    /// Where the open segment began.
    pub(super) fn last_cut(&self) -> Option<MediaTime> {
        self.last_cut
    }

    /// Media time of an arrival time.
    pub(super) fn wall(&self, now: i64) -> Option<MediaTime> {
        Some(MediaTime::new(now.saturating_sub(self.origin?), 1_000_000))
    }
}

/// An instant and a span, in the instant's timescale.
pub(super) fn plus(at: MediaTime, span: Duration) -> MediaTime {
    let ticks = MediaTime::new(micros(span), 1_000_000).rescale(at.timescale).ticks;
    MediaTime::new(at.ticks.saturating_add(ticks), at.timescale)
}

/// The first tick of a timescale that is not before an instant.
pub(super) fn ceil(at: MediaTime, timescale: u32) -> i64 {
    let near = at.rescale(timescale);
    if near < at { near.ticks + 1 } else { near.ticks }
}
