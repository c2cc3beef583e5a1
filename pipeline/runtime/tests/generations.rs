//! A counting graph through every way in which a generation can end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use records::{FaultSite, Packet, PacketBody, StreamId};
use runtime::{
    Clock, Credit, Culprit, Edge, EdgeReceiver, Engine, Generation, Graph, Handover, Inlet, Intake,
    IntakeLimits, edge, keyed, sink, source,
};
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Probe;
use timely::worker::Worker;

/// Counts each stream's packets; checkpoints every count, so replays are short.
struct Counting {
    packets: Intake<Packet>,
    counts: Arc<Handover<u64>>,
    out: Edge<(StreamId, u64)>,
    // Stream → packets that took effect. What a recovery goes back to.
    pinned: Arc<Mutex<HashMap<StreamId, u64>>>,
    culprits: Mutex<Vec<Culprit>>,
    wakers: Mutex<Vec<Arc<runtime::Waker>>>,
}

impl Graph for Counting {
    fn begin(&self, generation: &Generation) {
        let wakers = generation.wakers();
        self.packets.bind(wakers.clone(), &generation.table);
        *self.wakers.lock() = wakers;
    }

    fn build(&self, worker: &mut Worker, generation: &Arc<Generation>) {
        let waker = Arc::clone(&self.wakers.lock()[worker.index()]);
        worker.dataflow(|scope| {
            let done = ProbeHandle::new();
            let credit = Credit { edges: vec![self.out.meter()], lag_epochs_max: 20 };
            let inlet = Inlet { intake: self.packets.clone(), waker, credit };
            let packets = source(scope, "source", inlet, generation, &done);
            let table = generation.table.clone();
            let by_stream = Exchange::new(move |p: &Packet| table.worker(p.stream.shard()) as u64);
            let counted = keyed(
                packets,
                by_stream,
                "count",
                generation,
                Arc::clone(&self.counts),
                |states, packet, out| {
                    if let PacketBody::Fault(site) = &packet.body {
                        site.trip("count");
                    }
                    let count = states.entry(packet.stream).or_default();
                    assert_eq!(*count, packet.offset, "lost or doubled");
                    *count += 1;
                    out.push((packet.stream, *count));
                },
            );
            let (out, pinned, intake) =
                (self.out.clone(), Arc::clone(&self.pinned), self.packets.clone());
            let counted = counted.probe_with(&done);
            sink(counted, "pin", generation, move |batch| {
                for (stream, count) in batch.iter() {
                    pinned.lock().insert(*stream, *count);
                    intake.ack(*stream, *count);
                }
                out.push(&mut batch.drain(..).map(|r| (16, r)).collect());
            });
        });
    }

    fn end(&self) {
        self.packets.unbind();
    }

    fn recover(&self, culprit: Option<Culprit>) {
        self.culprits.lock().extend(culprit);
        let pinned = self.pinned.lock().clone();
        self.packets.rewind(|stream| pinned.get(&stream).copied().unwrap_or(0));
        self.counts.clear();
        self.counts.give(pinned);
    }
}

fn start(workers: usize) -> (Engine, Arc<Counting>, EdgeReceiver<(StreamId, u64)>) {
    let limits = IntakeLimits { unread_bytes_max: 1 << 20, retained_bytes_max: 1 << 20 };
    let (out, results) = edge("results", 64 << 20);
    let graph = Arc::new(Counting {
        packets: Intake::new("packets", limits),
        counts: Arc::default(),
        out,
        pinned: Arc::default(),
        culprits: Mutex::default(),
        wakers: Mutex::default(),
    });
    let engine = Engine::start(graph.clone(), workers, Clock::start()).expect("it starts");
    (engine, graph, results)
}

fn packet(stream: StreamId, body: PacketBody) -> Packet {
    Packet { stream, offset: 0, arrival_us: 0, body }
}

/// Waits for a condition of other threads; fails rather than hangs.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within 30 s");
        std::thread::yield_now();
    }
}

#[test]
fn rescaling_under_load_loses_and_doubles_nothing() {
    let (engine, graph, results) = start(1);
    let streams: Vec<_> = (0..50).map(|_| StreamId::generate()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (graph, streams, stop) = (Arc::clone(&graph), streams.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut rounds = 0;
            while !stop.load(Ordering::Acquire) {
                for stream in &streams {
                    graph
                        .packets
                        .writer(*stream)
                        .push_now(packet(*stream, PacketBody::Idle))
                        .unwrap();
                }
                rounds += 1;
                std::thread::yield_now();
            }
            rounds
        })
    };
    for workers in [2, 4, 3, 1, 0, 2, 8, 1] {
        assert_eq!(engine.scale(workers).unwrap().workers, workers);
    }
    stop.store(true, Ordering::Release);
    let rounds: u64 = publisher.join().unwrap();
    engine.stop();

    let mut seen = Vec::new();
    results.try_recv(&mut seen);
    let written = graph.packets.written_total();
    assert_eq!(written, rounds * 50);
    let in_state: u64 = graph.counts.take(|_| true).values().sum();
    assert_eq!(in_state + graph.packets.unread_bytes() as u64 / 96, written);
    assert_eq!(seen.len() as u64, in_state);
    for stream in streams {
        let counts: Vec<_> = seen.iter().filter(|(s, _)| *s == stream).map(|(_, c)| *c).collect();
        assert!(counts.iter().copied().eq(1..=counts.len() as u64), "order kept");
    }
}

#[test]
fn a_started_engine_has_its_workers() {
    let (engine, ..) = start(3);
    assert_eq!((engine.status().generation, engine.status().workers), (1, 3));
    engine.stop();
}

#[test]
fn a_stopped_data_plane_reads_nothing_until_it_is_scaled_up() {
    let (engine, graph, results) = start(1);
    engine.scale(0).unwrap();
    let stream = StreamId::generate();
    graph.packets.writer(stream).push_now(packet(stream, PacketBody::Idle)).unwrap();
    let mut seen = Vec::new();
    assert_eq!(results.try_recv(&mut seen), 0);
    engine.scale(2).unwrap();
    eventually("the record", || results.try_recv(&mut seen) > 0);
    assert_eq!(seen, [(stream, 1)]);
    assert!(engine.scale(65).is_err());
    engine.stop();
}

#[test]
fn a_panic_ends_the_generation_and_replays_what_was_not_pinned() {
    let (engine, graph, results) = start(2);
    let faulty = StreamId::generate();
    let healthy: Vec<_> = (0..20).map(|_| StreamId::generate()).collect();
    let site = FaultSite { operator: "count".into(), times_left: Arc::new(2.into()) };
    for round in 0..100 {
        for stream in &healthy {
            graph.packets.writer(*stream).push_now(packet(*stream, PacketBody::Idle)).unwrap();
        }
        if round == 50 {
            let fault = PacketBody::Fault(site.clone());
            graph.packets.writer(faulty).push_now(packet(faulty, fault)).unwrap();
        }
    }
    let pinned = |stream: &StreamId| graph.pinned.lock().get(stream).copied().unwrap_or(0);
    eventually("the healthy streams' end", || healthy.iter().all(|s| pinned(s) == 100));
    eventually("the third try", || pinned(&faulty) == 1);
    assert_eq!(engine.status().unplanned_ends, 2);
    assert!(graph.culprits.lock().iter().all(|c| c.stream == faulty && c.operator == "count"));
    assert_eq!(graph.culprits.lock().len(), 2);
    engine.stop();
    drop(results);
}
