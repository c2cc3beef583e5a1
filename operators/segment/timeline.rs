//! The stream-level list of runs and cuts that every rendition walks through.
//!
//! Enters: what the direct path decides, in its order. Leaves: marks by
//! position. Held: what the slowest rendition has yet to pass. A mark goes when
//! all renditions have passed it. Never done here: samples.

use std::collections::VecDeque;
use std::sync::Arc;

use records::{Cut, MediaTime, Rendition, Run};

/// One decision of the direct path.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A run begins.
    Run(Arc<RunInfo>),
    /// A segment begins.
    Cut(Cut),
    /// The run is over, at this instant.
    Pause(MediaTime),
    /// The broadcast is over.
    End,
}

/// A run, and what the segmenter derives from it once.
#[derive(Debug)]
pub(super) struct RunInfo {
    /// As decided by the demuxer.
    pub run: Run,
    /// Arrival of the record that began it: encoded samples whose picture
    /// arrived earlier belong to an earlier run.
    pub arrival_us: u64,
    /// All its renditions, sound first, then from high to low.
    pub renditions: Vec<Rendition>,
}

impl RunInfo {
    pub(super) fn new(run: Run, arrival_us: u64) -> Self {
        let mut renditions = Vec::with_capacity(2 + run.rungs.len());
        if run.audio.is_some() {
            renditions.push(Rendition::Audio);
        }
        if run.video.is_some() {
            renditions.push(Rendition::Source);
            renditions.extend(run.rungs.iter().map(|rung| Rendition::Rung(rung.height)));
        }
        Self { run, arrival_us, renditions }
    }

    /// Whether the rendition's samples come on the direct path.
    pub(super) fn is_direct(&self, rendition: Rendition) -> bool {
        match rendition {
            Rendition::Audio => self.run.audio.is_some(),
            Rendition::Source => self.run.video.is_some() && self.run.passthrough,
            Rendition::Rung(_) => false,
        }
    }

    /// Whether any rendition's samples come on the direct path.
    pub(super) fn has_direct(&self) -> bool {
        self.is_direct(Rendition::Audio) || self.is_direct(Rendition::Source)
    }

    /// Wall clock of an instant, the same map for all renditions (bis 4.4.4.6).
    pub(super) fn wall_us(&self, at: MediaTime) -> u64 {
        let since = at.as_micros() - self.run.start.as_micros();
        self.run.start_wall_us.saturating_add_signed(since)
    }
}

/// The marks not yet passed by all renditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    // marks[i] has position base + i.
    marks: VecDeque<Mark>,
    base: u64,
    // The run that is not paused, if there is one.
    open: Option<Arc<RunInfo>>,
    // End of the last direct sample of the open run, or its last cut.
    direct_end: Option<MediaTime>,
    // Latest arrival on the direct path.
    seen_us: u64,
    ended: bool,
}

impl Timeline {
    /// The mark at a position, if it is known.
    pub(super) fn get(&self, position: u64) -> Option<&Mark> {
        self.marks.get(usize::try_from(position.checked_sub(self.base)?).ok()?)
    }

    /// The cut at a position, if there is one.
    pub(super) fn cut(&self, position: u64) -> Option<Cut> {
        match self.get(position) {
            Some(Mark::Cut(cut)) => Some(*cut),
            _ => None,
        }
    }

    /// Position after the last mark.
    pub(super) fn end(&self) -> u64 {
        self.base + self.marks.len() as u64
    }

    /// The run that is not paused, if there is one.
    pub(super) fn open_run(&self) -> Option<&Arc<RunInfo>> {
        self.open.as_ref()
    }

    /// Latest arrival on the direct path, wall clock in microseconds.
    pub(super) fn seen_us(&self) -> u64 {
        self.seen_us
    }

    /// Whether `End` was decided: nothing may follow.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Notes the arrival of a record of the direct path.
    pub(super) fn see(&mut self, arrival_us: u64) {
        self.seen_us = self.seen_us.max(arrival_us);
    }

    /// Notes a direct sample that lasts until `end`.
    pub(super) fn extend_to(&mut self, end: MediaTime) {
        if self.direct_end.is_none_or(|known| known < end) {
            self.direct_end = Some(end);
        }
    }

    /// Begins a run; ends the one before it if the direct path forgot to.
    /// Returns the position of its mark.
    pub(super) fn begin(&mut self, run: Arc<RunInfo>) -> u64 {
        self.pause();
        self.open = Some(Arc::clone(&run));
        self.direct_end = None;
        self.marks.push_back(Mark::Run(run));
        self.end() - 1
    }

    /// Adds a cut.
    pub(super) fn push_cut(&mut self, cut: Cut) {
        // At least one picture, if nothing on the direct path says how long it lasted.
        let video = self.open.as_ref().and_then(|info| info.run.video.as_ref());
        let end = video.map_or(cut.at, |init| {
            let at = cut.at.rescale(init.timescale);
            MediaTime::new(at.ticks + i64::from(init.sample_ticks), at.timescale)
        });
        self.extend_to(end);
        self.marks.push_back(Mark::Cut(cut));
    }

    /// Ends the open run, if there is one.
    pub(super) fn pause(&mut self) {
        if let Some(info) = self.open.take() {
            let end = self.direct_end.unwrap_or(info.run.start);
            self.marks.push_back(Mark::Pause(end));
        }
    }

    /// Ends the broadcast.
    pub(super) fn finish(&mut self) {
        self.pause();
        self.marks.push_back(Mark::End);
        self.ended = true;
    }

    /// Forgets the marks before `position`.
    pub(super) fn forget_before(&mut self, position: u64) {
        while self.base < position && self.marks.pop_front().is_some() {
            self.base += 1;
        }
    }
}
