//! A video as one MP4 file: planned from the segments' headers, sent from the
//! segments' bytes.
//!
//! ```text
//! segment files ─ moof boxes ─► samples ─► track ─► write ─► ftyp · moov · mdat
//!       └──────── mdat payloads, as they are ──────────────────────────► media
//! ```
//!
//! The best picture and the sound, remuxed rather than strung together as
//! fragments: programs that know MP4 but not fragments play it, all show its
//! length at once, and it can be fetched in ranges, since its layout follows
//! from the recording alone.
//!
//! - **Enters**: a recording and its files. **Leaves**: a [`Download`].
//! - **Held**: the head, about 2 MB for an hour.
//! - **Never here**: media bytes; decoding.

mod samples;
mod track;
mod write;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use records::{Rendition, StreamId};

use super::recording::{RecordedTrack, Recording};
use super::still;
use crate::hls::{ColdError, Object, Opened};
use samples::Chunk;
use track::Track;
use write::Placed;

/// Threads that read headers.
const READERS: usize = 8;
/// Segments for which another thread is worth it.
const SHARE_MIN: usize = 32;

/// The layout of a file.
pub struct Download {
    /// What it begins with: everything but the media.
    pub head: Bytes,
    /// The media, in order.
    pub pieces: Vec<Piece>,
    /// Length of the whole file in bytes.
    pub len: u64,
}

/// What one segment has of the file.
pub struct Piece {
    /// The segment.
    pub object: Object,
    /// Places in its file, `(offset, length)`, one after the other.
    pub places: Vec<(u64, u64)>,
    /// Their lengths together.
    pub len: u64,
}

/// A segment's header, read.
struct Header {
    begin_us: i64,
    run: u64,
    object: Object,
    chunks: Vec<Chunk>,
}

/// Plans the file of a recording. Blocks: it reads the headers of every
/// segment, some at once. `open` gives a stored object.
///
/// # Errors
/// A file can't be read, or isn't one of ours.
pub(super) fn plan(
    recording: &Recording,
    stream: StreamId,
    open: impl Fn(Object) -> Result<Opened, ColdError> + Sync,
) -> Result<Download, ColdError> {
    let best = recording.best().filter(|track| track.rendition.is_video());
    let sound = recording.tracks.iter().find(|track| track.rendition == Rendition::Audio);
    let chosen: Vec<_> = best.into_iter().chain(sound).collect();

    let mut segments = Vec::new();
    for recorded in &chosen {
        segments.push(read_headers(recording, recorded, stream, &open)?);
    }
    let mut tracks = Vec::new();
    for (recorded, headers) in chosen.iter().zip(&segments) {
        tracks.push(joined(recorded, headers, stream, &open)?);
    }

    // Segment by segment, so that players find sound and picture side by side.
    let mut order: Vec<_> = segments
        .iter()
        .enumerate()
        .flat_map(|(track, headers)| headers.iter().map(move |segment| (track, segment)))
        .collect();
    order.sort_by_key(|(track, segment)| (segment.begin_us, *track));
    let mut chunks = vec![Vec::new(); tracks.len()];
    let (mut pieces, mut media) = (Vec::new(), 0);
    for (track, segment) in order {
        let mut places = Vec::with_capacity(segment.chunks.len());
        let begin = media;
        for chunk in segment.chunks.iter().filter(|chunk| !chunk.samples.is_empty()) {
            chunks[track].push(media);
            places.push((chunk.at, chunk.bytes()));
            media += chunk.bytes();
        }
        pieces.push(Piece { object: segment.object, places, len: media - begin });
    }
    let placed: Vec<_> = chosen
        .iter()
        .zip(&tracks)
        .zip(&chunks)
        .map(|((recorded, track), chunks)| Placed {
            track,
            is_video: recorded.rendition.is_video(),
            size: recorded.shape().and_then(|shape| shape.resolution).unwrap_or_default(),
            chunks,
        })
        .collect();
    let head = write::head(&placed, media);
    let len = head.len() as u64 + media;
    Ok(Download { head, pieces, len })
}

/// Reads the headers of all that a rendition stored.
fn read_headers(
    recording: &Recording,
    recorded: &RecordedTrack,
    stream: StreamId,
    open: &(impl Fn(Object) -> Result<Opened, ColdError> + Sync),
) -> Result<Vec<Header>, ColdError> {
    let mut places = Vec::new();
    let mut at_us = 0;
    for (moment, stored) in recording.moments.iter().zip(&recorded.stored) {
        if let Some(stored) = stored {
            let (rendition, msn) = (recorded.rendition, moment.msn);
            let object = Object::Segment { stream, rendition, msn };
            let begin_us = at_us + stored.start_us - moment.start_us;
            places.push((object, stored.bytes, begin_us, moment.run));
        }
        at_us += moment.end_us - moment.start_us;
    }
    let read = |places: &[(Object, u64, i64, u64)]| {
        let each = places.iter().map(|&(object, bytes, begin_us, run)| {
            let file = open(object)?;
            let chunks = samples::chunks(bytes, |at, buffer| file.read_exact_at(buffer, at));
            Ok(Header { begin_us, run, object, chunks: chunks.map_err(failed)? })
        });
        each.collect::<Result<Vec<_>, ColdError>>()
    };
    // From a store each takes its time, so several are read at once.
    let share = places.len().div_ceil(READERS).max(SHARE_MIN);
    std::thread::scope(|scope| {
        let read = &read;
        let readers: Vec<_> =
            places.chunks(share).map(|own| scope.spawn(move || read(own))).collect();
        let mut all = Vec::with_capacity(places.len());
        for reader in readers {
            let died = |_| Err(failed(io::Error::other("a thread that read headers died")));
            all.extend(reader.join().unwrap_or_else(died)?);
        }
        Ok(all)
    })
}

fn failed(error: io::Error) -> ColdError {
    ColdError::Storage(Arc::new(error))
}

/// Puts a rendition's segments on one timeline.
fn joined(
    recorded: &RecordedTrack,
    headers: &[Header],
    stream: StreamId,
    open: &impl Fn(Object) -> Result<Opened, ColdError>,
) -> Result<Track, ColdError> {
    let mut runs: Vec<(u64, u32, Vec<u8>)> = Vec::new();
    for segment in headers {
        if runs.last().is_some_and(|(run, ..)| *run == segment.run) {
            continue;
        }
        let object = Object::Init { stream, rendition: recorded.rendition, run: segment.run };
        let file = open(object)?;
        let mut init = vec![0; usize::try_from(file.length().map_err(failed)?).unwrap_or(0)];
        file.read_exact_at(&mut init, 0).map_err(failed)?;
        let (timescale, entry) = still::sample_entry(&init).ok_or_else(|| {
            let why = "an initialization section isn't ours";
            failed(io::Error::new(io::ErrorKind::InvalidData, why))
        })?;
        runs.push((segment.run, timescale, entry.to_vec()));
    }
    let mut track = Track::new(runs.iter().map(|(_, timescale, _)| *timescale));
    for segment in headers {
        let of = runs.iter().find(|(run, ..)| *run == segment.run);
        if let Some((_, timescale, entry)) = of {
            track.segment(segment.begin_us, *timescale, entry, &segment.chunks);
        }
    }
    Ok(track)
}
