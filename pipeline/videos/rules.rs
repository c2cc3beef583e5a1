//! What age and size decide about videos: pure functions.
//!
//! Enters: what is recorded, and what the configuration says. Leaves: what is to
//! go. Held: nothing. Never here: a clock, a file, the log.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use records::Rendition;
use sinks::hls::vod::{RecordedRendition, Recording};

use super::{VideoEntry, VideoId};

/// Which pictures an old recording keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinTo {
    /// The published one, and no rung.
    Source,
    /// Those that are at most so high, in pixels.
    Height(u16),
}

/// The text is neither.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither source nor a height such as 720p")]
pub struct ParseThinToError(String);

impl FromStr for ThinTo {
    type Err = ParseThinToError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Rendition::Source) => Ok(Self::Source),
            Ok(Rendition::Rung(height)) if height > 0 => Ok(Self::Height(height)),
            _ => Err(ParseThinToError(text.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for ThinTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => Rendition::Source.fmt(f),
            Self::Height(height) => Rendition::Rung(*height).fmt(f),
        }
    }
}

/// When recordings lose renditions, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thin {
    /// How long after the broadcast.
    pub after: Duration,
    /// What they keep.
    pub to: ThinTo,
}

/// A picture's height in pixels; None: it isn't known, or it is sound.
fn height(of: &RecordedRendition) -> Option<u32> {
    match of.rendition {
        Rendition::Rung(height) => Some(height.into()),
        Rendition::Source => of.shape.resolution.map(|(_, height)| u32::from(height)),
        Rendition::Audio => None,
    }
}

/// Renditions that go by the rule. The last picture stays: of those that are too
/// high the smallest, without the published one the best.
#[must_use]
pub fn too_many(renditions: &[RecordedRendition], to: ThinTo) -> Vec<Rendition> {
    let pictures = || renditions.iter().filter(|of| of.rendition.is_video());
    let mut gone: Vec<_> = match to {
        ThinTo::Source if pictures().any(|of| of.rendition == Rendition::Source) => {
            pictures().filter(|of| of.rendition != Rendition::Source).collect()
        }
        ThinTo::Source => Vec::new(),
        ThinTo::Height(most) => pictures()
            .filter(|of| height(of).is_some_and(|height| height > u32::from(most)))
            .collect(),
    };
    if gone.len() == pictures().count() {
        let smallest = gone.iter().enumerate().min_by_key(|(_, of)| height(of)).map(|(at, _)| at);
        smallest.map(|at| gone.swap_remove(at));
    }
    let mut gone: Vec<_> = gone.into_iter().map(|of| of.rendition).collect();
    gone.sort_unstable();
    gone
}

/// Those of `gone` that may go: without them each moment that has a picture still
/// has one. Rungs have holes where the machine was overloaded.
#[must_use]
pub fn without_holes(recording: &Recording, gone: &[Rendition]) -> Vec<Rendition> {
    let pictures = recording.tracks.iter().filter(|track| track.rendition.is_video());
    let (mut gone, kept): (Vec<_>, Vec<_>) =
        pictures.partition(|track| gone.contains(&track.rendition));
    let mut is_shown = vec![false; recording.moments.len()];
    let mut show = |stored: &[Option<_>]| {
        let mut is_more = false;
        for (is_shown, stored) in is_shown.iter_mut().zip(stored) {
            is_more |= !*is_shown && stored.is_some();
            *is_shown |= stored.is_some();
        }
        is_more
    };
    kept.iter().for_each(|track| {
        show(&track.stored);
    });
    // The smallest that fills a hole stays.
    gone.sort_by_key(|track| track.rendition.rank());
    gone.retain(|track| !show(&track.stored));
    gone.iter().map(|track| track.rendition).collect()
}

/// The oldest of a channel's recordings that have to go so that no more than
/// `bytes_max` are left; never the newest one.
#[must_use]
pub fn too_much(channel: &[VideoEntry], bytes_max: u64) -> Vec<VideoId> {
    let mut oldest: Vec<_> = channel.iter().collect();
    oldest.sort_unstable_by_key(|video| (video.ended_at_us, video.video_id));
    oldest.pop();
    let mut bytes: u64 = channel.iter().map(|video| video.bytes).sum();
    let gone = oldest.into_iter().take_while(|video| {
        let is_over = bytes > bytes_max;
        bytes = bytes.saturating_sub(video.bytes);
        is_over
    });
    gone.map(|video| video.video_id).collect()
}

/// How often it is looked for what became due by one of these ages.
#[must_use]
pub fn look_every(ages: impl IntoIterator<Item = Duration>) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);
    ages.into_iter().min().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
}

/// In how many seconds so much is copied; at least 1.
#[must_use]
pub fn ready_in_s(bytes: u64, bytes_per_s: u64) -> u64 {
    bytes.div_ceil(bytes_per_s.max(1)).max(1)
}

/// What so many bytes in such a time make of the speed that was expected before: a
/// little of both, since neither disks nor stores are even.
#[must_use]
pub fn speed(before: u64, bytes: u64, took: Duration) -> u64 {
    let seen = (bytes as f64 / took.as_secs_f64().max(0.001)) as u64;
    (before / 2).saturating_add(seen / 2).max(1)
}

#[cfg(test)]
mod tests {
    use records::Rendition::{Audio, Rung, Source};
    use sinks::hls::Shape;
    use sinks::hls::vod::{Moment, RecordedTrack, Stored};

    use super::super::tests::entry;
    use super::*;

    fn renditions(all: &[(Rendition, Option<u16>)]) -> Vec<RecordedRendition> {
        let one = |(rendition, height): &(Rendition, Option<u16>)| RecordedRendition {
            rendition: *rendition,
            shape: Shape {
                codec: "c".into(),
                resolution: height.map(|height| (16, height)),
                frame_rate: None,
                channels: None,
            },
            bandwidth: 1,
            average_bandwidth: 1,
            bytes: 1,
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_is_higher_than_it_may_be_goes_and_one_picture_stays() {
        let full = renditions(&[
            (Source, Some(1080)),
            (Rung(720), Some(720)),
            (Rung(360), Some(360)),
            (Audio, None),
        ]);
        let gone = |to: &str| too_many(&full, to.parse().unwrap());
        assert_eq!(gone("source"), [Rung(360), Rung(720)]);
        assert_eq!(gone("1080p"), []);
        assert_eq!(gone("720p"), [Source]);
        assert_eq!(gone("719p"), [Source, Rung(720)]);
        assert_eq!(gone("100p"), [Source, Rung(720)], "the smallest stays");
        // What an earlier rule left.
        assert_eq!(too_many(&full[1..], ThinTo::Source), []);
        assert_eq!(too_many(&full[1..], ThinTo::Height(360)), [Rung(720)]);
        assert_eq!(too_many(&full[..1], ThinTo::Height(360)), [], "nothing else was made");
        assert_eq!(too_many(&full[3..], ThinTo::Height(360)), []);
        let unknown = renditions(&[(Source, None), (Rung(720), Some(720))]);
        assert_eq!(too_many(&unknown, ThinTo::Height(360)), [Rung(720)]);
    }

    #[test]
    fn rules_are_read_strictly() {
        for (text, to) in [("source", ThinTo::Source), ("480p", ThinTo::Height(480))] {
            assert_eq!(text.parse::<ThinTo>().unwrap(), to);
            assert_eq!(to.to_string(), text);
        }
        for wrong in ["", "audio", "480", "0p", "Source", "480p "] {
            assert!(wrong.parse::<ThinTo>().is_err(), "{wrong}");
        }
    }

    /// Which moments each rendition has, by digits.
    fn recording(tracks: &[(Rendition, &str)]) -> Recording {
        let moment = |n: u64| Moment {
            msn: n,
            run: 0,
            start_us: n as i64,
            end_us: n as i64 + 1,
            wall_us: 0,
            discontinuity: false,
        };
        let stored = Stored { start_us: 0, end_us: 1, bytes: 1, iframe_bytes: None };
        let tracks = tracks.iter().map(|(rendition, has)| RecordedTrack {
            rendition: *rendition,
            inits: Vec::new(),
            stored: has.chars().map(|c| (c == '1').then_some(stored)).collect(),
        });
        Recording { moments: (0..4).map(moment).collect(), tracks: tracks.collect() }
    }

    #[test]
    fn no_moment_loses_its_only_picture() {
        let may_go = |tracks: &[_], gone: &[_]| without_holes(&recording(tracks), gone);
        let shed = [(Audio, "1111"), (Source, "1111"), (Rung(720), "1101"), (Rung(360), "1001")];
        assert_eq!(may_go(&shed, &[Rung(360), Rung(720)]), [Rung(360), Rung(720)]);
        assert_eq!(may_go(&shed, &[Source]), [], "720p lacks a moment");
        assert_eq!(may_go(&shed, &[Source, Rung(720)]), [], "each fills a hole");
        let lost = [(Source, "1100"), (Rung(720), "1110"), (Rung(360), "1100")];
        assert_eq!(may_go(&lost, &[Source, Rung(720)]), [Source], "the source fills none");
        assert_eq!(may_go(&lost, &[Rung(360)]), [Rung(360)]);
    }

    #[test]
    fn the_oldest_of_a_channel_go_and_the_newest_stays() {
        let channel: Vec<_> = [(30, 5), (10, 40), (20, 10)]
            .map(|(ended_at_us, bytes)| VideoEntry { ended_at_us, bytes, ..entry() })
            .into();
        let gone = |bytes_max| too_much(&channel, bytes_max);
        assert_eq!(gone(55), []);
        assert_eq!(gone(54), [channel[1].video_id]);
        assert_eq!(gone(15), [channel[1].video_id]);
        assert_eq!(gone(14), [channel[1].video_id, channel[2].video_id]);
        assert_eq!(gone(1), [channel[1].video_id, channel[2].video_id]);
        assert_eq!(too_much(&channel[..1], 1), []);
        assert_eq!(too_much(&[], 1), []);
    }

    #[test]
    fn waiting_is_told_in_whole_seconds_and_never_as_none() {
        assert_eq!(ready_in_s(0, 1000), 1);
        assert_eq!(ready_in_s(5000, 1000), 5);
        assert_eq!(ready_in_s(5001, 1000), 6);
        assert_eq!(ready_in_s(7, 0), 7);
        assert_eq!(speed(1000, 3000, Duration::from_secs(1)), 2000);
        assert_eq!(speed(0, 0, Duration::ZERO), 1);
        let s = Duration::from_secs;
        assert_eq!(look_every([s(86_400), s(2)]), s(2));
        assert_eq!(look_every([s(86_400)]), s(30));
        assert_eq!(look_every([Duration::ZERO]), Duration::from_millis(250));
        assert_eq!(look_every([]), s(30));
    }
}
