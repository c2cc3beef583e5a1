//! The media dataflow's surroundings: what outlives a generation.
//!
//! Enters: packets through [`MediaPlane::packets`], encoded frames through
//! [`MediaPlane::encoded`]. Leaves: media and health records through edges.
//! Held: between generations, one demuxer and one segmenter per stream (handed
//! over, or restored from its last [`Checkpoint`]); always, the encoders and
//! what the intakes retain. A stream ends with its `End`, or quarantined after
//! its records brought a generation down twice.

mod checkpoint;
mod quarantine;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;

use operators::demux::{DemuxConfig, Demuxed, Demuxer, Resume};
use operators::segment::{SegmentConfig, Segmenter};
use operators::transcode::Pool;
use parking_lot::Mutex;
use records::{Frame, FrameBody, Health, Media, MediaBody, Packet, PacketBody, StreamId};
use runtime::{
    Credit, Culprit, Edge, Generation, Handover, Inlet, Intake, OfStream, Waker, working_on,
};

pub use checkpoint::{Checkpoint, Checkpoints};
pub use quarantine::{Quarantine, Quarantined, Strikes};
pub use whole::Planes;

/// A frame on its way to the segmenter, and which intake it came from.
#[derive(Clone)]
pub struct Routed {
    /// The frame.
    pub frame: Frame,
    /// Whether an encoder made it: its offset then belongs to the encoders' intake.
    pub is_encoded: bool,
}

impl From<Frame> for Routed {
    /// A frame that came back from the encoders.
    fn from(frame: Frame) -> Self {
        Self { frame, is_encoded: true }
    }
}

impl OfStream for Routed {
    fn stream(&self) -> StreamId {
        self.frame.stream
    }
}

/// What the segmenter hands to the sinks.
#[derive(Clone)]
pub enum Step {
    /// Something for viewers and the archive.
    Media(Media),
    /// All media before it in the stream followed from the packets that it covers.
    Checkpoint(Arc<Checkpoint>),
}

/// A stream's segmenter and how far it has read the encoders' intake.
#[derive(Clone)]
pub struct Segmenting {
    segmenter: Segmenter,
    encoded_next: u64,
}

/// Settings of the operators.
#[derive(Clone)]
pub struct PlaneConfig {
    /// How packets become frames.
    pub demux: Arc<DemuxConfig>,
    /// How frames become parts.
    pub segment: Arc<SegmentConfig>,
    /// Epochs that the end of the graph may be behind before sources pause.
    pub lag_epochs_max: u64,
}

/// Everything of the media dataflow that outlives a generation.
pub struct MediaPlane {
    /// From publishers.
    pub packets: Intake<Packet>,
    /// From encoders.
    pub encoded: Intake<Frame>,
    config: PlaneConfig,
    encoders: Pool,
    hls: Edge<Media>,
    archive: Edge<Media>,
    health: Edge<Health>,
    demuxers: Arc<Handover<Demuxer>>,
    segmenters: Arc<Handover<Segmenting>>,
    checkpoints: Arc<Checkpoints>,
    // Where streams of an earlier process go on; until their first checkpoint.
    resumes: Arc<Mutex<HashMap<StreamId, Resume>>>,
    quarantine: Quarantine,
    // Of the running generation, by worker: packets', encoded frames'.
    wakers: Mutex<[Vec<Arc<Waker>>; 2]>,
}

/// The I/O plane's ends that [`MediaPlane::new`] is given.
pub struct Edges {
    /// To the viewers' window.
    pub hls: Edge<Media>,
    /// To segment files.
    pub archive: Edge<Media>,
    /// To the health API.
    pub health: Edge<Health>,
}

impl MediaPlane {
    /// A plane without streams.
    #[must_use]
    pub fn new(
        config: PlaneConfig,
        packets: Intake<Packet>,
        encoded: Intake<Frame>,
        encoders: Pool,
        edges: Edges,
        quarantine: Quarantine,
    ) -> Self {
        let Edges { hls, archive, health } = edges;
        Self {
            checkpoints: Arc::new(Checkpoints::new(packets.clone(), encoded.clone())),
            packets,
            encoded,
            config,
            encoders,
            hls,
            archive,
            health,
            demuxers: Arc::default(),
            segmenters: Arc::default(),
            resumes: Arc::default(),
            quarantine,
            wakers: Mutex::default(),
        }
    }

    /// Tells where `stream` goes on, before its first packet of this process.
    pub fn resume(&self, stream: StreamId, resume: Resume) {
        self.resumes.lock().insert(stream, resume);
    }

    /// Frees what a finished stream held here.
    pub fn forget(&self, stream: StreamId) {
        self.resumes.lock().remove(&stream);
        self.encoders.forget(stream);
    }

    /// When sources may read.
    #[must_use]
    pub fn credit(&self) -> Credit {
        Credit {
            edges: vec![self.hls.meter(), self.archive.meter(), self.health.meter()],
            lag_epochs_max: self.config.lag_epochs_max,
        }
    }

    /// Publishers' packets, for one worker.
    pub(crate) fn packets_inlet(&self, worker: usize) -> Inlet<Packet> {
        let waker = Arc::clone(&self.wakers.lock()[0][worker]);
        Inlet { intake: self.packets.clone(), waker, credit: self.credit() }
    }

    /// Encoders' frames, for one worker.
    pub(crate) fn encoded_inlet(&self, worker: usize) -> Inlet<Frame> {
        let waker = Arc::clone(&self.wakers.lock()[1][worker]);
        Inlet { intake: self.encoded.clone(), waker, credit: self.credit() }
    }

    pub(crate) fn demuxers(&self) -> Arc<Handover<Demuxer>> {
        Arc::clone(&self.demuxers)
    }

    pub(crate) fn segmenters(&self) -> Arc<Handover<Segmenting>> {
        Arc::clone(&self.segmenters)
    }

    /// `demux`: packets to frames and health.
    pub(crate) fn demux(
        &self,
    ) -> impl FnMut(&mut HashMap<StreamId, Demuxer>, Packet, &mut Vec<Demuxed>) + 'static {
        let (config, resumes) = (Arc::clone(&self.config.demux), Arc::clone(&self.resumes));
        move |demuxers, packet, out| {
            let stream = packet.stream;
            let is_over = matches!(packet.body, PacketBody::End);
            demuxers
                .entry(stream)
                .or_insert_with(|| {
                    let resume = resumes.lock().get(&stream).cloned();
                    Demuxer::new(stream, Arc::clone(&config), resume)
                })
                .push(packet, out);
            if is_over {
                demuxers.remove(&stream);
            }
        }
    }

    /// `transcode`: direct frames out to the encoders and on to the segmenter.
    pub(crate) fn transcode(&self) -> impl FnMut(Frame, &mut Vec<Routed>) + 'static {
        let (encoders, mut passed) = (self.encoders.clone(), Vec::new());
        move |frame, out| {
            encoders.offer(frame, &mut passed);
            out.extend(passed.drain(..).map(|frame| Routed { frame, is_encoded: false }));
        }
    }

    /// `segment`: frames to parts, segments and checkpoints.
    pub(crate) fn segment(
        &self,
    ) -> impl FnMut(&mut HashMap<StreamId, Segmenting>, Routed, &mut Vec<Step>) + 'static {
        let (config, mut made) = (Arc::clone(&self.config.segment), Vec::new());
        move |states, Routed { frame, is_encoded }, out| {
            let (stream, offset) = (frame.stream, frame.offset);
            if is_encoded && !states.contains_key(&stream) {
                return; // A straggler of a stream that is over.
            }
            let state = states.entry(stream).or_insert_with(|| Segmenting {
                segmenter: Segmenter::new(stream, Arc::clone(&config)),
                encoded_next: 0,
            });
            if is_encoded {
                state.encoded_next = offset + 1;
            }
            if let FrameBody::Checkpoint(demuxer) = &frame.body {
                out.extend(
                    Checkpoint::at(stream, offset + 1, demuxer, state).map(Step::Checkpoint),
                );
                return;
            }
            state.segmenter.push(frame, &mut made);
            for media in made.drain(..) {
                let is_over = matches!(media.body, MediaBody::End);
                out.push(Step::Media(media));
                if is_over {
                    states.remove(&stream);
                    out.push(Step::Checkpoint(Checkpoint::over(stream)));
                }
            }
        }
    }

    /// `hls`: to the viewers' window.
    pub(crate) fn deliver_hls(&self) -> impl FnMut(&mut Vec<Step>) + 'static {
        deliver("hls", self.hls.clone(), Arc::clone(&self.checkpoints))
    }

    /// `archive`: to segment files.
    pub(crate) fn deliver_archive(&self) -> impl FnMut(&mut Vec<Step>) + 'static {
        deliver("archive", self.archive.clone(), Arc::clone(&self.checkpoints))
    }

    /// `health`: to the health API.
    pub(crate) fn deliver_health(&self) -> impl FnMut(&mut Vec<Health>) + 'static {
        let (edge, mut weighed) = (self.health.clone(), Vec::new());
        move |batch| {
            weighed.extend(batch.drain(..).map(|health| (size_of::<Health>(), health)));
            edge.push(&mut weighed);
        }
    }
}

/// Pushes media to `edge`; a checkpoint counts once all before it is there.
fn deliver(
    name: &'static str,
    edge: Edge<Media>,
    checkpoints: Arc<Checkpoints>,
) -> impl FnMut(&mut Vec<Step>) + 'static {
    let mut weighed = Vec::new();
    move |batch| {
        for step in batch.drain(..) {
            match step {
                Step::Media(media) => {
                    if let MediaBody::Fault(site) = &media.body {
                        working_on(media.stream, name);
                        site.trip(name);
                    }
                    weighed.push((media.weight(), media));
                }
                Step::Checkpoint(checkpoint) => {
                    edge.push(&mut weighed);
                    checkpoints.delivered(&checkpoint);
                }
            }
        }
        edge.push(&mut weighed);
    }
}

/// What [`Planes`] asks of it.
impl MediaPlane {
    pub(super) fn begin(&self, generation: &Generation) {
        let wakers = [generation.wakers(), generation.wakers()];
        *self.wakers.lock() = wakers.clone();
        let [packets, encoded] = wakers;
        self.packets.bind(packets, &generation.table);
        self.encoded.bind(encoded, &generation.table);
    }

    pub(super) fn end(&self) {
        self.packets.unbind();
        self.encoded.unbind();
    }

    pub(super) fn recover(&self, culprit: Option<Culprit>) {
        if let Some(Culprit { stream, operator }) = culprit
            && self.quarantine.strike(stream, operator)
        {
            self.packets.discard(stream);
            self.encoded.discard(stream);
            self.checkpoints.forget(stream);
            self.forget(stream);
        }
        self.encoders.rewound();
        self.demuxers.clear();
        self.segmenters.clear();
        self.checkpoints.restore(&self.demuxers, &self.segmenters);
    }
}
