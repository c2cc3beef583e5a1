//! One rendition's walk along the timeline.
//!
//! Enters: its samples, and word that the timeline has grown. Leaves: its
//! `Track`s, `Part`s and `Segment`s. Held: its position among the marks and
//! the open segment. A run that doesn't list the rendition ends it, and so
//! does the end of the broadcast. Never done here: waiting for the other path
//! (see `queue`).
//!
//! ```text
//!            Run                  RungStart                Pause (+ drained)
//! Between ─────────► Starting ─────────────► Running ─────────────────► Between
//!    │  └───────────── direct path ─────────────▲
//!    ▼
//!   Gone
//! ```
//!
//! Every lane passes every cut exactly once, so a media sequence number is the
//! same instant in all renditions. A segment that gets no samples is a gap,
//! from where the one before it ended to where the next begins.

use std::sync::Arc;

use records::{
    Cut, Media, MediaBody, MediaTime, Part, Pieces, Rendition, Sample, Segment, StreamId,
    TrackInit, TrackStart,
};

use super::packer::{Chunk, Packer};
use super::timeline::{Mark, RunInfo, Timeline};
use super::{SegmentConfig, header};

/// What a lane sees of the stream while it works.
pub(super) struct Scene<'a> {
    pub stream: StreamId,
    pub config: &'a SegmentConfig,
    pub timeline: &'a Timeline,
    pub out: &'a mut Vec<Media>,
}

impl Scene<'_> {
    fn emit(&mut self, body: MediaBody) {
        self.out.push(Media { stream: self.stream, body });
    }
}

/// Where a lane is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Outside of runs: cuts are gaps.
    Between,
    /// In a run whose `RungStart` is awaited.
    Starting,
    /// In a run, with a decoder configuration.
    Running,
    /// Ended.
    Gone,
}

/// The segment that is being filled.
#[derive(Clone, Debug)]
struct Open {
    cut: Cut,
    // Begun after another one: what belongs before the cut comes too late.
    strict: bool,
    // Its samples are dropped, since they won't be complete.
    shed: bool,
    start: i64,
    end: i64,
    chunks: Vec<Pieces>,
}

/// One rendition of a stream.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    rendition: Rendition,
    // Position of the next mark to pass.
    next: u64,
    phase: Phase,
    // The current run, or in `Between` the last one.
    run: Option<Arc<RunInfo>>,
    // Ticks per second of everything emitted in this run.
    timescale: u32,
    // Where the run's last segment ended; None before its first.
    end: Option<i64>,
    packer: Option<Packer>,
    // mfhd's sequence number goes on across runs.
    sequence: u32,
    open: Option<Open>,
    // How long the last segment was to last: where the next cut is expected.
    length: Option<i64>,
    // No more samples of this run will come from the encoder.
    drained: bool,
}

impl Lane {
    /// A rendition that begins at the mark at `position`, a `Run`.
    pub(super) fn new(rendition: Rendition, position: u64) -> Self {
        Self {
            rendition,
            next: position,
            phase: Phase::Between,
            run: None,
            timescale: 1,
            end: None,
            packer: None,
            sequence: 1,
            open: None,
            length: None,
            drained: false,
        }
    }

    /// Which rendition this is.
    pub(super) fn rendition(&self) -> Rendition {
        self.rendition
    }

    /// Position of the next mark to pass.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// Where it is in its run.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The run it is in, or was in last.
    pub(super) fn run(&self) -> Option<&RunInfo> {
        self.run.as_deref()
    }

    /// The segment that is being filled.
    pub(super) fn open_msn(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.cut.msn)
    }

    /// Whether it is inside the run and its samples come on the direct path.
    pub(super) fn is_direct(&self) -> bool {
        self.phase == Phase::Running
            && self.run.as_ref().is_some_and(|info| info.is_direct(self.rendition))
    }

    /// Whether the encoder has nothing more for this run.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Whether it is inside the run `number`, on the direct path.
    pub(super) fn is_direct_in(&self, number: u64) -> bool {
        self.is_direct() && self.run().is_some_and(|info| info.run.number == number)
    }

    /// Passes the marks that need no sample to be passed. `ahead`: the run of
    /// the next direct sample that is still to be handed over.
    pub(super) fn advance(&mut self, ahead: Option<u64>, scene: &mut Scene) {
        let timeline = scene.timeline;
        while let Some(mark) = timeline.get(self.next) {
            let behind = ahead.is_some_and(|run| self.is_direct_in(run));
            match mark {
                Mark::Run(info) => {
                    self.close_segment(info.run.start, scene);
                    self.next += 1;
                    self.enter(info, scene);
                }
                Mark::Cut(cut) if self.passes_unprompted(behind, timeline, scene.config) => {
                    self.pass(*cut, scene);
                }
                Mark::Pause(end) => {
                    let over = self.drained
                        || self.phase == Phase::Between
                        || self.is_direct() && !behind
                        || self.is_overdue(timeline, scene.config);
                    if !over {
                        return;
                    }
                    self.close_segment(*end, scene);
                    self.phase = Phase::Between;
                    self.next += 1;
                }
                // A gap that nothing ends isn't listed: its length isn't known.
                Mark::End => self.phase = Phase::Gone,
                Mark::Cut(_) => return,
            }
            if self.phase == Phase::Gone {
                return;
            }
        }
    }

    /// Whether the cut that is next may be passed before a sample calls for it.
    fn passes_unprompted(&self, behind: bool, timeline: &Timeline, config: &SegmentConfig) -> bool {
        let begins = self.open.is_none() && self.phase != Phase::Starting;
        let shed = self.open.as_ref().is_some_and(|open| open.shed);
        // Two cuts ahead of the samples, or the run is over: none will come
        // for the segment between.
        let absent = self.is_direct() && !behind && timeline.get(self.next + 1).is_some();
        begins
            || shed
            || absent
            || self.drained
            || self.phase == Phase::Between
            || self.is_overdue(timeline, config)
    }

    fn is_overdue(&self, timeline: &Timeline, config: &SegmentConfig) -> bool {
        timeline.end() - self.next > config.lag_cuts_max
    }

    fn enter(&mut self, info: &Arc<RunInfo>, scene: &mut Scene) {
        if !info.renditions.contains(&self.rendition) {
            self.phase = Phase::Gone;
            return;
        }
        self.retire_packer();
        self.run = Some(Arc::clone(info));
        self.drained = false;
        self.end = None;
        self.phase = Phase::Starting;
        let init = match self.rendition {
            Rendition::Audio => &info.run.audio,
            _ => &info.run.video,
        };
        if let Some(init) = init {
            // Rungs keep the source's timescale, also for gaps before they start.
            self.timescale = init.timescale.max(1);
            if info.is_direct(self.rendition) {
                self.start(init, scene);
            }
        }
    }

    fn retire_packer(&mut self) {
        if let Some(packer) = self.packer.take() {
            self.sequence = packer.sequence();
        }
    }

    /// The decoder configuration is known: announces the track. Only in `Starting`.
    pub(super) fn start(&mut self, init: &TrackInit, scene: &mut Scene) {
        let Some(info) = &self.run else { return };
        let timescale = init.timescale.max(1);
        let target_us = i64::try_from(scene.config.part_target.as_micros()).unwrap_or(i64::MAX);
        let target_ticks = i128::from(target_us) * i128::from(timescale) / 1_000_000;
        let target_ticks = i64::try_from(target_ticks).unwrap_or(i64::MAX);
        let packer = Packer::new(init, target_ticks, self.sequence);
        self.end = self.end.map(|end| MediaTime::new(end, self.timescale).rescale(timescale).ticks);
        self.timescale = timescale;
        scene.out.push(Media {
            stream: scene.stream,
            body: MediaBody::Track(TrackStart {
                rendition: self.rendition,
                run: info.run.number,
                init: init.clone(),
                header: header::encode(init),
                part_target: MediaTime::new(packer.part_ticks(), timescale),
                renditions: info.renditions.clone(),
            }),
        });
        self.packer = Some(packer);
        self.phase = Phase::Running;
    }

    /// The encoder has nothing more for this run.
    pub(super) fn drain(&mut self, scene: &mut Scene) {
        self.drained = true;
        self.flush(scene);
    }

    /// The encoder has nothing for segment `msn`, whose cut is known. What is
    /// open before it ends; what was passed already is left as it is.
    pub(super) fn shed(&mut self, msn: u64, scene: &mut Scene) {
        while self.open_msn().is_none_or(|open| open < msn) {
            match scene.timeline.cut(self.next) {
                Some(cut) if cut.msn <= msn => self.pass(cut, scene),
                _ => return,
            }
        }
        if self.open_msn() == Some(msn) {
            self.flush(scene);
            if let Some(open) = &mut self.open {
                open.shed = true;
            }
        }
    }

    /// Takes the next sample in decode order. Drops what can't be used: before
    /// the first keyframe of a segment, or too late for it.
    pub(super) fn sample(&mut self, sample: &Sample, arrival_us: u64, scene: &mut Scene) {
        if self.phase != Phase::Running || self.drained {
            return;
        }
        let starts = sample.keyframe || !self.rendition.is_video();
        let pts = sample.dts.saturating_add(i64::from(sample.cts));
        let at = MediaTime::new(pts, self.timescale);
        let timeline = scene.timeline;
        let reached = |position| timeline.cut(position).filter(|cut| at >= cut.at);
        if reached(self.next).is_some() {
            // The segment before ends where this begins, unless a gap lies between.
            if starts && reached(self.next + 1).is_none() {
                self.announce(sample, scene);
            }
            while let Some(cut) = reached(self.next) {
                self.pass(cut, scene);
            }
        }
        let (Some(open), Some(packer)) = (&self.open, &mut self.packer) else { return };
        let first = open.chunks.is_empty() && packer.is_empty();
        let unfit = first && (!starts || open.strict && at < open.cut.at);
        if open.shed || unfit {
            return;
        }
        let cut = open.cut.at.rescale(self.timescale).ticks;
        let near = i64::from(sample_ticks(self.run.as_deref(), self.rendition));
        let end = self.end;
        let anchor = |pts: i64| match end {
            Some(end) => end,
            // The first segment begins with its first sample, if that is about
            // when it should: sound has its own grid.
            None if pts.saturating_sub(cut) <= near => pts,
            None => cut,
        };
        let mut chunks = Vec::new();
        let next_cut = self.length.map(|length| cut.saturating_add(length));
        packer.announce(sample, &mut chunks);
        packer.push(sample, arrival_us, anchor, next_cut, &mut chunks);
        self.emit_parts(chunks, scene);
    }

    fn announce(&mut self, next: &Sample, scene: &mut Scene) {
        let mut chunks = Vec::new();
        if let Some(packer) = &mut self.packer {
            packer.announce(next, &mut chunks);
        }
        self.emit_parts(chunks, scene);
    }

    fn flush(&mut self, scene: &mut Scene) {
        let mut chunks = Vec::new();
        if let Some(packer) = &mut self.packer {
            packer.flush(&mut chunks);
        }
        self.emit_parts(chunks, scene);
    }

    fn pass(&mut self, cut: Cut, scene: &mut Scene) {
        let strict = self.open.is_some();
        self.length = self.open.as_ref().map(|open| {
            let ticks = |at: MediaTime| at.rescale(self.timescale).ticks;
            ticks(cut.at) - ticks(open.cut.at)
        });
        self.close_segment(cut.at, scene);
        self.next += 1;
        self.open = Some(Open { cut, strict, shed: cut.gap, start: 0, end: 0, chunks: Vec::new() });
    }

    /// Ends the open segment, if there is one; `end` is where a gap ends.
    fn close_segment(&mut self, end: MediaTime, scene: &mut Scene) {
        self.flush(scene);
        let (Some(mut open), Some(info)) = (self.open.take(), &self.run) else { return };
        let gap = open.chunks.is_empty();
        if gap {
            open.start = self.end.unwrap_or_else(|| open.cut.at.rescale(self.timescale).ticks);
            open.end = end.rescale(self.timescale).ticks.max(open.start + 1);
            if let Some(packer) = &mut self.packer {
                packer.unanchor();
            }
        }
        self.end = Some(open.end);
        let start = MediaTime::new(open.start, self.timescale);
        scene.emit(MediaBody::Segment(Segment {
            rendition: self.rendition,
            msn: open.cut.msn,
            run: info.run.number,
            start,
            duration: MediaTime::new(open.end - open.start, self.timescale),
            wall_us: info.wall_us(start),
            parts: open.chunks.len() as u32,
            gap,
            chunks: open.chunks,
        }));
    }

    fn emit_parts(&mut self, chunks: Vec<Chunk>, scene: &mut Scene) {
        let (Some(open), Some(info)) = (&mut self.open, &self.run) else { return };
        for chunk in chunks {
            let index = open.chunks.len() as u32;
            if index == 0 {
                open.start = chunk.start;
            }
            open.end = chunk.start + chunk.duration;
            open.chunks.push(chunk.bytes.clone());
            let start = MediaTime::new(chunk.start, self.timescale);
            let picture = chunk.independent && self.rendition.is_video();
            scene.emit(MediaBody::Part(Part {
                rendition: self.rendition,
                msn: open.cut.msn,
                index,
                run: info.run.number,
                start,
                duration: MediaTime::new(chunk.duration, self.timescale),
                wall_us: info.wall_us(start),
                independent: chunk.independent,
                iframe_bytes: picture.then_some(chunk.first_end),
                arrival_us: chunk.arrival_us,
                bytes: chunk.bytes,
            }));
        }
    }
}

fn sample_ticks(run: Option<&RunInfo>, rendition: Rendition) -> u32 {
    let track = run.and_then(|info| match rendition {
        Rendition::Audio => info.run.audio.as_ref(),
        _ => info.run.video.as_ref(),
    });
    track.map_or(1, |init| init.sample_ticks)
}
