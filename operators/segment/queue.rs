//! What came before its turn.
//!
//! ```text
//! direct samples ─► ahead ───┐   the rung still drains the run before
//!                            ├─► Lane
//! encoded frames ─► waiting ─┘   the direct path hasn't come so far
//! ```
//!
//! The two paths meet in no fixed order, above all when a new generation reads
//! both again. Parts must not depend on that order, so a lane's frames wait
//! here until the direct path has told all cuts up to them. Live they never
//! wait: a picture passes the direct path before it reaches its encoder.
//! Bounded: beyond `frames_waiting_max` the oldest is taken or dropped.

use std::collections::VecDeque;

use records::{Frame, FrameBody, Sample};

use super::lane::{Lane, Phase, Scene};

/// A lane and the frames that wait for it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lane: Lane,
    // Direct samples with their arrival, of runs that the lane hasn't reached.
    ahead: VecDeque<Ahead>,
    waiting: VecDeque<Frame>,
    // The run that encoded samples belong to, as the last `RungStart` said.
    feed: Option<u64>,
}

#[derive(Clone, Debug)]
struct Ahead {
    run: u64,
    arrival_us: u64,
    sample: Sample,
}

/// Whether a waiting frame can be taken.
enum Turn {
    Now,
    /// The lane had to be moved on first.
    Soon,
    Later,
}

impl Queue {
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, ahead: VecDeque::new(), waiting: VecDeque::new(), feed: None }
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Whether frames wait for the direct path.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A sample of the direct path, of run `run`.
    pub(super) fn direct(&mut self, sample: Sample, arrival_us: u64, run: u64, scene: &mut Scene) {
        if self.ahead.is_empty() && self.lane.is_direct_in(run) {
            self.lane.sample(&sample, arrival_us, scene);
            return;
        }
        self.ahead.push_back(Ahead { run, arrival_us, sample });
        if self.ahead.len() > scene.config.frames_waiting_max {
            self.ahead.pop_front();
        }
    }

    /// A frame of the encoded path.
    pub(super) fn encoded(&mut self, frame: Frame, scene: &mut Scene) {
        self.waiting.push_back(frame);
        self.work(scene);
    }

    /// Goes as far as marks and waiting frames allow.
    pub(super) fn work(&mut self, scene: &mut Scene) {
        loop {
            self.lane.advance(self.ahead.front().map(|first| first.run), scene);
            if !self.take_ahead(scene) && !self.take_waiting(scene) {
                return;
            }
        }
    }

    fn run(&self) -> Option<u64> {
        self.lane.run().map(|info| info.run.number)
    }

    fn take_ahead(&mut self, scene: &mut Scene) -> bool {
        let Some(run) = self.ahead.front().map(|first| first.run) else { return false };
        let stale = self.run().is_some_and(|current| run < current);
        if !stale && !self.lane.is_direct_in(run) {
            return false;
        }
        if let Some(first) = self.ahead.pop_front().filter(|_| !stale) {
            self.lane.sample(&first.sample, first.arrival_us, scene);
        }
        true
    }

    fn take_waiting(&mut self, scene: &mut Scene) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        let overfull = self.waiting.len() > scene.config.frames_waiting_max;
        let turn = match first.body {
            FrameBody::RungStart { run, .. } | FrameBody::RungDrained { run, .. } => {
                self.turn_of_run(run)
            }
            FrameBody::RungGap { msn, .. } => self.turn_of_gap(msn, scene),
            _ => self.turn_of_sample(first.arrival_us, scene),
        };
        match turn {
            Turn::Later if !overfull => return false,
            Turn::Soon => self.lane.drain(scene),
            Turn::Later | Turn::Now => {
                if let Some(frame) = self.waiting.pop_front() {
                    self.take(frame, scene);
                }
            }
        }
        true
    }

    fn turn_of_run(&self, run: u64) -> Turn {
        let inside = matches!(self.lane.phase(), Phase::Starting | Phase::Running);
        match self.run() {
            Some(current) if current >= run => Turn::Now,
            // The encoder is in a later run, so it has nothing left for this one.
            Some(_) if inside && !self.lane.is_direct() && !self.lane.is_drained() => Turn::Soon,
            _ => Turn::Later,
        }
    }

    fn turn_of_gap(&self, msn: u64, scene: &Scene) -> Turn {
        if self.lane.open_msn().is_some_and(|open| open >= msn) {
            return Turn::Now;
        }
        let mut position = self.lane.position();
        while let Some(cut) = scene.timeline.cut(position) {
            if cut.msn >= msn {
                return Turn::Now;
            }
            position += 1;
        }
        // Its cut is still to come, unless the run ended before.
        if position < scene.timeline.end() { Turn::Now } else { Turn::Later }
    }

    fn turn_of_sample(&self, arrival_us: u64, scene: &Scene) -> Turn {
        let Some(info) = self.lane.run() else { return Turn::Now };
        let open = scene.timeline.open_run().is_some_and(|o| o.run.number == info.run.number);
        if open && info.has_direct() && arrival_us > scene.timeline.seen_us() {
            Turn::Later
        } else {
            Turn::Now
        }
    }

    fn take(&mut self, frame: Frame, scene: &mut Scene) {
        let current = self.run();
        let inside = matches!(self.lane.phase(), Phase::Starting | Phase::Running);
        let expected = inside && !self.lane.is_direct();
        match frame.body {
            FrameBody::RungStart { run, init, .. } => {
                self.feed = Some(run);
                if current == Some(run) && self.lane.phase() == Phase::Starting {
                    self.lane.start(&init, scene);
                }
            }
            FrameBody::RungDrained { run, .. } if expected && current == Some(run) => {
                self.lane.drain(scene);
            }
            FrameBody::RungGap { msn, .. } if expected => self.lane.shed(msn, scene),
            FrameBody::Sample(sample) if expected && self.feed == current => {
                self.lane.sample(&sample, frame.arrival_us, scene);
            }
            // Left over from a run that is past, or in no run at all.
            _ => {}
        }
    }
}
