//! A video's storyboard: small pictures along its playing time, for the seek bar.
//!
//! ```text
//! recording ──► Layout ──► storyboard.vtt: which tile of which sheet belongs to which seconds
//!                  └─────► Sheet: the key pictures that storyboard-{n}.jpg is made of
//! ```
//!
//! - **Enters**: a recording; its files, opened. **Leaves**: WebVTT whose cues name
//!   tiles by media fragments (`#xywh=`), as players of others read it too, and
//!   the key pictures of one sheet. The same for the same recording.
//! - A cue's tile shows what is on in its middle. Where no picture is stored the
//!   one before it is repeated.
//! - **Held**: nothing. **Never here**: decoding, which is the caller's.

use std::fmt::Write;
use std::io::ErrorKind;

use bytes::Bytes;
use records::{StreamId, TrackInit};

use super::recording::Recording;
use super::still::{self, Place};
use crate::hls::{ColdError, Object};

/// What the list is called.
pub(super) const NAME: &str = "storyboard.vtt";

/// The least time between two tiles: about a segment, of which only the first
/// picture's place is known.
const INTERVAL_US_MIN: i64 = 2_000_000;
/// Tiles of a video at most. A seek bar has hardly more places that can be hit.
const TILES_MAX: i64 = 250;
/// Tiles beside each other in a sheet, and rows of them.
const COLUMNS: usize = 5;
const TILES_PER_SHEET: usize = COLUMNS * 5;
/// The longer side of a tile, in pixels.
const SIDE: u32 = 160;

/// How a video's storyboard is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    duration_us: i64,
    interval_us: i64,
    tiles: usize,
    tile: (u32, u32),
}

/// What one sheet shows: the key pictures to be decoded.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Tiles beside each other.
    pub columns: usize,
    /// Tiles in all, row by row; the last row may be shorter.
    pub tiles: usize,
    /// Width and height of a tile in pixels: multiples of 4 and of 2.
    pub tile: (u32, u32),
    /// By track configuration: the access units, each with the first tile that shows it.
    /// A tile without one shows what the tile before it does.
    pub pictures: Vec<(TrackInit, Vec<(usize, Bytes)>)>,
}

impl Layout {
    /// None: there is no picture in it.
    pub(super) fn of(recording: &Recording) -> Option<Self> {
        let moments = 0..recording.moments.len();
        let first = moments.into_iter().find_map(|moment| still::smallest(recording, moment))?;
        let duration_us = recording.duration_us().max(1);
        let second = 1_000_000;
        let interval_us = (up(duration_us, TILES_MAX * second) * second).max(INTERVAL_US_MIN);
        let tiles = usize::try_from(up(duration_us, interval_us)).ok()?;
        let (_, (width, height)) = first;
        Some(Self { duration_us, interval_us, tiles, tile: fit(width, height) })
    }

    /// The list, with names relative to its own.
    pub(super) fn vtt(&self) -> String {
        let mut out = String::with_capacity(16 + self.tiles * 80);
        out.push_str("WEBVTT\n");
        let (width, height) = self.tile;
        for tile in 0..self.tiles {
            let from_us = tile as i64 * self.interval_us;
            let to_us = (from_us + self.interval_us).min(self.duration_us);
            out.push('\n');
            time(&mut out, from_us);
            out.push_str(" --> ");
            time(&mut out, to_us);
            let (sheet, at) = (tile / TILES_PER_SHEET, tile % TILES_PER_SHEET);
            let (x, y) = ((at % COLUMNS) as u32 * width, (at / COLUMNS) as u32 * height);
            let _ = writeln!(out, "\nstoryboard-{sheet}.jpg#xywh={x},{y},{width},{height}");
        }
        out
    }

    /// The places of the pictures of a sheet, with the first tile of each.
    /// None: there are fewer sheets.
    fn places(&self, recording: &Recording, sheet: usize) -> Option<Vec<(usize, Place)>> {
        let begin = sheet.checked_mul(TILES_PER_SHEET).filter(|begin| *begin < self.tiles)?;
        let mut walk = recording.moments.iter().enumerate();
        let (mut ended_us, mut known) = (0, None);
        let mut places: Vec<(usize, Place)> = Vec::new();
        for tile in begin..self.tiles.min(begin + TILES_PER_SHEET) {
            let from_us = tile as i64 * self.interval_us;
            let to_us = (from_us + self.interval_us).min(self.duration_us);
            // Beyond the picture that is on, only to find a first one.
            while (ended_us <= (from_us + to_us) / 2 || known.is_none())
                && let Some((index, moment)) = walk.next()
            {
                ended_us += moment.end_us - moment.start_us;
                known = still::smallest(recording, index).map(|(place, _)| place).or(known);
            }
            let Some(place) = known else { break };
            if places.last().is_none_or(|(_, last)| *last != place) {
                places.push((tile - begin, place));
            }
        }
        Some(places)
    }

    /// Reads the pictures of a sheet; those whose files are gone or cut short
    /// are left out. Blocks on the file system: the start of one segment per
    /// picture. `read` gives the first bytes of an object, all of them without a limit.
    pub(super) fn sheet(
        &self,
        recording: &Recording,
        stream: StreamId,
        number: usize,
        read: impl Fn(Object, Option<u32>) -> Result<Bytes, ColdError>,
    ) -> Result<Option<Sheet>, ColdError> {
        let Some(places) = self.places(recording, number) else { return Ok(None) };
        let read = |object, limit| match read(object, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ColdError::Missing) => Ok(None),
            // Shorter than was announced.
            Err(ColdError::Storage(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        };
        let mut pictures: Vec<(TrackInit, Vec<(usize, Bytes)>)> = Vec::new();
        let mut of = None;
        for (tile, place) in places {
            let Place { rendition, run, msn, end } = place;
            if of != Some((rendition, run)) {
                let init = read(Object::Init { stream, rendition, run }, None)?;
                let Some(init) = init.and_then(|init| still::configuration(&init)) else {
                    continue;
                };
                pictures.push((init, Vec::new()));
                of = Some((rendition, run));
            }
            let segment = read(Object::Segment { stream, rendition, msn }, Some(end))?;
            if let Some((_, of_run)) = pictures.last_mut()
                && let Some(sample) = segment.and_then(|segment| still::sample(&place, &segment))
            {
                of_run.push((tile, sample));
            }
        }
        let tiles = (self.tiles - number * TILES_PER_SHEET).min(TILES_PER_SHEET);
        Ok(Some(Sheet { columns: COLUMNS.min(tiles), tiles, tile: self.tile, pictures }))
    }
}

/// The number in `storyboard-{n}.jpg`; None: that isn't what `path` names.
#[must_use]
pub fn sheet_number(path: &str) -> Option<usize> {
    let digits = path.strip_prefix("storyboard-")?.strip_suffix(".jpg")?;
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !is_padded;
    digits.parse().ok().filter(|_| is_number)
}

/// So many of these, the last one begun. Both are positive.
fn up(whole: i64, part: i64) -> i64 {
    (whole + part - 1) / part
}

/// The largest tile of this aspect within a square of [`SIDE`], in steps in
/// which rows of pictures have no padding.
fn fit(width: u16, height: u16) -> (u32, u32) {
    let (width, height) = (u32::from(width).max(1), u32::from(height).max(1));
    let longer = width.max(height);
    let round = |side: u32, step: u32| {
        let scaled = side * SIDE / longer;
        ((scaled + step / 2) / step * step).clamp(16, SIDE)
    };
    (round(width, 4), round(height, 2))
}

/// `00:00:04.000`, as WebVTT 3.3 has it; hours may be more than two digits.
fn time(out: &mut String, us: i64) {
    let ms = (us + 500) / 1000;
    let (s, ms) = (ms / 1000, ms % 1000);
    let (hours, minutes, seconds) = (s / 3600, s / 60 % 60, s % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{seconds:02}.{ms:03}");
}

#[cfg(test)]
mod tests {
    use super::super::recording::tests::recording;
    use super::*;

    /// The test recording so many times over, its numbers going on.
    fn repeated(times: u64) -> Recording {
        let mut whole = recording();
        let (moments, tracks) = (whole.moments.clone(), whole.tracks.clone());
        for again in 1..times {
            whole.moments.extend(moments.iter().map(|m| {
                let mut next = *m;
                next.msn += again * 100;
                next
            }));
            for (track, of) in whole.tracks.iter_mut().zip(&tracks) {
                track.stored.extend_from_slice(&of.stored);
            }
        }
        whole
    }

    fn shown(recording: &Recording, sheet: usize) -> Option<Vec<(usize, u64)>> {
        let places = Layout::of(recording)?.places(recording, sheet)?;
        Some(places.into_iter().map(|(tile, place)| (tile, place.msn)).collect())
    }

    #[test]
    fn the_list_reads_as_others_read_it() {
        let (clip, _) = recording().cut(0, 5_000_000).unwrap();
        let text = "WEBVTT

00:00:00.000 --> 00:00:02.000
storyboard-0.jpg#xywh=0,0,160,90

00:00:02.000 --> 00:00:04.000
storyboard-0.jpg#xywh=160,0,160,90

00:00:04.000 --> 00:00:05.000
storyboard-0.jpg#xywh=320,0,160,90
";
        assert_eq!(Layout::of(&clip).unwrap().vtt(), text);
    }

    #[test]
    fn long_videos_have_farther_tiles_not_more() {
        let layout = Layout::of(&repeated(300)).unwrap();
        assert_eq!((layout.tiles, layout.interval_us), (250, 12_000_000));
        let text = layout.vtt();
        assert!(text.contains("00:49:48.000 --> 00:50:00.000\nstoryboard-9.jpg#xywh=640,360,"));
        assert!(text.contains("\nstoryboard-1.jpg#xywh=0,0,160,90\n"));
        let just_over = Layout::of(&repeated(51)).unwrap();
        assert_eq!((just_over.tiles, just_over.interval_us), (170, 3_000_000));
        let mut hours = String::new();
        time(&mut hours, 360_000_001_000);
        assert_eq!(hours, "100:00:00.001");
    }

    #[test]
    fn tiles_show_what_is_on_in_the_middle_of_their_time() {
        let ten = recording();
        assert_eq!(shown(&ten, 0).unwrap(), [(0, 1), (1, 3), (2, 35), (3, 37), (4, 39)]);
        assert_eq!(shown(&ten, 1), None);
        let more = repeated(6);
        let second = shown(&more, 1).unwrap();
        assert_eq!(second, [(0, 501), (1, 503), (2, 535), (3, 537), (4, 539)]);
        assert_eq!(shown(&more, 2), None);
        assert_eq!(shown(&more, usize::MAX), None);
    }

    #[test]
    fn gaps_repeat_the_picture_before() {
        let mut recording = recording();
        for lost in [0, 1, 2, 4, 5, 6] {
            recording.tracks[1].stored[lost] = None;
        }
        assert_eq!(shown(&recording, 0).unwrap(), [(0, 3), (3, 37), (4, 39)]);
        recording.tracks[1].stored.fill(None);
        assert_eq!(Layout::of(&recording), None, "no picture at all");
        recording.tracks.pop();
        assert_eq!(Layout::of(&recording), None, "sound");
    }

    #[test]
    fn tiles_keep_the_aspect() {
        for ((width, height), tile) in [
            ((1920, 1080), (160, 90)),
            ((640, 480), (160, 120)),
            ((1080, 1920), (92, 160)),
            ((720, 720), (160, 160)),
            ((4000, 10), (160, 16)),
            ((0, 0), (160, 160)),
        ] {
            assert_eq!(fit(width, height), tile, "{width} × {height}");
        }
    }

    #[test]
    fn sheets_have_one_name_each() {
        assert_eq!(sheet_number("storyboard-0.jpg"), Some(0));
        assert_eq!(sheet_number("storyboard-12.jpg"), Some(12));
        for other in ["storyboard-.jpg", "storyboard-01.jpg", "storyboard-+1.jpg", "storyboard-1"] {
            assert_eq!(sheet_number(other), None, "{other}");
        }
        assert_eq!(sheet_number("storyboard-99999999999999999999999.jpg"), None);
    }
}
