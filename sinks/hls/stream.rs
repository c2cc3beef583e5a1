//! One stream: its renditions in step, gaps filled, playlists made on demand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use records::{Media, MediaBody, Rendition, StreamId, TrackStart};
use tokio::sync::Notify;

use super::playlist::{self, Controls, Form, Report};
use super::reply::CacheLifetimes;
use super::text::Text;
use super::track::{Arrived, Init, Track};
use super::{Cold, HlsConfig, OriginMetrics, RestoredStream, SegmentMeta, multivariant};

/// What all streams share.
pub(super) struct Context {
    pub(super) config: HlsConfig,
    pub(super) lifetimes: CacheLifetimes,
    pub(super) cold: Arc<dyn Cold>,
    pub(super) metrics: OriginMetrics,
}

pub(super) struct Stream {
    pub(super) id: StreamId,
    /// Held for a lookup, an append or a rendering; never across an await.
    pub(super) state: Mutex<State>,
    /// Requests that wait for a rendition to begin.
    pub(super) begun: Notify,
}

pub(super) struct State {
    /// Sorted by rendition.
    pub(super) tracks: Vec<Track>,
    /// The newest run, and the renditions that it has or will have.
    run: Option<u64>,
    pub(super) expected: Vec<Rendition>,
    pub(super) ended: bool,
    pub(super) removed: bool,
    controls: Controls,
    /// Rises with every segment and track: the multivariant playlist's version.
    ladder_version: u64,
    multivariant: Option<(u64, Arc<Text>)>,
}

impl Stream {
    pub(super) fn new(id: StreamId, context: &Context, restored: Option<RestoredStream>) -> Self {
        let controls =
            Controls { target_duration_s: context.config.target_duration_s, part_hold_back_us: 0 };
        let mut state = State {
            tracks: Vec::new(),
            run: None,
            expected: Vec::new(),
            ended: false,
            removed: false,
            controls,
            ladder_version: 0,
            multivariant: None,
        };
        if let Some(restored) = restored {
            state.restore(id, restored, context);
        }
        Self { id, state: Mutex::new(state), begun: Notify::new() }
    }

    /// Wakes whoever waits for anything of this stream.
    pub(super) fn wake_all(&self) {
        let all: Vec<_> =
            self.state.lock().tracks.iter().map(|track| Arc::clone(&track.arrived)).collect();
        wake(&all);
        self.begun.notify_waiters();
    }
}

/// Wakes those who wait for media, then those who wait for lists of it: with a
/// thousand viewers the last are served a tenth of a second after the first,
/// and it is media that plays.
pub(super) fn wake(arrived: &[Arc<Arrived>]) {
    arrived.iter().for_each(|arrived| arrived.media.notify_waiters());
    arrived.iter().for_each(|arrived| arrived.lists.notify_waiters());
}

impl State {
    fn restore(&mut self, id: StreamId, restored: RestoredStream, context: &Context) {
        for past in restored.tracks {
            let mut track = Track::new(id, past.rendition);
            track.part_target_us = past.part_target_us;
            track.inits = past
                .inits
                .into_iter()
                .map(|(run, shape)| Init { run, shape, live: None })
                .collect();
            for meta in past.segments {
                // A gap in place of what only a sibling announced before a crash.
                if meta.gap { track.push_gap(meta) } else { track.push_bare(meta) }
            }
            track.trim(&context.config, &*context.cold);
            if track.inits.back().map(|init| init.run) >= self.run {
                self.run = track.inits.back().map(|init| init.run);
            }
            self.insert(track);
        }
        self.expected = self
            .tracks
            .iter()
            .filter(|t| t.inits.back().map(|init| init.run) == self.run)
            .map(|t| t.rendition)
            .collect();
        self.ended = restored.ended;
        self.set_hold_back(&context.config);
    }

    /// The tracks that changed since the last call, for [`wake`] once the
    /// state is unlocked.
    pub(super) fn take_fresh(&mut self) -> Vec<Arc<Arrived>> {
        let fresh = self.tracks.iter_mut().filter_map(|track| {
            std::mem::take(&mut track.fresh).then(|| Arc::clone(&track.arrived))
        });
        fresh.collect()
    }

    /// Takes one record. Returns whether it was new.
    pub(super) fn apply(&mut self, stream: StreamId, media: MediaBody, context: &Context) -> bool {
        if self.ended {
            return false;
        }
        match media {
            MediaBody::Track(start) => self.begin(stream, start, context),
            MediaBody::Part(part) => {
                let rendition = part.rendition;
                self.fill(rendition, part.msn, context);
                let Some(track) = self.track(rendition) else { return false };
                let new = track.part(part);
                if new {
                    track.fresh = true;
                }
                new
            }
            MediaBody::Segment(segment) => {
                let (rendition, run) = (segment.rendition, segment.run);
                self.fill(rendition, segment.msn, context);
                let Some(track) = self.track(rendition) else { return false };
                if !track.close(segment) {
                    return false;
                }
                track.trim(&context.config, &*context.cold);
                track.fresh = true;
                let meta = track.segments.back().map(|seg| seg.meta);
                self.ladder_version += 1;
                if let Some(meta) = meta.filter(|_| Some(run) == self.run) {
                    self.gap_absent(meta, context);
                }
                true
            }
            MediaBody::End => {
                self.end();
                true
            }
            MediaBody::Fault(site) => {
                site.trip("hls");
                true
            }
        }
    }

    fn begin(&mut self, stream: StreamId, start: TrackStart, context: &Context) -> bool {
        if self.run.is_none_or(|run| run < start.run) {
            self.run = Some(start.run);
            self.expected = start.renditions.clone();
        }
        if self.track(start.rendition).is_none() {
            self.insert(Track::new(stream, start.rendition));
        }
        let Some(track) = self.track(start.rendition) else { return false };
        if !track.begin(start) {
            return false;
        }
        // A run that begins ends what is open, if its end got lost.
        track.close_open();
        track.fresh = true;
        self.ladder_version += 1;
        self.set_hold_back(&context.config);
        true
    }

    /// The broadcast is over.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.ladder_version += 1;
        for track in &mut self.tracks {
            track.close_open();
            track.touch();
            track.fresh = true;
        }
    }

    /// PART-HOLD-BACK is the same in all playlists, so the longest PART-TARGET
    /// counts; it never falls (bis 4.4.3.8). What is configured is the least, so
    /// that a rendition which joins later changes nothing.
    fn set_hold_back(&mut self, config: &HlsConfig) {
        let configured_us = i64::try_from(config.part_target.as_micros()).unwrap_or(i64::MAX);
        let targets_us = self.tracks.iter().map(|t| t.part_target_us);
        let target_us = targets_us.max().unwrap_or(0).max(configured_us);
        let hold_back_us = (target_us as f64 * config.part_hold_back).ceil() as i64;
        if hold_back_us > self.controls.part_hold_back_us {
            self.controls.part_hold_back_us = hold_back_us;
            self.tracks.iter_mut().for_each(Track::touch);
        }
    }

    /// Lists what is missing before `msn` as gaps, as long as a sibling knows
    /// it: a rendition that was away must not break its numbers (bis 4.4.4.7).
    fn fill(&mut self, rendition: Rendition, msn: u64, context: &Context) {
        let Some(track) = self.track(rendition) else { return };
        if track.open.as_ref().is_some_and(|open| open.msn < msn) {
            track.close_open();
            track.trim(&context.config, &*context.cold);
        }
        let Some(next) = track.next_msn().filter(|next| *next < msn) else { return };
        let known: Option<Vec<_>> = (next..msn).map(|m| self.known(rendition, m)).collect();
        let Some(track) = self.track(rendition) else { return };
        match known {
            Some(known) => {
                context.metrics.filled_gaps_total.fetch_add(known.len() as u64, Ordering::Relaxed);
                known.into_iter().for_each(|meta| track.push_gap(meta));
                track.trim(&context.config, &*context.cold);
            }
            None => track.restart(),
        }
    }

    /// A sibling's segment `msn`, as a gap.
    fn known(&self, not: Rendition, msn: u64) -> Option<SegmentMeta> {
        let mut siblings = self.tracks.iter().filter(|t| t.rendition != not);
        siblings.find_map(|t| t.segment(msn)).map(|seg| as_gap(seg.meta))
    }

    /// Renditions that the current run doesn't have go on as gaps, so that
    /// their viewers get an answer instead of a stall.
    fn gap_absent(&mut self, meta: SegmentMeta, context: &Context) {
        let Self { tracks, expected, .. } = self;
        for track in tracks.iter_mut().filter(|t| !expected.contains(&t.rendition)) {
            track.close_open();
            if track.next_msn() == Some(meta.msn) {
                context.metrics.filled_gaps_total.fetch_add(1, Ordering::Relaxed);
                track.push_gap(as_gap(meta));
                track.trim(&context.config, &*context.cold);
                track.fresh = true;
            }
        }
    }

    pub(super) fn track(&mut self, rendition: Rendition) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.rendition == rendition)
    }

    fn insert(&mut self, track: Track) {
        let at = self.tracks.partition_point(|t| t.rendition < track.rendition);
        self.tracks.insert(at, track);
    }

    /// Whether every rendition of the current run has begun.
    pub(super) fn ladder_is_whole(&self) -> bool {
        !self.tracks.is_empty()
            && self.expected.iter().all(|rendition| {
                let mut tracks = self.tracks.iter();
                tracks
                    .any(|t| t.rendition == *rendition && t.inits.back().map(|i| i.run) == self.run)
            })
    }

    pub(super) fn is_active(&self, rendition: Rendition) -> bool {
        self.expected.contains(&rendition)
    }

    /// A media playlist's newest text, rendered if nobody asked for it before.
    pub(super) fn playlist(
        &mut self,
        rendition: Rendition,
        form: Form,
        context: &Context,
    ) -> Option<Arc<Text>> {
        let Self { tracks, expected, ended, controls, .. } = self;
        let index = tracks.iter().position(|track| track.rendition == rendition)?;
        let track = &tracks[index];
        let iframes = matches!(form, Form::IFrames | Form::IFramesDelta);
        let version = if iframes { track.closed_version } else { track.version };
        if let Some((rendered, text)) = &track.renders.forms[form as usize]
            && *rendered == version
        {
            return Some(Arc::clone(text));
        }
        let reports: Vec<_> = tracks
            .iter()
            .filter(|t| t.rendition != rendition && expected.contains(&t.rendition))
            .filter(|t| !iframes || t.rendition.is_video())
            .filter_map(|t| {
                let (msn, part) = if iframes { (t.next_msn()? - 1, None) } else { t.last()? };
                Some(Report { rendition: t.rendition, msn, part: part.unwrap_or(0) })
            })
            .collect();
        let text = playlist::render(track, form, controls, &reports, *ended);
        context.metrics.renders_total.fetch_add(1, Ordering::Relaxed);
        let text = Arc::new(Text::new(text));
        tracks[index].renders.forms[form as usize] = Some((version, Arc::clone(&text)));
        Some(text)
    }

    /// The multivariant playlist's newest text. None: nothing has begun.
    pub(super) fn multivariant(&mut self, context: &Context) -> Option<Arc<Text>> {
        if let Some((rendered, text)) = &self.multivariant
            && *rendered == self.ladder_version
        {
            return Some(Arc::clone(text));
        }
        let ladder = self.tracks.iter().filter(|t| self.is_active(t.rendition));
        let text = multivariant::render(ladder, context.config.target_duration_s)?;
        context.metrics.renders_total.fetch_add(1, Ordering::Relaxed);
        let text = Arc::new(Text::new(text));
        self.multivariant = Some((self.ladder_version, Arc::clone(&text)));
        Some(text)
    }

    pub(super) fn hot_bytes(&self) -> u64 {
        self.tracks.iter().map(|track| track.hot_bytes).sum()
    }
}

fn as_gap(meta: SegmentMeta) -> SegmentMeta {
    SegmentMeta { gap: true, bytes: 0, iframe_bytes: None, ..meta }
}

/// The rendition and the moment of a part, for the latency metric: when its
/// last frame was due.
pub(super) fn due_us(media: &Media) -> Option<u64> {
    match &media.body {
        MediaBody::Part(part) if !part.bytes.is_empty() => {
            Some(part.arrival_us + part.duration.as_micros().max(0).unsigned_abs())
        }
        _ => None,
    }
}
