//! The demuxer fed with messages, as publishers good and bad send them.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use records::{Codec, Cut, FaultSite, FrameBody, Kind, Rendition, Run, Sample};

use super::*;

mod clips;
mod faults;
mod properties;

const WALL: u64 = 1_700_000_000_000_000;

/// An AVCDecoderConfigurationRecord: 1280x720, 25 per second in its VUI.
fn avcc(width_mbs: u32) -> Vec<u8> {
    let mut bits = BitString::default();
    bits.put(0x67, 8);
    bits.put(66, 8);
    bits.put(0, 8);
    bits.put(31, 8);
    for ue in [0, 0, 2] {
        bits.ue(ue);
    }
    bits.ue(1);
    bits.put(0, 1);
    bits.ue(width_mbs - 1);
    bits.ue(44);
    // frame_mbs_only, direct_8x8, no cropping, VUI with timing only.
    bits.put(0b1101, 4);
    bits.put(0b0_0001, 5);
    bits.put(1, 32);
    bits.put(50, 32);
    bits.put(0b1_0000, 5);
    bits.put(0b1000_0000, 8);
    let sps = bits.bytes();
    let mut out = vec![1, 66, 0, 31, 0xff, 0xe1, 0, sps.len() as u8];
    out.extend(sps);
    out.extend([1, 0, 2, 0x68, 0xce]);
    out
}

#[derive(Default)]
struct BitString(Vec<bool>);

impl BitString {
    fn put(&mut self, value: u64, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = 64 - code.leading_zeros();
        self.put(0, length - 1);
        self.put(code, length);
    }

    /// With emulation prevention, as in a NAL unit.
    fn bytes(&self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for chunk in self.0.chunks(8) {
            let byte =
                chunk.iter().enumerate().fold(0, |sum, (i, bit)| sum | u8::from(*bit) << (7 - i));
            if out.ends_with(&[0, 0]) && byte <= 3 {
                out.push(3);
            }
            out.push(byte);
        }
        out
    }
}

/// A publisher's messages into a demuxer; each second of source time is one of arrival time.
struct Feed {
    demuxer: Demuxer,
    packets: Vec<Packet>,
    out: Vec<Demuxed>,
    offset: u64,
    now_ms: u64,
}

impl Feed {
    fn new(config: DemuxConfig) -> Self {
        Self::resumed(config, None)
    }

    fn resumed(config: DemuxConfig, resume: Option<Resume>) -> Self {
        let stream = StreamId(Default::default());
        let demuxer = Demuxer::new(stream, Arc::new(config), resume);
        Self { demuxer, packets: Vec::new(), out: Vec::new(), offset: 0, now_ms: 0 }
    }

    fn started() -> Self {
        let mut feed = Self::new(DemuxConfig::default());
        feed.start();
        feed
    }

    fn start(&mut self) {
        self.body(PacketBody::Start { session: 1 });
    }

    fn body(&mut self, body: PacketBody) {
        let packet = Packet {
            stream: self.demuxer.stream,
            offset: self.offset,
            arrival_us: WALL + self.now_ms * 1000,
            body,
        };
        self.offset += 1;
        self.packets.push(packet.clone());
        self.demuxer.push(packet, &mut self.out);
    }

    fn video(&mut self, timestamp_ms: i64, data: impl Into<Bytes>) {
        self.body(PacketBody::Video { timestamp_ms, data: data.into() });
    }

    fn audio(&mut self, timestamp_ms: i64, data: impl Into<Bytes>) {
        self.body(PacketBody::Audio { timestamp_ms, data: data.into() });
    }

    fn configs(&mut self) {
        self.avc(80);
        self.asc();
    }

    fn avc(&mut self, width_mbs: u32) {
        self.video(0, [vec![0x17, 0, 0, 0, 0], avcc(width_mbs)].concat());
    }

    fn asc(&mut self) {
        self.audio(0, vec![0xaf, 0, 0x11, 0x90]);
    }

    fn picture(&mut self, ms: i64, keyframe: bool) {
        self.shown(ms, 0, keyframe);
    }

    fn shown(&mut self, ms: i64, cts: i32, keyframe: bool) {
        let cts = cts.to_be_bytes();
        let (head, nal) = if keyframe { (0x17, 0x65) } else { (0x27, 0x41) };
        self.video(ms, vec![head, 1, cts[1], cts[2], cts[3], 0, 0, 0, 2, nal, 0x80]);
    }

    fn block(&mut self, ms: i64) {
        self.audio(ms, vec![0xaf, 1, 0x21, 0x10]);
    }

    fn idle(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.now_ms += 500;
            self.body(PacketBody::Idle);
        }
    }

    /// Real time: pictures at 25 per second, a keyframe each `gop`, and sound, source time from `base`.
    fn play(&mut self, base: i64, from_ms: u64, ms: u64, gop: u64) {
        self.tracks(base, from_ms, ms, Some(gop), true);
    }

    fn tracks(&mut self, base: i64, from_ms: u64, ms: u64, gop: Option<u64>, sound: bool) {
        let began = self.now_ms;
        let mut block = (from_ms * 3).div_ceil(64);
        for frame in 0..ms / 40 {
            let at = from_ms + frame * 40;
            self.now_ms = began + frame * 40;
            if let Some(gop) = gop {
                self.picture(base + at as i64, at.is_multiple_of(gop * 40));
            }
            while sound && block * 64 / 3 < at + 40 {
                self.block(base + (block * 64 / 3) as i64);
                block += 1;
            }
        }
        self.now_ms = began + ms;
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.out.iter().filter_map(|out| match out {
            Demuxed::Frame(frame) => Some(frame),
            Demuxed::Health(_) => None,
        })
    }

    fn health(&self) -> Vec<&Health> {
        self.out
            .iter()
            .filter_map(|out| match out {
                Demuxed::Health(health) => Some(health),
                Demuxed::Frame(_) => None,
            })
            .collect()
    }

    fn dropped(&self) -> u32 {
        self.health().iter().map(|health| health.dropped).sum::<u32>()
            + self.demuxer.meter.pending_dropped()
    }

    fn runs(&self) -> Vec<&Run> {
        self.frames()
            .filter_map(|frame| match &frame.body {
                FrameBody::Run(run) => Some(&**run),
                _ => None,
            })
            .collect()
    }

    fn cuts(&self) -> Vec<Cut> {
        self.frames()
            .filter_map(|frame| match &frame.body {
                FrameBody::Cut(cut) => Some(*cut),
                _ => None,
            })
            .collect()
    }

    /// Cut instants in milliseconds; gaps as their own list.
    fn cut_ms(&self, gap: bool) -> Vec<i64> {
        self.cuts()
            .iter()
            .filter(|cut| cut.gap == gap)
            .map(|cut| cut.at.as_micros() / 1000)
            .collect()
    }

    fn samples(&self, rendition: Rendition) -> Vec<&Sample> {
        self.frames()
            .filter_map(|frame| match &frame.body {
                FrameBody::Sample(sample) if sample.rendition == rendition => Some(sample),
                _ => None,
            })
            .collect()
    }

    fn pauses(&self) -> usize {
        self.frames().filter(|frame| matches!(frame.body, FrameBody::Pause)).count()
    }

    /// What must hold whatever came in; and that a replay from each checkpoint gives the same.
    fn check(&self) {
        let (mut cut, mut run, mut dts): (Option<Cut>, Option<u64>, _) =
            (None, None, [None::<MediaTime>; 2]);
        let (mut open, mut ended, mut scales) = (false, false, [1, 1]);
        let mut floor = MediaTime::new(0, 1);
        let (mut start, mut passthrough) = (floor, true);
        for frame in self.frames() {
            assert!(!ended, "nothing follows End");
            match &frame.body {
                FrameBody::Run(next) => {
                    assert!(!open, "a run begins after a pause");
                    assert!(run.is_none_or(|run| next.number == run + 1));
                    assert!(next.start >= floor, "media time goes back");
                    assert!(next.video.is_some() || next.audio.is_some());
                    for (scale, init) in scales.iter_mut().zip([&next.video, &next.audio]) {
                        *scale = init.as_ref().map_or(1, |init| init.timescale);
                    }
                    (run, open) = (Some(next.number), true);
                    (start, passthrough) = (next.start, next.passthrough);
                }
                FrameBody::Cut(next) => {
                    assert_eq!(next.gap, !open);
                    if let Some(cut) = cut {
                        assert_eq!(next.msn, cut.msn + 1);
                        assert!(next.at > cut.at, "{next:?} after {cut:?}");
                        let max = self.demuxer.config.segment_max;
                        assert!(!cut.gap || next.at <= plus(cut.at, max), "{next:?} after {cut:?}");
                    }
                    floor = floor.max(next.at);
                    cut = Some(*next);
                }
                FrameBody::Sample(sample) => {
                    assert!(open && cut.is_some());
                    let track = usize::from(sample.rendition == Rendition::Audio);
                    let at = MediaTime::new(sample.dts, scales[track]);
                    assert!(dts[track].is_none_or(|before| at > before), "decode time goes back");
                    assert!(sample.dts >= 0);
                    let shown = MediaTime::new(sample.dts + i64::from(sample.cts), scales[track]);
                    let drained = track == 0 && !passthrough;
                    assert!(drained || shown >= start, "a sample before its run");
                    dts[track] = Some(at);
                }
                FrameBody::Pause => {
                    assert!(open, "only an open run pauses");
                    open = false;
                }
                FrameBody::End => {
                    assert!(!open, "a run pauses before the end");
                    ended = true;
                }
                FrameBody::Checkpoint(state) => self.check_replay(frame.offset, state),
                _ => {}
            }
        }
    }

    fn check_replay(&self, offset: u64, state: &Arc<dyn std::any::Any + Send + Sync>) {
        let mut demuxer = state.downcast_ref::<Demuxer>().unwrap().clone();
        let mut out = Vec::new();
        // Long replays of every checkpoint would take the square of the time.
        let upto = offset + 400;
        for packet in
            self.packets.iter().filter(|packet| (offset + 1..upto).contains(&packet.offset))
        {
            demuxer.push(packet.clone(), &mut out);
        }
        let out: Vec<_> = out.iter().filter_map(text).collect();
        let first: Vec<_> = self
            .frames()
            .filter(|frame| (offset + 1..upto).contains(&frame.offset))
            .filter_map(|frame| text(&Demuxed::Frame(frame.clone())))
            .collect();
        assert_eq!(out, first);
    }
}

/// A frame for comparison; health doesn't belong to the direct path.
fn text(out: &Demuxed) -> Option<String> {
    match out {
        Demuxed::Frame(Frame { offset, body: FrameBody::Checkpoint(_), .. }) => {
            Some(format!("checkpoint {offset}"))
        }
        Demuxed::Frame(frame) => Some(format!("{frame:?}")),
        Demuxed::Health(_) => None,
    }
}
