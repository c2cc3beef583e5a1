//! One track of the file: the samples of all its segments on one timeline.
//!
//! Enters: segments in order, each with where it begins in the video. Leaves:
//! the tables of an `stbl`. Held: a few bytes a sample. Never done here: places in
//! the file. Between runs and across gaps the last sample
//! before is made longer or shorter, so that sound and picture stay together
//! however often the publisher came back.

use super::samples::Chunk;

/// A run of equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeat<T> {
    pub(super) count: u32,
    pub(super) value: T,
}

/// Ticks per second when the segments don't agree on one.
const COMMON_TIMESCALE: u32 = 90_000;

#[derive(Default)]
pub(super) struct Track {
    /// Sample entries as they are in `stsd`, each once.
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) timescale: u32,
    /// Where its first sample begins, in ticks.
    pub(super) begin: u64,
    /// Where its last sample ends, in ticks.
    pub(super) end: u64,
    pub(super) durations: Vec<Repeat<u32>>,
    pub(super) offsets: Vec<Repeat<i32>>,
    pub(super) sizes: Vec<u32>,
    /// Numbers of the sync samples, from 1.
    pub(super) syncs: Vec<u32>,
    /// For each chunk, its samples and its sample entry, from 1.
    pub(super) chunks: Vec<(u32, u32)>,
    last_duration: u32,
}

impl Track {
    /// A track whose segments have these timescales.
    pub(super) fn new(timescales: impl IntoIterator<Item = u32>) -> Self {
        let mut timescales = timescales.into_iter();
        let first = timescales.next().unwrap_or(COMMON_TIMESCALE).max(1);
        let agree = timescales.all(|other| other == first);
        Self { timescale: if agree { first } else { COMMON_TIMESCALE }, ..Self::default() }
    }

    /// Adds a segment that begins at `begin_us` of the video.
    pub(super) fn segment(
        &mut self,
        begin_us: i64,
        timescale: u32,
        entry: &[u8],
        chunks: &[Chunk],
    ) {
        let begin = scale(begin_us.max(0).unsigned_abs(), 1_000_000, self.timescale);
        self.move_to(begin);
        let entry = self.entry(entry);
        let origin = self.end;
        // Whole spans are rescaled, so that rounding doesn't add up.
        let mut source = 0;
        for chunk in chunks.iter().filter(|chunk| !chunk.samples.is_empty()) {
            for sample in &chunk.samples {
                source += u64::from(sample.duration);
                let end = origin + scale(source, timescale, self.timescale);
                let duration = u32::try_from(end.saturating_sub(self.end)).unwrap_or(u32::MAX);
                repeat(&mut self.durations, duration);
                self.last_duration = duration;
                self.end += u64::from(duration);
                let offset = i64::from(sample.offset) * i64::from(self.timescale)
                    / i64::from(timescale.max(1));
                repeat(&mut self.offsets, i32::try_from(offset).unwrap_or(0));
                self.sizes.push(sample.bytes);
                if sample.sync {
                    self.syncs.push(self.sizes.len() as u32);
                }
            }
            self.chunks.push((chunk.samples.len() as u32, entry));
        }
    }

    /// The time of the next sample is `begin`, give or take what rounding does.
    fn move_to(&mut self, begin: u64) {
        if self.sizes.is_empty() {
            (self.begin, self.end) = (begin, begin);
            return;
        }
        // A microsecond may be many ticks, or less than one.
        let slack = u64::from(self.timescale / 500_000) + 1;
        if begin.abs_diff(self.end) <= slack {
            return;
        }
        let before = self.end - u64::from(self.last_duration);
        let longer = begin.saturating_sub(before).max(1);
        let longer = u32::try_from(longer).unwrap_or(u32::MAX);
        if let Some(last) = self.durations.last_mut() {
            last.count -= 1;
            if last.count == 0 {
                self.durations.pop();
            }
        }
        repeat(&mut self.durations, longer);
        (self.last_duration, self.end) = (longer, before + u64::from(longer));
    }

    /// The number of a sample entry, from 1.
    fn entry(&mut self, entry: &[u8]) -> u32 {
        let known = self.entries.iter().position(|known| known == entry);
        let index = known.unwrap_or_else(|| {
            self.entries.push(entry.to_vec());
            self.entries.len() - 1
        });
        index as u32 + 1
    }

    /// How far presentation is to be shifted for no offset to be negative.
    pub(super) fn lead(&self) -> u32 {
        let least = self.offsets.iter().map(|run| run.value).min().unwrap_or(0);
        least.min(0).unsigned_abs()
    }
}

fn repeat<T: PartialEq>(runs: &mut Vec<Repeat<T>>, value: T) {
    match runs.last_mut() {
        Some(last) if last.value == value => last.count += 1,
        _ => runs.push(Repeat { count: 1, value }),
    }
}

/// The same time in another timescale, rounded.
pub(super) fn scale(ticks: u64, from: u32, to: u32) -> u64 {
    let from = u128::from(from.max(1));
    ((u128::from(ticks) * u128::from(to) + from / 2) / from) as u64
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::*;

    fn chunk(durations: &[u32]) -> Chunk {
        let sample =
            |duration: &u32| Sample { bytes: 1, duration: *duration, offset: 0, sync: true };
        Chunk { at: 0, samples: durations.iter().map(sample).collect() }
    }

    fn spans(track: &Track) -> Vec<(u32, u32)> {
        track.durations.iter().map(|run| (run.count, run.value)).collect()
    }

    #[test]
    fn segments_that_follow_each_other_stay_as_they_are() {
        let mut track = Track::new([48_000, 48_000]);
        // 94 frames of sound are 2.005333 s.
        let frames = [1024; 94];
        track.segment(21_333, 48_000, b"entry", &[chunk(&frames)]);
        track.segment(21_333 + 2_005_333, 48_000, b"entry", &[chunk(&frames)]);
        assert_eq!(spans(&track), [(188, 1024)]);
        assert_eq!((track.begin, track.end), (1024, 1024 + 188 * 1024));
        assert_eq!((track.entries.len(), track.chunks.len()), (1, 2));
    }

    #[test]
    fn a_sample_is_made_to_reach_what_comes_next() {
        let mut track = Track::new([1000, 1000]);
        track.segment(0, 1000, b"a", &[chunk(&[40, 40])]);
        // A gap of one second, then a run that begins a little early.
        track.segment(1_080_000, 1000, b"a", &[chunk(&[40, 40])]);
        track.segment(1_150_000, 1000, b"b", &[chunk(&[40])]);
        assert_eq!(spans(&track), [(1, 40), (1, 1040), (1, 40), (1, 30), (1, 40)]);
        assert_eq!(track.end, 1190);
        assert_eq!(track.chunks.iter().map(|chunk| chunk.1).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn timescales_that_differ_are_brought_together_without_drift() {
        let mut track = Track::new([24_000, 25]);
        assert_eq!(track.timescale, COMMON_TIMESCALE);
        track.segment(0, 24_000, b"a", &[chunk(&[1001; 240])]);
        assert_eq!(track.end, 900_900);
        track.segment(10_010_000, 25, b"b", &[chunk(&[1; 25])]);
        assert_eq!(track.end, 990_900);
        let total: u64 =
            track.durations.iter().map(|run| u64::from(run.count) * u64::from(run.value)).sum();
        assert_eq!(total, 990_900);
    }
}
