//! A run while it is open: its samples, its cuts, and what ends it from within.
//!
//! Enters: whole units in source time. Leaves: `Run`, `Cut`s, `Sample`s. A
//! picture's keyframes decide the cuts while it is passed through; any picture
//! at the target's distance does once it is re-encoded; without a picture any
//! block of sound does.
//!
//! Timestamps are believed unless they jump (`jumped`); then the track is
//! held back until the other has jumped too or had its time to: a single wild
//! timestamp costs one unit, a real jump a discontinuity.

use std::collections::VecDeque;
use std::sync::Arc;

use records::{Cut, FrameBody, MediaTime, Rendition, Run, Sample, TrackInit};

use super::clock::Clock;
use super::config::micros;
use super::timeline::{CUT_DISTANCE_MIN, ceil, plus};
use super::{Demuxed, Demuxer, Unit};

/// One track of an open run.
#[derive(Clone, Debug)]
struct Lane {
    init: TrackInit,
    clock: Clock,
    // Source time that lies at the run's start.
    origin_us: i64,
    // Source and arrival time of the last unit that was believed.
    seen: Option<(i64, i64)>,
    // Arrival time of the first unit that jumped and is held back.
    suspect: Option<i64>,
    // End of the last sample.
    end: MediaTime,
}

/// An open run.
#[derive(Clone, Debug)]
pub(super) struct Running {
    start: MediaTime,
    // Arrival time of the unit at its start.
    start_now: i64,
    // Arrival time of the last unit of any track.
    last_now: i64,
    video: Option<Lane>,
    audio: Option<Lane>,
    passthrough: bool,
    // The picture stalled and sound makes the cuts: where its gap segment that
    // is under way begins. It may only go on with a keyframe.
    stalled: Option<MediaTime>,
    // A track appeared that the run lacks.
    restart_at_keyframe: bool,
}

impl Running {
    /// Arrival time of the last unit.
    pub(super) fn last_now(&self) -> i64 {
        self.last_now
    }

    /// Which source time lies at which instant.
    pub(super) fn map(&self) -> (i64, MediaTime) {
        let lane = self.video.as_ref().or(self.audio.as_ref());
        (lane.map_or(0, |lane| lane.origin_us), self.start)
    }

    fn lane(&mut self, video: bool) -> Option<&mut Lane> {
        if video { self.video.as_mut() } else { self.audio.as_mut() }
    }

    /// Whether the other track is there to be waited for: it delivers, and hasn't jumped itself.
    fn other_is_steady(&self, video: bool, now: i64, patience: i64) -> bool {
        let other = if video { &self.audio } else { &self.video };
        other.as_ref().is_some_and(|lane| {
            let seen = lane.seen.map_or(self.start_now, |(_, seen)| seen);
            lane.suspect.is_none() && now.saturating_sub(seen) < patience
        })
    }
}

impl Demuxer {
    /// Begins a run with what waits; gives it back to be passed through it.
    pub(super) fn begin_run(&mut self, out: &mut Vec<Demuxed>) -> VecDeque<Unit> {
        let preroll = std::mem::take(&mut self.preroll);
        let mut units = preroll.units;
        let keyframe = units.iter().find(|unit| unit.video && unit.keyframe);
        let sound = units.iter().rev().find(|unit| !unit.video);
        let video = keyframe.and_then(|_| self.tracks.video_init());
        let audio = self.tracks.audio_init(units.iter().find(|u| !u.video).map(|unit| unit.ticks));
        let base = match &video {
            Some(_) => keyframe,
            None => units.iter().find(|unit| !unit.video),
        };
        let (Some(base), Some(clocked)) = (base, video.as_ref().or(audio.as_ref())) else {
            return VecDeque::new();
        };
        let grid = match clocked.kind {
            records::Kind::Video { fps, .. } => fps.map(|_| clocked.sample_ticks),
            records::Kind::Audio { .. } => None,
        };
        let shown_us = base.us.saturating_add(base.cts_us);
        let mut clock = Clock::new(clocked.timescale, grid, shown_us, 0);
        let offset = clock.offset(base.cts_us);
        let hint = self.hint(shown_us);
        let start = self.timeline.start(base.now, clocked.timescale, offset, hint);
        clock = Clock::new(clocked.timescale, grid, shown_us, start.ticks);
        // Tracks whose timestamps have nothing to do with each other are joined by arrival.
        let apart = sound.map_or(0, |sound| {
            let apart = sound.us.saturating_sub(base.us).saturating_sub(sound.now - base.now);
            if apart.saturating_abs() > micros(self.config.jump_tolerance) { apart } else { 0 }
        });
        let lane = |init: TrackInit, clock: Clock, origin_us: i64| Lane {
            init,
            clock,
            origin_us,
            seen: None,
            suspect: None,
            end: start,
        };
        let sound_us = shown_us.saturating_add(apart);
        let audio_lane = audio.clone().map(|init| {
            let clock =
                Clock::new(init.timescale, None, sound_us, start.rescale(init.timescale).ticks);
            lane(init, clock, sound_us)
        });
        let running = Running {
            start,
            start_now: base.now,
            last_now: self.arrival.now(),
            video: video.map(|init| lane(init, clock, shown_us)),
            audio: audio_lane,
            passthrough: !self.reencode || keyframe.is_none(),
            stalled: None,
            restart_at_keyframe: false,
        };
        let arrival_us = base.arrival_us;
        // Sound from before the picture; what is close is left to the clock to round.
        let before = units.len();
        units.retain(|unit| unit.video || unit.us.saturating_add(2_000) >= sound_us);
        self.meter.dropped((before - units.len()) as u32);
        self.open_run(running, arrival_us, out);
        units
    }

    /// Where the run before would have shown a source time, if that is still
    /// near the wall clock and not over.
    fn hint(&mut self, shown_us: i64) -> Option<MediaTime> {
        let (origin_us, start) = self.carry.take()?;
        let at = start.as_micros().saturating_add(shown_us.saturating_sub(origin_us));
        let wall = self.timeline.wall(self.arrival.now())?.as_micros();
        let near = at.saturating_sub(wall).saturating_abs() <= micros(self.config.jump_tolerance);
        near.then_some(MediaTime::new(at, 1_000_000))
    }

    /// Announces a run and its first segment.
    fn open_run(&mut self, running: Running, arrival_us: u64, out: &mut Vec<Demuxed>) {
        let (number, start_at) = self.timeline.open(running.start);
        let run = Run {
            number,
            start: running.start,
            start_wall_us: self.arrival.wall(start_at),
            video: running.video.as_ref().map(|lane| lane.init.clone()),
            audio: running.audio.as_ref().map(|lane| lane.init.clone()),
            passthrough: running.passthrough,
            rungs: Arc::from([]),
        };
        let at = running.start;
        self.running = Some(running);
        self.emit_at(out, arrival_us, FrameBody::Run(Box::new(run)));
        self.cut(at, arrival_us, out);
    }

    fn cut(&mut self, at: MediaTime, arrival_us: u64, out: &mut Vec<Demuxed>) {
        let cut: Cut = self.timeline.cut(at, false);
        self.cut_made = true;
        self.emit_at(out, arrival_us, FrameBody::Cut(cut));
    }

    /// Takes the next unit of an open run.
    pub(super) fn run_unit(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        let Some(running) = &mut self.running else { return };
        running.last_now = running.last_now.max(unit.now);
        if running.lane(unit.video).is_none() {
            self.late_track(unit, out);
            return;
        }
        if self.jumped(&unit) {
            self.suspect(unit, out);
            return;
        }
        let (video, seen) = (unit.video, (unit.us, unit.now));
        if let Some(lane) = self.running.as_mut().and_then(|running| running.lane(video)) {
            lane.seen = Some(seen);
            if lane.suspect.take().is_some() {
                // It was one wild timestamp after all.
                let lost = self.preroll.retain(|held| held.video != video);
                self.meter.dropped(lost);
            }
        }
        if video { self.picture(unit, out) } else { self.sound(unit, out) }
    }

    /// A track that the run lacks: it joins at the next keyframe, by a new run.
    fn late_track(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        let Some(running) = &mut self.running else { return };
        if unit.video && unit.keyframe && self.tracks.video_init().is_some() {
            self.restart_with(unit, out);
            return;
        }
        if !unit.video {
            running.restart_at_keyframe = true;
        }
        self.meter.dropped(1);
    }

    /// Ends the run in favour of one that begins with this keyframe, at the same instant.
    fn restart_with(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        // The source's time goes on, so the new run begins where the old one would show this.
        self.carry = self.running.as_ref().map(Running::map);
        self.meter.discontinuity();
        let lost = self.preroll.retain(|_| false);
        self.meter.dropped(lost);
        self.pause(out);
        self.hold(unit);
    }

    /// Whether a timestamp doesn't follow from those before it.
    fn jumped(&self, unit: &Unit) -> bool {
        let Some(running) = &self.running else { return false };
        let lane = if unit.video { &running.video } else { &running.audio };
        let Some(lane) = lane else { return false };
        let tolerance = micros(self.config.jump_tolerance);
        let (seen_us, seen_now, back) = match lane.seen {
            Some((us, now)) => (us, now, micros(self.config.back_tolerance)),
            None => (lane.origin_us, running.start_now, tolerance),
        };
        let source = unit.us.saturating_sub(seen_us);
        let waited = unit.now.saturating_sub(seen_now).max(0);
        let ahead = source > tolerance && source.saturating_sub(waited) > tolerance;
        let behind = self.timeline.end().as_micros().saturating_sub(
            running.start.as_micros().saturating_add(unit.us.saturating_sub(lane.origin_us)),
        );
        ahead || source < -back || behind > tolerance
    }

    /// Holds back a unit that jumped; ends the run once the jump is real.
    fn suspect(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        let (video, now) = (unit.video, unit.now);
        let patience = micros(self.config.jump_confirm);
        let Some(running) = &mut self.running else { return };
        let steady = running.other_is_steady(video, now, patience);
        let Some(lane) = running.lane(video) else { return };
        let since = *lane.suspect.get_or_insert(now);
        let full = self.preroll.is_full(&self.config);
        self.preroll.push(unit);
        if steady && now.saturating_sub(since) < patience && !full {
            return;
        }
        self.meter.discontinuity();
        self.carry = None;
        self.pause(out);
    }

    fn picture(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        let Some(running) = &mut self.running else { return };
        if running.restart_at_keyframe && unit.keyframe && self.tracks.has_audio() {
            self.restart_with(unit, out);
            return;
        }
        if running.stalled.is_some() && running.passthrough && !unit.keyframe {
            self.meter.dropped(1);
            return;
        }
        let (start, passthrough, stalled) =
            (running.start, running.passthrough, running.stalled.is_some());
        let Some(lane) = &mut running.video else { return };
        let (timescale, step) = (lane.init.timescale, lane.init.sample_ticks);
        let at = |ticks: i64| MediaTime::new(ticks, timescale);
        let (dts, cts) = lane.clock.picture(unit.us, unit.cts_us);
        let shown = at(dts.saturating_add(i64::from(cts)));
        let cut = self.timeline.last_cut().unwrap_or(start);
        // Leading pictures of the run's first keyframe lack what they refer to;
        // a picture that sound has overtaken has no segment to go to.
        if passthrough && (shown < start || stalled && shown <= cut) {
            self.meter.dropped(1);
            return;
        }
        lane.end = lane.end.max(at(shown.ticks + i64::from(step)));
        let end = lane.end;
        running.stalled = None;
        let target = plus(cut, self.config.segment_target);
        let half = i64::from(step / 2);
        let decodable = self.config.can_encode.contains(&lane.init.codec);
        if !passthrough {
            if shown >= target {
                self.cut(shown, unit.arrival_us, out);
            }
        } else if unit.keyframe {
            let due = at(shown.ticks + half) >= target;
            if shown > cut && (due || stalled) {
                self.cut(shown, unit.arrival_us, out);
            }
        } else if decodable
            && at(shown.ticks + i64::from(step)) > plus(cut, self.config.segment_max)
        {
            self.reencode_from_here(unit.arrival_us, out);
        }
        self.timeline.reach(end);
        self.timeline.decoded(at(dts));
        let sample = Sample {
            rendition: Rendition::Source,
            dts,
            cts,
            keyframe: unit.keyframe,
            data: unit.data,
        };
        self.emit_at(out, unit.arrival_us, FrameBody::Sample(sample));
    }

    /// Keyframes are too rare: the same samples go on, in a run whose pictures
    /// the encoder delivers. Clocks go on too: only the segments change.
    fn reencode_from_here(&mut self, arrival_us: u64, out: &mut Vec<Demuxed>) {
        let Some(mut running) = self.running.clone() else { return };
        let Some(lane) = &running.video else { return };
        let timescale = lane.init.timescale;
        self.reencode = true;
        self.meter.discontinuity();
        // Not `pause`: units held back for a jump stay held back, nothing jumped here.
        self.running = None;
        self.timeline.close();
        self.emit(out, FrameBody::Pause);
        running.passthrough = false;
        // Not before what was shown, sound included, which may be a little ahead.
        let start = MediaTime::new(ceil(self.timeline.end(), timescale), timescale);
        // Source time zero of the lanes follows, so that both maps stay as they are.
        let moved = start.as_micros().saturating_sub(running.start.as_micros());
        for lane in [&mut running.video, &mut running.audio].into_iter().flatten() {
            lane.origin_us = lane.origin_us.saturating_add(moved);
        }
        running.start_now = running.start_now.saturating_add(moved);
        running.start = start;
        self.open_run(running, arrival_us, out);
    }

    fn sound(&mut self, unit: Unit, out: &mut Vec<Demuxed>) {
        let tolerance = micros(self.config.audio_tolerance);
        let Some(running) = &mut self.running else { return };
        let (start, passthrough) = (running.start, running.passthrough);
        let video_end = running.video.as_ref().map(|lane| lane.end);
        let Some(lane) = &mut running.audio else { return };
        let at = |ticks: i64| MediaTime::new(ticks, lane.init.timescale);
        let dts = lane.clock.sound(unit.us, unit.ticks, tolerance);
        let Some(dts) = dts.filter(|dts| at(*dts) >= start) else {
            // Before the picture begins, or over what was heard already.
            self.meter.dropped(1);
            return;
        };
        let (begin, end) = (at(dts), at(dts + i64::from(unit.ticks)));
        lane.end = lane.end.max(end);
        let cut = self.timeline.last_cut().unwrap_or(start);
        let due = match video_end {
            None => begin >= plus(cut, self.config.segment_target),
            // The picture stalls: segments must go on for the sound's sake. Its
            // gap began where it stopped, and may be no longer than a segment either.
            Some(video_end) => {
                let limit =
                    if passthrough { self.config.segment_max } else { self.config.segment_target };
                let since = running.stalled.unwrap_or(cut).min(cut);
                begin > plus(cut, CUT_DISTANCE_MIN)
                    && end > plus(since, limit)
                    && begin > plus(video_end, self.config.track_wait)
            }
        };
        if due {
            let gap_begins = |video_end| if running.stalled.is_some() { begin } else { video_end };
            running.stalled = video_end.map(gap_begins);
            self.cut(begin, unit.arrival_us, out);
        }
        self.timeline.reach(end);
        let sample =
            Sample { rendition: Rendition::Audio, dts, cts: 0, keyframe: true, data: unit.data };
        self.emit_at(out, unit.arrival_us, FrameBody::Sample(sample));
    }
}
