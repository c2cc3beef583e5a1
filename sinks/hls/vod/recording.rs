//! A whole broadcast, as it is stored: what its playlists are made of.
//!
//! Enters: what the archive announced, put together by `archive::record`.
//! Leaves: the same cut to a clip, its length, its ladder. Held: one entry per
//! segment number that the broadcast had (its *moments*), and for each
//! rendition what it stored of them. Never done here: files.

use records::{MediaTime, Rendition};
use serde::{Deserialize, Serialize};

use crate::hls::Shape;
use crate::hls::multivariant::{BitRate, measure};

/// Segments of one number, one per rendition. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Media sequence number while it was live; it names the files.
    pub msn: u64,
    /// Discontinuity sequence number while it was live; it names the map.
    pub run: u64,
    /// Where it began on the stream's timeline.
    pub start_us: i64,
    /// Where it ended.
    pub end_us: i64,
    /// Wall clock of its start, since 1970.
    pub wall_us: u64,
    /// It doesn't follow what is before it: another run, or nothing was
    /// published in between.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discontinuity: bool,
}

/// What a rendition stored of a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where it begins: sound is cut beside the picture.
    pub start_us: i64,
    /// Where it ends.
    pub end_us: i64,
    /// Length of its file.
    pub bytes: u64,
    /// Bytes from its start to the end of its first picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iframe_bytes: Option<u32>,
}

/// One rendition of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedTrack {
    /// Which rendition.
    pub rendition: Rendition,
    /// Runs whose initialization section is stored, rising.
    pub inits: Vec<(u64, Shape)>,
    /// For each moment; None: a gap, since nothing of it is stored.
    pub stored: Vec<Option<Stored>>,
}

/// A recorded broadcast, or a piece of one. Immutable: what it says never
/// changes, nor do the files that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Oldest first; without the time in which nothing was published.
    pub moments: Vec<Moment>,
    /// Sorted by rendition; at least one.
    pub tracks: Vec<RecordedTrack>,
}

/// A rendition as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRendition {
    /// Which rendition.
    pub rendition: Rendition,
    /// Its newest shape.
    #[serde(flatten)]
    pub shape: Shape,
    /// Most that a segment takes, in bit/s.
    pub bandwidth: u64,
    /// The same on average.
    pub average_bandwidth: u64,
    /// Length of its files together.
    pub bytes: u64,
}

impl Moment {
    fn us(&self) -> i64 {
        self.end_us - self.start_us
    }
}

impl RecordedTrack {
    /// The newest shape, which is what a list says of it.
    #[must_use]
    pub fn shape(&self) -> Option<&Shape> {
        self.inits.last().map(|(_, shape)| shape)
    }

    pub(super) fn rate(&self, shortest_us: i64) -> BitRate {
        let stored = self.stored.iter().flatten();
        measure(stored.map(|s| (s.bytes, s.end_us - s.start_us)), shortest_us)
    }

    pub(super) fn iframe_rate(&self, shortest_us: i64) -> BitRate {
        let stored = self.stored.iter().flatten();
        let pictures =
            stored.filter_map(|s| Some((u64::from(s.iframe_bytes?), s.end_us - s.start_us)));
        measure(pictures, shortest_us)
    }
}

impl Recording {
    /// How long it plays, in microseconds.
    #[must_use]
    pub fn duration_us(&self) -> i64 {
        self.moments.iter().map(Moment::us).sum()
    }

    /// Length of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let stored = self.tracks.iter().flat_map(|track| track.stored.iter().flatten());
        stored.map(|stored| stored.bytes).sum()
    }

    /// What can be chosen from, highest first.
    #[must_use]
    pub fn renditions(&self) -> Vec<RecordedRendition> {
        let half_us = i64::from(self.target_duration_s()) * 500_000;
        let known = self.tracks.iter().rev().filter_map(|track| {
            let rate = track.rate(half_us);
            Some(RecordedRendition {
                rendition: track.rendition,
                shape: track.shape()?.clone(),
                bandwidth: rate.peak,
                average_bandwidth: rate.average,
                bytes: track.stored.iter().flatten().map(|stored| stored.bytes).sum(),
            })
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|of| std::cmp::Reverse(of.rendition.rank()));
        known
    }

    /// EXT-X-TARGETDURATION: the longest segment of any rendition, rounded (bis 4.4.3.1).
    #[must_use]
    pub fn target_duration_s(&self) -> u32 {
        let own = self.tracks.iter().flat_map(|track| track.stored.iter().flatten());
        let own = own.map(|stored| stored.end_us - stored.start_us);
        let longest_us = own.chain(self.moments.iter().map(Moment::us)).max().unwrap_or(0);
        u32::try_from((longest_us + 500_000) / 1_000_000).unwrap_or(1).max(1)
    }

    /// The moments that hold any of `from_us..to_us` of playing time, and
    /// where the first of them begins. None: that is outside the recording.
    #[must_use]
    pub fn cut(&self, from_us: i64, to_us: i64) -> Option<(Self, i64)> {
        let mut at_us = 0;
        let mut kept = self.moments.len()..0;
        let mut begins_us = 0;
        for (index, moment) in self.moments.iter().enumerate() {
            let ends_us = at_us + moment.us();
            if ends_us > from_us && at_us < to_us {
                if kept.start > index {
                    (kept.start, begins_us) = (index, at_us);
                }
                kept.end = index + 1;
            }
            at_us = ends_us;
        }
        let mut moments = self.moments.get(kept.clone()).filter(|kept| !kept.is_empty())?.to_vec();
        moments[0].discontinuity = false;
        let tracks = self.tracks.iter().filter_map(|track| {
            let stored = track.stored.get(kept.clone())?.to_vec();
            let track = RecordedTrack { stored, ..track.clone() };
            track.stored.iter().any(Option::is_some).then_some(track)
        });
        let tracks: Vec<_> = tracks.collect();
        (!tracks.is_empty()).then_some((Self { moments, tracks }, begins_us))
    }

    /// The same without some renditions.
    #[must_use]
    pub fn without(mut self, renditions: &[Rendition]) -> Self {
        self.tracks.retain(|track| !renditions.contains(&track.rendition));
        self
    }

    /// The rendition with the best picture; sound if there is no picture.
    #[must_use]
    pub fn best(&self) -> Option<&RecordedTrack> {
        self.tracks.iter().max_by_key(|track| track.rendition.rank())
    }

    /// The moment that is shown at `at_us` of playing time; the last one beyond the end.
    #[must_use]
    pub fn moment_at(&self, at_us: i64) -> Option<usize> {
        let mut end_us = 0;
        let found = self.moments.iter().position(|moment| {
            end_us += moment.us();
            end_us > at_us
        });
        found.or(self.moments.len().checked_sub(1))
    }
}

/// `start + duration` in microseconds, rounded once.
#[must_use]
pub fn end_us(start: MediaTime, duration: MediaTime) -> i64 {
    if start.timescale == duration.timescale {
        return MediaTime::new(start.ticks + duration.ticks, start.timescale).as_micros();
    }
    start.as_micros() + duration.as_micros()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Seconds 0..10 in source and audio; a reconnect before 4, and sound lost at 7.
    pub(crate) fn recording() -> Recording {
        let moments: Vec<_> = (0..10u64)
            .map(|n| {
                let late = if n >= 4 { 30 } else { 0 };
                let start_us = (n as i64 + late) * 1_000_000;
                Moment {
                    msn: n + late as u64,
                    run: u64::from(n >= 4),
                    start_us,
                    end_us: start_us + 1_000_000,
                    wall_us: 1_795_225_507_000_000 + start_us.unsigned_abs(),
                    discontinuity: n == 4,
                }
            })
            .collect();
        let track = |rendition: Rendition, lost: Option<usize>| RecordedTrack {
            rendition,
            inits: [0, 1].map(|run| (run, shape(rendition))).into(),
            stored: moments
                .iter()
                .enumerate()
                .map(|(n, m)| {
                    (Some(n) != lost).then_some(Stored {
                        start_us: m.start_us,
                        end_us: m.end_us,
                        bytes: 1000,
                        iframe_bytes: rendition.is_video().then_some(100),
                    })
                })
                .collect(),
        };
        let tracks = vec![track(Rendition::Audio, Some(7)), track(Rendition::Source, None)];
        Recording { moments, tracks }
    }

    fn shape(rendition: Rendition) -> Shape {
        match rendition {
            Rendition::Audio => Shape {
                codec: "mp4a.40.2".into(),
                resolution: None,
                frame_rate: None,
                channels: Some(2),
            },
            _ => Shape {
                codec: "avc1.64001f".into(),
                resolution: Some((1280, 720)),
                frame_rate: Some(25.0),
                channels: None,
            },
        }
    }

    #[test]
    fn it_is_as_long_as_what_was_published() {
        let recording = recording();
        assert_eq!(recording.duration_us(), 10_000_000);
        assert_eq!(recording.bytes(), 19_000);
        assert_eq!(recording.target_duration_s(), 1);
        let renditions = recording.renditions();
        assert_eq!(renditions[0].rendition, Rendition::Source);
        assert_eq!((renditions[0].bandwidth, renditions[1].bytes), (8000, 9000));
    }

    #[test]
    fn clips_hold_what_was_asked_for_and_no_more_segments_than_that_takes() {
        let recording = recording();
        let (clip, begins_us) = recording.cut(3_500_000, 5_000_000).unwrap();
        assert_eq!(begins_us, 3_000_000);
        assert_eq!(clip.moments.iter().map(|m| m.msn).collect::<Vec<_>>(), [3, 34]);
        assert!(clip.moments[1].discontinuity);
        let (clip, begins_us) = recording.cut(4_000_000, 4_000_001).unwrap();
        assert_eq!((clip.moments.len(), begins_us), (1, 4_000_000));
        assert!(!clip.moments[0].discontinuity, "nothing is before it");
        assert!(recording.cut(10_000_000, 11_000_000).is_none());
        let (clip, _) = recording.cut(7_200_000, 7_300_000).unwrap();
        assert_eq!(clip.tracks.len(), 1, "no sound is stored there");
    }

    #[test]
    fn it_survives_its_file() {
        let recording = recording();
        let text = serde_json::to_vec(&recording).unwrap();
        assert_eq!(serde_json::from_slice::<Recording>(&text).unwrap(), recording);
        assert_eq!(recording.moment_at(4_500_000), Some(4));
        assert_eq!(recording.moment_at(99_000_000), Some(9));
    }

    #[test]
    fn ends_are_rounded_once() {
        // Three thirds are a whole.
        let third = MediaTime::new(1, 3);
        assert_eq!(end_us(MediaTime::new(2, 3), third), 1_000_000);
        assert_eq!(end_us(MediaTime::new(1, 2), third), 833_333);
    }
}
