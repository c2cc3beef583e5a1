//! One rendition: its segments, the open one's parts, and what may be forgotten.
//!
//! ```text
//!   segments:  removed but fetchable │ listed, on disk │ listed, in memory │ open
//!              ▲ dropped (bis 6.2.2) ▲ first_listed    ▲ first_hot         ▲ parts
//! ```

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use records::{Part, Pieces, Rendition, Segment, StreamId, TrackInit, TrackStart};
use tokio::sync::Notify;

use super::text::Text;
use super::{Cold, HlsConfig, Object, SegmentMeta, Shape};

/// A part's line in the playlist. Times are microseconds.
#[derive(Clone, Copy)]
pub(super) struct PartMeta {
    pub(super) len: u32,
    pub(super) duration_us: u32,
    pub(super) independent: bool,
}

/// A complete segment.
pub(super) struct Seg {
    pub(super) meta: SegmentMeta,
    /// EXT-X-DISCONTINUITY tags before it: the runs that began since the
    /// segment before. Kept when it becomes the first (a tag leaves the
    /// playlist with its segment, bis 6.2.2).
    pub(super) discontinuities: u64,
    /// Run of the map that applies to it. None: only gaps so far.
    pub(super) map: Option<u64>,
    /// Whether that map is new here.
    pub(super) map_is_new: bool,
    /// How many parts it has; the lines are forgotten before the number.
    pub(super) part_count: u32,
    /// Dropped once no part of it can be asked for.
    pub(super) parts: Vec<PartMeta>,
    /// Its parts' bytes; empty once they left memory.
    pub(super) chunks: Vec<Pieces>,
    /// Its lines, made when first rendered.
    pub(super) lines: OnceCell<super::playlist::Lines>,
}

/// The segment whose parts are coming in.
pub(super) struct Open {
    pub(super) msn: u64,
    pub(super) run: u64,
    pub(super) start_us: i64,
    pub(super) end_us: i64,
    pub(super) wall_us: u64,
    pub(super) iframe_bytes: Option<u32>,
    pub(super) parts: Vec<PartMeta>,
    pub(super) chunks: Vec<Pieces>,
}

/// The initialization section of one run.
pub(super) struct Init {
    pub(super) run: u64,
    pub(super) shape: Shape,
    /// None after a restart: read from storage.
    pub(super) live: Option<(TrackInit, Bytes)>,
}

/// The newest text of each kind of playlist, with the version it shows.
#[derive(Default)]
pub(super) struct Renders {
    pub(super) forms: [Option<(u64, Arc<Text>)>; 4],
}

/// Requests that wait for a track to go on.
#[derive(Default)]
pub(super) struct Arrived {
    /// Those for a part.
    pub(super) media: Notify,
    /// Those for a playlist.
    pub(super) lists: Notify,
}

pub(super) struct Track {
    pub(super) stream: StreamId,
    pub(super) rendition: Rendition,
    pub(super) part_target_us: i64,
    /// Runs that retained segments belong to, and the coming one; rising.
    pub(super) inits: VecDeque<Init>,
    /// Contiguous media sequence numbers.
    pub(super) segments: VecDeque<Seg>,
    pub(super) first_listed: usize,
    first_hot: usize,
    pub(super) open: Option<Open>,
    /// Rises with every part.
    pub(super) version: u64,
    /// Rises with every segment: the I-frame playlist's version.
    pub(super) closed_version: u64,
    pub(super) renders: Renders,
    /// Requests that wait for this track to go on.
    pub(super) arrived: Arc<Arrived>,
    /// It went on, and those who wait don't know it yet.
    pub(super) fresh: bool,
    pub(super) hot_bytes: u64,
    /// Duration of the longest playlist so far.
    longest_us: i64,
}

impl Track {
    pub(super) fn new(stream: StreamId, rendition: Rendition) -> Self {
        Self {
            stream,
            rendition,
            part_target_us: 0,
            inits: VecDeque::new(),
            segments: VecDeque::new(),
            first_listed: 0,
            first_hot: 0,
            open: None,
            version: 0,
            closed_version: 0,
            renders: Renders::default(),
            arrived: Arc::default(),
            fresh: false,
            hot_bytes: 0,
            longest_us: 0,
        }
    }

    /// A run begins. False: it had begun already.
    pub(super) fn begin(&mut self, start: TrackStart) -> bool {
        let newest = self.inits.back().map(|init| init.run);
        if newest.is_some_and(|newest| newest >= start.run) {
            return false;
        }
        // A target that shrank would make listed parts too long for it.
        let target_us = micros_up(start.part_target);
        self.part_target_us = self.part_target_us.max(target_us);
        let shape = Shape::of(&start.init);
        let live = Some((start.init, start.header));
        self.inits.push_back(Init { run: start.run, shape, live });
        self.touch();
        true
    }

    /// Media sequence number after the last complete segment. None: there has been none.
    pub(super) fn next_msn(&self) -> Option<u64> {
        self.segments.back().map(|last| last.meta.msn + 1)
    }

    /// Adds a part. False: it is there already, or doesn't follow what is.
    pub(super) fn part(&mut self, part: Part) -> bool {
        if self.next_msn().is_some_and(|next| part.msn < next) {
            return false;
        }
        let start_us = part.start.as_micros();
        let end_us = start_us + part.duration.as_micros();
        let open = self.open.get_or_insert_with(|| Open {
            msn: part.msn,
            run: part.run,
            start_us,
            end_us: start_us,
            wall_us: part.wall_us,
            iframe_bytes: part.iframe_bytes,
            parts: Vec::with_capacity(16),
            chunks: Vec::with_capacity(16),
        });
        if open.msn != part.msn || open.parts.len() as u64 != u64::from(part.index) {
            return false;
        }
        open.parts.push(PartMeta {
            len: part.bytes.len() as u32,
            // From rounded instants, so that sums don't drift from EXTINF.
            duration_us: (end_us - open.end_us).max(0) as u32,
            independent: part.independent,
        });
        open.end_us = end_us;
        self.hot_bytes += part.bytes.len() as u64;
        open.chunks.push(part.bytes);
        self.version += 1;
        true
    }

    /// Completes a segment. False: it is there already.
    pub(super) fn close(&mut self, segment: Segment) -> bool {
        if self.next_msn().is_some_and(|next| segment.msn < next) {
            return false;
        }
        let start_us = segment.start.as_micros();
        let mut meta = SegmentMeta {
            msn: segment.msn,
            run: segment.run,
            start_us,
            end_us: start_us + segment.duration.as_micros(),
            wall_us: segment.wall_us,
            bytes: 0,
            gap: segment.gap,
            iframe_bytes: None,
        };
        let open = self.open.take();
        if segment.gap {
            self.hot_bytes -=
                open.iter().flat_map(|o| &o.chunks).map(|c| c.len() as u64).sum::<u64>();
            self.push(meta, Vec::new(), Vec::new());
            return true;
        }
        match open {
            Some(open)
                if open.msn == segment.msn
                    && open.parts.len() as u64 == u64::from(segment.parts) =>
            {
                meta.bytes = open.parts.iter().map(|p| u64::from(p.len)).sum();
                meta.iframe_bytes = open.iframe_bytes;
                // What was announced part by part stands.
                meta.start_us = open.start_us;
                meta.end_us = open.end_us;
                self.push(meta, open.parts, open.chunks);
            }
            // Parts are missing (a replay that began in mid-segment): it is
            // listed without them.
            open => {
                self.hot_bytes -=
                    open.iter().flat_map(|o| &o.chunks).map(|c| c.len() as u64).sum::<u64>();
                meta.bytes = segment.chunks.iter().map(|c| c.len() as u64).sum();
                self.hot_bytes += meta.bytes;
                self.push(meta, Vec::new(), segment.chunks);
            }
        }
        true
    }

    /// Completes the open segment with the parts it has: nothing more of it will come.
    pub(super) fn close_open(&mut self) {
        let Some(open) = self.open.take() else { return };
        let meta = SegmentMeta {
            msn: open.msn,
            run: open.run,
            start_us: open.start_us,
            end_us: open.end_us,
            wall_us: open.wall_us,
            bytes: open.parts.iter().map(|p| u64::from(p.len)).sum(),
            gap: open.parts.is_empty(),
            iframe_bytes: open.iframe_bytes,
        };
        self.push(meta, open.parts, open.chunks);
    }

    /// Appends a segment that is not there: unpublished, or stored earlier.
    pub(super) fn push_bare(&mut self, meta: SegmentMeta) {
        self.push(meta, Vec::new(), Vec::new());
    }

    /// Appends a gap in place of a sibling's segment. It begins where this
    /// track ended, which may be a frame beside where the sibling's began:
    /// viewers may have been told so before a crash.
    pub(super) fn push_gap(&mut self, mut meta: SegmentMeta) {
        let last = self.segments.back().map(|last| last.meta);
        if let Some(last) = last.filter(|last| last.run == meta.run && last.end_us < meta.end_us) {
            let shift_us = last.end_us - meta.start_us;
            meta.wall_us = meta.wall_us.saturating_add_signed(shift_us);
            meta.start_us = last.end_us;
        }
        self.push_bare(meta);
    }

    /// Forgets all segments: the next doesn't follow them and nothing is known of those between.
    pub(super) fn restart(&mut self) {
        self.segments.clear();
        self.open = None;
        (self.first_listed, self.first_hot, self.hot_bytes) = (0, 0, 0);
        self.touch();
    }

    fn push(&mut self, meta: SegmentMeta, parts: Vec<PartMeta>, chunks: Vec<Pieces>) {
        let discontinuities =
            self.segments.back().map_or(0, |last| meta.run.saturating_sub(last.meta.run));
        let (map, map_is_new) = self.map_for(meta.run);
        self.segments.push_back(Seg {
            meta,
            discontinuities,
            map,
            map_is_new,
            part_count: parts.len() as u32,
            parts,
            chunks,
            lines: OnceCell::new(),
        });
        self.touch();
    }

    /// The map for a segment of `run` that comes next, and whether it has to
    /// be said. A gap may belong to a run that this rendition had no part in.
    pub(super) fn map_for(&self, run: u64) -> (Option<u64>, bool) {
        let current = self.segments.back().and_then(|last| last.map);
        let map = self.init(run).map(|init| init.run).or(current);
        (map, map != current)
    }

    /// Marks the playlists as changed.
    pub(super) fn touch(&mut self) {
        self.version += 1;
        self.closed_version += 1;
    }

    /// Drops what the rules allow to drop; called after each segment.
    pub(super) fn trim(&mut self, config: &HlsConfig, cold: &dyn Cold) {
        let span_us = i64::try_from(config.dvr.as_micros())
            .unwrap_or(i64::MAX)
            .max(config.target_durations_us(3));
        while self.may_delist(config, self.first_listed, span_us) {
            self.first_listed += 1;
        }
        self.cool(config, cold);
        let Some(last) = self.segments.back() else { return };
        let edge_us = last.meta.end_us;
        if let Some(first) = self.segments.get(self.first_listed) {
            self.longest_us = self.longest_us.max(edge_us - first.meta.start_us);
        }
        // A part stays fetchable for three target durations after its tag
        // goes, which is three from the end (bis 6.2.2).
        let parts_us = edge_us - config.target_durations_us(7);
        for seg in self.segments.iter_mut().rev().skip_while(|s| s.meta.end_us > parts_us) {
            if seg.parts.is_empty() {
                break;
            }
            seg.parts = Vec::new();
        }
        // A removed segment stays fetchable for its duration plus that of the
        // longest playlist; it was removed about one playlist after its end.
        while self.first_listed > 0
            && let Some(front) = self.segments.front()
            && front.meta.end_us * 2 - front.meta.start_us + self.longest_us * 2 < edge_us
        {
            self.drop_front();
        }
        // The map of the first segment is the newest that is not after it.
        let run = self.segments.front().map_or(0, |s| s.meta.run);
        while self.inits.get(1).is_some_and(|second| second.run <= run) {
            self.inits.pop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(front) = self.segments.pop_front() {
            self.hot_bytes -= front.chunks.iter().map(|c| c.len() as u64).sum::<u64>();
            self.first_listed = self.first_listed.saturating_sub(1);
            self.first_hot = self.first_hot.saturating_sub(1);
        }
    }

    /// Whether the playlist is long enough without segment `index` and all before it.
    fn may_delist(&self, config: &HlsConfig, index: usize, span_us: i64) -> bool {
        let (Some(seg), Some(last)) = (self.segments.get(index), self.segments.back()) else {
            return false;
        };
        let rest = self.segments.len() - index - 1;
        rest >= config.window_segments
            && last.meta.end_us - seg.meta.end_us >= span_us
            && self.lists(rest, config.target_durations_us(3))
    }

    /// Whether the last `count` segments last so long together. A run may
    /// begin some milliseconds after the one before it ended.
    fn lists(&self, count: usize, wanted_us: i64) -> bool {
        let mut listed_us = 0;
        self.segments.iter().rev().take(count).any(|segment| {
            listed_us += segment.meta.end_us - segment.meta.start_us;
            listed_us >= wanted_us
        })
    }

    /// Lets bytes go that are stored. A segment that storage lost stays in
    /// memory while the live window needs it; then the DVR window begins after it.
    fn cool(&mut self, config: &HlsConfig, cold: &dyn Cold) {
        let three_us = config.target_durations_us(3);
        let until = self.segments.len().saturating_sub(config.hot_segments);
        let live_us = self.live_span_us(config);
        let edge_us = self.edge_us();
        let mut contiguous = true;
        for index in self.first_hot..until {
            let may_delist = self.may_delist(config, index, three_us);
            let listed = index >= self.first_listed;
            let Some(seg) = self.segments.get_mut(index) else { break };
            let object = Object::Segment {
                stream: self.stream,
                rendition: self.rendition,
                msn: seg.meta.msn,
            };
            if !seg.chunks.is_empty() {
                let lost_us = edge_us - seg.meta.end_us - (seg.meta.end_us - seg.meta.start_us);
                if cold.holds(object) || (!listed && lost_us > live_us * 2) {
                    self.hot_bytes -= seg.chunks.iter().map(|c| c.len() as u64).sum::<u64>();
                    seg.chunks = Vec::new();
                } else {
                    contiguous = false;
                    if may_delist {
                        self.first_listed = self.first_listed.max(index + 1);
                    }
                }
            }
            if contiguous {
                self.first_hot = index + 1;
            }
        }
    }

    /// Duration of the shortest playlist that is allowed now.
    fn live_span_us(&self, config: &HlsConfig) -> i64 {
        let first = self.segments.len().saturating_sub(config.window_segments + 1);
        let start_us = self.segments.get(first).map_or(0, |seg| seg.meta.start_us);
        (self.edge_us() - start_us).max(config.target_durations_us(4))
    }

    /// Lets go of every byte that is stored, since the broadcast is over.
    pub(super) fn cool_all(&mut self, cold: &dyn Cold) {
        for seg in &mut self.segments {
            let object = Object::Segment {
                stream: self.stream,
                rendition: self.rendition,
                msn: seg.meta.msn,
            };
            if !seg.chunks.is_empty() && cold.holds(object) {
                self.hot_bytes -= seg.chunks.iter().map(|c| c.len() as u64).sum::<u64>();
                seg.chunks = Vec::new();
            }
        }
    }

    pub(super) fn listed(&self) -> impl DoubleEndedIterator<Item = &Seg> + ExactSizeIterator {
        self.segments.range(self.first_listed..)
    }

    pub(super) fn segment(&self, msn: u64) -> Option<&Seg> {
        self.segments.get(self.position(msn)?)
    }

    pub(super) fn segment_mut(&mut self, msn: u64) -> Option<&mut Seg> {
        let position = self.position(msn)?;
        self.segments.get_mut(position)
    }

    fn position(&self, msn: u64) -> Option<usize> {
        let first = self.segments.front()?.meta.msn;
        usize::try_from(msn.checked_sub(first)?).ok()
    }

    pub(super) fn init(&self, run: u64) -> Option<&Init> {
        self.inits.iter().find(|init| init.run == run)
    }

    /// Last media sequence number and part that a playlist shows.
    pub(super) fn last(&self) -> Option<(u64, Option<u32>)> {
        match (&self.open, self.segments.back()) {
            (Some(open), _) if !open.parts.is_empty() => {
                Some((open.msn, Some(open.parts.len() as u32 - 1)))
            }
            (_, Some(last)) => Some((last.meta.msn, last.part_count.checked_sub(1))),
            _ => None,
        }
    }

    /// Wall clock of the end of what is listed, by the newest segment's map.
    pub(super) fn edge_wall_us(&self) -> Option<u64> {
        let (wall_us, us) = match (&self.open, self.segments.back()) {
            (Some(open), _) => (open.wall_us, open.end_us - open.start_us),
            (None, last) => last.map(|s| (s.meta.wall_us, s.meta.end_us - s.meta.start_us))?,
        };
        Some(wall_us + us.unsigned_abs())
    }

    /// Media time of the end of what is listed.
    pub(super) fn edge_us(&self) -> i64 {
        let closed = self.segments.back().map_or(0, |s| s.meta.end_us);
        self.open.as_ref().map_or(closed, |open| open.end_us)
    }
}

/// Rounded up: no part is longer than the target it was cut by.
fn micros_up(time: records::MediaTime) -> i64 {
    let scale = i128::from(time.timescale);
    ((i128::from(time.ticks) * 1_000_000 + scale - 1) / scale) as i64
}
