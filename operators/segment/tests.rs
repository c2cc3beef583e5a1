//! Whole segmenters: scenarios, and the rules that every test's output is held to.

use std::collections::BTreeMap;

use bytes::Bytes;
use mp4_atom::{Any, Decode, Moof};
use records::{Codec, Cut, Kind, Part, Rung, Segment, TrackInit, TrackStart};

use super::*;

mod clips;
mod properties;

const AUDIO: Rendition = Rendition::Audio;
const SOURCE: Rendition = Rendition::Source;
const RUNG: Rendition = Rendition::Rung(360);

const VIDEO_SCALE: u32 = 90_000;
const PICTURE: i64 = 3600;

fn video() -> TrackInit {
    TrackInit {
        codec: Codec::H264,
        config: Bytes::from_static(&[1, 77, 0, 31, 0xff, 0xe0, 0]),
        timescale: VIDEO_SCALE,
        sample_ticks: PICTURE as u32,
        kind: Kind::Video { width: 640, height: 360, fps: Some((25, 1)) },
    }
}

fn audio() -> TrackInit {
    TrackInit {
        codec: Codec::Aac,
        config: Bytes::from_static(&[0x11, 0x90]),
        timescale: 48_000,
        sample_ticks: 1024,
        kind: Kind::Audio { sample_rate: 48_000, channels: 2 },
    }
}

fn run(number: u64, start: i64, rungs: &[u16]) -> Run {
    Run {
        number,
        start: MediaTime::new(start, VIDEO_SCALE),
        start_wall_us: 1_000_000 + MediaTime::new(start, VIDEO_SCALE).as_micros() as u64,
        video: Some(video()),
        audio: Some(audio()),
        passthrough: true,
        rungs: rungs.iter().map(|height| Rung { height: *height, bitrate_kbps: 500 }).collect(),
    }
}

fn cut(msn: u64, at: i64) -> FrameBody {
    FrameBody::Cut(Cut { msn, at: MediaTime::new(at, VIDEO_SCALE), gap: false })
}

fn gap(msn: u64, at: i64) -> FrameBody {
    FrameBody::Cut(Cut { msn, at: MediaTime::new(at, VIDEO_SCALE), gap: true })
}

fn sample(rendition: Rendition, dts: i64, cts: i32, keyframe: bool) -> FrameBody {
    let data = Bytes::from(format!("{rendition}@{dts}"));
    FrameBody::Sample(Sample { rendition, dts, cts, keyframe, data })
}

/// One stream, fed in virtual time; checks all rules when it is taken apart.
struct Feed {
    segmenter: Segmenter,
    media: Vec<Media>,
    now_us: u64,
    offset: u64,
}

impl Feed {
    fn new() -> Self {
        Self {
            segmenter: Segmenter::new(stream(), Arc::default()),
            media: Vec::new(),
            now_us: 0,
            offset: 0,
        }
    }

    fn push(&mut self, body: FrameBody) {
        self.now_us += 1000;
        self.push_at(self.now_us, body);
    }

    fn push_at(&mut self, arrival_us: u64, body: FrameBody) {
        self.offset += 1;
        let stream = self.segmenter.stream;
        self.segmenter
            .push(Frame { stream, offset: self.offset, arrival_us, body }, &mut self.media);
    }

    /// `count` pictures from `from` on, a keyframe first.
    fn pictures(&mut self, rendition: Rendition, from: i64, count: i64) {
        for i in 0..count {
            self.push(sample(rendition, from + i * PICTURE, 0, i == 0));
        }
    }

    /// Sound for the instants `from..to` of the picture's timescale.
    fn sound(&mut self, from: i64, to: i64) {
        let grid = |ticks: i64| (ticks * 8 / 15 + 1023) / 1024;
        for block in grid(from)..grid(to) {
            self.push(sample(AUDIO, block * 1024, 0, true));
        }
    }

    fn streams(&self) -> BTreeMap<Rendition, Track> {
        checked(&self.media)
    }
}

fn stream() -> StreamId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

/// What one rendition emitted.
#[derive(Default, Debug)]
struct Track {
    starts: Vec<TrackStart>,
    parts: Vec<Part>,
    segments: Vec<Segment>,
}

impl Track {
    fn msns(&self) -> Vec<u64> {
        self.segments.iter().map(|segment| segment.msn).collect()
    }

    fn gaps(&self) -> Vec<u64> {
        self.segments.iter().filter(|segment| segment.gap).map(|segment| segment.msn).collect()
    }

    /// (decode time, presentation time, payload) of all samples.
    fn samples(&self) -> Vec<(i64, i64, Bytes)> {
        self.parts.iter().flat_map(read).map(|row| (row.dts, row.pts, row.data)).collect()
    }
}

struct Row {
    dts: i64,
    pts: i64,
    duration: i64,
    sync: bool,
    data: Bytes,
}

/// Reads a part back with mp4-atom.
fn read(part: &Part) -> Vec<Row> {
    let whole = part.bytes.to_bytes();
    let mut rest: &[u8] = &whole;
    let moof = Moof::decode(&mut rest).unwrap();
    let Any::Mdat(mdat) = Any::decode(&mut rest).unwrap() else { panic!("no mdat") };
    assert!(rest.is_empty(), "one moof and one mdat");
    let [traf] = &moof.traf[..] else { panic!("one traf") };
    let [trun] = &traf.trun[..] else { panic!("one trun") };
    assert!(traf.tfhd.default_base_is_moof);
    let mut at = trun.data_offset.unwrap() as usize;
    let mut dts = traf.tfdt.as_ref().unwrap().base_media_decode_time as i64;
    let rows: Vec<Row> = trun
        .samples
        .iter()
        .map(|row| {
            let size = row.size.unwrap() as usize;
            let duration = i64::from(row.duration.or(traf.tfhd.default_sample_duration).unwrap());
            let flags = row.flags.or(traf.tfhd.default_sample_flags).unwrap();
            let read = Row {
                dts,
                pts: dts + row.cts.unwrap_or(0),
                duration,
                sync: flags & 0x1_0000 == 0,
                data: whole.slice(at..at + size),
            };
            dts += duration;
            at += size;
            read
        })
        .collect();
    assert_eq!(at, part.bytes.len(), "the samples fill the mdat of {}", mdat.data.len());
    rows
}

/// Sorts media by rendition and checks every rule of PROTOCOLS §1 PART and §2 on the way.
fn checked(media: &[Media]) -> BTreeMap<Rendition, Track> {
    let mut tracks: BTreeMap<Rendition, Track> = BTreeMap::new();
    for record in media {
        match &record.body {
            MediaBody::Track(start) => {
                tracks.entry(start.rendition).or_default().starts.push(start.clone());
            }
            MediaBody::Part(part) => {
                tracks.entry(part.rendition).or_default().parts.push(part.clone());
            }
            MediaBody::Segment(segment) => {
                let track = tracks.entry(segment.rendition).or_default();
                let parts: Vec<&Part> =
                    track.parts.iter().filter(|part| part.msn == segment.msn).collect();
                check_segment(segment, &parts, track);
                track.segments.push(segment.clone());
            }
            MediaBody::End | MediaBody::Fault(_) => {}
        }
    }
    tracks.iter().for_each(|(rendition, track)| check_track(*rendition, track));
    tracks
}

fn check_segment(segment: &Segment, parts: &[&Part], track: &Track) {
    assert_eq!(segment.parts as usize, parts.len());
    assert_eq!(segment.gap, parts.is_empty());
    assert!(segment.duration.ticks > 0);
    if let Some(before) = track.segments.last() {
        assert_eq!(segment.msn, before.msn + 1, "media sequence numbers rise by one");
        if before.run == segment.run {
            let end = before.start.ticks + before.duration.ticks;
            assert_eq!(segment.start.ticks, end, "segments tile the timeline");
        }
    }
    let Some(first) = parts.first() else { return };
    assert_eq!(first.start, segment.start);
    assert!(first.independent, "a segment begins with a sync sample");
    assert_eq!(parts.iter().map(|p| p.duration.ticks).sum::<i64>(), segment.duration.ticks);
    assert_eq!(parts.iter().map(|p| p.bytes.clone()).collect::<Vec<_>>(), segment.chunks);
    let start = track.starts.last().expect("a track before its parts");
    assert_eq!(start.run, segment.run);
    for (index, part) in parts.iter().enumerate() {
        assert_eq!((part.index as usize, part.run), (index, segment.run));
        let (ticks, target) = (part.duration.ticks, start.part_target.ticks);
        let last = index + 1 == parts.len();
        assert!(last || ticks * 100 >= target * 85, "part {index} too short: {ticks}/{target}");
    }
}

fn check_track(rendition: Rendition, track: &Track) {
    let mut due: Option<(u64, i64)> = None;
    let mut sequence = 0;
    for (index, part) in track.parts.iter().enumerate() {
        let rows = read(part);
        let target = track.starts.iter().find(|s| s.run == part.run).unwrap().part_target.ticks;
        // Above the target only where the clock lags as far as it may.
        let next = track.parts.get(index + 1);
        let lags = next.is_some_and(|next| read(next)[0].pts - next.start.ticks > 6 * target);
        let ticks = part.duration.ticks;
        assert!(ticks <= target || lags, "no part above the target: {ticks} > {target}");
        let moof = Moof::decode(&mut &part.bytes.to_bytes()[..]).unwrap();
        assert!(moof.mfhd.sequence_number > sequence, "mfhd rises");
        sequence = moof.mfhd.sequence_number;
        assert_eq!(rows[0].dts, part.start.ticks);
        assert_eq!(rows.iter().map(|row| row.duration).sum::<i64>(), part.duration.ticks);
        assert_eq!(part.independent, rows[0].sync);
        let iframe = rendition.is_video() && rows[0].sync;
        assert_eq!(part.iframe_bytes.is_some(), iframe);
        if let Some(bytes) = part.iframe_bytes {
            assert!(part.bytes.to_bytes()[..bytes as usize].ends_with(&rows[0].data));
        }
        if let Some((run, end)) = due.filter(|(run, _)| *run == part.run) {
            let skipped: i64 = track
                .segments
                .iter()
                .filter(|s| s.gap && s.run == run && s.msn < part.msn && s.start.ticks >= end)
                .map(|s| s.duration.ticks)
                .sum();
            assert_eq!(part.start.ticks, end + skipped, "decode times are contiguous");
        }
        due = Some((part.run, part.start.ticks + part.duration.ticks));
    }
}

#[test]
fn a_constant_rate_fills_parts_exactly_and_without_waiting() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[]))));
    feed.push(cut(10, 0));
    feed.pictures(SOURCE, 0, 50);
    let before = feed.streams()[&SOURCE].parts.len();
    assert_eq!(before, 10, "the last part doesn't wait for the next picture");
    feed.push(cut(11, 50 * PICTURE));
    feed.pictures(SOURCE, 50 * PICTURE, 1);
    let source = &feed.streams()[&SOURCE];
    assert_eq!(source.msns(), [10]);
    assert_eq!(source.segments[0].duration, MediaTime::new(2, 1));
    assert!(source.parts.iter().all(|part| part.duration == MediaTime::new(1, 5)));
    assert_eq!(source.starts[0].part_target, MediaTime::new(1, 5));
    assert_eq!(source.starts[0].renditions, [AUDIO, SOURCE]);
}

#[test]
fn sound_declares_a_target_of_whole_blocks() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[]))));
    feed.push(cut(0, 0));
    feed.sound(0, 90_000);
    feed.push(FrameBody::Pause);
    let sound = &feed.streams()[&AUDIO];
    assert_eq!(sound.starts[0].part_target, MediaTime::new(9 * 1024, 48_000));
    assert_eq!(sound.samples().len(), 47);
}

#[test]
fn b_frames_start_at_the_cut_by_negative_offsets() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[]))));
    feed.push(cut(0, 0));
    // I P B B …: a delay of two pictures, so that the first dts is negative.
    for (i, cts) in [2, 4, 1, 1, 4, 1, 1].into_iter().enumerate() {
        let dts = (i as i64 - 2) * PICTURE;
        feed.push(sample(SOURCE, dts, cts * PICTURE as i32, i == 0));
    }
    feed.push(FrameBody::Pause);
    let samples = feed.streams()[&SOURCE].samples();
    assert_eq!((samples[0].0, samples[0].1), (0, 0));
    let shown: Vec<i64> = samples.iter().map(|(_, pts, _)| pts / PICTURE).collect();
    assert_eq!(shown, [0, 3, 1, 2, 6, 4, 5]);
}

#[test]
fn a_hole_moves_the_clock_not_the_picture() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[]))));
    feed.push(cut(0, 0));
    feed.pictures(SOURCE, 0, 22);
    for i in 40..75 {
        feed.push(sample(SOURCE, i * PICTURE, 0, false));
    }
    feed.push(FrameBody::Pause);
    let samples = feed.streams()[&SOURCE].samples();
    let shown: Vec<i64> = samples.iter().map(|(_, pts, _)| pts / PICTURE).collect();
    assert_eq!(shown, (0..22).chain(40..75).collect::<Vec<_>>());
    let last = samples.last().unwrap();
    assert_eq!(last.0, last.1, "the clock has caught up");
}

#[test]
fn missing_sound_is_a_gap_and_comes_back() {
    let mut feed = Feed::new();
    let second = 25 * PICTURE;
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[]))));
    for msn in 0..6 {
        feed.push(cut(msn, msn as i64 * second));
        feed.pictures(SOURCE, msn as i64 * second, 25);
        if !(1..4).contains(&msn) {
            feed.sound(msn as i64 * second, (msn as i64 + 1) * second);
        }
    }
    feed.push(FrameBody::Pause);
    let streams = feed.streams();
    assert_eq!(streams[&AUDIO].gaps(), [1, 2, 3]);
    assert_eq!(streams[&SOURCE].gaps(), [0; 0]);
    assert_eq!(streams[&AUDIO].msns(), streams[&SOURCE].msns());
    assert_eq!(streams[&AUDIO].segments[4].start, MediaTime::new(4, 1));
}

#[test]
fn a_reconnect_fills_the_time_between_with_gaps_in_every_rendition() {
    let mut feed = Feed::new();
    let second = 25 * PICTURE;
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[360]))));
    feed.push(FrameBody::RungStart { rendition: RUNG, run: 0, init: video() });
    feed.push(cut(0, 0));
    feed.pictures(SOURCE, 0, 25);
    feed.sound(0, second);
    feed.push(FrameBody::Pause);
    feed.push(gap(1, second));
    feed.push(gap(2, 3 * second));
    feed.push(FrameBody::Run(Box::new(run(1, 5 * second, &[]))));
    feed.push(cut(3, 5 * second));
    feed.pictures(SOURCE, 5 * second, 25);
    feed.sound(5 * second, 6 * second);
    assert_eq!(feed.streams()[&RUNG].msns(), [0; 0], "the rung still drains");
    feed.pictures(RUNG, 0, 25);
    feed.push(FrameBody::RungDrained { rendition: RUNG, run: 0 });
    feed.push(FrameBody::Pause);
    feed.push(FrameBody::End);
    let streams = feed.streams();
    for rendition in [AUDIO, SOURCE] {
        assert_eq!(streams[&rendition].msns(), [0, 1, 2, 3], "{rendition}");
        assert_eq!(streams[&rendition].gaps(), [1, 2], "{rendition}");
    }
    assert_eq!(streams[&RUNG].msns(), [0, 1, 2], "not in the second run");
    assert_eq!(streams[&RUNG].gaps(), [1, 2]);
    let last = &streams[&SOURCE].segments[3];
    assert_eq!((last.run, last.wall_us), (1, 6_000_000));
    assert_eq!(ends(&feed), 1);
    feed.push(FrameBody::End);
    assert_eq!(ends(&feed), 1);
}

fn ends(feed: &Feed) -> usize {
    feed.media.iter().filter(|m| matches!(m.body, MediaBody::End)).count()
}

#[test]
fn the_end_waits_for_the_encoders() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[360]))));
    feed.push(cut(0, 0));
    feed.pictures(SOURCE, 0, 25);
    feed.push(FrameBody::Pause);
    feed.push(FrameBody::End);
    assert_eq!(ends(&feed), 0);
    feed.push(FrameBody::RungDrained { rendition: RUNG, run: 0 });
    assert_eq!(ends(&feed), 1);
    let streams = feed.streams();
    assert_eq!(streams[&RUNG].gaps(), [0], "never started");
    assert_eq!(streams[&AUDIO].gaps(), [0], "never came");
    assert_eq!(streams[&RUNG].segments[0].duration, MediaTime::new(1, 1));
}

#[test]
fn a_shed_segment_is_a_gap_of_that_rung_alone() {
    let mut feed = Feed::new();
    let second = 25 * PICTURE;
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[360]))));
    feed.push(FrameBody::RungStart { rendition: RUNG, run: 0, init: video() });
    for msn in 0..4 {
        let at = msn as i64 * second;
        feed.push(cut(msn, at));
        feed.pictures(SOURCE, at, 25);
        match msn {
            1 | 2 => feed.push(FrameBody::RungGap { rendition: RUNG, msn }),
            _ => feed.pictures(RUNG, at, 25),
        }
    }
    feed.push(FrameBody::Pause);
    feed.push(FrameBody::RungDrained { rendition: RUNG, run: 0 });
    let streams = feed.streams();
    assert_eq!(streams[&RUNG].gaps(), [1, 2]);
    assert_eq!(streams[&RUNG].msns(), [0, 1, 2, 3]);
    assert_eq!(streams[&RUNG].segments[3].start, MediaTime::new(3, 1));
    assert_eq!(streams[&SOURCE].gaps(), [0; 0]);
}

#[test]
fn a_rung_that_lags_too_far_loses_its_oldest_segments() {
    let mut feed = Feed::new();
    feed.push(FrameBody::Run(Box::new(run(0, 0, &[360]))));
    feed.push(FrameBody::RungStart { rendition: RUNG, run: 0, init: video() });
    for msn in 0..100 {
        feed.push(cut(msn, msn as i64 * PICTURE));
        feed.pictures(SOURCE, msn as i64 * PICTURE, 1);
    }
    assert!(feed.segmenter.timeline.end() - feed.segmenter.queues[2].lane().position() <= 64);
    let gaps = feed.streams()[&RUNG].gaps();
    assert_eq!(gaps, (0..gaps.len() as u64).collect::<Vec<_>>());
    assert!(gaps.len() > 30);
    // What comes for them now is too late.
    feed.pictures(RUNG, 0, 1);
    feed.pictures(RUNG, 90 * PICTURE, 1);
    feed.push(FrameBody::RungDrained { rendition: RUNG, run: 0 });
    feed.push(FrameBody::Pause);
    let rung = &feed.streams()[&RUNG];
    assert_eq!(rung.samples().len(), 1);
    assert_eq!(rung.parts[0].msn, 90);
}

#[test]
fn a_source_that_needs_no_encoder_any_more_waits_for_it_to_drain() {
    let mut feed = Feed::new();
    let second = 25 * PICTURE;
    feed.push(FrameBody::Run(Box::new(Run { passthrough: false, ..run(0, 0, &[]) })));
    feed.push(FrameBody::RungStart { rendition: SOURCE, run: 0, init: video() });
    feed.push(cut(0, 0));
    let early = feed.now_us;
    feed.push(FrameBody::Pause);
    feed.push(FrameBody::Run(Box::new(run(1, second, &[]))));
    feed.push(cut(1, second));
    feed.pictures(SOURCE, second, 50);
    feed.push(cut(2, 3 * second));
    feed.pictures(SOURCE, 3 * second, 50);
    feed.push(cut(3, 5 * second));
    feed.pictures(SOURCE, 5 * second, 50);
    for i in 0..25 {
        feed.push_at(early, sample(SOURCE, i * PICTURE, 0, i == 0));
    }
    feed.push(FrameBody::RungDrained { rendition: SOURCE, run: 0 });
    feed.push(FrameBody::Pause);
    let source = &feed.streams()[&SOURCE];
    assert_eq!(source.samples().len(), 175);
    assert_eq!(source.gaps(), [0; 0]);
    assert_eq!(source.starts.iter().map(|s| s.run).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn faults_pass_through() {
    let mut feed = Feed::new();
    let site = records::FaultSite { operator: "hls".into(), times_left: Arc::default() };
    feed.push(FrameBody::Fault(site));
    assert!(matches!(feed.media[0].body, MediaBody::Fault(_)));
}
