//! What all that works on one run of one stream shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use records::TrackInit;

use super::TranscodeConfig;
use super::candidates::Path;
use super::chain::{Chain, Step};
use super::event::{Reporter, RungStats};
use super::ladder::Target;
use super::output::Output;
use super::shed::Shedder;
use super::timeline::Timeline;

/// Makes one rung slow, to show what overload does: its height (or 0 for all)
/// and microseconds per picture. Set by tests alone.
pub(super) type SlowRung = Option<(u16, u64)>;

/// One run of one stream.
pub(super) struct RunShared {
    /// The source's pictures.
    pub video: TrackInit,
    /// Highest first.
    pub targets: Arc<[Target]>,
    /// One per target.
    pub outputs: Vec<Arc<Output>>,
    pub path: Path,
    pub config: Arc<TranscodeConfig>,
    pub timeline: Timeline,
    pub reporter: Reporter,
    pub number: u64,
    pub slow: SlowRung,
    pub decoder_failures: AtomicU32,
    shedder: Mutex<Shedder>,
    // By target: without an encoder.
    idle: Vec<AtomicBool>,
    began: Instant,
}

/// What a [`RunShared`] is made of.
pub(super) struct RunParts {
    pub video: TrackInit,
    pub targets: Arc<[Target]>,
    pub outputs: Vec<Arc<Output>>,
    pub path: Path,
    pub config: Arc<TranscodeConfig>,
    pub timeline: Timeline,
    pub reporter: Reporter,
    pub number: u64,
    pub slow: SlowRung,
}

impl RunShared {
    pub fn new(parts: RunParts) -> Self {
        let RunParts { video, targets, outputs, path, config, timeline, reporter, number, slow } =
            parts;
        Self {
            shedder: Mutex::new(Shedder::new(targets.len(), &config)),
            idle: targets.iter().map(|_| AtomicBool::new(true)).collect(),
            began: Instant::now(),
            decoder_failures: AtomicU32::new(0),
            video,
            targets,
            outputs,
            path,
            config,
            timeline,
            reporter,
            number,
            slow,
        }
    }

    /// How many of the highest rungs go without the segment that begins.
    pub fn shed_at_cut(&self, lag_ms: u64, age_ms: u64) -> usize {
        let now_ms = self.began.elapsed().as_millis() as u64;
        self.shedder.lock().at_cut(lag_ms, age_ms, now_ms)
    }

    pub fn set_idle(&self, index: usize, idle: bool) {
        if let Some(flag) = self.idle.get(index) {
            flag.store(idle, Ordering::Relaxed);
        }
    }

    pub fn encode_chain(&self, target: &Target, square_pixels: bool) -> Chain {
        let mut chain = self.path.encode_chain(target, &self.config, square_pixels);
        if let Some((height, micros)) = self.slow
            && (height == 0 || height == target.height)
        {
            let sleep = micros.to_string();
            chain.0.insert(0, Step::element("identity", &[("sleep-time", &sleep)]));
        }
        chain
    }

    pub fn is_drained(&self) -> bool {
        self.outputs.iter().all(|output| output.is_drained())
    }

    pub fn rung_stats(&self) -> Vec<RungStats> {
        let figures = self.targets.iter().zip(&self.outputs).zip(&self.idle);
        figures
            .map(|((target, output), idle)| {
                let progress = output.progress();
                RungStats {
                    rendition: target.rendition,
                    encoder: self.path.encoder.element,
                    width: target.width,
                    height: target.height,
                    bitrate_kbps: target.bitrate_kbps,
                    queue_frames: progress.waiting,
                    lag_ms: progress.oldest_pts.map_or(0, |pts| self.timeline.lag_ms(Some(pts))),
                    fps: progress.fps,
                    shed: idle.load(Ordering::Relaxed),
                    frames_in: progress.tally.pictures_in,
                    frames_out: progress.tally.pictures_out,
                    keyframes_out: progress.tally.keyframes_out,
                    bytes_out: progress.tally.bytes_out,
                    gaps: progress.tally.gaps,
                    lost: progress.tally.lost,
                }
            })
            .collect()
    }
}
