//! Follows one media playlist, as a player does.
//!
//! Enters: playlists and media. Leaves: a [`Tally`]. Held: the newest
//! playlist, the place up to which media was fetched, one hinted request ahead
//! and, when checking, the parts of the segment under way.

mod directives;
mod judge;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::directives::{blocks, with_directives};
use super::http::{FetchError, Fetched, Http, resolve};
use super::playhead::Playhead;
use super::report::Tally;
use super::shared::Shared;
use super::{REQUEST_TIMEOUT, Target, WatchOptions};
use crate::Stop;
use crate::playlist::{ByteRange, Map, MediaPlaylist, Part, Segment, SegmentHead};
use crate::rules::http::Resource;
use crate::rules::{self, Checker, Requested, Violation, cmaf};

/// Failed playlist requests in a row after which the server counts as gone.
const FAILURES_MAX: u32 = 20;
/// Pause after a failed request.
const RETRY: Duration = Duration::from_millis(500);
/// Pause after a blocking reload that neither blocked nor brought news: a
/// server that doesn't do as it says must not be asked in a tight loop.
const SPIN_GUARD: Duration = Duration::from_millis(100);

/// A request for the hinted part, under way.
struct Hinted {
    url: String,
    task: JoinHandle<Result<Fetched, FetchError>>,
}

impl Drop for Hinted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows one media playlist; see the module.
pub(super) struct Follower {
    target: Target,
    http: Http,
    options: Arc<WatchOptions>,
    shared: Arc<Shared>,
    tally: Tally,
    checker: Checker,
    track: cmaf::Track,
    playhead: Playhead,
    current: Option<Arc<MediaPlaylist>>,
    responded_at: Option<Instant>,
    failures: u32,
    // What is fetched next: media sequence number and part.
    next: Option<(u64, usize)>,
    map: Option<Arc<Map>>,
    // The parts of segment `next.0` up to `next.1`, joined; none if not all were fetched.
    joined: Option<BytesMut>,
    hinted: Option<Hinted>,
    // Seconds of media, where the playlist has no dates.
    counted: f64,
    // The broadcast was live when it was first seen.
    live: bool,
    // What was there before we came is fetched: later parts are fresh ones.
    caught_up: bool,
}

impl Follower {
    pub(super) fn new(
        target: Target,
        http: Http,
        options: Arc<WatchOptions>,
        shared: Arc<Shared>,
    ) -> Self {
        let checker = Checker::new(options.slack);
        Self {
            target,
            http,
            options,
            shared,
            tally: Tally::default(),
            checker,
            track: cmaf::Track::default(),
            playhead: Playhead::default(),
            current: None,
            responded_at: None,
            failures: 0,
            next: None,
            map: None,
            joined: None,
            hinted: None,
            counted: 0.0,
            live: true,
            caught_up: false,
        }
    }

    /// Follows until the end of the broadcast, the limit or `stop`.
    pub(super) async fn run(mut self, limit: Option<Duration>, stop: &Stop) -> Tally {
        // Far enough to be never, near enough not to overflow an Instant.
        let limit = limit.unwrap_or(Duration::from_secs(10 * 365 * 86_400));
        tokio::select! {
            () = self.follow() => {}
            () = sleep(limit) => {}
            () = stop.stopped() => {}
        }
        self.tally.stalls = self.playhead.stalls;
        self.tally.stalled_ms = self.playhead.stalled.as_millis() as u64;
        self.tally
    }

    async fn follow(&mut self) {
        loop {
            let before = self.current.as_ref().map(|playlist| playlist.next_part());
            let asked_at = Instant::now();
            let Some(playlist) = self.reload().await else {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    self.tally.problems.push(format!("{}: given up", self.target.url));
                    return;
                }
                sleep(RETRY).await;
                continue;
            };
            self.failures = 0;
            let news = before != Some(playlist.next_part());
            if self.target.i_frames {
                self.consume_i_frames(&playlist).await;
            } else {
                self.consume(&playlist).await;
            }
            if playlist.end_list {
                self.tally.ended = !self.target.i_frames;
                return;
            }
            if !blocks(&playlist) {
                // bis 6.3.4: a target duration after a change, half of it without.
                let target = Duration::from_secs(playlist.target_duration.max(1));
                let pause = if news { target } else { target / 2 };
                sleep(pause.saturating_sub(asked_at.elapsed())).await;
            } else if !news {
                sleep(SPIN_GUARD).await;
            }
        }
    }

    /// Fetches the playlist once; none if that failed.
    async fn reload(&mut self) -> Option<Arc<MediaPlaylist>> {
        let requested = self.directives();
        let url = with_directives(&self.target.url, requested);
        let target_duration = self.current.as_ref().map(|playlist| playlist.target_duration);
        // A server may hold a request for three target durations (PROTOCOLS §1).
        let held = Duration::from_secs(target_duration.map_or(0, |target| 3 * target));
        let timeout = REQUEST_TIMEOUT + if requested.msn.is_some() { held } else { Duration::ZERO };
        let fetched = self.http.get(&url, None, timeout).await;
        let fetched = self.received(fetched, &url)?;
        self.tally.playlists += 1;
        let blocking = requested.msn.is_some();
        if blocking {
            self.tally.reload_wait.record(fetched.waited.as_micros() as u64);
        }
        let resource = if blocking { Resource::BlockingPlaylist } else { Resource::Playlist };
        let parsed =
            fetched.status.is_success().then(|| self.shared.parse(&self.target.url, &fetched.body));
        let parsed = match parsed {
            None => None,
            Some(Ok(playlist)) => Some(playlist),
            Some(Err(error)) => {
                let detail = format!("{url}: {error}");
                self.tally.violations.push(Violation { rule: "bis 4 grammar", detail });
                None
            }
        };
        if self.options.check {
            // What has ended may be kept for ever, so lifetimes aren't judged.
            let over = parsed.as_ref().is_some_and(|playlist| playlist.end_list);
            let target = parsed.as_ref().map(|p| p.target_duration).or(target_duration);
            self.tally.violations.extend(rules::http::response(
                resource,
                fetched.status,
                &fetched.headers,
                target.filter(|_| !over),
                fetched.body.len(),
            ));
        }
        let whole = self.make_whole(parsed?, requested)?;
        let elapsed = self.responded_at.map_or(Duration::ZERO, |at| fetched.at - at);
        self.responded_at = Some(fetched.at);
        if self.options.check {
            self.judge(&whole, requested, elapsed);
        }
        self.current = Some(Arc::clone(&whole));
        Some(whole)
    }

    fn make_whole(
        &mut self,
        playlist: Arc<MediaPlaylist>,
        requested: Requested,
    ) -> Option<Arc<MediaPlaylist>> {
        if playlist.skip.is_none() {
            return Some(playlist);
        }
        if self.options.check {
            self.tally.violations.extend(rules::delta(&playlist, requested));
        }
        let previous = self.current.take()?;
        // Without what was skipped, the whole playlist is fetched next.
        self.shared.whole(&self.target.url, &playlist, &previous).ok().inspect(|_| {
            self.current = Some(previous);
        })
    }

    fn directives(&self) -> Requested {
        let Some(playlist) = self.current.as_ref().filter(|playlist| blocks(playlist)) else {
            return Requested::default();
        };
        let (msn, part) = playlist.next_part();
        let boundary = playlist.server_control.as_ref().and_then(|c| c.can_skip_until);
        // bis 6.2.5.1: only while the skipped part is surely known.
        let recent = boundary
            .zip(self.responded_at)
            .is_some_and(|(boundary, at)| at.elapsed().as_secs_f64() < boundary / 2.0);
        Requested {
            msn: Some(msn),
            part: playlist.has_parts().then_some(part),
            skip: self.options.delta && recent,
        }
    }

    /// Counts a response or its absence.
    fn received(&mut self, fetched: Result<Fetched, FetchError>, url: &str) -> Option<Fetched> {
        match fetched {
            Ok(fetched) => {
                self.tally.bytes += fetched.wire_bytes;
                if !fetched.status.is_success() {
                    *self.tally.http_errors.entry(fetched.status.as_u16()).or_default() += 1;
                }
                Some(fetched)
            }
            Err(error) => {
                self.tally.failed_requests += 1;
                if self.tally.problems.len() < 20 {
                    self.tally.problems.push(format!("{url}: {error}"));
                }
                None
            }
        }
    }

    /// Fetches everything that the playlist lists beyond what was fetched.
    async fn consume(&mut self, playlist: &MediaPlaylist) {
        let (mut msn, mut part) = match self.next {
            Some(next) => next,
            None => self.start(playlist),
        };
        loop {
            self.next = Some((msn, part));
            if msn < playlist.media_sequence {
                let url = &self.target.url;
                self.tally
                    .problems
                    .push(format!("{url}: segment {msn} left before it was fetched"));
                self.lost();
                (msn, part) = (playlist.media_sequence, 0);
                continue;
            }
            let index = (msn - playlist.media_sequence) as usize;
            if let Some(segment) = playlist.segments.get(index) {
                self.complete(playlist, segment, part).await;
                (msn, part) = (msn + 1, 0);
                continue;
            }
            let Some(open) = playlist.open.as_ref().filter(|open| open.msn == msn) else {
                break;
            };
            self.parts(playlist, open, part).await;
            self.next = Some((msn, open.parts.len().max(part)));
            break;
        }
        self.caught_up = true;
        self.ask_ahead(playlist);
    }

    /// Where to begin: with what is newest if parts can be had, three segments
    /// before the end without, at the beginning of what has ended.
    fn start(&mut self, playlist: &MediaPlaylist) -> (u64, usize) {
        self.live = !playlist.end_list;
        if playlist.end_list {
            return (playlist.media_sequence, 0);
        }
        let next = playlist.next_msn();
        let behind = if playlist.has_parts() { 0 } else { 3 };
        (next.saturating_sub(behind).max(playlist.media_sequence), 0)
    }

    /// A complete segment: its missing parts, or all of it at once.
    async fn complete(&mut self, playlist: &MediaPlaylist, segment: &Segment, from: usize) {
        let head = &segment.head;
        if head.gap {
            self.lost();
            return;
        }
        if from == 0 || head.parts.len() < from {
            if from > 0 {
                // Its parts' tags are gone: the rest can't be had as parts.
                self.lost();
                return;
            }
            self.enter(head).await;
            self.whole_segment(playlist, segment).await;
            return;
        }
        self.parts(playlist, head, from).await;
        if let Some(joined) = self.joined.take().filter(|_| self.options.check) {
            let url = resolve(&self.target.url, &segment.uri);
            let got = self.fetch_media(&url, segment.byte_range, Resource::Media).await;
            if let Some(fetched) = got {
                let duration = segment.duration;
                let parts = Some(&joined[..]);
                let found = self.track.segment(&segment.uri, duration, &fetched.body, parts);
                self.tally.violations.extend(found);
            }
        }
    }

    async fn whole_segment(&mut self, playlist: &MediaPlaylist, segment: &Segment) {
        let url = resolve(&self.target.url, &segment.uri);
        let got = self.fetch_media(&url, segment.byte_range, Resource::Media).await;
        let Some(fetched) = got else {
            self.lost();
            return;
        };
        self.tally.segments += 1;
        self.joined = None;
        self.counted += segment.duration;
        let end_us = segment.head.pdt_us.map(|us| us + (segment.duration * 1e6) as i64);
        self.arrived(playlist, &fetched, end_us, true);
        if self.options.check {
            let found = self.track.segment(&segment.uri, segment.duration, &fetched.body, None);
            self.tally.violations.extend(found);
            self.check_date(&segment.head);
        }
    }

    /// The parts of a segment that aren't fetched yet.
    async fn parts(&mut self, playlist: &MediaPlaylist, head: &SegmentHead, from: usize) {
        for (index, part) in head.parts.iter().enumerate().skip(from) {
            if index == 0 {
                self.enter(head).await;
                self.joined = Some(BytesMut::new());
            }
            if part.gap || head.gap {
                self.lost();
                continue;
            }
            let Some(fetched) = self.part(part).await else {
                self.lost();
                continue;
            };
            self.tally.parts += 1;
            self.counted += part.duration;
            self.arrived(playlist, &fetched, head.part_end_us(index), false);
            if self.options.check {
                self.check_part(playlist, part, index, &fetched);
                if index == 0 {
                    self.check_date(head);
                }
            }
        }
    }

    /// A part: what was asked for ahead, if that is it.
    async fn part(&mut self, part: &Part) -> Option<Fetched> {
        let url = resolve(&self.target.url, &part.uri);
        if let Some(mut hinted) = self.hinted.take_if(|h| h.url == url && part.byte_range.is_none())
            && let Ok(Ok(fetched)) = (&mut hinted.task).await
            && fetched.status.is_success()
        {
            self.check_response(Resource::Media, &fetched);
            let spread = self.shared.after_first(&url, fetched.at);
            self.tally.part_spread.record(spread.as_micros() as u64);
            return self.received(Ok(fetched), &url);
        }
        self.fetch_media(&url, part.byte_range, Resource::Media).await
    }

    async fn fetch_media(
        &mut self,
        url: &str,
        range: Option<ByteRange>,
        resource: Resource,
    ) -> Option<Fetched> {
        let range = range.map(|range| (range.offset.unwrap_or(0), range.length));
        let fetched = self.http.get(url, range, REQUEST_TIMEOUT).await;
        let fetched = self.received(fetched, url)?;
        self.check_response(resource, &fetched);
        fetched.status.is_success().then_some(fetched)
    }

    /// The first part of a segment comes next: its discontinuity and map.
    async fn enter(&mut self, head: &SegmentHead) {
        if head.discontinuity {
            self.tally.discontinuities += 1;
            self.track.broken();
            self.playhead.restart();
        }
        if head.map == self.map {
            return;
        }
        self.map.clone_from(&head.map);
        let Some(map) = &head.map else {
            return;
        };
        let url = resolve(&self.target.url, &map.uri);
        let got = self.fetch_media(&url, map.byte_range, Resource::Init).await;
        if let Some(fetched) = got.filter(|_| self.options.check) {
            let codecs = self.target.codecs.as_deref();
            let found = self.track.init(&fetched.body, codecs);
            self.tally.violations.extend(found);
        }
    }

    /// Something isn't there: what follows begins anew.
    fn lost(&mut self) {
        self.track.broken();
        self.playhead.restart();
        self.joined = None;
    }

    /// Media is there up to `end_us` on the publisher's clock.
    fn arrived(
        &mut self,
        playlist: &MediaPlaylist,
        fetched: &Fetched,
        end_us: Option<i64>,
        segment: bool,
    ) {
        if !self.live {
            return;
        }
        if let Some(end_us) = end_us.filter(|_| segment || self.caught_up) {
            let ago = fetched.at.elapsed();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall_us = now.saturating_sub(ago).as_micros() as i64;
            let latency = (wall_us - end_us).max(0).unsigned_abs();
            let tally = &mut self.tally;
            let histogram =
                if segment { &mut tally.segment_latency } else { &mut tally.part_latency };
            histogram.record(latency);
        }
        let end = end_us.map_or(self.counted, |us| us as f64 / 1e6);
        let control = playlist.server_control.as_ref();
        let hold_back = control
            .and_then(|c| if playlist.has_parts() { c.part_hold_back } else { c.hold_back })
            .unwrap_or(3.0 * playlist.target_duration as f64);
        self.playhead.received(fetched.at, end, hold_back);
    }

    /// Asks for the hinted part, so that it comes as soon as it is there.
    fn ask_ahead(&mut self, playlist: &MediaPlaylist) {
        let Some(hint) = playlist.hinted_part().filter(|hint| hint.start == 0) else {
            self.hinted = None;
            return;
        };
        let url = resolve(&self.target.url, &hint.uri);
        if self.hinted.as_ref().is_some_and(|hinted| hinted.url == url) {
            return;
        }
        let timeout = REQUEST_TIMEOUT + Duration::from_secs(3 * playlist.target_duration);
        let http = self.http.clone();
        let asked = url.clone();
        let task = tokio::spawn(async move { http.get(&asked, None, timeout).await });
        self.hinted = Some(Hinted { url, task });
    }
}
