//! A whole broadcast from its announcements, once it is over.
//!
//! Enters: all that was announced of a stream. Leaves: its recording, the same
//! for the same announcements and files. Held: nothing. Never done here: reading
//! a file or the log.

use std::collections::BTreeMap;

use records::Rendition;

use super::{Announcement, SegmentRecord};
use crate::hls::Shape;
use crate::hls::vod::{Moment, RecordedTrack, Recording, Stored, end_us};

/// Puts a recording together from all announcements of a stream, in any order.
/// `stored(rendition, msn, bytes)` says whether the file is whole. None: there
/// is nothing to play.
///
/// What no rendition published (the publisher was away, the server was down)
/// is left out, behind a discontinuity: nobody wants to watch it. What was
/// published and isn't stored in one rendition, or in any, stays as a gap.
#[must_use]
pub fn record(
    announcements: impl IntoIterator<Item = Announcement>,
    mut stored: impl FnMut(Rendition, u64, u64) -> bool,
) -> Option<Recording> {
    let mut inits: BTreeMap<Rendition, BTreeMap<u64, Shape>> = BTreeMap::new();
    let mut numbers: BTreeMap<u64, BTreeMap<Rendition, SegmentRecord>> = BTreeMap::new();
    for announcement in announcements {
        match announcement {
            Announcement::Track(track) => {
                let own = inits.entry(track.rendition).or_default();
                own.entry(track.run).or_insert(track.shape);
            }
            // The first announcement of a segment stands, but for its loss.
            Announcement::Segment(segment) => {
                let own = numbers.entry(segment.msn).or_default();
                let lost = segment.lost;
                own.entry(segment.rendition).or_insert(segment).lost |= lost;
            }
            Announcement::End => {}
        }
    }
    let mut is_whole = |segment: &SegmentRecord| {
        let SegmentRecord { rendition, msn, run, bytes, .. } = *segment;
        // Without its run's map it can't be played.
        let has_map = inits.get(&rendition).is_some_and(|own| own.contains_key(&run));
        !segment.gap && !segment.lost && has_map && stored(rendition, msn, bytes)
    };

    let mut moments: Vec<Moment> = Vec::new();
    let mut found: BTreeMap<Rendition, Vec<(usize, Stored)>> = BTreeMap::new();
    let mut left_out = false;
    for (msn, own) in &numbers {
        let published: Vec<_> = own.values().filter(|segment| !segment.gap).collect();
        // The picture's times are the moment's; sound is cut beside it.
        let Some(timed) = published.iter().max_by_key(|s| s.rendition.rank()) else {
            left_out = true;
            continue;
        };
        let last = moments.last();
        let follows =
            last.is_none_or(|last| !left_out && last.run == timed.run && last.msn + 1 == *msn);
        for segment in &published {
            if is_whole(segment) {
                let kept = Stored {
                    start_us: segment.start.as_micros(),
                    end_us: end_us(segment.start, segment.duration),
                    bytes: segment.bytes,
                    iframe_bytes: segment.iframe_bytes,
                };
                found.entry(segment.rendition).or_default().push((moments.len(), kept));
            }
        }
        moments.push(Moment {
            msn: *msn,
            run: timed.run,
            start_us: timed.start.as_micros(),
            end_us: end_us(timed.start, timed.duration),
            wall_us: timed.wall_us,
            discontinuity: !follows,
        });
        left_out = false;
    }
    let tracks = found.into_iter().map(|(rendition, own)| {
        let mut stored = vec![None; moments.len()];
        own.into_iter().for_each(|(index, kept)| stored[index] = Some(kept));
        let inits = inits.remove(&rendition).unwrap_or_default().into_iter().collect();
        RecordedTrack { rendition, inits, stored }
    });
    let tracks: Vec<_> = tracks.collect();
    (!tracks.is_empty()).then_some(Recording { moments, tracks })
}

#[cfg(test)]
mod tests {
    use records::MediaTime;

    use super::super::TrackRecord;
    use super::*;

    const AUDIO: Rendition = Rendition::Audio;
    const SOURCE: Rendition = Rendition::Source;

    fn track(rendition: Rendition, run: u64) -> Announcement {
        let shape = Shape { codec: "c".into(), resolution: None, frame_rate: None, channels: None };
        let part_target = MediaTime::new(1, 5);
        Announcement::Track(TrackRecord { rendition, run, shape, part_target })
    }

    fn segment(rendition: Rendition, msn: u64, run: u64) -> SegmentRecord {
        SegmentRecord {
            rendition,
            msn,
            run,
            start: MediaTime::new(msn as i64 * 2, 1),
            duration: MediaTime::new(2, 1),
            wall_us: 1_000_000 * msn,
            bytes: 10,
            parts: 1,
            gap: false,
            lost: false,
            iframe_bytes: None,
        }
    }

    /// Numbers 0 to 5: run 0, then an absence at 2 and 3, then run 1.
    fn broadcast() -> Vec<Announcement> {
        let mut all = Vec::new();
        for rendition in [AUDIO, SOURCE] {
            all.extend([track(rendition, 0), track(rendition, 1)]);
            for (msn, run) in [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 1)] {
                let gap = msn == 2 || msn == 3;
                let segment = SegmentRecord { gap, ..segment(rendition, msn, run) };
                all.push(Announcement::Segment(segment));
            }
        }
        all
    }

    fn numbers(recording: &Recording) -> Vec<(u64, bool)> {
        recording.moments.iter().map(|m| (m.msn, m.discontinuity)).collect()
    }

    #[test]
    fn an_absence_is_left_out_and_its_discontinuity_kept() {
        let recording = record(broadcast(), |_, _, _| true).unwrap();
        assert_eq!(numbers(&recording), [(0, false), (1, false), (4, true), (5, false)]);
        assert_eq!(recording.duration_us(), 8_000_000);
        assert!(recording.tracks.iter().all(|t| t.stored.iter().all(Option::is_some)));
    }

    #[test]
    fn numbers_that_nobody_announced_are_left_out_too() {
        // Killed at 2: a restart goes on at 4, and says nothing of what it skipped.
        let announced = broadcast()
            .into_iter()
            .filter(|a| !matches!(a, Announcement::Segment(s) if s.msn == 2 || s.msn == 3));
        let recording = record(announced, |_, _, _| true).unwrap();
        assert_eq!(numbers(&recording), [(0, false), (1, false), (4, true), (5, false)]);
    }

    #[test]
    fn what_storage_lost_stays_as_a_gap() {
        let lost = |rendition, msn, _| !(rendition == AUDIO && msn == 1 || msn == 4);
        let recording = record(broadcast(), lost).unwrap();
        assert_eq!(recording.duration_us(), 8_000_000, "it was published");
        let gaps =
            |track: &RecordedTrack| track.stored.iter().map(Option::is_none).collect::<Vec<_>>();
        assert_eq!(gaps(&recording.tracks[0]), [false, true, true, false]);
        assert_eq!(gaps(&recording.tracks[1]), [false, false, true, false]);
        assert!(record(broadcast(), |_, _, _| false).is_none());
        assert!(record([], |_, _, _| true).is_none());
    }

    #[test]
    fn what_was_given_up_later_is_a_gap() {
        let mut announced = broadcast();
        let given_up = SegmentRecord { lost: true, ..segment(SOURCE, 4, 1) };
        announced.push(Announcement::Segment(given_up));
        let recording = record(announced, |_, _, _| true).unwrap();
        assert_eq!(recording.duration_us(), 8_000_000);
        let stored = |track: &RecordedTrack| track.stored.iter().flatten().count();
        assert_eq!(recording.tracks.iter().map(stored).collect::<Vec<_>>(), [4, 3]);
    }

    #[test]
    fn repeats_and_order_change_nothing() {
        let once = record(broadcast(), |_, _, _| true).unwrap();
        let mut twice = broadcast();
        twice.extend(broadcast());
        twice.reverse();
        twice.push(Announcement::End);
        assert_eq!(record(twice, |_, _, _| true).unwrap(), once);
    }

    #[test]
    fn segments_without_their_map_cannot_be_played() {
        let without = broadcast()
            .into_iter()
            .filter(|a| !matches!(a, Announcement::Track(t) if t.run == 1 && t.rendition == AUDIO));
        let recording = record(without, |_, _, _| true).unwrap();
        assert_eq!(recording.tracks[0].stored.iter().flatten().count(), 2);
        assert_eq!(recording.tracks[1].stored.iter().flatten().count(), 4);
    }
}
