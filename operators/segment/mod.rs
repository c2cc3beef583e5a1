//! From frames to CMAF parts and segments, all renditions of one stream.
//!
//! ```text
//! Run Cut Pause End ─► Timeline ◄─── position ──┐
//! Sample (direct) ───────────────► Queue ─► Lane ─► Packer ─► chunk ─► Media
//! RungStart Sample RungGap RungDrained ─┘     │                     (Track · Part ·
//!    (encoded)                                └─► header              Segment · End)
//! ```
//!
//! * Enters: [`Frame`]s of one stream, each path in its own order. Live, the
//!   direct path's come first; in any other order (replay) the encoded ones
//!   wait for it, by their `arrival_us`.
//!   A `Source` that is re-encoded comes on the encoded path alone.
//! * Leaves: [`Media`], each rendition's in its order; a function of the frames
//!   alone, whatever their interleaving.
//! * Held: the open part of each rendition (a fraction of a second of samples),
//!   the open segment's parts (shared), and cuts that the slowest rendition has
//!   yet to pass, bounded by [`SegmentConfig::lag_cuts_max`].
//! * Ends: with `End`, after all encoders have drained.
//! * Never done here: deciding cuts or sequence numbers (demux), looking at a
//!   clock, parsing payloads.
//!
//! Rules that the parts meet (PROTOCOLS §1 PART, §2): one moof + mdat each, no
//! part above the declared target, at least 85 % of it unless last of its
//! segment, contiguous decode times within a run, segments that begin with a
//! keyframe and at the same instant in all renditions, the same media sequence
//! number for it. `packer` says how.

use std::sync::Arc;
use std::time::Duration;

use records::{Frame, FrameBody, Media, MediaBody, MediaTime, Rendition, Run, Sample, StreamId};

use self::lane::{Lane, Phase, Scene};
use self::queue::Queue;
use self::timeline::{RunInfo, Timeline};

mod chunk;
mod header;
mod lane;
mod packer;
mod queue;
mod timeline;

#[cfg(test)]
mod tests;

/// What can be chosen about parts.
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// How long parts should be. Each rendition declares the longest whole
    /// number of its samples that fits, or one sample if none does.
    pub part_target: Duration,
    /// Marks (cuts, runs, pauses) that an encoded rendition may lag behind the
    /// direct path; beyond it the oldest segments are gaps.
    pub lag_cuts_max: u64,
    /// Frames of one rendition that may wait for the other path.
    pub frames_waiting_max: usize,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self { part_target: Duration::from_millis(200), lag_cuts_max: 64, frames_waiting_max: 1024 }
    }
}

/// Makes parts and segments of one stream. A clone is a snapshot: payloads are shared.
#[derive(Clone, Debug)]
pub struct Segmenter {
    stream: StreamId,
    config: Arc<SegmentConfig>,
    timeline: Timeline,
    // In the order of the first run that lists them.
    queues: Vec<Queue>,
    ended: bool,
}

impl Segmenter {
    /// A segmenter for a stream that has yet to begin.
    #[must_use]
    pub fn new(stream: StreamId, config: Arc<SegmentConfig>) -> Self {
        Self { stream, config, timeline: Timeline::default(), queues: Vec::new(), ended: false }
    }

    /// Whether `End` was emitted: nothing more will come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Takes a frame and appends what it completes to `out`. Ignores
    /// checkpoints, and frames that belong to no run.
    pub fn push(&mut self, frame: Frame, out: &mut Vec<Media>) {
        if let FrameBody::Fault(site) = frame.body {
            site.trip("segment");
            out.push(Media { stream: self.stream, body: MediaBody::Fault(site) });
            return;
        }
        if self.ended {
            return;
        }
        match frame.body {
            FrameBody::Sample(sample) => match self.direct_run(&sample, frame.arrival_us) {
                Some(info) => self.push_direct(sample, frame.arrival_us, &info, out),
                None => {
                    let rendition = sample.rendition;
                    let frame = Frame { body: FrameBody::Sample(sample), ..frame };
                    self.push_encoded(rendition, frame, out);
                }
            },
            FrameBody::RungStart { rendition, .. }
            | FrameBody::RungGap { rendition, .. }
            | FrameBody::RungDrained { rendition, .. } => self.push_encoded(rendition, frame, out),
            FrameBody::Run(run) => {
                if self.mark(frame.arrival_us) {
                    self.begin(*run, frame.arrival_us);
                    self.work(out);
                }
            }
            FrameBody::Cut(cut) => {
                if self.mark(frame.arrival_us) {
                    self.timeline.push_cut(cut);
                    self.work(out);
                }
            }
            FrameBody::Pause => {
                if self.mark(frame.arrival_us) {
                    self.timeline.pause();
                    self.work(out);
                }
            }
            FrameBody::End => {
                if self.mark(frame.arrival_us) {
                    self.timeline.finish();
                    self.work(out);
                }
            }
            FrameBody::Checkpoint(_) | FrameBody::Fault(_) => {}
        }
    }

    /// Notes a decision's arrival; false once the broadcast is over.
    fn mark(&mut self, arrival_us: u64) -> bool {
        self.timeline.see(arrival_us);
        !self.timeline.has_ended()
    }

    fn begin(&mut self, run: Run, arrival_us: u64) {
        let info = Arc::new(RunInfo::new(run, arrival_us));
        let position = self.timeline.begin(Arc::clone(&info));
        for rendition in &info.renditions {
            if self.queue(*rendition).is_none() {
                self.queues.push(Queue::new(Lane::new(*rendition, position)));
            }
        }
    }

    /// The run of a sample of the direct path; None for an encoded one.
    ///
    /// `Source` may change between the paths from one run to the next, while
    /// its encoder still drains: a picture that arrived before the open run
    /// comes from the encoder.
    fn direct_run(&self, sample: &Sample, arrival_us: u64) -> Option<Arc<RunInfo>> {
        let info = self.timeline.open_run()?;
        let timely = sample.rendition == Rendition::Audio || arrival_us >= info.arrival_us;
        (info.is_direct(sample.rendition) && timely).then(|| Arc::clone(info))
    }

    fn push_direct(
        &mut self,
        sample: Sample,
        arrival_us: u64,
        info: &RunInfo,
        out: &mut Vec<Media>,
    ) {
        self.timeline.see(arrival_us);
        let track = if sample.rendition.is_video() { &info.run.video } else { &info.run.audio };
        if let Some(init) = track {
            let pts = sample.dts.saturating_add(i64::from(sample.cts));
            let end = pts.saturating_add(i64::from(init.sample_ticks));
            self.timeline.extend_to(MediaTime::new(end, init.timescale));
        }
        let mut scene = scene(self.stream, &self.config, &self.timeline, out);
        let own = |queue: &&mut Queue| queue.lane().rendition() == sample.rendition;
        if let Some(queue) = self.queues.iter_mut().find(own) {
            queue.direct(sample, arrival_us, info.run.number, &mut scene);
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.is_waiting()) {
            queue.work(&mut scene);
        }
    }

    fn push_encoded(&mut self, rendition: Rendition, frame: Frame, out: &mut Vec<Media>) {
        if self.queue(rendition).is_none() && !matches!(frame.body, FrameBody::Sample(_)) {
            // Read before the run that lists it: the next run takes or drops it.
            self.queues.push(Queue::new(Lane::new(rendition, self.timeline.end())));
        }
        let mut scene = scene(self.stream, &self.config, &self.timeline, out);
        let own = |queue: &&mut Queue| queue.lane().rendition() == rendition;
        if let Some(queue) = self.queues.iter_mut().find(own) {
            queue.encoded(frame, &mut scene);
        }
        self.tidy(out);
    }

    fn queue(&self, rendition: Rendition) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.lane().rendition() == rendition)
    }

    /// Lets every rendition go as far as it can.
    fn work(&mut self, out: &mut Vec<Media>) {
        let mut scene = scene(self.stream, &self.config, &self.timeline, out);
        for queue in &mut self.queues {
            queue.work(&mut scene);
        }
        self.tidy(out);
    }

    /// Forgets renditions that are gone and marks that all have passed; ends
    /// the stream after the last rendition.
    fn tidy(&mut self, out: &mut Vec<Media>) {
        self.queues.retain(|queue| queue.lane().phase() != Phase::Gone);
        let slowest = self.queues.iter().map(|queue| queue.lane().position()).min();
        self.timeline.forget_before(slowest.unwrap_or_else(|| self.timeline.end()));
        if self.timeline.has_ended() && self.queues.is_empty() {
            self.ended = true;
            out.push(Media { stream: self.stream, body: MediaBody::End });
        }
    }
}

fn scene<'a>(
    stream: StreamId,
    config: &'a SegmentConfig,
    timeline: &'a Timeline,
    out: &'a mut Vec<Media>,
) -> Scene<'a> {
    Scene { stream, config, timeline, out }
}
