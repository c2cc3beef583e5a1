//! What one rung delivers of one run, in order.
//!
//! ```text
//! tee ──expect(picture | gap)──► [ expected ] ◄──deliver── encoder
//!                                     └──► RungStart · Sample · RungGap · RungDrained ──► intake
//! ```
//!
//! Enters: from the tee, what this rung is to deliver, in order; from its
//! encoder, what it did deliver. Leaves: the rung's frames on the encoded
//! path. Held: pictures on their way through the encoder. A segment none of
//! whose pictures came out is a gap. Ends with `RungDrained`, after which
//! nothing more leaves, whatever an encoder still says.
//!
//! Encoders come and go (shedding, failures). A *token* says which one is
//! meant: whoever holds an old one is not heard.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use records::{Frame, FrameBody, Rendition, Sample, StreamId, TrackInit};
use runtime::Writer;

/// A picture on its way to a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Its buffer timestamp: how it is known again when it comes out.
    pub ns: u64,
    /// Presentation time in the source's ticks.
    pub pts: i64,
    /// Arrival of the published picture.
    pub arrival_us: u64,
    /// The segment that it is the first picture of.
    pub begins: Option<u64>,
}

enum Item {
    Picture(Picture),
    Gap(u64),
}

/// What an output has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub pictures_in: u64,
    pub pictures_out: u64,
    pub keyframes_out: u64,
    pub bytes_out: u64,
    pub gaps: u64,
    pub lost: u64,
}

struct State {
    token: u64,
    // An encoder with this token may still deliver.
    live: bool,
    expected: VecDeque<Item>,
    // A segment whose first pictures were lost.
    unbegun: Option<u64>,
    init: Option<TrackInit>,
    last_dts: Option<i64>,
    arrival_us: u64,
    draining: bool,
    drained: bool,
    tally: Tally,
    // Pictures out since `window.0`, and the rate of the window before.
    window: (Instant, u32),
    fps: f32,
}

/// The output of one rung in one run.
pub(super) struct Output {
    pub rendition: Rendition,
    run: u64,
    stream: StreamId,
    writer: Writer<Frame>,
    on_drained: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
}

/// A snapshot of an output for metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub tally: Tally,
    pub waiting: usize,
    pub oldest_pts: Option<i64>,
    pub fps: f32,
}

impl Output {
    /// `on_drained` is called once, with the output's lock held: it may only signal.
    pub fn new(
        rendition: Rendition,
        run: u64,
        writer: Writer<Frame>,
        on_drained: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let state = State {
            token: 0,
            live: false,
            expected: VecDeque::new(),
            unbegun: None,
            init: None,
            last_dts: None,
            arrival_us: 0,
            draining: false,
            drained: false,
            tally: Tally::default(),
            window: (Instant::now(), 0),
            fps: 0.0,
        };
        let stream = writer.stream();
        Self { rendition, run, stream, writer, on_drained, state: Mutex::new(state) }
    }

    /// A new decoder takes over: whatever was under way is lost. Returns its token.
    pub fn take_over(&self) -> u64 {
        let mut state = self.state.lock();
        self.lose_all(&mut state);
        state.live = false;
        state.token += 1;
        state.token
    }

    /// A new encoder for the holder of `token`; its token, unless another decoder took over.
    pub fn renew(&self, token: u64) -> Option<u64> {
        let mut state = self.state.lock();
        if state.token != token || state.drained {
            return None;
        }
        self.lose_all(&mut state);
        state.live = true;
        state.token += 1;
        Some(state.token)
    }

    /// A picture goes to the encoder.
    pub fn expect(&self, token: u64, picture: Picture) {
        let mut state = self.state.lock();
        if state.token == token && !state.drained {
            state.tally.pictures_in += 1;
            state.expected.push_back(Item::Picture(picture));
        }
    }

    /// This rung gets no picture of segment `msn`.
    pub fn expect_gap(&self, token: u64, msn: u64) {
        let mut state = self.state.lock();
        if state.token == token && !state.drained {
            state.expected.push_back(Item::Gap(msn));
            self.settle(&mut state);
        }
    }

    /// Nobody decodes: this rung gets no picture of segment `msn`.
    pub fn miss(&self, msn: u64) {
        let mut state = self.state.lock();
        if !state.drained {
            state.expected.push_back(Item::Gap(msn));
            self.settle(&mut state);
        }
    }

    /// An access unit came out. False: its decoder configuration is not the
    /// one that viewers were given, so this encoder can't go on in this run.
    #[must_use]
    pub fn deliver(
        &self,
        token: u64,
        ns: u64,
        keyframe: bool,
        init: &TrackInit,
        data: Bytes,
    ) -> bool {
        let mut state = self.state.lock();
        if state.token != token || state.drained {
            return true;
        }
        let known = |item: &Item| matches!(item, Item::Picture(p) if p.ns == ns);
        let Some(position) = state.expected.iter().position(known) else {
            state.tally.lost += 1;
            return true;
        };
        for _ in 0..position {
            self.lose_oldest(&mut state);
        }
        let Some(Item::Picture(picture)) = state.expected.pop_front() else { return true };
        let first = picture.begins.or(state.unbegun);
        if let Some(msn) = first {
            if picture.begins.is_some() {
                self.flush_unbegun(&mut state);
            }
            if !keyframe {
                state.unbegun = Some(msn);
                state.tally.lost += 1;
                self.settle(&mut state);
                return true;
            }
            state.unbegun = None;
        }
        state.arrival_us = picture.arrival_us;
        match &state.init {
            None => {
                state.init = Some(init.clone());
                let start = FrameBody::RungStart {
                    rendition: self.rendition,
                    run: self.run,
                    init: init.clone(),
                };
                self.emit(&state, start);
            }
            Some(given) if given != init => return false,
            Some(_) => {}
        }
        // Without B-frames decode order is presentation order; the guard keeps
        // the promise of rising decode times whatever an encoder does.
        let dts = state.last_dts.map_or(picture.pts, |last| picture.pts.max(last + 1));
        state.last_dts = Some(dts);
        state.tally.pictures_out += 1;
        state.tally.keyframes_out += u64::from(keyframe);
        state.tally.bytes_out += data.len() as u64;
        state.window.1 += 1;
        let elapsed = state.window.0.elapsed().as_secs_f32();
        if elapsed >= 1.0 {
            state.fps = state.window.1 as f32 / elapsed;
            state.window = (Instant::now(), 0);
        }
        let cts = i32::try_from(picture.pts - dts).unwrap_or(0);
        let rendition = self.rendition;
        self.emit(&state, FrameBody::Sample(Sample { rendition, dts, cts, keyframe, data }));
        self.settle(&mut state);
        true
    }

    /// The encoder with this token delivers nothing more: it was told to stop, or failed.
    pub fn ended(&self, token: u64) {
        let mut state = self.state.lock();
        if state.token == token {
            state.live = false;
            self.lose_all(&mut state);
            if state.draining {
                self.finish(&mut state);
            }
        }
    }

    /// The run is over: `RungDrained` once the encoder has ended.
    pub fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        if !state.live {
            self.finish(&mut state);
        }
    }

    /// The run is over and nobody is waited for.
    pub fn seal(&self) {
        let mut state = self.state.lock();
        state.token += 1;
        state.live = false;
        self.finish(&mut state);
    }

    /// Whether the encoder with the current token may still deliver.
    pub fn is_live(&self) -> bool {
        self.state.lock().live
    }

    pub fn is_drained(&self) -> bool {
        self.state.lock().drained
    }

    /// Presentation and arrival time of the oldest picture that is still expected.
    pub fn oldest(&self) -> Option<(i64, u64)> {
        oldest(&self.state.lock()).map(|picture| (picture.pts, picture.arrival_us))
    }

    pub fn progress(&self) -> Progress {
        let state = self.state.lock();
        let idle = state.window.0.elapsed().as_secs() >= 3;
        Progress {
            tally: state.tally,
            waiting: state.expected.len(),
            oldest_pts: oldest(&state).map(|picture| picture.pts),
            fps: if idle { 0.0 } else { state.fps },
        }
    }

    fn finish(&self, state: &mut State) {
        self.lose_all(state);
        if !std::mem::replace(&mut state.drained, true) {
            self.emit(state, FrameBody::RungDrained { rendition: self.rendition, run: self.run });
            (self.on_drained)();
        }
    }

    /// Gaps that wait for nothing before them leave at once.
    fn settle(&self, state: &mut State) {
        while matches!(state.expected.front(), Some(Item::Gap(_))) {
            self.lose_oldest(state);
        }
    }

    fn lose_all(&self, state: &mut State) {
        while !state.expected.is_empty() {
            self.lose_oldest(state);
        }
        self.flush_unbegun(state);
    }

    fn lose_oldest(&self, state: &mut State) {
        match state.expected.pop_front() {
            Some(Item::Gap(msn)) => {
                self.flush_unbegun(state);
                self.gap(state, msn);
            }
            Some(Item::Picture(picture)) => {
                state.tally.lost += 1;
                if picture.begins.is_some() {
                    self.flush_unbegun(state);
                    state.unbegun = picture.begins;
                }
            }
            None => {}
        }
    }

    fn flush_unbegun(&self, state: &mut State) {
        if let Some(msn) = state.unbegun.take() {
            self.gap(state, msn);
        }
    }

    fn gap(&self, state: &mut State, msn: u64) {
        state.tally.gaps += 1;
        self.emit(state, FrameBody::RungGap { rendition: self.rendition, msn });
    }

    fn emit(&self, state: &State, body: FrameBody) {
        if state.drained && !matches!(body, FrameBody::RungDrained { .. }) {
            return;
        }
        let frame = Frame { stream: self.stream, offset: 0, arrival_us: state.arrival_us, body };
        // Closed: the stream is over and nobody waits for its frames.
        let _ = self.writer.push_now(frame);
    }
}

fn oldest(state: &State) -> Option<Picture> {
    state.expected.iter().find_map(|item| match item {
        Item::Picture(picture) => Some(*picture),
        Item::Gap(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use records::{Codec, Kind};
    use runtime::{Intake, IntakeLimits, ShardTable};

    use super::*;

    struct Fixture {
        intake: Intake<Frame>,
        output: Output,
    }

    impl Fixture {
        fn new() -> Self {
            let limits = IntakeLimits { unread_bytes_max: 1 << 20, retained_bytes_max: 1 << 20 };
            let intake = Intake::new("test", limits);
            let writer = intake.writer(StreamId::generate());
            let output = Output::new(Rendition::Rung(360), 3, writer, Box::new(|| {}));
            Self { intake, output }
        }

        /// What left, in short: `start`, `K0` (keyframe), `P1`, `gap5`, `drained`.
        fn left(&self) -> Vec<String> {
            let mut left = Vec::new();
            self.intake.read(0, &ShardTable::even(1), usize::MAX, |frame| {
                left.push(match frame.body {
                    FrameBody::RungStart { run: 3, .. } => "start".into(),
                    FrameBody::Sample(s) => {
                        let kind = if s.keyframe { 'K' } else { 'P' };
                        format!("{kind}{}", s.dts + i64::from(s.cts))
                    }
                    FrameBody::RungGap { msn, .. } => format!("gap{msn}"),
                    FrameBody::RungDrained { run: 3, .. } => "drained".into(),
                    other => format!("{other:?}"),
                });
            });
            left
        }

        fn expect(&self, token: u64, pts: i64, begins: Option<u64>) {
            let ns = pts as u64;
            self.output.expect(token, Picture { ns, pts, arrival_us: 7, begins });
        }

        fn deliver(&self, token: u64, pts: i64, keyframe: bool) {
            let init = TrackInit {
                codec: Codec::H264,
                config: Bytes::from_static(b"avcC"),
                timescale: 90_000,
                sample_ticks: 1,
                kind: Kind::Video { width: 2, height: 2, fps: None },
            };
            let data = Bytes::from_static(b"au");
            assert!(self.output.deliver(token, pts as u64, keyframe, &init, data));
        }
    }

    #[test]
    fn a_gap_waits_for_the_pictures_before_it() {
        let f = Fixture::new();
        let token = f.output.take_over();
        let token = f.output.renew(token).unwrap();
        f.expect(token, 0, Some(5));
        f.expect(token, 1, None);
        f.output.expect_gap(token, 6);
        f.deliver(token, 0, true);
        assert_eq!(f.left(), ["start", "K0"]);
        f.deliver(token, 1, false);
        assert_eq!(f.left(), ["P1", "gap6"]);
        f.output.expect_gap(token, 7);
        assert_eq!(f.left(), ["gap7"]);
        f.output.drain();
        assert_eq!(f.left(), Vec::<String>::new());
        f.output.ended(token);
        assert_eq!(f.left(), ["drained"]);
    }

    #[test]
    fn a_segment_of_which_nothing_came_out_is_a_gap() {
        let f = Fixture::new();
        let token = f.output.take_over();
        let token = f.output.renew(token).unwrap();
        f.expect(token, 0, Some(5));
        f.expect(token, 1, None);
        f.expect(token, 2, Some(6));
        f.deliver(token, 2, true);
        assert_eq!(f.left(), ["gap5", "start", "K2"]);
        f.expect(token, 3, Some(7));
        f.output.ended(token);
        assert_eq!(f.left(), ["gap7"]);
    }

    #[test]
    fn a_segment_may_begin_late_but_only_with_a_keyframe() {
        let f = Fixture::new();
        let token = f.output.take_over();
        let token = f.output.renew(token).unwrap();
        for pts in 0..4 {
            f.expect(token, pts, (pts == 0).then_some(5));
        }
        f.deliver(token, 1, false);
        assert_eq!(f.left(), Vec::<String>::new());
        f.deliver(token, 2, true);
        f.deliver(token, 3, false);
        assert_eq!(f.left(), ["start", "K2", "P3"]);
    }

    #[test]
    fn whoever_was_replaced_is_not_heard() {
        let f = Fixture::new();
        let old = f.output.take_over();
        let old = f.output.renew(old).unwrap();
        f.expect(old, 0, Some(5));
        let token = f.output.take_over();
        assert_eq!(f.left(), ["gap5"]);
        f.deliver(old, 0, true);
        f.output.expect_gap(old, 9);
        assert!(f.output.renew(old).is_none());
        assert_eq!(f.left(), Vec::<String>::new());
        assert!(f.output.renew(token).is_some());
        f.output.seal();
        f.output.seal();
        assert_eq!(f.left(), ["drained"]);
    }
}
