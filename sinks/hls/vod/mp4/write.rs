//! The head of the file: `ftyp`, `moov` and the start of `mdat`.
//!
//! Enters: finished tracks. Leaves: bytes. Held: nothing. Never done here: moving
//! a sample in time or place. An edit list shifts each track so
//! that its first sample is shown when it should be and no composition offset
//! is negative, which every player understands.

use bytes::{BufMut, Bytes, BytesMut};
use records::mp4::{
    LANGUAGE_UNDETERMINED, boxed, full, put_handler, put_matrix, put_media_information,
};

use super::track::{Track, scale};

/// Ticks per second of the whole: the durations in `mvhd`, `tkhd` and edits.
const MOVIE_TIMESCALE: u32 = 1000;

/// A track and where its chunks lie, from the start of the media.
pub(super) struct Placed<'a> {
    pub(super) track: &'a Track,
    pub(super) is_video: bool,
    /// Width and height in pixels.
    pub(super) size: (u16, u16),
    pub(super) chunks: &'a [u64],
}

/// The head for `media` bytes that follow it.
pub(super) fn head(tracks: &[Placed<'_>], media: u64) -> Bytes {
    let draft = with_media_at(tracks, media, 0);
    // Offsets are of fixed width: the draft is as long as the real one.
    with_media_at(tracks, media, draft.len() as u64)
}

fn with_media_at(tracks: &[Placed<'_>], media: u64, media_at: u64) -> Bytes {
    let mut out = BytesMut::new();
    boxed(&mut out, b"ftyp", |out| out.put_slice(b"isom\0\0\x02\0isomiso2mp41"));
    boxed(&mut out, b"moov", |out| {
        let durations = tracks.iter().map(|placed| movie_end(placed.track));
        let duration = durations.max().unwrap_or(0);
        full(out, b"mvhd", 1, 0, |out| {
            out.put_bytes(0, 16); // created, modified
            out.put_u32(MOVIE_TIMESCALE);
            out.put_u64(duration);
            out.put_u32(0x1_0000); // rate 1
            out.put_u16(0x100); // volume 1
            out.put_bytes(0, 10);
            put_matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(tracks.len() as u32 + 1);
        });
        for (index, placed) in tracks.iter().enumerate() {
            boxed(out, b"trak", |out| trak(out, index as u32 + 1, placed, media_at));
        }
    });
    // Always with a 64-bit size, so that its length doesn't depend on it.
    out.put_u32(1);
    out.put_slice(b"mdat");
    out.put_u64(media + 16);
    out.freeze()
}

fn movie_end(track: &Track) -> u64 {
    scale(track.end, track.timescale, MOVIE_TIMESCALE)
}

fn trak(out: &mut BytesMut, id: u32, placed: &Placed<'_>, media_at: u64) {
    let Placed { track, is_video, size: (width, height), .. } = *placed;
    full(out, b"tkhd", 1, 3, |out| {
        out.put_bytes(0, 16);
        out.put_u32(id);
        out.put_u32(0);
        out.put_u64(movie_end(track));
        out.put_bytes(0, 8 + 2 + 2); // reserved, layer, group
        out.put_u16(if is_video { 0 } else { 0x100 });
        out.put_u16(0);
        put_matrix(out);
        out.put_u32(u32::from(width) << 16);
        out.put_u32(u32::from(height) << 16);
    });
    boxed(out, b"edts", |out| edits(out, track));
    boxed(out, b"mdia", |out| {
        full(out, b"mdhd", 1, 0, |out| {
            out.put_bytes(0, 16);
            out.put_u32(track.timescale);
            out.put_u64(track.end - track.begin);
            out.put_u16(LANGUAGE_UNDETERMINED);
            out.put_u16(0);
        });
        put_handler(out, is_video);
        put_media_information(out, is_video, |out| tables(out, placed, media_at));
    });
}

/// Nothing until its first sample is due, then all of it.
fn edits(out: &mut BytesMut, track: &Track) {
    let begin = scale(track.begin, track.timescale, MOVIE_TIMESCALE);
    full(out, b"elst", 1, 0, |out| {
        out.put_u32(if begin > 0 { 2 } else { 1 });
        if begin > 0 {
            out.put_u64(begin);
            out.put_i64(-1);
            out.put_u32(0x1_0000);
        }
        out.put_u64(movie_end(track).saturating_sub(begin));
        out.put_i64(i64::from(track.lead()));
        out.put_u32(0x1_0000);
    });
}

fn tables(out: &mut BytesMut, placed: &Placed<'_>, media_at: u64) {
    let track = placed.track;
    full(out, b"stsd", 0, 0, |out| {
        out.put_u32(track.entries.len() as u32);
        track.entries.iter().for_each(|entry| out.put_slice(entry));
    });
    full(out, b"stts", 0, 0, |out| {
        out.put_u32(track.durations.len() as u32);
        for run in &track.durations {
            out.put_u32(run.count);
            out.put_u32(run.value);
        }
    });
    let lead = i64::from(track.lead());
    if lead > 0 || track.offsets.iter().any(|run| run.value != 0) {
        full(out, b"ctts", 0, 0, |out| {
            out.put_u32(track.offsets.len() as u32);
            for run in &track.offsets {
                out.put_u32(run.count);
                out.put_u32(u32::try_from(i64::from(run.value) + lead).unwrap_or(0));
            }
        });
    }
    // Without the table all are sync samples.
    if track.syncs.len() < track.sizes.len() {
        full(out, b"stss", 0, 0, |out| {
            out.put_u32(track.syncs.len() as u32);
            track.syncs.iter().for_each(|number| out.put_u32(*number));
        });
    }
    full(out, b"stsz", 0, 0, |out| {
        out.put_u32(0);
        out.put_u32(track.sizes.len() as u32);
        track.sizes.iter().for_each(|bytes| out.put_u32(*bytes));
    });
    let mut runs: Vec<(u32, (u32, u32))> = Vec::new();
    for (number, chunk) in (1..).zip(&track.chunks) {
        if runs.last().is_none_or(|(_, last)| last != chunk) {
            runs.push((number, *chunk));
        }
    }
    full(out, b"stsc", 0, 0, |out| {
        out.put_u32(runs.len() as u32);
        for (first, (samples, entry)) in &runs {
            out.put_u32(*first);
            out.put_u32(*samples);
            out.put_u32(*entry);
        }
    });
    full(out, b"co64", 0, 0, |out| {
        out.put_u32(placed.chunks.len() as u32);
        placed.chunks.iter().for_each(|at| out.put_u64(media_at + at));
    });
}
