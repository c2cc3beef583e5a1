//! A stream's past from its announcements.

use std::collections::BTreeMap;
use std::time::Duration;

use records::{MediaTime, Rendition};

use super::{Announcement, SegmentRecord, TrackRecord};
use crate::hls::{RestoredStream, RestoredTrack, Resume, SegmentMeta};

/// Segments skipped at a restart. Viewers may have seen the open segment, and
/// one more whose announcement wasn't durable yet; a number never means two
/// things, so these are listed as gaps.
const SKIPPED: u64 = 2;

/// Rebuilds the window of a stream from its announcements, oldest first, as
/// far back as `window`. `stored(rendition, msn, bytes)` says whether the file
/// is whole. None: nothing of it is left to show.
///
/// All tracks come out with contiguous numbers and the same last one. What one
/// lacks and another has becomes a gap.
#[must_use]
pub fn restore(
    announcements: impl IntoIterator<Item = Announcement>,
    window: Duration,
    mut stored: impl FnMut(Rendition, u64, u64) -> bool,
) -> Option<RestoredStream> {
    let mut past = Past::default();
    announcements.into_iter().for_each(|announcement| past.take(announcement));
    let window_us = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let newest = past.all.values().next_back().copied()?;
    let from_us = newest.end_us.saturating_sub(window_us);
    past.all.retain(|_, seg| seg.end_us >= from_us);
    let last_run = past.last_run.max(newest.run);

    let mut tracks = Vec::new();
    for (rendition, own) in &past.tracks {
        let segments = own.segments(*rendition, &past.all, &mut stored);
        // A rendition of which nothing is left isn't shown.
        if segments.iter().all(|seg| seg.gap) {
            continue;
        }
        tracks.push(RestoredTrack {
            rendition: *rendition,
            part_target_us: own.inits.values().map(|i| i.part_target.as_micros()).max()?,
            inits: own.inits.iter().map(|(run, init)| (*run, init.shape.clone())).collect(),
            segments,
        });
    }
    if tracks.is_empty() {
        return None;
    }
    let mut resume = Resume {
        next_msn: newest.msn + 1,
        // One run may have begun unannounced.
        next_run: last_run + 2,
        end: MediaTime::new(newest.end_us, 1_000_000),
        origin_wall_us: newest.wall_us.saturating_sub(newest.start_us.max(0).unsigned_abs()),
    };
    let mut all_skipped = Vec::new();
    if !past.ended {
        let mut skipped = SegmentMeta { gap: true, bytes: 0, iframe_bytes: None, ..newest };
        // As it was shown, if it was: in the run that was open.
        skipped.run = last_run;
        let duration_us = newest.end_us - newest.start_us;
        for number in 1..=SKIPPED {
            skipped.msn += 1;
            if number == SKIPPED {
                // So that no segment has two boundaries before it.
                skipped.run = last_run + 1;
            }
            skipped.start_us += duration_us;
            skipped.end_us += duration_us;
            skipped.wall_us += duration_us.unsigned_abs();
            tracks.iter_mut().for_each(|track| track.segments.push(skipped));
            all_skipped.push(skipped);
        }
        resume.next_msn += SKIPPED;
        resume.end = MediaTime::new(skipped.end_us, 1_000_000);
    }
    Some(RestoredStream { tracks, skipped: all_skipped, ended: past.ended, resume })
}

#[derive(Default)]
struct Past {
    tracks: BTreeMap<Rendition, Own>,
    /// Every number that any rendition has, as a gap: what fills holes.
    all: BTreeMap<u64, SegmentMeta>,
    last_run: u64,
    ended: bool,
}

#[derive(Default)]
struct Own {
    inits: BTreeMap<u64, TrackRecord>,
    segments: BTreeMap<u64, SegmentRecord>,
}

impl Past {
    fn take(&mut self, announcement: Announcement) {
        match announcement {
            Announcement::Track(track) => {
                self.last_run = self.last_run.max(track.run);
                let own = self.tracks.entry(track.rendition).or_default();
                own.inits.entry(track.run).or_insert(track);
            }
            Announcement::Segment(segment) => {
                self.all.entry(segment.msn).or_insert_with(|| meta(&segment, true));
                let own = self.tracks.entry(segment.rendition).or_default();
                // The first announcement of a segment stands, but for its loss.
                let lost = segment.lost;
                own.segments.entry(segment.msn).or_insert(segment).lost |= lost;
            }
            Announcement::End => self.ended = true,
        }
    }
}

impl Own {
    /// Contiguous, from its first stored one within `all` to the last of `all`.
    fn segments(
        &self,
        rendition: Rendition,
        all: &BTreeMap<u64, SegmentMeta>,
        stored: &mut impl FnMut(Rendition, u64, u64) -> bool,
    ) -> Vec<SegmentMeta> {
        let mut segments: Vec<SegmentMeta> = Vec::new();
        for (msn, gap) in all {
            let own = self.segments.get(msn);
            let whole = own
                .filter(|seg| !seg.gap && !seg.lost && stored(rendition, *msn, seg.bytes))
                // Without its run's map it can't be played.
                .filter(|seg| self.inits.contains_key(&seg.run));
            // Nobody knows what was between: only what follows can be shown.
            if segments.last().is_some_and(|last| last.msn + 1 != *msn) {
                segments.clear();
            }
            match (whole, own) {
                (Some(segment), _) => segments.push(meta(segment, false)),
                // What retention removed at the head isn't a gap.
                (None, _) if segments.is_empty() => {}
                (None, Some(segment)) => segments.push(meta(segment, true)),
                (None, None) => segments.push(*gap),
            }
        }
        segments
    }
}

fn meta(segment: &SegmentRecord, gap: bool) -> SegmentMeta {
    let start_us = segment.start.as_micros();
    SegmentMeta {
        msn: segment.msn,
        run: segment.run,
        start_us,
        end_us: start_us + segment.duration.as_micros(),
        wall_us: segment.wall_us,
        bytes: if gap { 0 } else { segment.bytes },
        gap,
        iframe_bytes: segment.iframe_bytes.filter(|_| !gap),
    }
}
