//! From a publisher's messages to frames on the stream's own timeline.
//!
//! ```text
//! Packet ─► tag ─► Tracks ─► Unit ─► preroll ─► running ─► Frame
//!                  (params,          (waits for  (Clock: ms → ticks,
//!                   metadata)         tracks)     Timeline: runs, cuts, gaps)
//!       └──────────────────────────► Meter ─────────────► Health
//! ```
//!
//! * Enters: one stream's [`Packet`]s in the order of their offsets.
//! * Leaves: the direct path of [`Frame`]s (see there for its order) and a
//!   [`Health`] per second. All of it is a function of the packets, their
//!   arrival times included: no clock is read, so a replay gives the same.
//! * Held: configurations, the place on the timeline, and while a run can't
//!   begin yet its first messages, bounded by count and bytes. A clone is cheap
//!   and complete: with each cut one leaves as [`FrameBody::Checkpoint`], last
//!   of its packet's output; fed the packets after that one it goes on alike.
//! * Ends: a run with [`FrameBody::Pause`] (publisher gone or silent, timestamps
//!   that jump, other parameters); the stream with `End`.
//! * Never done here: decoding, encoding, parts. Samples are slices of the
//!   messages they came in.
//!
//! What can't be used (truncated, corrupt, unknown codec, before the first
//! keyframe) is dropped and counted, and harms nothing else.

use std::collections::VecDeque;
use std::sync::Arc;

use records::{Frame, FrameBody, Health, MediaTime, Packet, PacketBody, StreamId};

use self::config::micros;
pub use self::config::{DemuxConfig, Resume};
use self::health::Meter;
use self::running::Running;
use self::timeline::{Arrival, Timeline, plus};
use self::tracks::{Event, Tracks, Unit};

mod bits;
mod clock;
mod config;
mod health;
mod metadata;
mod params;
mod running;
mod sound;
mod tag;
mod timeline;
mod tracks;

#[cfg(test)]
mod tests;

/// What a packet turned into.
#[derive(Clone, Debug)]
pub enum Demuxed {
    /// The next record of the direct path.
    Frame(Frame),
    /// A second of ingest.
    Health(Health),
}

/// One stream's demuxer, see the module.
#[derive(Clone)]
pub struct Demuxer {
    stream: StreamId,
    config: Arc<DemuxConfig>,
    arrival: Arrival,
    timeline: Timeline,
    meter: Meter,
    tracks: Tracks,
    // The open run; none while waiting for one.
    running: Option<Running>,
    preroll: Preroll,
    // A publisher is there.
    connected: bool,
    // Keyframes were too rare in this session: the source is re-encoded until it ends.
    reencode: bool,
    // Where the run before would have put a source time, while that still counts.
    carry: Option<(i64, MediaTime)>,
    // Of the packet being processed.
    offset: u64,
    arrival_us: u64,
    // A cut was made: a checkpoint is due at the end of this packet.
    cut_made: bool,
    ended: bool,
}

/// Units that wait for a run to begin, or for a jump to be confirmed.
#[derive(Clone, Debug, Default)]
struct Preroll {
    units: VecDeque<Unit>,
    bytes: usize,
    // Since when there is something to wait for.
    since: Option<i64>,
}

impl Preroll {
    fn push(&mut self, unit: Unit) {
        self.since.get_or_insert(unit.now);
        self.bytes += unit.data.len();
        self.units.push_back(unit);
    }

    /// Drops the units that `keep` refuses; gives how many.
    fn retain(&mut self, keep: impl FnMut(&Unit) -> bool) -> u32 {
        let before = self.units.len();
        self.units.retain(keep);
        self.bytes = self.units.iter().map(|unit| unit.data.len()).sum();
        (before - self.units.len()) as u32
    }

    fn is_full(&self, config: &DemuxConfig) -> bool {
        self.units.len() >= config.preroll_messages_max || self.bytes >= config.preroll_bytes_max
    }

    fn keyframe(&self) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.video && unit.keyframe)
    }
}

impl Demuxer {
    /// A demuxer for a stream's first packet, or after a restart of the
    /// process for the first packet of the new intake.
    #[must_use]
    pub fn new(stream: StreamId, config: Arc<DemuxConfig>, resume: Option<Resume>) -> Self {
        Self {
            stream,
            config,
            arrival: Arrival::default(),
            timeline: Timeline::new(resume),
            meter: Meter::default(),
            tracks: Tracks::default(),
            running: None,
            preroll: Preroll::default(),
            connected: false,
            reencode: false,
            carry: None,
            offset: 0,
            arrival_us: 0,
            cut_made: false,
            ended: false,
        }
    }

    /// Where the stream would go on if the process ended after the last
    /// packet; none before its first run.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        self.timeline.resume(&self.arrival)
    }

    /// Takes the next packet and appends what it leads to. Packets after `End` are ignored.
    ///
    /// # Panics
    /// Only on an injected fault ([`PacketBody::Fault`]) that names `demux`.
    pub fn push(&mut self, packet: Packet, out: &mut Vec<Demuxed>) {
        if self.ended {
            return;
        }
        self.offset = packet.offset;
        self.arrival_us = packet.arrival_us;
        let now = self.arrival.advance(packet.arrival_us);
        let health = self.meter.tick(self.stream, now, |at| self.arrival.wall(at));
        out.extend(health.map(Demuxed::Health));
        self.check_silence(out);
        self.list_gaps(out);
        match packet.body {
            PacketBody::Start { .. } => self.start_session(out),
            PacketBody::Audio { timestamp_ms, data } => {
                self.message(false, timestamp_ms, data, out)
            }
            PacketBody::Video { timestamp_ms, data } => self.message(true, timestamp_ms, data, out),
            PacketBody::Data { data, .. } => {
                self.tracks.data(&data);
                self.advance(None, out);
            }
            PacketBody::Idle => self.advance(None, out),
            PacketBody::Stop => self.stop_session(out),
            PacketBody::End => {
                self.stop_session(out);
                self.emit(out, FrameBody::End);
                self.ended = true;
            }
            PacketBody::Fault(site) => {
                site.trip("demux");
                self.emit(out, FrameBody::Fault(site));
            }
        }
        self.list_gaps(out);
        if std::mem::take(&mut self.cut_made) && !self.ended {
            self.emit(out, FrameBody::Checkpoint(Arc::new(self.clone())));
        }
    }

    /// A publisher connected: nothing of an earlier one's timestamps or parameters holds.
    fn start_session(&mut self, out: &mut Vec<Demuxed>) {
        self.stop_session(out);
        self.connected = true;
        self.meter.start(self.arrival.now());
    }

    fn stop_session(&mut self, out: &mut Vec<Demuxed>) {
        self.pause(out);
        let lost = self.preroll.retain(|_| false);
        self.meter.dropped(lost);
        let health = self.meter.stop(self.stream, self.arrival.now(), |at| self.arrival.wall(at));
        out.extend(health.map(Demuxed::Health));
        self.tracks = Tracks::default();
        self.preroll = Preroll::default();
        self.carry = None;
        self.reencode = false;
        self.connected = false;
    }

    fn message(
        &mut self,
        video: bool,
        timestamp_ms: i64,
        data: bytes::Bytes,
        out: &mut Vec<Demuxed>,
    ) {
        if !self.connected {
            // The intake always says `Start` first; without it timestamps have no meaning.
            return;
        }
        let now = self.arrival.now();
        self.meter.received(video, data.len());
        let (event, others) = self.tracks.message(video, timestamp_ms, &data, self.arrival_us, now);
        self.meter.dropped(others);
        let mut unit = None;
        match event {
            Event::Unit(found) => {
                self.meter.coded(video, found.keyframe, found.us, now);
                unit = Some(found);
            }
            Event::Known if self.running.is_none() => drop(self.preroll.since.get_or_insert(now)),
            Event::Changed => self.parameters_changed(video, out),
            Event::Dropped => self.meter.dropped(1),
            Event::Foreign(codec) => {
                self.meter.dropped(1);
                let kind = if video { "picture" } else { "sound" };
                let carried = "H.264, HEVC and AV1; AAC and Opus";
                tracing::warn!(stream = %self.stream, codec, carried, "{kind} left out: its codec isn't carried");
            }
            Event::Known | Event::Nothing => {}
        }
        self.advance(unit, out);
    }

    /// Another configuration: the run is over. Units that still wait were
    /// coded with the old one.
    fn parameters_changed(&mut self, video: bool, out: &mut Vec<Demuxed>) {
        if let Some(running) = &self.running {
            self.carry = Some(running.map());
            self.meter.discontinuity();
            self.pause(out);
        }
        let lost = self.preroll.retain(|unit| unit.video != video);
        self.meter.dropped(lost);
        self.preroll.since = Some(self.arrival.now());
    }

    /// Passes a unit on, and begins a run as soon as one can begin.
    fn advance(&mut self, unit: Option<Unit>, out: &mut Vec<Demuxed>) {
        let mut queue: VecDeque<Unit> = unit.into_iter().collect();
        loop {
            if self.running.is_none() && self.can_begin() {
                // Each run uses up at least the unit it begins with, so this ends.
                let mut waiting = self.begin_run(out);
                waiting.append(&mut queue);
                queue = waiting;
            }
            let Some(unit) = queue.pop_front() else { return };
            if self.running.is_some() {
                self.run_unit(unit, out);
            } else {
                self.hold(unit);
            }
        }
    }

    /// Keeps a unit for the run that will begin.
    fn hold(&mut self, unit: Unit) {
        let keyframe = self.preroll.keyframe().is_some();
        if unit.video && !unit.keyframe && !keyframe {
            self.preroll.since.get_or_insert(unit.now);
            self.meter.dropped(1);
            return;
        }
        if self.preroll.is_full(&self.config) {
            // With a keyframe `can_begin` says so at once; without, only the newest sound is of use.
            if let Some(oldest) = self.preroll.units.pop_front() {
                self.preroll.bytes -= oldest.data.len();
                self.meter.dropped(1);
            }
        }
        self.preroll.push(unit);
    }

    /// Whether what waits is enough for a run.
    fn can_begin(&self) -> bool {
        let Some(since) = self.preroll.since else { return false };
        let waited = self.arrival.now().saturating_sub(since);
        let track_wait = micros(self.config.track_wait);
        if self.preroll.keyframe().is_some() {
            return self.tracks.has_audio()
                || self.tracks.promises_no_audio()
                || waited >= track_wait
                || self.preroll.is_full(&self.config);
        }
        let sound = self.preroll.units.iter().any(|unit| !unit.video);
        if !sound {
            return false;
        }
        if self.tracks.has_video() {
            waited >= micros(self.config.keyframe_wait)
        } else {
            self.tracks.promises_no_video() || waited >= track_wait
        }
    }

    /// Ends the open run, if there is one.
    fn pause(&mut self, out: &mut Vec<Demuxed>) {
        if self.running.take().is_some() {
            self.timeline.close();
            self.emit(out, FrameBody::Pause);
            // What was suspected of a jump may begin the next run.
            let held = std::mem::take(&mut self.preroll);
            for unit in held.units {
                self.hold(unit);
            }
        }
    }

    /// Ends the run when its publisher has been silent for so long that the
    /// playlist would stop, or the open segment grow beyond its bound.
    fn check_silence(&mut self, out: &mut Vec<Demuxed>) {
        let Some(running) = &self.running else { return };
        let now = self.arrival.now();
        let silent = now.saturating_sub(running.last_now());
        let limit = micros(self.config.idle_before_gap);
        let overlong = silent >= limit / 3
            && self.timeline.last_cut().is_some_and(|cut| {
                let end = self.timeline.end();
                let elapsed = MediaTime::new(end.as_micros().saturating_add(silent), 1_000_000);
                elapsed > plus(cut, self.config.segment_max)
            });
        if silent >= limit || overlong {
            self.pause(out);
        }
    }

    /// Lists the gap segments that have begun by now.
    fn list_gaps(&mut self, out: &mut Vec<Demuxed>) {
        if self.running.is_some() || self.ended {
            return;
        }
        let now = self.arrival.now();
        let (target, delay) = (self.config.segment_target, self.config.gap_delay);
        while let Some(cut) = self.timeline.gap(now, target, delay) {
            self.cut_made = true;
            self.emit(out, FrameBody::Cut(cut));
        }
    }

    fn emit(&self, out: &mut Vec<Demuxed>, body: FrameBody) {
        self.emit_at(out, self.arrival_us, body);
    }

    fn emit_at(&self, out: &mut Vec<Demuxed>, arrival_us: u64, body: FrameBody) {
        let frame = Frame { stream: self.stream, offset: self.offset, arrival_us, body };
        out.push(Demuxed::Frame(frame));
    }
}
