//! THE dataflows: what every packet and every word goes through, on one screen.
//!
//! ```text
//!              by stream                      encoders (I/O plane)
//!                  │                            ▲      │ encoded frames
//! packets ─► source ─► demux ─┬─► transcode ────┘ ◄────┘
//!                             │       └─► segment ─┬─► hls      parts, to viewers
//!                             └─► health           └─► archive  segment files, write once
//!
//! what is said ─► said ─► moderate ─► chat      verdicts, to the desk (log, viewers)
//! ```
//!
//! Enters: packets (retained until a checkpoint covers them), and what is said
//! (until its verdict is out). Leaves: parts, segments, health records and
//! verdicts, through bounded edges. Held: one demuxer, one segmenter and one
//! room per stream, on the worker that its shard is placed on. Ends
//! with its generation; state goes to the next one (see [`crate::dataflow`]).
//! Never done here: I/O, waiting, looking at a clock.

use std::sync::Arc;

use operators::demux::Demuxed;
use records::Packet;
use runtime::{Generation, keyed, offload, sink, source};
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::{OkErr, Probe};
use timely::worker::Worker;

use crate::chat::{ChatPlane, Spoken};
use crate::dataflow::MediaPlane;

/// Adds the media dataflow to one worker.
pub fn media(worker: &mut Worker, generation: &Arc<Generation>, plane: &MediaPlane) {
    let me = worker.index();
    worker.dataflow_named("media", |scope| {
        let done = ProbeHandle::new();
        let table = generation.table.clone();
        let by_stream = Exchange::new(move |p: &Packet| table.worker(p.stream.shard()) as u64);

        let packets = source(scope, "source", plane.packets_inlet(me), generation, &done);
        let demuxed =
            keyed(packets, by_stream, "demux", generation, plane.demuxers(), plane.demux());
        let (frames, health) = demuxed.ok_err(|demuxed| match demuxed {
            Demuxed::Frame(frame) => Ok(frame),
            Demuxed::Health(health) => Err(health),
        });
        sink(health, "health", generation, plane.deliver_health());

        let encoded = plane.encoded_inlet(me);
        let routed = offload(frames, "transcode", encoded, generation, &done, plane.transcode());
        let media =
            keyed(routed, Pipeline, "segment", generation, plane.segmenters(), plane.segment());
        let media = media.probe_with(&done);
        sink(media.clone(), "hls", generation, plane.deliver_hls());
        sink(media, "archive", generation, plane.deliver_archive());
    });
}

/// Adds the chat dataflow to one worker.
pub fn chat(worker: &mut Worker, generation: &Arc<Generation>, plane: &ChatPlane) {
    let me = worker.index();
    worker.dataflow_named("chat", |scope| {
        let done = ProbeHandle::new();
        let table = generation.table.clone();
        let by_room = Exchange::new(move |s: &Spoken| table.worker(s.stream.shard()) as u64);

        let said = source(scope, "said", plane.inlet(me), generation, &done);
        let verdicts =
            keyed(said, by_room, "moderate", generation, plane.seats(), plane.moderate());
        sink(verdicts.probe_with(&done), "chat", generation, plane.deliver());
    });
}
