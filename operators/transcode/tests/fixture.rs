//! Small clips made on the spot, a pool, and a reader of what it delivers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use parking_lot::Mutex;
use records::{
    Codec, Cut, Frame, FrameBody, Kind, MediaTime, Rendition, Run, Sample, StreamId, TrackInit,
};
use runtime::{Intake, IntakeLimits, ShardTable};

use crate::transcode::{EventKind, Pool, TranscodeConfig};

/// A published track and its samples, timed from 0 in decode order.
#[derive(Clone)]
pub struct Clip {
    pub init: TrackInit,
    pub samples: Vec<Sample>,
}

impl Clip {
    /// `frames` pictures at 25 per second, a keyframe every `gop`, no B-frames.
    pub fn make(width: u16, height: u16, frames: u32, gop: u32) -> Self {
        Self::encode(
            width,
            height,
            frames,
            &format!(
                "x264enc speed-preset=ultrafast tune=zerolatency key-int-max={gop} \
             option-string=scenecut=0"
            ),
        )
    }

    pub fn encode(width: u16, height: u16, frames: u32, encoder: &str) -> Self {
        Self::run(
            &format!(
                "videotestsrc num-buffers={frames} pattern=ball ! \
             video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! \
             {encoder} ! h264parse ! \
             video/x-h264,stream-format=avc,alignment=au ! appsink name=out sync=false"
            ),
            Codec::H264,
        )
    }

    /// The sample clip's pictures.
    pub fn sample_clip() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bigbuckbunny.mp4");
        Self::run(
            &format!(
                "filesrc location={} ! qtdemux ! h264parse ! \
             video/x-h264,stream-format=avc,alignment=au ! appsink name=out sync=false",
                path.display()
            ),
            Codec::H264,
        )
    }

    pub fn run(description: &str, codec: Codec) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(description).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("out").unwrap().downcast::<AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut init = None;
        let mut samples: Vec<Sample> = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            let caps = sample.caps().unwrap().structure(0).unwrap().to_owned();
            let pixels = |name| caps.get::<i32>(name).unwrap() as u16;
            init.get_or_insert_with(|| TrackInit {
                codec,
                config: caps.get::<gst::Buffer>("codec_data").map_or_else(
                    |_| Bytes::new(),
                    |data| Bytes::copy_from_slice(&data.map_readable().unwrap()),
                ),
                timescale: 12_800,
                sample_ticks: 512,
                kind: Kind::Video {
                    width: pixels("width"),
                    height: pixels("height"),
                    fps: Some((25, 1)),
                },
            });
            let buffer = sample.buffer().unwrap();
            let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
            let time = segment.to_running_time(buffer.pts()).unwrap();
            let ns = MediaTime::new(time.nseconds() as i64, 1_000_000_000);
            let pts = ns.rescale(25).rescale(12_800).ticks;
            // Two pictures of delay leave room for B-frames.
            let dts = samples.len() as i64 * 512 - 1024;
            samples.push(Sample {
                rendition: Rendition::Source,
                dts,
                cts: (pts - dts) as i32,
                keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                data: Bytes::copy_from_slice(&buffer.map_readable().unwrap()),
            });
        }
        pipeline.set_state(gst::State::Null).unwrap();
        Self { init: init.unwrap(), samples }
    }

    /// Presentation times, sorted.
    pub fn times(&self) -> Vec<i64> {
        let mut times: Vec<_> = self.samples.iter().map(pts).collect();
        times.sort_unstable();
        times
    }
}

pub fn pts(sample: &Sample) -> i64 {
    sample.dts + i64::from(sample.cts)
}

/// What one rung delivered of one run.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    pub init: Option<TrackInit>,
    pub samples: Vec<Sample>,
    pub gaps: Vec<u64>,
    pub drained: bool,
}

impl Delivered {
    pub fn keyframes(&self) -> Vec<i64> {
        self.samples.iter().filter(|s| s.keyframe).map(pts).collect()
    }
    pub fn times(&self) -> Vec<i64> {
        self.samples.iter().map(pts).collect()
    }
}

pub struct Fixture {
    pub pool: Pool,
    pub stream: StreamId,
    pub intake: Intake<Frame>,
    pub events: Arc<Mutex<Vec<EventKind>>>,
    pub forwarded: Vec<Frame>,
    offset: u64,
    began: Instant,
    runs: u64,
    msn: u64,
    /// By run and rendition.
    pub delivered: BTreeMap<(u64, Rendition), Delivered>,
    // The run each stream's renditions are in, as their last RungDrained left it.
    current: BTreeMap<(StreamId, Rendition), u64>,
}

/// Limits that never shed however fast a test pushes.
pub fn patient() -> TranscodeConfig {
    TranscodeConfig {
        preset: "ultrafast".into(),
        lag_shed_ms: 60_000,
        drain_ms_max: 15_000,
        ..TranscodeConfig::default()
    }
}

impl Fixture {
    pub fn new(config: TranscodeConfig) -> Self {
        Self::slowed(config, None)
    }

    pub fn slowed(config: TranscodeConfig, slow: Option<(u16, u64)>) -> Self {
        let limits = IntakeLimits { unread_bytes_max: 1 << 30, retained_bytes_max: 0 };
        let intake = Intake::new("encoded", limits);
        let events = Arc::<Mutex<Vec<EventKind>>>::default();
        let heard = Arc::clone(&events);
        let sink = Arc::new(move |event: crate::transcode::TranscodeEvent| {
            heard.lock().push(event.kind);
        });
        Self {
            pool: Pool::build(config, intake.clone(), sink, slow).unwrap(),
            stream: StreamId::generate(),
            intake,
            events,
            forwarded: Vec::new(),
            offset: 0,
            began: Instant::now(),
            runs: 0,
            msn: 0,
            delivered: BTreeMap::new(),
            current: BTreeMap::new(),
        }
    }

    pub fn offer(&mut self, body: FrameBody) {
        self.offset += 1;
        let arrival_us = 1 + self.began.elapsed().as_micros() as u64;
        let frame = Frame { stream: self.stream, offset: self.offset, arrival_us, body };
        self.pool.offer(frame, &mut self.forwarded);
    }

    pub fn run(&mut self, clip: &Clip, start: i64, passthrough: bool) -> Run {
        let run = Run {
            number: self.runs,
            start: MediaTime::new(start, clip.init.timescale),
            start_wall_us: 0,
            video: Some(clip.init.clone()),
            audio: None,
            passthrough,
            rungs: Arc::new([]),
        };
        self.runs += 1;
        self.offer(FrameBody::Run(Box::new(run.clone())));
        run
    }

    pub fn cut(&mut self, at: i64, timescale: u32) -> u64 {
        let msn = self.msn;
        self.msn += 1;
        self.offer(FrameBody::Cut(Cut { msn, at: MediaTime::new(at, timescale), gap: false }));
        msn
    }

    /// Publishes samples, later by `shift` ticks, with a cut at each keyframe.
    pub fn publish(&mut self, clip: &Clip, shift: i64) -> Vec<i64> {
        let mut cuts = Vec::new();
        for sample in &clip.samples {
            let sample = Sample { dts: sample.dts + shift, ..sample.clone() };
            if sample.keyframe {
                cuts.push(pts(&sample));
                self.cut(pts(&sample), clip.init.timescale);
            }
            self.offer(FrameBody::Sample(sample));
        }
        cuts
    }

    /// Reads what was delivered until `done` or 20 s later.
    pub fn read_until(&mut self, done: impl Fn(&Self) -> bool) {
        let by = Instant::now() + Duration::from_secs(20);
        loop {
            let mut frames = Vec::new();
            self.intake.read(0, &ShardTable::even(1), usize::MAX, |frame| frames.push(frame));
            frames.into_iter().for_each(|frame| self.take(frame));
            if done(self) {
                return;
            }
            assert!(Instant::now() < by, "not in time: {:?} {:?}", self.summary(), self.events);
            // Between two looks: an intake can't be waited for.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn summary(&self) -> Vec<String> {
        let line = |(key, d): (&(u64, Rendition), &Delivered)| {
            format!("{key:?} {} out, gaps {:?}, drained {}", d.samples.len(), d.gaps, d.drained)
        };
        self.delivered.iter().map(line).collect()
    }

    /// Waits for `RungDrained` of these.
    pub fn drained(&mut self, run: u64, renditions: &[Rendition]) {
        let renditions = renditions.to_vec();
        self.read_until(move |f| {
            renditions.iter().all(|r| f.delivered.get(&(run, *r)).is_some_and(|d| d.drained))
        });
    }

    pub fn of(&self, run: u64, rendition: Rendition) -> Delivered {
        self.delivered.get(&(run, rendition)).cloned().unwrap_or_default()
    }

    fn take(&mut self, frame: Frame) {
        let (stream, runs) = (frame.stream, &self.current);
        let now = |of: Rendition| runs.get(&(stream, of)).copied().unwrap_or(0);
        match frame.body {
            FrameBody::RungStart { rendition, run, init } => {
                let entry = self.delivered.entry((run, rendition)).or_default();
                assert!(entry.init.replace(init).is_none(), "started twice");
                self.current.insert((stream, rendition), run);
            }
            FrameBody::Sample(sample) => {
                let key = (now(sample.rendition), sample.rendition);
                let entry = self.delivered.entry(key).or_default();
                assert!(entry.init.is_some() && !entry.drained, "out of order");
                assert!(frame.arrival_us > 0);
                entry.samples.push(sample);
            }
            FrameBody::RungGap { rendition, msn } => {
                let key = (now(rendition), rendition);
                self.delivered.entry(key).or_default().gaps.push(msn);
            }
            FrameBody::RungDrained { rendition, run } => {
                let entry = self.delivered.entry((run, rendition)).or_default();
                assert!(!std::mem::replace(&mut entry.drained, true), "drained twice");
                self.current.insert((stream, rendition), run + 1);
            }
            other => panic!("not of the encoded path: {other:?}"),
        }
    }
}

/// Decodes what a rung delivered; how many pictures come out, and their size.
pub fn decode(delivered: &Delivered) -> (usize, i32, i32) {
    let init = delivered.init.as_ref().unwrap();
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time ! h264parse ! avdec_h264 max-errors=0 output-corrupt=false ! \
         appsink name=out sync=false",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<gstreamer_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<AppSink>().unwrap();
    let caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "avc")
        .field("alignment", "au")
        .field("codec_data", gst::Buffer::from_slice(init.config.clone()));
    source.set_caps(Some(&caps.build()));
    source.set_max_bytes(0);
    pipeline.set_state(gst::State::Playing).unwrap();
    for sample in &delivered.samples {
        let mut buffer = gst::Buffer::from_slice(sample.data.clone());
        let time = MediaTime::new(sample.dts, init.timescale).rescale(1_000_000_000).ticks as u64;
        let times = buffer.get_mut().unwrap();
        times.set_pts(gst::ClockTime::from_nseconds(time));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut seen = (0, 0, 0);
    while let Ok(sample) = sink.pull_sample() {
        let caps = sample.caps().unwrap().structure(0).unwrap().to_owned();
        seen = (seen.0 + 1, caps.get("width").unwrap(), caps.get("height").unwrap());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    seen
}
