//! A run from its beginning to its end.
//!
//! ```text
//! open all ─► measure ─► (cut, until all are back) ─► what is on its way arrives ─► Report
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::cost::Cost;
use crate::crowd::{self, Crowd};
use crate::files;
use crate::findings::Findings;
use crate::handshake::Requests;
use crate::marker::{Mark, now_ns};
use crate::options::{LoadError, Options, Publish};
use crate::phase::{Phase, Shared};
use crate::report::{Report, ServerCost};
use crate::speakers::{MOMENT, Speakers};

/// How long answers are waited for at the end: a server gives up after fifteen seconds.
const ANSWERS: Duration = Duration::from_secs(16);
/// How often is looked at what threads have come to.
const GLANCE: Duration = Duration::from_millis(5);

/// Opens the viewers, measures, and ends them.
///
/// # Errors
/// [`LoadError`].
pub fn run(options: Options) -> Result<Report, LoadError> {
    run_when(options, |_| ())
}

/// The same, but measures when `all_are_in` returns, which is told how long it took until all
/// were: for several processes that measure at the same time.
///
/// # Errors
/// [`LoadError`].
pub fn run_when(options: Options, all_are_in: impl FnOnce(Duration)) -> Result<Report, LoadError> {
    files::allow(options.viewers, options.threads)?;
    let before = Cost::of_all(&options.server_pids);
    let mut load = Load::start(options)?;
    let went = load.go(all_are_in);
    let findings = load.end()?;
    let went = went.map_err(|error| match error {
        LoadError::NotOpen { open, viewers, seconds, .. } => {
            LoadError::NotOpen { open, viewers, seconds, told: findings.told.clone() }
        }
        other => other,
    })?;
    let server =
        before.zip(went.joined).zip(went.server).map(|((before, joined), [from, to])| ServerCost {
            joining: joined.cpu.saturating_sub(before.cpu),
            measured: to.cpu.saturating_sub(from.cpu),
            memory_bytes: [before, joined, to].map(|cost| cost.memory_bytes),
        });
    Ok(Report {
        viewers: load.options.viewers,
        opening: went.opening,
        measured: went.measured,
        returning: went.returning,
        published: findings.said + went.called,
        last: load.shared.target.load(Ordering::Acquire),
        lost: load.shared.lost.load(Ordering::Acquire),
        server,
        own_cpu: went.own_cpu,
        findings,
    })
}

/// How it went.
struct Went {
    opening: Duration,
    measured: Duration,
    returning: Option<Duration>,
    /// Published by a callback.
    called: u64,
    /// The server when all were in, and at the beginning and the end of the measuring.
    joined: Option<Cost>,
    server: Option<[Cost; 2]>,
    own_cpu: Duration,
}

/// Threads, and what they share.
struct Load {
    options: Options,
    /// By which its marks and its viewers are told from others'.
    run: u64,
    shared: Arc<Shared>,
    wakers: Vec<Waker>,
    threads: Vec<JoinHandle<std::io::Result<Findings>>>,
    /// Viewers who speak; they are never cut.
    speaking: usize,
}

impl Load {
    fn start(options: Options) -> Result<Self, LoadError> {
        let run = now_ns() >> 10;
        let speakers = Speakers::new(run, &options);
        let speaking = speakers.as_ref().map_or(0, Speakers::count).min(options.viewers);
        let listening = options.viewers - speaking;
        let crowds = options.threads.clamp(1, listening.max(1));
        let mut load = Self {
            options,
            run,
            shared: Arc::default(),
            wakers: Vec::new(),
            threads: Vec::new(),
            speaking,
        };
        if speakers.is_some() {
            // In a thread of their own, what they say waits for nobody's reading.
            load.spawn(0..speaking, crowds, speakers)?;
        }
        let first = |crowd: usize| speaking + listening * crowd / crowds;
        for crowd in 0..crowds {
            load.spawn(first(crowd)..first(crowd + 1), crowds, None)?;
        }
        Ok(load)
    }

    fn spawn(
        &mut self,
        viewers: Range<usize>,
        crowds: usize,
        speakers: Option<Speakers>,
    ) -> Result<(), LoadError> {
        let poll = Poll::new()?;
        self.wakers.push(crowd::waker(&poll)?);
        let name = if speakers.is_some() { "speakers" } else { "viewers" };
        let is_own = !matches!(self.options.publish, Publish::Elsewhere);
        let crowd = Crowd {
            address: self.options.address,
            requests: Requests::new(self.run, &self.options),
            dialect: self.options.dialect,
            viewers: viewers.len(),
            first: viewers.start,
            opening_max: (self.options.opening_max / crowds).max(1),
            run: is_own.then_some(self.run),
            speakers,
            shared: Arc::clone(&self.shared),
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || crowd.run(poll))?);
        Ok(())
    }

    fn go(&mut self, all_are_in: impl FnOnce(Duration)) -> Result<Went, LoadError> {
        let pids = self.options.server_pids.clone();
        let own = [std::process::id()];
        let own_cpu = || Cost::of_all(&own).map_or(Duration::ZERO, |cost| cost.cpu);
        let began = Instant::now();
        self.wait_until_open(began, self.options.viewers)?;
        let (opening, joined) = (began.elapsed(), Cost::of_all(&pids));
        all_are_in(opening);
        let (from, own_from) = (Cost::of_all(&pids), own_cpu());
        let began = Instant::now();
        self.turn(Phase::Measuring);
        let called = self.publish(began);
        let (measured, to) = (began.elapsed(), Cost::of_all(&pids));
        let own_cpu = own_cpu().saturating_sub(own_from);
        let returning = match self.options.path_back {
            Some(_) if !self.is_stopped() => Some(self.cut()?),
            _ => None,
        };
        self.drain(called);
        let server = from.zip(to).map(|(from, to)| [from, to]);
        Ok(Went { opening, measured, returning, called, joined, server, own_cpu })
    }

    /// The next phase, which all threads know of at once.
    fn turn(&self, phase: Phase) {
        self.shared.set(phase);
        self.wake();
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // A thread that can't be woken looks every fifty milliseconds.
            let _late = waker.wake();
        }
    }

    fn is_stopped(&self) -> bool {
        self.options.stop.load(Ordering::Acquire)
    }

    fn wait_until_open(&self, began: Instant, viewers: usize) -> Result<(), LoadError> {
        let patience = Duration::from_secs(30 + viewers as u64 / 200);
        loop {
            let open = self.shared.open.load(Ordering::Acquire);
            let failed = self.shared.failed.load(Ordering::Acquire);
            if open >= viewers {
                return Ok(());
            }
            if self.is_stopped() {
                return Err(LoadError::Stopped);
            }
            let is_hopeless = failed > 0 && open + failed >= viewers;
            let has_ended = self.threads.iter().any(JoinHandle::is_finished);
            if is_hopeless || has_ended || began.elapsed() > patience {
                let seconds = began.elapsed().as_secs();
                return Err(LoadError::NotOpen { open, viewers, seconds, told: None });
            }
            sleep(GLANCE);
        }
    }

    /// Waits until the measuring is over. Meanwhile viewers speak, or a callback is called:
    /// so often.
    fn publish(&mut self, began: Instant) -> u64 {
        let Options { duration, rate, text_bytes, .. } = self.options;
        let mut called = 0;
        loop {
            let is_stopped = self.is_stopped();
            let elapsed = began.elapsed();
            let mut rest = duration.saturating_sub(elapsed);
            if let Publish::Callback(publish) = &mut self.options.publish
                && rate > 0.0
                && !is_stopped
            {
                let due = Duration::from_secs_f64(called as f64 / rate);
                if due < duration && due <= elapsed {
                    called += 1;
                    publish(&Mark::now(self.run, called).filled(text_bytes));
                    continue;
                }
                rest = rest.min(due.saturating_sub(elapsed));
            }
            if elapsed >= duration || is_stopped {
                return called;
            }
            sleep(rest.min(MOMENT));
        }
    }

    /// Cuts all but those who speak; how long it took until all were back.
    fn cut(&self) -> Result<Duration, LoadError> {
        self.shared.open.store(0, Ordering::Release);
        self.shared.failed.store(0, Ordering::Release);
        let cut = Instant::now();
        self.turn(Phase::Returning);
        self.wait_until_open(cut, self.options.viewers - self.speaking)?;
        Ok(cut.elapsed())
    }

    /// Waits for answers, then until all viewers have what there was by then.
    fn drain(&self, called: u64) {
        let shared = &self.shared;
        self.turn(Phase::Draining);
        if self.speaking > 0 {
            self.wait_for(ANSWERS, || shared.is_settled.load(Ordering::Acquire));
        }
        let seen = shared.seen.load(Ordering::Acquire);
        let target = match &self.options.publish {
            Publish::Callback(_) => called,
            Publish::Viewer(_) => shared.said.load(Ordering::Acquire),
            Publish::People(_) => seen.max(shared.accepted.load(Ordering::Acquire)),
            // What others published last isn't known here, but that somebody saw it.
            Publish::Elsewhere => seen,
        };
        shared.target.store(target, Ordering::Release);
        self.wake();
        if target > 0 {
            let all = self.threads.len();
            self.wait_for(self.options.patience, || shared.complete.load(Ordering::Acquire) >= all);
        }
    }

    fn wait_for(&self, patience: Duration, is_done: impl Fn() -> bool) {
        let until = Instant::now() + patience;
        let has_ended = || self.threads.iter().any(JoinHandle::is_finished);
        while !is_done() && !has_ended() && Instant::now() < until {
            sleep(GLANCE);
        }
    }

    /// Ends the threads; what they found.
    fn end(&mut self) -> Result<Findings, LoadError> {
        self.turn(Phase::Over);
        let mut findings = Findings::default();
        for thread in std::mem::take(&mut self.threads) {
            findings.add(thread.join().map_err(|_| LoadError::Panic)??);
        }
        Ok(findings)
    }
}

/// Threads don't outlive a run that didn't come about.
impl Drop for Load {
    fn drop(&mut self) {
        self.turn(Phase::Over);
    }
}
