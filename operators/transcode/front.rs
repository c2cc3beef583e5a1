//! The pool's memory of one stream, on the data plane's side.
//!
//! Enters: every frame of the direct path, some of them again after a replay.
//! Leaves: whether a frame is new, and to which run it belongs. Held: how far
//! the stream was submitted, its latest runs, and the source's pictures since
//! the last keyframe, so that a decoder can begin in the middle of them.

use std::collections::VecDeque;
use std::sync::Arc;

use records::{Sample, TrackInit};

use super::inbox::{Feed, Inbox};
use super::run::RunShared;

/// Runs that are remembered: more than a replay reaches back.
const RUNS: usize = 64;
/// Pictures since the last keyframe that are kept, in bytes. More is not kept
/// at all: a decoder then begins at the next keyframe.
const GOP_BYTES_MAX: usize = 24 << 20;

/// A frame's place in its stream: packet offset, and which frame of that
/// packet's it is, from 1.
pub(super) type Position = (u64, u32);

/// Tells frames seen before from new ones.
#[derive(Default)]
pub(super) struct Seen {
    highest: Option<Position>,
    current: Position,
    replay: u64,
}

impl Seen {
    /// The frame's position, and whether it is the first time it comes by.
    /// `replay` counts the rewinds of the intake.
    pub fn advance(&mut self, offset: u64, replay: u64) -> (Position, bool) {
        if self.current.0 != offset || self.replay != replay {
            self.current = (offset, 0);
            self.replay = replay;
        }
        self.current.1 += 1;
        let new = self.highest.is_none_or(|highest| self.current > highest);
        if new {
            self.highest = Some(self.current);
        }
        (self.current, new)
    }
}

/// The source's pictures since the last keyframe.
#[derive(Default)]
pub(super) struct Gop {
    init: Option<TrackInit>,
    feeds: Vec<Feed>,
    bytes: usize,
}

impl Gop {
    /// A run with this track begins: pictures of another track are of no use to it.
    pub fn track(&mut self, init: &TrackInit) {
        if self.init.as_ref() != Some(init) {
            *self = Self { init: Some(init.clone()), ..Self::default() };
        }
    }

    pub fn push(&mut self, feed: &Feed) {
        if feed.keyframe {
            self.feeds.clear();
            self.bytes = 0;
        } else if self.feeds.is_empty() {
            return;
        }
        self.bytes += feed.data.len();
        self.feeds.push(feed.clone());
        if self.bytes > GOP_BYTES_MAX {
            self.feeds = Vec::new();
            self.bytes = 0;
        }
    }

    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }
}

/// One stream.
#[derive(Default)]
pub(super) struct Front {
    pub seen: Seen,
    pub gop: Gop,
    /// Where runs began, and whether they are passed through; oldest first.
    runs: VecDeque<(Position, bool)>,
    /// The run that samples go to the encoders of, if it has some.
    pub encoding: Option<Arc<RunShared>>,
    /// No picture of that run came yet.
    pub fresh: bool,
    /// The thread, while there is one, and runs it has not drained.
    pub inbox: Option<Arc<Inbox>>,
    pub open: Vec<Arc<RunShared>>,
}

impl Front {
    pub fn run_began(&mut self, position: Position, passthrough: bool) {
        if self.runs.len() == RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back((position, passthrough));
    }

    /// Whether the source's samples at `position` are passed through.
    pub fn passthrough_at(&self, position: Position) -> bool {
        let run = self.runs.iter().rev().find(|(began, _)| *began <= position);
        run.or(self.runs.front()).is_none_or(|(_, passthrough)| *passthrough)
    }

    /// Nobody works for this stream any more: what was promised ends here.
    pub fn abandon(&mut self) {
        for run in self.open.drain(..) {
            run.outputs.iter().for_each(|output| output.seal());
        }
        self.encoding = None;
        if let Some(inbox) = self.inbox.take() {
            inbox.quit();
        }
    }
}

/// A published sample for the decoder.
pub(super) fn feed(sample: &Sample, arrival_us: u64) -> Feed {
    Feed {
        dts: sample.dts,
        pts: sample.dts + i64::from(sample.cts),
        keyframe: sample.keyframe,
        arrival_us,
        data: sample.data.clone(),
        realign: false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use records::{Codec, Kind};

    use super::*;

    #[test]
    fn a_replay_is_recognised_to_the_frame() {
        let mut seen = Seen::default();
        let offsets = [3, 3, 4, 6, 6];
        assert!(offsets.iter().all(|o| seen.advance(*o, 0).1));
        // Replayed from the very offset it ended with, and one frame more.
        let again: Vec<bool> = [6, 6, 6, 7].iter().map(|o| seen.advance(*o, 1).1).collect();
        assert_eq!(again, [false, false, true, true]);
        let again: Vec<bool> = [4, 6, 6, 6, 7, 7].iter().map(|o| seen.advance(*o, 2).1).collect();
        assert_eq!(again, [false, false, false, false, false, true]);
    }

    #[test]
    fn samples_keep_the_rule_of_their_run() {
        let mut front = Front::default();
        assert!(front.passthrough_at((0, 1)));
        front.run_began((5, 1), true);
        front.run_began((9, 2), false);
        assert!(front.passthrough_at((9, 1)));
        assert!(!front.passthrough_at((9, 3)));
        assert!(front.passthrough_at((4, 1)), "older than all: the oldest known");
    }

    #[test]
    fn a_gop_begins_with_a_keyframe_and_is_bounded() {
        let init = |config: &'static [u8]| TrackInit {
            codec: Codec::H264,
            config: Bytes::from_static(config),
            timescale: 1000,
            sample_ticks: 40,
            kind: Kind::Video { width: 2, height: 2, fps: None },
        };
        let feed = |keyframe, size| Feed {
            dts: 0,
            pts: 0,
            keyframe,
            arrival_us: 0,
            data: Bytes::from(vec![0; size]),
            realign: false,
        };
        let mut gop = Gop::default();
        gop.track(&init(b"a"));
        gop.push(&feed(false, 1));
        assert!(gop.feeds().is_empty());
        gop.push(&feed(true, 1));
        gop.push(&feed(false, 1));
        gop.track(&init(b"a"));
        assert_eq!(gop.feeds().len(), 2);
        gop.push(&feed(true, 1));
        assert_eq!(gop.feeds().len(), 1);
        gop.push(&feed(false, GOP_BYTES_MAX));
        assert!(gop.feeds().is_empty());
        gop.push(&feed(true, 1));
        gop.track(&init(b"b"));
        assert!(gop.feeds().is_empty());
    }
}
