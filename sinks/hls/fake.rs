//! A segmenter for tests: parts and segments of made-up bytes, in step.

use bytes::Bytes;
use records::{
    Codec, Kind, Media, MediaBody, MediaTime, Part, Pieces, Rendition, Segment, StreamId,
    TrackInit, TrackStart,
};

pub(crate) const TIMESCALE: u32 = 90_000;
const WALL_US: u64 = 1_795_000_000_000_000;

/// Makes the records of one stream. Every rendition has the same cuts.
pub(crate) struct Fake {
    pub(crate) stream: StreamId,
    pub(crate) msn: u64,
    pub(crate) run: u64,
    /// Media time in ticks.
    pub(crate) now: i64,
    pub(crate) part_ticks: i64,
    renditions: Vec<Rendition>,
    // Chunks of the open segment, by rendition.
    open: Vec<Vec<Pieces>>,
    open_start: i64,
    open_parts: u32,
}

impl Fake {
    pub(crate) fn new(renditions: &[Rendition]) -> Self {
        Self {
            stream: StreamId::generate(),
            msn: 0,
            run: 0,
            now: 0,
            part_ticks: i64::from(TIMESCALE) / 5,
            renditions: renditions.to_vec(),
            open: vec![Vec::new(); renditions.len()],
            open_start: 0,
            open_parts: 0,
        }
    }

    fn media(&self, body: MediaBody) -> Media {
        Media { stream: self.stream, body }
    }

    fn time(ticks: i64) -> MediaTime {
        MediaTime::new(ticks, TIMESCALE)
    }

    pub(crate) fn init(rendition: Rendition) -> TrackInit {
        let kind = match rendition {
            Rendition::Audio => Kind::Audio { sample_rate: 48_000, channels: 2 },
            Rendition::Source => Kind::Video { width: 1280, height: 720, fps: Some((25, 1)) },
            Rendition::Rung(height) => {
                Kind::Video { width: height * 16 / 9, height, fps: Some((25, 1)) }
            }
        };
        let (codec, config) = if rendition.is_video() {
            (Codec::H264, Bytes::from_static(&[1, 0x64, 0, 0x1f]))
        } else {
            (Codec::Aac, Bytes::from_static(&[0x12, 0x10]))
        };
        TrackInit { codec, config, timescale: TIMESCALE, sample_ticks: 3600, kind }
    }

    /// A run begins in all renditions.
    pub(crate) fn tracks(&self) -> Vec<Media> {
        let start = |rendition: &Rendition| TrackStart {
            rendition: *rendition,
            run: self.run,
            init: Self::init(*rendition),
            header: Bytes::from(format!("init {rendition} {}", self.run)),
            part_target: Self::time(self.part_ticks),
            renditions: self.renditions.clone(),
        };
        self.renditions.iter().map(|r| self.media(MediaBody::Track(start(r)))).collect()
    }

    /// One part of every rendition.
    pub(crate) fn part(&mut self) -> Vec<Media> {
        let mut out = Vec::new();
        for (slot, rendition) in self.renditions.clone().into_iter().enumerate() {
            let (chunk, end) = chunk(rendition, self.msn, self.open_parts);
            self.open[slot].push(chunk.clone());
            let independent = self.open_parts == 0 || !rendition.is_video();
            out.push(self.media(MediaBody::Part(Part {
                rendition,
                msn: self.msn,
                index: self.open_parts,
                run: self.run,
                start: Self::time(self.now),
                duration: Self::time(self.part_ticks),
                wall_us: WALL_US + Self::time(self.now).as_micros() as u64,
                independent,
                iframe_bytes: (independent && rendition.is_video()).then_some(end),
                arrival_us: 1,
                bytes: chunk,
            })));
        }
        self.open_parts += 1;
        self.now += self.part_ticks;
        out
    }

    /// Ends the open segment in every rendition.
    pub(crate) fn close(&mut self) -> Vec<Media> {
        let out = self.close_as(false);
        self.open_start = self.now;
        out
    }

    /// A segment for which nothing was published.
    pub(crate) fn gap(&mut self, ticks: i64) -> Vec<Media> {
        assert_eq!(self.open_parts, 0);
        self.now += ticks;
        let out = self.close_as(true);
        self.open_start = self.now;
        out
    }

    fn close_as(&mut self, gap: bool) -> Vec<Media> {
        let mut out = Vec::new();
        for (slot, rendition) in self.renditions.clone().into_iter().enumerate() {
            let chunks = std::mem::take(&mut self.open[slot]);
            out.push(self.media(MediaBody::Segment(Segment {
                rendition,
                msn: self.msn,
                run: self.run,
                start: Self::time(self.open_start),
                duration: Self::time(self.now - self.open_start),
                wall_us: WALL_US + Self::time(self.open_start).as_micros() as u64,
                parts: self.open_parts,
                gap,
                chunks,
            })));
        }
        self.msn += 1;
        self.open_parts = 0;
        out
    }

    /// A whole segment of `parts` parts.
    pub(crate) fn segment(&mut self, parts: u32) -> Vec<Media> {
        let mut out = Vec::new();
        for _ in 0..parts {
            out.extend(self.part());
        }
        out.extend(self.close());
        out
    }

    /// A discontinuity: the next run begins.
    pub(crate) fn next_run(&mut self) -> Vec<Media> {
        self.run += 1;
        self.tracks()
    }

    /// The next run begins with other renditions.
    pub(crate) fn next_run_with(&mut self, renditions: &[Rendition]) -> Vec<Media> {
        self.renditions = renditions.to_vec();
        self.open = vec![Vec::new(); renditions.len()];
        self.next_run()
    }

    /// Goes on where a restored stream left off.
    pub(crate) fn resume(&mut self, resume: crate::hls::Resume) {
        self.msn = resume.next_msn;
        self.run = resume.next_run;
        self.now = resume.end.rescale(TIMESCALE).ticks;
        self.open_start = self.now;
    }

    pub(crate) fn end(&self) -> Media {
        self.media(MediaBody::End)
    }
}

/// A moof of 12 bytes and an mdat whose first sample ends at the returned offset.
fn chunk(rendition: Rendition, msn: u64, index: u32) -> (Pieces, u32) {
    let sample = format!("key {rendition} {msn}.{index}");
    let rest = "x".repeat(200 + index as usize * 7);
    let mut chunk = Vec::new();
    chunk.extend(12u32.to_be_bytes());
    chunk.extend(b"moof\0\0\0\0");
    chunk.extend((8 + sample.len() as u32 + rest.len() as u32).to_be_bytes());
    chunk.extend(b"mdat");
    chunk.extend(sample.as_bytes());
    let end = chunk.len() as u32;
    (vec![chunk.into(), rest.into()].into(), end)
}
