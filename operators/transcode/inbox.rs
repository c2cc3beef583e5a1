//! The way to a stream's transcoding thread.
//!
//! Enters: from the data plane, runs, cuts, samples and ends, in order; from
//! GStreamer's threads, alarms. Leaves: the same, to the one thread. Bounded:
//! samples beyond the budget are skipped up to a keyframe; the rest is few and
//! small, and a thread that lets even those pile up is stuck. Never done here:
//! waiting, by whoever puts something in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use records::Cut;

use super::TranscodeConfig;
use super::event::EventKind;
use super::run::RunShared;

/// Commands that aren't samples, beyond which the thread counts as stuck.
const CONTROLS_MAX: usize = 4096;

/// A sample for the decoder.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub dts: i64,
    pub pts: i64,
    pub keyframe: bool,
    pub arrival_us: u64,
    pub data: Bytes,
    /// Samples before it were skipped.
    pub realign: bool,
}

/// What the thread is told to do.
pub(super) enum Command {
    Run(Arc<RunShared>),
    Cut(Cut),
    Sample(Feed),
    Pause,
    End,
}

/// Why the thread woke up.
pub(super) enum Wake {
    Command(Command),
    /// The decoder with this serial failed.
    Alarm(u64, String),
    /// Time passed, or something changed elsewhere.
    Nothing,
    /// The stream was forgotten.
    Quit,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    frames: usize,
    bytes: usize,
    skipping: bool,
    skipped_now: u64,
    skipped_total: u64,
    alarms: VecDeque<(u64, String)>,
    pauses: VecDeque<Instant>,
    nudged: bool,
    quit: bool,
}

/// The queue of one stream.
pub(super) struct Inbox {
    frames_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Inbox {
    pub fn new(config: &TranscodeConfig) -> Self {
        Self {
            frames_max: config.queue_frames_max,
            bytes_max: config.queue_bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Adds a sample, or skips it if there is no room. Says when skipping begins and ends.
    pub fn sample(&self, mut feed: Feed) -> Option<EventKind> {
        let mut state = self.state.lock();
        let mut event = None;
        // Once skipping, half must be free: else the next picture would not fit again.
        let part = if state.skipping { 2 } else { 1 };
        let fits = state.frames < self.frames_max / part
            && state.bytes + feed.data.len() <= self.bytes_max / part;
        if !fits || (state.skipping && !feed.keyframe) {
            if !std::mem::replace(&mut state.skipping, true) {
                event = Some(EventKind::Skipping);
            }
            state.skipped_now += 1;
            state.skipped_total += 1;
            return event;
        }
        if std::mem::take(&mut state.skipping) {
            feed.realign = true;
            event = Some(EventKind::Skipped { pictures: std::mem::take(&mut state.skipped_now) });
        }
        state.frames += 1;
        state.bytes += feed.data.len();
        state.commands.push_back(Command::Sample(feed));
        drop(state);
        self.changed.notify_one();
        event
    }

    /// Adds anything else. False: the thread is stuck.
    #[must_use]
    pub fn control(&self, command: Command) -> bool {
        let mut state = self.state.lock();
        if state.commands.len() - state.frames >= CONTROLS_MAX {
            return false;
        }
        if matches!(command, Command::Pause) {
            state.pauses.push_back(Instant::now());
        }
        state.commands.push_back(command);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// A decoder failed.
    pub fn alarm(&self, serial: u64, reason: String) {
        self.state.lock().alarms.push_back((serial, reason));
        self.changed.notify_one();
    }

    /// Something that the thread waits for may have happened.
    pub fn nudge(&self) {
        self.state.lock().nudged = true;
        self.changed.notify_one();
    }

    /// The stream is forgotten.
    pub fn quit(&self) {
        self.state.lock().quit = true;
        self.changed.notify_one();
    }

    /// Waits for something to do: an alarm, a command if `take`, else until
    /// nudged or `patience` is over.
    pub fn next(&self, take: bool, patience: Duration) -> Wake {
        let mut state = self.state.lock();
        let deadline = Instant::now() + patience;
        loop {
            if state.quit {
                return Wake::Quit;
            }
            if let Some((serial, reason)) = state.alarms.pop_front() {
                return Wake::Alarm(serial, reason);
            }
            if take && let Some(command) = state.commands.pop_front() {
                account(&mut state, &command);
                return Wake::Command(command);
            }
            if std::mem::take(&mut state.nudged)
                || self.changed.wait_until(&mut state, deadline).timed_out()
            {
                return Wake::Nothing;
            }
        }
    }

    /// If the oldest pause is older than `limit`, discards all up to and with it.
    pub fn discard_overdue(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        if state.pauses.front().is_none_or(|since| since.elapsed() <= limit) {
            return false;
        }
        while let Some(command) = state.commands.pop_front() {
            account(&mut state, &command);
            if matches!(command, Command::Pause) {
                return true;
            }
        }
        false
    }

    /// Frames and bytes waiting, and pictures ever skipped.
    pub fn depth(&self) -> (usize, usize, u64) {
        let state = self.state.lock();
        (state.frames, state.bytes, state.skipped_total)
    }
}

fn account(state: &mut State, command: &Command) {
    match command {
        Command::Sample(feed) => {
            state.frames -= 1;
            state.bytes -= feed.data.len();
        }
        Command::Pause => {
            state.pauses.pop_front();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(keyframe: bool) -> Feed {
        let data = Bytes::from_static(&[0; 100]);
        Feed { dts: 0, pts: 0, keyframe, arrival_us: 0, data, realign: false }
    }

    fn take(inbox: &Inbox) -> Option<Feed> {
        match inbox.next(true, Duration::ZERO) {
            Wake::Command(Command::Sample(feed)) => Some(feed),
            _ => None,
        }
    }

    #[test]
    fn beyond_its_budget_it_skips_to_a_keyframe() {
        let config = TranscodeConfig { queue_frames_max: 4, ..Default::default() };
        let inbox = Inbox::new(&config);
        for _ in 0..4 {
            assert_eq!(inbox.sample(feed(false)), None);
        }
        assert_eq!(inbox.sample(feed(true)), Some(EventKind::Skipping));
        take(&inbox);
        assert_eq!(inbox.sample(feed(true)), None, "less than half is free");
        take(&inbox);
        take(&inbox);
        assert_eq!(inbox.sample(feed(false)), None, "not a keyframe");
        assert_eq!(inbox.sample(feed(true)), Some(EventKind::Skipped { pictures: 3 }));
        assert!(!take(&inbox).unwrap().realign);
        assert!(take(&inbox).unwrap().realign);
        assert_eq!(inbox.depth(), (0, 0, 3));
    }

    #[test]
    fn an_overdue_pause_takes_what_is_before_it_along() {
        let inbox = Inbox::new(&TranscodeConfig::default());
        inbox.sample(feed(true));
        assert!(inbox.control(Command::Pause));
        inbox.sample(feed(true));
        assert!(!inbox.discard_overdue(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(2));
        assert!(inbox.discard_overdue(Duration::from_millis(1)));
        assert!(!inbox.discard_overdue(Duration::ZERO));
        assert_eq!(inbox.depth().0, 1);
    }

    #[test]
    fn a_stuck_thread_is_noticed() {
        let inbox = Inbox::new(&TranscodeConfig::default());
        assert!((0..CONTROLS_MAX).all(|_| inbox.control(Command::End)));
        assert!(!inbox.control(Command::End));
    }
}
