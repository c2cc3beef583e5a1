//! The encoder pool: GStreamer in the I/O plane, fed by the data plane.
//!
//! ```text
//!  data plane │  I/O plane, one thread per stream           GStreamer's threads
//!             │
//!  frames ─► offer ──Inbox──► Job ──► Session: decoder ──► Tee ─┬─► RungEncoder 1080p ─► Output ─┐
//!    │        │  (bounded)              (one per run)           ├─► RungEncoder  720p ─► Output ─┤
//!    ▼        │                                                 └─► …                            ▼
//!  segment ◄──┼──────────────────────────── Intake<Frame> (encoded path) ◄───────────────────────┘
//! ```
//!
//! Enters: every frame of the direct path, in order, by [`Pool::offer`], which
//! never waits. Leaves: what goes on to the segmenter at once (through `out`),
//! and later, through the encoders' intake, `RungStart`, samples, gaps and
//! `RungDrained` of each rung. Held: per stream a thread, a decoder and an
//! encoder per rung, all with bounded queues; they survive generations, and a
//! replayed frame is known again and not encoded twice. Ends with the stream's
//! `End`, or [`Pool::forget`].
//!
//! **Overload** is handled in this order: a slow encoder slows the decoder; a
//! stream too far behind loses its highest rung at the next cut (a gap in that
//! rendition), then the next; a full queue skips to a keyframe. What got lost
//! comes back once the stream has been calm for a while. Sound never passes
//! through here, so it stays to the last.
//!
//! **Broken input** harms its own stream: a decoder that fails is started
//! again at a keyframe, at most every 2 s and 5 times per run.
//!
//! **Guarantees:** keyframes exactly where segments begin; times in the
//! source's own ticks; per rung and run one `RungDrained`, within
//! `drain_ms_max` of the run's end even if an element hangs.

mod candidates;
mod chain;
mod config;
mod event;
mod front;
mod inbox;
mod inventory;
mod job;
mod ladder;
mod output;
mod pipeline;
mod run;
mod rung;
mod scale;
mod session;
mod shed;
mod sprite;
mod tee;
mod thumbnail;
mod timeline;
mod turn;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gstreamer as gst;
use parking_lot::{Mutex, RwLock};
use records::{Cut, Frame, FrameBody, Rendition, Run, Sample, StreamId, TrackInit};
use runtime::Intake;

pub use config::{PRESETS, TranscodeConfig};
pub use event::{EventKind, EventSink, RungStats, StreamStats, TranscodeEvent};
pub use inventory::{Candidate, Inventory, inventory};
pub use sprite::{Grid, sprite};
pub use thumbnail::{ThumbnailError, thumbnail};

use event::Reporter;
use front::{Front, Position};
use inbox::{Command, Inbox};
use job::Job;
use ladder::Plan;
use output::Output;
use run::{RunParts, RunShared, SlowRung};
use timeline::Timeline;

/// Why pictures can't be transcoded.
#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    /// The configuration asks for something impossible: the operator's to mend.
    #[error("transcode.{key}: {reason}")]
    Config {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// GStreamer can't be used on this machine.
    #[error("GStreamer can't be used")]
    Init(#[from] gst::glib::Error),
    /// Nothing on this machine encodes H.264.
    #[error(
        "no H.264 path on this machine; install gstreamer1.0-plugins-ugly (x264enc), \
         gstreamer1.0-libav (avdec_h264) and gstreamer1.0-plugins-base (videoconvertscale), \
         or set transcode.enabled = false"
    )]
    NoEncoder,
    /// An element is missing: the operator's to install.
    #[error("GStreamer element {element} is missing; install {package}")]
    Missing {
        /// Name of its factory.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// An element would not be set up. Trying again later may help (GPU sessions are limited).
    #[error("GStreamer {element}: {reason}")]
    Element {
        /// Which one.
        element: &'static str,
        /// GStreamer's words.
        reason: String,
    },
    /// The source can't be decoded: the publisher's fault.
    #[error("the source {reason}")]
    Source {
        /// What is wrong with it.
        reason: &'static str,
    },
}

struct Shared {
    config: Arc<TranscodeConfig>,
    inventory: Inventory,
    encoded: Intake<Frame>,
    sink: EventSink,
    // How often the packet intake was rewound.
    replay: AtomicU64,
    slow: SlowRung,
    streams: RwLock<HashMap<StreamId, Arc<Mutex<Front>>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for front in self.streams.get_mut().values() {
            front.lock().abandon();
        }
    }
}

/// All encoders of this process. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool without streams. `encoded` takes what encoders deliver; `events`
    /// hears of overload and failures.
    ///
    /// # Errors
    /// If the configuration is impossible, or it is enabled and this machine
    /// has no way to encode H.264 from H.264.
    pub fn new(
        config: TranscodeConfig,
        encoded: Intake<Frame>,
        events: EventSink,
    ) -> Result<Self, TranscodeError> {
        Self::build(config, encoded, events, None)
    }

    fn build(
        config: TranscodeConfig,
        encoded: Intake<Frame>,
        sink: EventSink,
        slow: SlowRung,
    ) -> Result<Self, TranscodeError> {
        config.validate()?;
        if config.enabled {
            gst::init()?;
        }
        let inventory = inventory();
        if config.enabled && !inventory.can_transcode(records::Codec::H264) {
            return Err(TranscodeError::NoEncoder);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                config: Arc::new(config),
                inventory,
                encoded,
                sink,
                replay: AtomicU64::new(0),
                slow,
                streams: RwLock::default(),
            }),
        })
    }

    /// What this machine has, as found when the pool was made.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.shared.inventory
    }

    /// The packet intake was rewound: frames are about to come again. To be
    /// called between two generations when the first one died.
    pub fn rewound(&self) {
        self.shared.replay.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one frame of the direct path. Frames of a stream come in order;
    /// after [`Pool::rewound`] those seen before are known again and only
    /// forwarded.
    ///
    /// Pushed to `out`: `Run` with its rungs, source samples if the run is
    /// passed through, everything else unchanged.
    ///
    /// Never waits: it takes locks that are held for a queue operation only.
    /// The first frames of a stream to be transcoded spawn its thread.
    ///
    /// # Panics
    /// On a `Fault` for `transcode`, since that is what it asks for.
    pub fn offer(&self, frame: Frame, out: &mut Vec<Frame>) {
        match &frame.body {
            FrameBody::Fault(site) => site.trip("transcode"),
            // The encoded path has offsets of its own and needs nothing from here.
            FrameBody::RungStart { .. }
            | FrameBody::RungGap { .. }
            | FrameBody::RungDrained { .. } => return out.push(frame),
            FrameBody::Sample(Sample { rendition: Rendition::Rung(_), .. }) => {
                return out.push(frame);
            }
            _ => {}
        }
        if !self.shared.config.enabled {
            return out.push(pass_through(frame));
        }
        let front = self.front(frame.stream);
        let mut front = front.lock();
        let replay = self.shared.replay.load(Ordering::Relaxed);
        let (position, new) = front.seen.advance(frame.offset, replay);
        match frame.body {
            FrameBody::Run(mut run) => {
                let plan = ladder::decide(&run, &self.shared.config, &self.shared.inventory);
                run.rungs = plan.rungs();
                run.passthrough = plan.passthrough;
                if new {
                    self.begin(&mut front, frame.stream, &run, &plan, position);
                }
                out.push(Frame { body: FrameBody::Run(run), ..frame });
            }
            FrameBody::Sample(ref sample) if sample.rendition == Rendition::Source => {
                if new {
                    self.submit(&mut front, frame.stream, sample, frame.arrival_us);
                }
                if front.passthrough_at(position) {
                    out.push(frame);
                }
            }
            FrameBody::Cut(cut) => {
                if new && !cut.gap {
                    self.cut(&mut front, frame.stream, cut);
                }
                out.push(frame);
            }
            FrameBody::Pause => {
                if new && front.encoding.take().is_some() {
                    self.control(&mut front, frame.stream, Command::Pause);
                }
                out.push(frame);
            }
            FrameBody::End => {
                if new {
                    let paused = front.encoding.take().is_none();
                    if !paused {
                        self.control(&mut front, frame.stream, Command::Pause);
                    }
                    self.control(&mut front, frame.stream, Command::End);
                }
                out.push(frame);
            }
            _ => out.push(frame),
        }
    }

    /// The stream is over and will not be replayed: frees all that is kept for
    /// it. What encoders still hold is lost.
    pub fn forget(&self, stream: StreamId) {
        let front = self.shared.streams.write().remove(&stream);
        if let Some(front) = front {
            front.lock().abandon();
        }
    }

    /// Figures of every stream that has encoders.
    #[must_use]
    pub fn snapshot(&self) -> Vec<StreamStats> {
        let streams: Vec<_> = {
            let streams = self.shared.streams.read();
            streams.iter().map(|(stream, front)| (*stream, Arc::clone(front))).collect()
        };
        let figures = |(stream, front): (StreamId, Arc<Mutex<Front>>)| {
            let front = front.lock();
            let (run, inbox) = (front.encoding.clone()?, front.inbox.clone()?);
            drop(front);
            let (queue_frames, queue_bytes, skipped_total) = inbox.depth();
            Some(StreamStats {
                stream,
                run: run.number,
                decoder: run.path.decoder.element,
                queue_frames,
                queue_bytes,
                skipped_total,
                decoder_failures: run.decoder_failures.load(Ordering::Relaxed),
                rungs: run.rung_stats(),
            })
        };
        streams.into_iter().filter_map(figures).collect()
    }

    fn front(&self, stream: StreamId) -> Arc<Mutex<Front>> {
        if let Some(front) = self.shared.streams.read().get(&stream) {
            return Arc::clone(front);
        }
        Arc::clone(self.shared.streams.write().entry(stream).or_default())
    }

    fn begin(
        &self,
        front: &mut Front,
        stream: StreamId,
        run: &Run,
        plan: &Plan,
        position: Position,
    ) {
        front.run_began(position, plan.passthrough);
        if front.encoding.take().is_some() {
            self.control(front, stream, Command::Pause);
        }
        let Some(video) = &run.video else { return };
        front.gop.track(video);
        let path = self.shared.inventory.path(video.codec);
        let Some(path) = path.filter(|_| !plan.targets.is_empty()) else { return };
        let Some(inbox) = self.thread(front, stream) else { return };
        let shared = Arc::new(self.assemble(stream, run, video, plan, path, &inbox));
        front.open.retain(|run| !run.is_drained());
        front.open.push(Arc::clone(&shared));
        front.encoding = Some(Arc::clone(&shared));
        front.fresh = true;
        self.control(front, stream, Command::Run(shared));
    }

    fn assemble(
        &self,
        stream: StreamId,
        run: &Run,
        video: &TrackInit,
        plan: &Plan,
        path: candidates::Path,
        inbox: &Arc<Inbox>,
    ) -> RunShared {
        let writer = self.shared.encoded.writer(stream);
        let output = |target: &ladder::Target| {
            let nudge = Arc::clone(inbox);
            let drained = Box::new(move || nudge.nudge());
            Arc::new(Output::new(target.rendition, run.number, writer.clone(), drained))
        };
        RunShared::new(RunParts {
            video: video.clone(),
            targets: Arc::clone(&plan.targets),
            outputs: plan.targets.iter().map(output).collect(),
            path,
            config: Arc::clone(&self.shared.config),
            timeline: Timeline::new(video.timescale, run.start),
            reporter: self.reporter(stream),
            number: run.number,
            slow: self.shared.slow,
        })
    }

    /// The stream's thread, spawned if there is none.
    fn thread(&self, front: &mut Front, stream: StreamId) -> Option<Arc<Inbox>> {
        if let Some(inbox) = &front.inbox {
            return Some(Arc::clone(inbox));
        }
        let inbox = Arc::new(Inbox::new(&self.shared.config));
        let job = Job::new(Arc::clone(&inbox), self.shared.encoded.writer(stream));
        // The id's last digits are its random ones; Linux cuts names at 15 bytes.
        let name = format!("tc-{}", &stream.to_string()[24..]);
        match std::thread::Builder::new().name(name).spawn(move || job.work()) {
            Ok(_) => {
                front.inbox = Some(Arc::clone(&inbox));
                Some(inbox)
            }
            Err(error) => {
                let reason = format!("no thread: {error}");
                let kind = EventKind::DecoderFailed { reason, failures: 1 };
                self.reporter(stream).report(kind);
                None
            }
        }
    }

    fn submit(&self, front: &mut Front, stream: StreamId, sample: &Sample, arrival_us: u64) {
        let feed = front::feed(sample, arrival_us);
        let mut events = Vec::new();
        if let (Some(run), Some(inbox)) = (&front.encoding, &front.inbox) {
            run.timeline.published(feed.pts, arrival_us);
            if std::mem::take(&mut front.fresh) && !feed.keyframe {
                // The run begins between keyframes: what comes before it serves to decode it.
                events.extend(front.gop.feeds().iter().filter_map(|f| inbox.sample(f.clone())));
            }
            events.extend(inbox.sample(feed.clone()));
        }
        front.gop.push(&feed);
        for kind in events {
            self.reporter(stream).report(kind);
        }
    }

    fn cut(&self, front: &mut Front, stream: StreamId, cut: Cut) {
        if front.encoding.is_some() {
            self.control(front, stream, Command::Cut(cut));
        }
    }

    fn control(&self, front: &mut Front, stream: StreamId, command: Command) {
        let Some(inbox) = &front.inbox else { return };
        if !inbox.control(command) {
            let reason = "its thread is stuck".into();
            let kind =
                EventKind::DecoderFailed { reason, failures: self.shared.config.failures_max };
            self.reporter(stream).report(kind);
            front.abandon();
        }
    }

    fn reporter(&self, stream: StreamId) -> Reporter {
        Reporter { stream, sink: Arc::clone(&self.shared.sink) }
    }
}

/// Without encoders a picture is passed through whatever its keyframes allow.
fn pass_through(mut frame: Frame) -> Frame {
    if let FrameBody::Run(run) = &mut frame.body {
        run.passthrough = true;
    }
    frame
}
