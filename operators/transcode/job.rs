//! The thread of one stream that is being transcoded.
//!
//! ```text
//! idle ──Run──► running ──keyframe──► decoding ──Pause──► draining ──► idle … ──End──► gone
//!                  ▲                     │
//!                  └── 2 s, keyframe ── failed ── 5 times ──► given up until the next run
//! ```
//!
//! Enters: commands and alarms, from the [`Inbox`]. Leaves: samples to a
//! decoder; `RungDrained` of every rung within the deadline, whatever hangs.
//! Held: the decoder. Never done here: waiting for GStreamer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use records::Frame;
use runtime::Writer;

use super::event::EventKind;
use super::inbox::{Command, Feed, Inbox, Wake};
use super::run::RunShared;
use super::session::Session;

/// How often the decoder is looked after while nothing happens.
const CARE: Duration = Duration::from_millis(500);
/// The same while samples wait for room in it; its own word comes sooner.
const ROOM: Duration = Duration::from_millis(10);

struct Active {
    run: Arc<RunShared>,
    session: Option<Session>,
    not_before: Option<Instant>,
    gave_up: bool,
    drain_by: Option<Instant>,
}

/// The thread's state.
pub(super) struct Job {
    inbox: Arc<Inbox>,
    writer: Writer<Frame>,
    active: Option<Active>,
    serial: u64,
    ending: bool,
}

impl Job {
    pub fn new(inbox: Arc<Inbox>, writer: Writer<Frame>) -> Self {
        Self { inbox, writer, active: None, serial: 0, ending: false }
    }

    /// Works until the stream ends or is forgotten.
    pub fn work(mut self) {
        loop {
            let (take, patience) = self.mood();
            match self.inbox.next(take, patience) {
                Wake::Quit => {
                    self.seal();
                    break;
                }
                Wake::Alarm(serial, reason) if serial == self.serial => self.failed(reason),
                Wake::Command(command) => self.obey(command),
                Wake::Alarm(..) | Wake::Nothing => {}
            }
            self.care();
            if self.ending && self.active.is_none() {
                break;
            }
        }
        self.writer.close();
    }

    /// Whether to take a command, and how long to wait for something.
    fn mood(&self) -> (bool, Duration) {
        match &self.active {
            None => (true, CARE * 20),
            Some(active) if active.drain_by.is_some() => (false, CARE / 10),
            Some(Active { session: Some(session), .. }) if !session.has_room() => (false, ROOM),
            Some(_) => (true, CARE),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Run(run) => {
                // A run that was not paused: its pictures are given up for the new one's.
                self.seal();
                self.active = Some(Active {
                    run,
                    session: None,
                    not_before: None,
                    gave_up: false,
                    drain_by: None,
                });
            }
            Command::Cut(cut) => {
                if let Some(active) = self.active.as_ref().filter(|active| !active.gave_up) {
                    active.run.timeline.cut(cut);
                }
            }
            Command::Sample(feed) => self.feed(&feed),
            Command::Pause => self.pause(),
            Command::End => {
                self.ending = true;
                self.pause();
            }
        }
    }

    fn feed(&mut self, feed: &Feed) {
        let Some(active) = self.active.as_mut().filter(|active| !active.gave_up) else { return };
        if active.session.is_none() {
            let early = active.not_before.is_some_and(|at| Instant::now() < at);
            if early || !feed.keyframe {
                for msn in active.run.timeline.lose_cuts() {
                    active.run.outputs.iter().for_each(|output| output.miss(msn));
                }
                return;
            }
            let wait = Duration::from_millis(u64::from(active.run.config.restart_ms_min));
            active.not_before = Some(Instant::now() + wait);
            self.serial += 1;
            match Session::start(&active.run, &self.inbox, self.serial) {
                Ok(session) => active.session = Some(session),
                Err(error) => return self.failed(error.to_string()),
            }
        }
        if let Some(session) = &mut active.session {
            session.feed(feed);
        }
    }

    fn pause(&mut self) {
        let Some(active) = self.active.as_mut().filter(|active| active.drain_by.is_none()) else {
            return;
        };
        let limit = Duration::from_millis(u64::from(active.run.config.drain_ms_max));
        active.drain_by = Some(Instant::now() + limit);
        match &active.session {
            Some(session) => session.finish(),
            None => {
                for msn in active.run.timeline.lose_cuts() {
                    active.run.outputs.iter().for_each(|output| output.miss(msn));
                }
                active.run.outputs.iter().for_each(|output| output.drain());
            }
        }
    }

    /// The decoder failed: everything of it goes, and so do its encoders.
    fn failed(&mut self, reason: String) {
        let Some(active) = &mut self.active else { return };
        active.session = None;
        let run = &active.run;
        for output in &run.outputs {
            output.take_over();
        }
        let failures = run.decoder_failures.fetch_add(1, Ordering::Relaxed) + 1;
        run.reporter.report(EventKind::DecoderFailed { reason, failures });
        let over = failures >= run.config.failures_max;
        if over || active.drain_by.is_some() {
            active.gave_up = true;
            let missed = run.timeline.lose_cuts();
            for output in &run.outputs {
                missed.iter().for_each(|msn| output.miss(*msn));
                if over && !output.is_drained() {
                    run.reporter.report(EventKind::GaveUp { rendition: output.rendition });
                }
                output.drain();
            }
        }
    }

    fn care(&mut self) {
        let complaint = self.active.as_mut().and_then(|a| a.session.as_mut()?.complaint());
        if let Some(complaint) = complaint {
            self.failed(format!("decoder {complaint}"));
        }
        let Some(active) = &self.active else { return };
        let limit = Duration::from_millis(u64::from(active.run.config.drain_ms_max));
        if active.drain_by.is_none() {
            if self.inbox.discard_overdue(limit) {
                self.seal();
            }
        } else if active.run.is_drained() {
            self.active = None;
        } else if active.drain_by.is_some_and(|by| Instant::now() >= by) {
            self.seal();
        }
    }

    /// Ends the run at once.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        for output in active.run.outputs.iter().filter(|output| !output.is_drained()) {
            let rendition = output.rendition;
            active.run.reporter.report(EventKind::DrainTimedOut { rendition });
            for msn in active.run.timeline.lose_cuts() {
                active.run.outputs.iter().for_each(|output| output.miss(msn));
            }
            output.seal();
        }
    }
}
