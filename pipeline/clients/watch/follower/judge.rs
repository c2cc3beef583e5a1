//! What a follower judges: playlists, responses, parts and I-frames.
//!
//! Enters: what [`Follower`] fetched. Leaves: violations in its tally. Never
//! done here: fetching, except for I-frames, whose playlist is followed for
//! nothing but this.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Follower;
use crate::playlist::{ByteRange, MediaPlaylist, Part, SegmentHead};
use crate::rules::http::Resource;
use crate::rules::{self, Requested, Violation, cmaf};
use crate::watch::http::{Fetched, resolve};

impl Follower {
    pub(super) fn judge(
        &mut self,
        playlist: &Arc<MediaPlaylist>,
        requested: Requested,
        elapsed: Duration,
    ) {
        let violations = &mut self.tally.violations;
        let previous = self.current.as_deref();
        violations.extend(self.checker.observe(previous, playlist, requested, elapsed));
        if self.target.i_frames {
            return;
        }
        let url = &self.target.url;
        let others: Vec<String> =
            self.shared.urls.iter().filter(|other| *other != url).cloned().collect();
        violations.extend(rules::across::reports(playlist, &others, |uri| resolve(url, uri)));
        self.shared.saw(url, playlist);
    }

    pub(super) fn check_part(
        &mut self,
        playlist: &MediaPlaylist,
        part: &Part,
        index: usize,
        fetched: &Fetched,
    ) {
        let found = self.track.part(part, index == 0, &fetched.body);
        self.tally.violations.extend(found);
        if let Some(joined) = &mut self.joined {
            joined.extend_from_slice(&fetched.body);
        }
        let limit = playlist.part_target.map_or(self.options.slack, Duration::from_secs_f64);
        if fetched.transfer > limit.max(self.options.slack) {
            self.tally.violations.push(Violation {
                rule: "bis 6.2.6 a part comes at line speed once its first byte does",
                detail: format!("{} took {:?}", part.uri, fetched.transfer),
            });
        }
    }

    /// Judges the date of a segment whose first sample is known now.
    pub(super) fn check_date(&mut self, head: &SegmentHead) {
        let (Some(date_us), Some(media_us)) = (head.pdt_us, self.track.segment_us()) else {
            return;
        };
        let (url, sequence) = (&self.target.url, head.discontinuity_sequence);
        let found = self.shared.clock(url, sequence, date_us - media_us);
        self.tally.violations.extend(found);
    }

    pub(super) fn check_response(&mut self, resource: Resource, fetched: &Fetched) {
        if !self.options.check {
            return;
        }
        let target = self.current.as_ref().map(|playlist| playlist.target_duration);
        let (status, headers) = (fetched.status, &fetched.headers);
        let found = rules::http::response(resource, status, headers, target, fetched.body.len());
        self.tally.violations.extend(found);
    }

    /// New entries of an I-frame playlist (A 6).
    pub(super) async fn consume_i_frames(&mut self, playlist: &MediaPlaylist) {
        let from = self.next.map_or(playlist.next_msn().saturating_sub(1), |(msn, _)| msn);
        for segment in playlist.segments.iter().filter(|s| s.head.msn >= from && !s.head.gap) {
            self.enter(&segment.head).await;
            let url = resolve(&self.target.url, &segment.uri);
            let got = self.fetch_media(&url, segment.byte_range, Resource::Media).await;
            if let Some(fetched) = got {
                self.tally.segments += 1;
                self.check_i_frame(&segment.uri, segment.byte_range, &fetched.body);
            }
        }
        self.next = Some((playlist.next_msn(), 0));
    }

    fn check_i_frame(&mut self, uri: &str, range: Option<ByteRange>, body: &Bytes) {
        let Some(init) = self.track.current().filter(|_| self.options.check) else {
            return;
        };
        let mut found = cmaf::i_frame(init, body);
        if range.is_some_and(|range| range.length != body.len() as u64) {
            found.push(Violation {
                rule: "bis 4.4.4.2 byte ranges can be fetched",
                detail: format!("{range:?} gave {} bytes", body.len()),
            });
        }
        let named =
            found.into_iter().map(|v| Violation { detail: format!("{uri}: {}", v.detail), ..v });
        self.tally.violations.extend(named);
    }
}
