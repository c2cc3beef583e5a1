//! Generations: a fixed number of workers and a fixed set of dataflows, ended
//! and replaced as a whole.
//!
//! ```text
//! scale N ─────┐                    ┌─ drain: inputs end, state is handed over
//! stop ────────┼─► supervisor ──────┤
//! panic of a ──┘   (one thread)     └─ abort: dataflows dropped, Graph::recover
//! worker                                      then the next generation starts
//! ```
//!
//! Enters: commands, and workers' exits. Leaves: generations. Held: the
//! running generation's threads. A planned end lets every record in flight
//! finish; an unplanned one drops them, and the graph replays from what its
//! intakes retained. Never done here: anything about media.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use records::StreamId;
use serde::Serialize;
use timely::WorkerConfig;
use timely::communication::WorkerGuards;
use timely::worker::Worker;

use crate::{Clock, EPOCH, LANES, Meters, ShardTable, Waker};

/// How long the supervisor rests after several unplanned ends in a row, so
/// that a fault that hits every generation doesn't burn the machine.
const UNPLANNED_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What a generation runs. Outlives all of them.
pub trait Graph: Send + Sync + 'static {
    /// Before the workers start: tie the intakes to the generation's wakers.
    fn begin(&self, generation: &Generation);
    /// On each worker: add every dataflow.
    fn build(&self, worker: &mut Worker, generation: &Arc<Generation>);
    /// After the last worker ended, planned or not: no worker reads any more.
    fn end(&self);
    /// After an unplanned end: go back to the last checkpoints. `culprit` is
    /// the stream whose record was being processed, if that is known.
    fn recover(&self, culprit: Option<Culprit>);
}

/// The record that a panicking operator was working on.
#[derive(Clone, Copy, Debug)]
pub struct Culprit {
    /// Its stream.
    pub stream: StreamId,
    /// The operator.
    pub operator: &'static str,
}

thread_local! {
    static WORKING_ON: Cell<Option<Culprit>> = const { Cell::new(None) };
}

/// Notes what this worker is about to process, so that a panic can be blamed.
#[inline]
pub fn working_on(stream: StreamId, operator: &'static str) {
    WORKING_ON.set(Some(Culprit { stream, operator }));
}

/// One generation, as its workers see it.
pub struct Generation {
    /// 1, 2, 3 … since the process started.
    pub number: u64,
    /// Which worker runs which shard.
    pub table: ShardTable,
    /// The epoch clock.
    pub clock: Clock,
    /// The operators' counters.
    pub meters: Meters,
    draining: AtomicBool,
    aborting: AtomicBool,
    // Workers that have built their dataflows.
    ready: AtomicUsize,
    wakers: Mutex<Vec<Arc<Waker>>>,
}

impl Generation {
    /// Whether sources should end their input.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// One new waker per worker, woken also when the generation ends.
    #[must_use]
    pub fn wakers(&self) -> Vec<Arc<Waker>> {
        let new: Vec<_> = (0..self.table.workers()).map(|_| Arc::default()).collect();
        self.wakers.lock().extend(new.iter().cloned());
        new
    }

    fn wake_all(&self) {
        for waker in self.wakers.lock().iter() {
            waker.wake();
        }
    }
}

/// What a change of the worker count did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rescaled {
    /// The generation that runs now.
    pub generation: u64,
    /// Its workers; 0: the data plane is stopped.
    pub workers: usize,
    /// From the old generation's last read to the new one's first, in milliseconds.
    pub pause_ms: f64,
}

/// Why a rescale was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// The worker count is out of range.
    #[error("{0} workers asked for, but a generation has 0 (stopped) to {LANES}")]
    OutOfRange(usize),
    /// The engine has been shut down.
    #[error("the data plane is shutting down")]
    ShuttingDown,
}

/// The data plane's present state.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EngineStatus {
    /// The running generation, or the last one if the data plane is stopped.
    pub generation: u64,
    /// Its workers; 0: stopped.
    pub workers: usize,
    /// Generations that ended by a panic since the process started.
    pub unplanned_ends: u64,
}

enum Command {
    Scale { workers: usize, reply: SyncSender<Rescaled> },
    WorkerExited { generation: u64, panicked: bool, culprit: Option<Culprit> },
    Stop,
}

#[derive(Default)]
struct Status {
    generation: AtomicU64,
    workers: AtomicUsize,
    unplanned_ends: AtomicU64,
}

/// Runs generations of one graph until it is stopped.
pub struct Engine {
    commands: SyncSender<Command>,
    status: Arc<Status>,
    clock: Clock,
    meters: Meters,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts generation 1 with `workers` (0: stopped until the first scale);
    /// blocks until it reads (some milliseconds).
    ///
    /// # Errors
    /// [`ScaleError::OutOfRange`] above [`LANES`] workers.
    pub fn start(graph: Arc<dyn Graph>, workers: usize, clock: Clock) -> Result<Self, ScaleError> {
        check_range(workers)?;
        // Deep enough for every worker's exit at once, so that none ever waits.
        let (commands, inbox) = sync_channel(4 * usize::from(LANES));
        let (status, meters) = (Arc::new(Status::default()), Meters::default());
        let mut supervisor = Supervisor {
            graph,
            commands: commands.clone(),
            clock: clock.clone(),
            meters: meters.clone(),
            status: Arc::clone(&status),
            running: None,
            unplanned_in_a_row: 0,
        };
        let (begun, begins) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || {
                supervisor.begin(workers);
                drop(begun);
                supervisor.run(&inbox);
            })
            .map_err(|_| ScaleError::ShuttingDown)?;
        // Whoever asks next sees a data plane that runs.
        let _ = begins.recv();
        Ok(Self { commands, status, clock, meters, supervisor: Mutex::new(Some(thread)) })
    }

    /// Ends the running generation and starts one with `workers`; blocks
    /// until the new one reads (some milliseconds). 0 stops the data plane.
    ///
    /// # Errors
    /// [`ScaleError`]; the running generation then goes on.
    pub fn scale(&self, workers: usize) -> Result<Rescaled, ScaleError> {
        check_range(workers)?;
        let (reply, done) = sync_channel(1);
        self.commands
            .send(Command::Scale { workers, reply })
            .map_err(|_| ScaleError::ShuttingDown)?;
        done.recv().map_err(|_| ScaleError::ShuttingDown)
    }

    /// The present state.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        EngineStatus {
            generation: self.status.generation.load(Ordering::Acquire),
            workers: self.status.workers.load(Ordering::Acquire),
            unplanned_ends: self.status.unplanned_ends.load(Ordering::Acquire),
        }
    }

    /// The epoch clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The operators' counters.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Lets everything in flight finish, then ends. Blocks until then.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.supervisor.lock().take() {
            let _ = thread.join();
        }
    }
}

fn check_range(workers: usize) -> Result<(), ScaleError> {
    if workers > usize::from(LANES) { Err(ScaleError::OutOfRange(workers)) } else { Ok(()) }
}

struct Running {
    generation: Arc<Generation>,
    guards: WorkerGuards<()>,
}

struct Supervisor {
    graph: Arc<dyn Graph>,
    commands: SyncSender<Command>,
    clock: Clock,
    meters: Meters,
    status: Arc<Status>,
    running: Option<Running>,
    unplanned_in_a_row: u32,
}

impl Supervisor {
    fn run(&mut self, inbox: &Receiver<Command>) {
        loop {
            match inbox.recv_timeout(EPOCH) {
                Ok(Command::Scale { workers, reply }) => {
                    let since = Instant::now();
                    self.end_planned();
                    self.begin(workers);
                    let rescaled = Rescaled {
                        generation: self.status.generation.load(Ordering::Acquire),
                        workers,
                        pause_ms: since.elapsed().as_secs_f64() * 1000.0,
                    };
                    tracing::info!(
                        generation = rescaled.generation,
                        workers,
                        pause_ms = rescaled.pause_ms,
                        "rescaled"
                    );
                    let _ = reply.send(rescaled);
                }
                Ok(Command::WorkerExited { generation, panicked: true, culprit }) => {
                    let is_running =
                        self.running.as_ref().is_some_and(|r| r.generation.number == generation);
                    if is_running {
                        self.replace_broken(culprit);
                    }
                }
                Ok(Command::WorkerExited { .. }) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.unplanned_in_a_row = self.unplanned_in_a_row.saturating_sub(1);
                }
            }
            self.clock.tick();
        }
        self.end_planned();
    }

    fn begin(&mut self, workers: usize) {
        self.clock.tick();
        self.status.workers.store(workers, Ordering::Release);
        if workers == 0 {
            return;
        }
        let number = self.status.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let generation = Arc::new(Generation {
            number,
            table: ShardTable::even(workers),
            clock: self.clock.clone(),
            meters: self.meters.clone(),
            draining: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            wakers: Mutex::default(),
        });
        self.graph.begin(&generation);
        let (graph, shared, exits) =
            (Arc::clone(&self.graph), Arc::clone(&generation), self.commands.clone());
        let config = timely::Config {
            communication: if workers == 1 {
                timely::CommunicationConfig::Thread
            } else {
                timely::CommunicationConfig::Process(workers)
            },
            worker: WorkerConfig::default(),
        };
        let guards = timely::execute(config, move |worker| {
            let _exit = ExitNotice { generation: shared.number, exits: exits.clone() };
            run_worker(worker, &*graph, &shared);
        });
        match guards {
            Ok(guards) => {
                while generation.ready.load(Ordering::Acquire) < workers
                    && !guards.guards().iter().any(JoinHandle::is_finished)
                {
                    std::thread::yield_now();
                }
                self.running = Some(Running { generation, guards });
            }
            // Threads couldn't be made: stay stopped, say so, let the operator try again.
            Err(error) => {
                tracing::error!(%error, workers, "generation could not start; data plane stopped");
                self.status.workers.store(0, Ordering::Release);
                self.graph.end();
            }
        }
    }

    fn end_planned(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.generation.draining.store(true, Ordering::Release);
        running.generation.wake_all();
        let outcome = join(running.guards);
        self.graph.end();
        self.meters.close();
        if let Err(panics) = outcome {
            // It broke while draining: its exit notice carries a culprit that
            // arrives too late to matter, so recover without one.
            tracing::error!(panics, "generation broke while it ended");
            self.status.unplanned_ends.fetch_add(1, Ordering::AcqRel);
            self.graph.recover(None);
        }
    }

    fn replace_broken(&mut self, culprit: Option<Culprit>) {
        let Some(running) = self.running.take() else { return };
        let workers = running.generation.table.workers();
        running.generation.aborting.store(true, Ordering::Release);
        running.generation.wake_all();
        let _ = join(running.guards);
        self.graph.end();
        self.meters.close();
        self.status.unplanned_ends.fetch_add(1, Ordering::AcqRel);
        tracing::error!(
            generation = running.generation.number,
            stream = ?culprit.map(|c| c.stream),
            operator = culprit.map(|c| c.operator),
            "an operator panicked; its generation is replaced"
        );
        self.graph.recover(culprit);
        self.unplanned_in_a_row += 1;
        if self.unplanned_in_a_row > 8 {
            let pause = Duration::from_millis(50 * u64::from(self.unplanned_in_a_row));
            std::thread::sleep(pause.min(UNPLANNED_PAUSE_MAX));
        }
        self.begin(workers);
    }
}

/// Joins every worker; the number of those that panicked if any did.
fn join(guards: WorkerGuards<()>) -> Result<(), usize> {
    let panics = guards.join().iter().filter(|outcome| outcome.is_err()).count();
    if panics == 0 { Ok(()) } else { Err(panics) }
}

fn run_worker(worker: &mut Worker, graph: &dyn Graph, generation: &Arc<Generation>) {
    graph.build(worker, generation);
    generation.ready.fetch_add(1, Ordering::AcqRel);
    while worker.has_dataflows() {
        if generation.aborting.load(Ordering::Acquire) {
            for dataflow in worker.installed_dataflows() {
                // An operator's destructor may panic too; the generation is over either way.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    worker.drop_dataflow(dataflow);
                }));
            }
            return;
        }
        worker.step_or_park(Some(EPOCH));
    }
}

/// Tells the supervisor that a worker's thread is over, also by a panic.
struct ExitNotice {
    generation: u64,
    exits: SyncSender<Command>,
}

impl Drop for ExitNotice {
    fn drop(&mut self) {
        let _ = self.exits.try_send(Command::WorkerExited {
            generation: self.generation,
            panicked: std::thread::panicking(),
            culprit: WORKING_ON.take(),
        });
    }
}
