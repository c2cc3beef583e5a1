//! Thousands of chat viewers in one process, and what they saw.
//!
//! ```text
//! run(options) ─► threads, each with its viewers on one epoll ─► Report
//!        └─ rate ─► marks in messages ─► by a callback, or said by the first viewer
//! ```
//!
//! - **Enters**: an address and how much to load it with. **Leaves**: deliveries, their
//!   latency from sending to reading, gaps, repetitions, and the server's CPU time.
//! - **Held**: per viewer its socket, and bytes while a frame isn't whole.
//! - **Ends** by itself after [`Options::duration`].
//! - **Never here**: addresses other than those given; the server's code.

mod cost;
mod crowd;
mod histogram;
mod marker;
mod viewer;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

pub use cost::Cost;
pub use histogram::Histogram;
pub use marker::{Mark, now_ns};
pub use viewer::Findings;

use crowd::{Crowd, Phase, Shared};

/// How long viewers may at most take for what is still on its way at the end.
const DRAIN: Duration = Duration::from_secs(10);

/// Who sends the marked messages.
pub enum Publish {
    /// Somebody else does (with [`Mark`]s); all runs' marks count.
    Elsewhere,
    /// This is called with each marked text.
    Callback(Box<dyn FnMut(&str) + Send>),
    /// The first viewer says it; `{}` in the template is the marked text.
    Viewer(String),
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "Elsewhere",
            Self::Callback(_) => "Callback",
            Self::Viewer(_) => "Viewer",
        })
    }
}

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// Where the server listens. On IPv4 loopback, viewers come from 127.0.1.x.
    pub address: SocketAddr,
    /// The request's `Host`.
    pub host: String,
    /// Path and query of the WebSocket; `{viewer}` becomes the viewer's number, from 0.
    pub path: String,
    /// At the end all connections are cut at once and viewers come back by this path, in
    /// which `{seq}` becomes the `"seq"` of the last message that they got.
    pub path_back: Option<String>,
    /// More header lines, without line ends.
    pub headers: Vec<String>,
    /// How many viewers; a process may have to be allowed so many files.
    pub viewers: usize,
    /// Threads they are spread over.
    pub threads: usize,
    /// Handshakes at a time, of all threads.
    pub opening_max: usize,
    /// How long to measure once all are there.
    pub duration: Duration,
    /// Who publishes.
    pub publish: Publish,
    /// Messages a second that are published here.
    pub rate: f64,
    /// Whose CPU time to take.
    pub server_pid: Option<u32>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system's, or the server isn't there.
    #[error("viewers can't be opened: {0}; is the server there, and are enough files allowed?")]
    Io(#[from] io::Error),
    /// The server's.
    #[error("only {open} of {viewers} viewers were let in within {seconds} s")]
    NotOpen {
        /// Let in.
        open: usize,
        /// Wanted.
        viewers: usize,
        /// Waited.
        seconds: u64,
    },
    /// Ours.
    #[error("a thread of viewers panicked")]
    Panic,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// Let in.
    pub viewers: usize,
    /// From the first to the last.
    pub opening: Duration,
    /// How long deliveries were counted.
    pub measured: Duration,
    /// Of all viewers.
    pub findings: Findings,
    /// From the cut until all were let in again.
    pub returning: Option<Duration>,
    /// Published here.
    pub published: u64,
    /// Deliveries that viewers who stayed lacked at the end.
    pub lost: u64,
    /// The server's CPU time while deliveries were counted, and while viewers joined.
    pub server_cpu: Option<[Duration; 2]>,
    /// The server's memory when all were there, less that before, for each viewer.
    pub server_bytes_per_viewer: Option<f64>,
}

/// Opens the viewers, measures, and ends them.
pub fn run(mut options: Options) -> Result<Report, LoadError> {
    let shared = Arc::new(Shared::default());
    let own = !matches!(options.publish, Publish::Elsewhere);
    let run = own.then(|| now_ns() >> 10);
    let cost = |options: &Options| options.server_pid.and_then(Cost::of);
    let before = cost(&options);
    let began = Instant::now();
    let mut threads = Vec::new();
    let mut wakers = Vec::new();
    let count = options.threads.max(1);
    for index in 0..count {
        let poll = mio::Poll::new()?;
        wakers.push(crowd::waker(&poll)?);
        let first = options.viewers * index / count;
        let crowd = Crowd {
            address: options.address,
            request: request(&options, &options.path),
            request_back: options.path_back.as_ref().map(|path| request(&options, path)),
            viewers: options.viewers * (index + 1) / count - first,
            first,
            opening_max: (options.opening_max / count).max(1),
            run,
            shared: shared.clone(),
        };
        threads.push(spawn(move || crowd.run(poll)));
    }
    let opened = wait_until_open(&options, &shared, began, &threads);
    let opening = began.elapsed();
    let joined = cost(&options);
    let measuring = Instant::now();
    shared.set(Phase::Measuring);
    let published = match opened {
        Ok(()) => publish(&mut options, run.unwrap_or_default(), &shared, &wakers[0]),
        Err(_) => 0,
    };
    let after = cost(&options);
    let measured = measuring.elapsed();
    let returned = match (&opened, &options.path_back) {
        (Ok(()), Some(_)) => {
            shared.open.store(0, Ordering::Release);
            shared.failed.store(0, Ordering::Release);
            let cut = Instant::now();
            shared.set(Phase::Returning);
            wait_until_open(&options, &shared, cut, &threads).map(|()| Some(cut.elapsed()))
        }
        _ => Ok(None),
    };
    if own && opened.is_ok() {
        shared.published.store(published, Ordering::Release);
        let until = Instant::now() + DRAIN;
        while shared.complete.load(Ordering::Acquire) < count && Instant::now() < until {
            sleep(Duration::from_millis(5));
        }
    }
    shared.set(Phase::Over);
    let mut findings = Findings::default();
    for thread in threads {
        findings.add(&thread.join().map_err(|_| LoadError::Panic)??);
    }
    opened?;
    let returning = returned?;
    let between = |a: Option<Cost>, b: Option<Cost>| Some(b?.cpu.saturating_sub(a?.cpu));
    Ok(Report {
        viewers: shared.open.load(Ordering::Acquire),
        opening,
        measured,
        returning,
        published,
        lost: shared.lost.load(Ordering::Acquire),
        server_cpu: between(joined, after).zip(between(before, joined)).map(|(a, b)| [a, b]),
        server_bytes_per_viewer: before.zip(joined).map(|(before, joined)| {
            joined.memory_bytes.saturating_sub(before.memory_bytes) as f64
                / options.viewers.max(1) as f64
        }),
        findings,
    })
}

fn wait_until_open<T>(
    options: &Options,
    shared: &Shared,
    began: Instant,
    threads: &[std::thread::JoinHandle<T>],
) -> Result<(), LoadError> {
    let patience = Duration::from_secs(30 + options.viewers as u64 / 200);
    loop {
        let open = shared.open.load(Ordering::Acquire);
        let failed = shared.failed.load(Ordering::Acquire);
        if open >= options.viewers {
            return Ok(());
        }
        let is_hopeless = failed > 0 && open + failed >= options.viewers;
        let has_ended = threads.iter().any(|thread| thread.is_finished());
        if is_hopeless || has_ended || began.elapsed() > patience {
            let (viewers, seconds) = (options.viewers, began.elapsed().as_secs());
            return Err(LoadError::NotOpen { open, viewers, seconds });
        }
        sleep(Duration::from_millis(5));
    }
}

/// Publishes at the rate until the duration is over; returns how many.
fn publish(options: &mut Options, run: u64, shared: &Shared, waker: &mio::Waker) -> u64 {
    let began = Instant::now();
    if matches!(options.publish, Publish::Elsewhere) || options.rate <= 0.0 {
        sleep(options.duration);
        return 0;
    }
    let mut number = 0;
    loop {
        let due = Duration::from_secs_f64(number as f64 / options.rate);
        if due >= options.duration {
            sleep(options.duration.saturating_sub(began.elapsed()));
            return number;
        }
        sleep(due.saturating_sub(began.elapsed()));
        number += 1;
        let text = Mark::now(run, number).text();
        match &mut options.publish {
            Publish::Elsewhere => {}
            Publish::Callback(publish) => publish(&text),
            Publish::Viewer(template) => {
                if let Ok(mut outbox) = shared.outbox.lock() {
                    outbox.push(template.replace("{}", &text));
                }
                // A thread that can't be woken looks every fifty milliseconds.
                let _late = waker.wake();
            }
        }
    }
}

fn request(options: &Options, path: &str) -> String {
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWlsbHN0cmVhbSBsb2FkIQ==\r\n",
        path, options.host
    );
    for header in &options.headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

impl Findings {
    fn add(&mut self, other: &Self) {
        for part in 0..3 {
            self.latency[part].merge(&other.latency[part]);
            self.deliveries[part] += other.deliveries[part];
        }
        self.bytes += other.bytes;
        self.reads += other.reads;
        self.gaps += other.gaps;
        self.repeated += other.repeated;
        self.refused += other.refused;
        for (code, count) in &other.closed {
            *self.closed.entry(*code).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { latency, deliveries, .. } = &self.findings;
        let seconds = self.measured.as_secs_f64();
        writeln!(f, "viewers        {} in {:.2} s", self.viewers, self.opening.as_secs_f64())?;
        if let Some(returning) = self.returning {
            writeln!(f, "back           all in {:.2} s", returning.as_secs_f64())?;
        }
        writeln!(
            f,
            "deliveries     {} in {seconds:.1} s: {:.0}/s, {:.1} a read",
            deliveries[1],
            deliveries[1] as f64 / seconds,
            deliveries.iter().sum::<u64>() as f64 / self.findings.reads.max(1) as f64,
        )?;
        let names = ["while joining", "latency", "after the cut"];
        for (name, latency) in names.iter().zip(latency) {
            if latency.total() > 0 {
                writeln!(
                    f,
                    "{name:14} p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
                    latency.quantile_ms(0.5),
                    latency.quantile_ms(0.9),
                    latency.quantile_ms(0.99),
                    latency.quantile_ms(0.999),
                    latency.max_ms()
                )?;
            }
        }
        writeln!(
            f,
            "order          {} gaps, {} repeated, {} lost at the end",
            self.findings.gaps, self.findings.repeated, self.lost
        )?;
        if self.findings.refused > 0 || !self.findings.closed.is_empty() {
            let closed = &self.findings.closed;
            writeln!(f, "ended          {closed:?}, {} refused", self.findings.refused)?;
        }
        if !self.findings.faults.is_empty() {
            writeln!(f, "faults         {:?}", self.findings.faults)?;
        }
        if let Some([measuring, joining]) = self.server_cpu {
            let cpu = measuring.as_secs_f64();
            writeln!(
                f,
                "server         {cpu:.2} s CPU ({:.0} % of a core): {:.0} deliveries per CPU-second, \
                 {:.2} µs each; {:.2} s CPU for the joins",
                100.0 * cpu / seconds,
                deliveries[1] as f64 / cpu.max(1e-9),
                cpu * 1e6 / deliveries[1].max(1) as f64,
                joining.as_secs_f64(),
            )?;
        }
        if let Some(bytes) = self.server_bytes_per_viewer {
            writeln!(f, "memory         {bytes:.0} bytes for each viewer")?;
        }
        Ok(())
    }
}
