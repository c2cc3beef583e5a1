//! The four shapes of operator that the graph is made of, so that each of ours
//! is a plain struct and a closure of a few lines.
//!
//! ```text
//! intake ──► source ──► keyed ──► offload ──► keyed ──► sink ──► edge
//!                                  │   ▲
//!                     work outside ▼   │ returns (another intake)
//! ```
//!
//! All meter themselves, name the stream they work on (see
//! [`working_on`]), and yield after a bounded amount of work.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use records::StreamId;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::source as timely_source;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

use crate::{
    EPOCH, EdgeMeter, Epoch, Generation, Handover, Intake, OfStream, Retained, Waker, working_on,
};

/// Bytes an activation of a source reads at most, then it yields.
pub const FUEL_BYTES: usize = 1 << 20;

/// While records keep coming, a source looks once per this time rather than
/// once per record: a hundred streams then cost 170 activations a second
/// instead of 7,000, for at most this much more latency.
pub const PACE: Duration = Duration::from_millis(6);

/// A timer of one operator that is set at most once at a time: each activation
/// that set another would bring one more, for ever.
struct Alarm {
    activator: Activator,
    due: Option<Instant>,
}

impl Alarm {
    fn new(activator: Activator) -> Self {
        Self { activator, due: None }
    }

    /// Activates the operator again at once, after yielding.
    fn now(&self) {
        self.activator.activate();
    }

    /// Activates the operator `delay` from `now`, if nothing does so before.
    fn within(&mut self, now: Instant, delay: Duration) {
        let wanted = now + delay;
        if self.due.is_some_and(|due| due > now && due <= wanted) {
            return;
        }
        self.due = Some(wanted);
        self.activator.activate_after(delay);
    }
}

/// When sources may read.
#[derive(Clone)]
pub struct Credit {
    /// Every queue out of the data plane.
    pub edges: Vec<Arc<EdgeMeter>>,
    /// Epochs that the end of the graph may be behind the clock.
    pub lag_epochs_max: u64,
}

impl Credit {
    /// Whether a source may read on, given how far the end of the graph got.
    #[must_use]
    pub fn may_read(&self, now: Epoch, done: &ProbeHandle<Epoch>) -> bool {
        self.edges.iter().all(|edge| edge.has_room())
            && !done.less_than(&now.saturating_sub(self.lag_epochs_max))
    }
}

/// The first epoch of a frontier; none if it is empty.
#[must_use]
pub fn lower(frontier: &MutableAntichain<Epoch>) -> Option<Epoch> {
    frontier.frontier().iter().next().copied()
}

/// A way into one worker's dataflow.
pub struct Inlet<T> {
    /// What is read.
    pub intake: Intake<T>,
    /// Woken when there is something to read.
    pub waker: Arc<Waker>,
    /// When it may be read.
    pub credit: Credit,
}

/// Reads this worker's share of an intake, stamped with the current epoch.
/// `done` tells how far the end of the graph got.
pub fn source<'s, T: Retained>(
    scope: Scope<'s, Epoch>,
    name: &'static str,
    inlet: Inlet<T>,
    generation: &Arc<Generation>,
    done: &ProbeHandle<Epoch>,
) -> StreamVec<'s, Epoch, T> {
    let worker = scope.worker().index();
    let Inlet { intake, waker, credit } = inlet;
    let (generation, done) = (Arc::clone(generation), done.clone());
    timely_source::<_, CapacityContainerBuilder<Vec<T>>, _, _>(scope, name, move |cap, info| {
        waker.bind(scope.worker().sync_activator_for(info.address.to_vec()));
        let mut alarm = Alarm::new(scope.activator_for(info.address.clone()));
        let meter = generation.meters.operator(name, worker);
        let mut cap = Some(cap);
        move |out| {
            let since = Instant::now();
            let Some(held) = cap.as_mut() else { return };
            let now = generation.clock.tick();
            if *held.time() < now {
                held.downgrade(&now);
            }
            if generation.is_draining() {
                meter.progress(None, None);
                cap = None;
                return;
            }
            let mut count = 0;
            let mut more = false;
            if credit.may_read(now, &done) {
                let mut session = out.session(&*held);
                more = intake.read(worker, &generation.table, FUEL_BYTES, |record| {
                    count += 1;
                    session.give(record);
                });
            }
            meter.activation(since, count, count);
            meter.progress(Some(now), Some(*held.time()));
            if more {
                alarm.now();
            } else if count > 0 {
                // Still armed: records that come meanwhile wait for the pace.
                alarm.within(since, PACE);
            } else {
                waker.disarm();
                // What came between the read and the disarm found the waker
                // armed and didn't wake: look once more at the next turn.
                if intake.unread_bytes() > 0 {
                    alarm.within(since, PACE);
                } else {
                    alarm.within(since, EPOCH);
                }
            }
        }
    })
}

/// An operator with a state per stream, which is handed over when its input ends.
///
/// `logic(states, record, out)` processes one record. A stream is over when
/// `logic` removes its state.
pub fn keyed<'s, A, B, S, P, L>(
    input: StreamVec<'s, Epoch, A>,
    pact: P,
    name: &'static str,
    generation: &Arc<Generation>,
    handover: Arc<Handover<S>>,
    mut logic: L,
) -> StreamVec<'s, Epoch, B>
where
    A: OfStream + 'static,
    B: Clone + 'static,
    S: 'static,
    P: ParallelizationContract<Epoch, Vec<A>>,
    L: FnMut(&mut HashMap<StreamId, S>, A, &mut Vec<B>) + 'static,
{
    let worker = input.scope().worker().index();
    input.unary_frontier::<CapacityContainerBuilder<Vec<B>>, _, _, _>(pact, name, |_cap, _info| {
        let table = generation.table.clone();
        let mut states = handover.take(|shard| table.worker(shard) == worker);
        let meter = generation.meters.operator(name, worker);
        let mut out = Vec::new();
        move |(input, frontier), output| {
            let since = Instant::now();
            let (mut taken, mut given) = (0, 0);
            input.for_each(|time, batch| {
                taken += batch.len();
                for record in batch.drain(..) {
                    working_on(record.stream(), name);
                    logic(&mut states, record, &mut out);
                }
                given += out.len();
                output.session(&time).give_iterator(out.drain(..));
            });
            meter.activation(since, taken, given);
            let lower = lower(frontier);
            meter.progress(lower, None);
            if lower.is_none() {
                handover.give(states.drain());
            }
        }
    })
}

/// An operator whose work is done outside the data plane.
///
/// Its output is stamped with the current epoch rather than its input's (there
/// is no input→output summary), so one stuck job can't hold the frontier of
/// everybody else. `submit` hands a record out and may pass records on at
/// once; results come back through `returns`.
pub fn offload<'s, A, B, T>(
    input: StreamVec<'s, Epoch, A>,
    name: &'static str,
    returns: Inlet<T>,
    generation: &Arc<Generation>,
    done: &ProbeHandle<Epoch>,
    mut submit: impl FnMut(A, &mut Vec<B>) + 'static,
) -> StreamVec<'s, Epoch, B>
where
    A: OfStream + 'static,
    B: From<T> + Clone + 'static,
    T: Retained,
{
    let Inlet { intake, waker, credit } = returns;
    let (generation, done) = (Arc::clone(generation), done.clone());
    let scope = input.scope();
    let worker = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    waker.bind(scope.worker().sync_activator_for(address.to_vec()));
    let mut alarm = Alarm::new(scope.activator_for(address));
    let mut input = builder.new_input(input, Pipeline);
    let (output, stream) = builder.new_output_connection::<Vec<B>, _>([]);
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<B>>>::from(output);
    let meter = generation.meters.operator(name, worker);
    builder.build_reschedule(move |mut capabilities| {
        let mut cap = capabilities.pop();
        let mut out = Vec::new();
        move |frontiers| {
            let since = Instant::now();
            let Some(held) = cap.as_mut() else { return false };
            let now = generation.clock.now().max(*held.time());
            held.downgrade(&now);
            let mut taken = 0;
            input.for_each(|_time, batch| {
                taken += batch.len();
                for record in batch.drain(..) {
                    working_on(record.stream(), name);
                    submit(record, &mut out);
                }
            });
            waker.disarm();
            let mut more = false;
            if !generation.is_draining() && credit.may_read(now, &done) {
                more = intake.read(worker, &generation.table, FUEL_BYTES, |result| {
                    taken += 1;
                    working_on(result.stream(), name);
                    out.push(result.into());
                });
            }
            let given = out.len();
            output.activate().session(&*held).give_iterator(out.drain(..));
            meter.activation(since, taken, given);
            let lower = lower(&frontiers[0]);
            meter.progress(lower, Some(now));
            if lower.is_none() {
                // What hasn't come back yet stays in the intake for the next generation.
                cap = None;
                return false;
            }
            if more {
                alarm.now();
            } else {
                alarm.within(since, EPOCH);
            }
            true
        }
    });
    stream
}

/// An operator that hands every batch to `deliver`, which may not wait.
pub fn sink<'s, A>(
    input: StreamVec<'s, Epoch, A>,
    name: &'static str,
    generation: &Generation,
    mut deliver: impl FnMut(&mut Vec<A>) + 'static,
) where
    A: 'static,
{
    let worker = input.scope().worker().index();
    let meter = generation.meters.operator(name, worker);
    let mut batch = Vec::new();
    input.sink(Pipeline, name, move |(input, frontier)| {
        let since = Instant::now();
        input.for_each(|_time, records| batch.append(records));
        let count = batch.len();
        if count > 0 {
            deliver(&mut batch);
            batch.clear();
        }
        meter.activation(since, count, count);
        meter.progress(lower(frontier), None);
    });
}
