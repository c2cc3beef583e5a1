//! A key picture out of stored files, in the form that a decoder wants.
//!
//! Enters: an initialization section and the start of a segment, both ours.
//! Leaves: the track's configuration and one access unit. Held: nothing. Never
//! done here: decoding.

use bytes::Bytes;
use records::mp4::child;
use records::{Codec, Kind, Pieces, Rendition, TrackInit};

use super::recording::Recording;
use crate::hls::thumbnail::first_sample;

/// Where a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rendition: Rendition,
    pub(super) run: u64,
    pub(super) msn: u64,
    /// Bytes of the segment to its end.
    pub(super) end: u32,
}

/// The key picture at or after `share` of the playing time, else before it, of
/// the smallest rendition that has one there.
pub(super) fn place(recording: &Recording, share: f64) -> Option<Place> {
    let at_us = recording.duration_us() as f64 * share.clamp(0.0, 1.0);
    let wanted = recording.moment_at(at_us as i64)?;
    let after = wanted..recording.moments.len();
    let mut order = after.chain((0..wanted).rev());
    order.find_map(|index| smallest(recording, index)).map(|(place, _)| place)
}

/// The key picture of the smallest rendition that stored one of this moment,
/// and its width and height.
pub(super) fn smallest(recording: &Recording, index: usize) -> Option<(Place, (u16, u16))> {
    let moment = recording.moments.get(index)?;
    let pictures = recording.tracks.iter().filter(|track| track.rendition.is_video());
    let with = pictures.filter_map(|track| {
        let stored = (*track.stored.get(index)?)?;
        // What it was then: a publisher may change it.
        let of_run = track.inits.iter().find(|(run, _)| *run == moment.run);
        let size = of_run.map_or(track.shape()?, |(_, shape)| shape).resolution?;
        let (rendition, end) = (track.rendition, stored.iframe_bytes?);
        Some((Place { rendition, run: moment.run, msn: moment.msn, end }, size))
    });
    with.min_by_key(|(_, (width, height))| u32::from(*width) * u32::from(*height))
}

/// The first sample of `segment`.
pub(super) fn sample(place: &Place, segment: &Bytes) -> Option<Bytes> {
    first_sample(&Pieces::from(segment.clone()), place.end)
}

/// The timescale of one of our initialization sections, and its sample entry, whole.
pub(super) fn sample_entry(init: &[u8]) -> Option<(u32, &[u8])> {
    let mdia = child(child(child(init, b"moov")?, b"trak")?, b"mdia")?;
    let timescale = child(mdia, b"mdhd")?.get(12..16)?.try_into().ok()?;
    let entries = child(child(child(mdia, b"minf")?, b"stbl")?, b"stsd")?.get(8..)?;
    let size = u32::from_be_bytes(entries.get(..4)?.try_into().ok()?) as usize;
    let entry = entries.get(..size).filter(|entry| entry.len() > 8)?;
    Some((u32::from_be_bytes(timescale), entry))
}

/// Reads one of our initialization sections of a picture.
pub(super) fn configuration(init: &[u8]) -> Option<TrackInit> {
    let (timescale, entry) = sample_entry(init)?;
    let entry = entry.get(8..)?;
    let number = |at: usize| Some(u16::from_be_bytes(entry.get(at..at + 2)?.try_into().ok()?));
    let (width, height) = (number(24)?, number(26)?);
    // What comes after the fixed fields of a visual sample entry (BMFF 12.1.3).
    let known = [(b"avcC", Codec::H264), (b"hvcC", Codec::Hevc), (b"av1C", Codec::Av1)];
    let (config, codec) = known
        .into_iter()
        .find_map(|(name, codec)| Some((child(entry.get(78..)?, name)?, codec)))?;
    Some(TrackInit {
        codec,
        config: Bytes::copy_from_slice(config),
        timescale,
        sample_ticks: 1,
        kind: Kind::Video { width, height, fps: None },
    })
}

#[cfg(test)]
mod tests {
    use super::super::recording::tests::recording;
    use super::*;

    #[test]
    fn a_picture_is_found_wherever_one_is() {
        let mut recording = recording();
        assert_eq!(place(&recording, 0.55).map(|p| (p.msn, p.run, p.end)), Some((35, 1, 100)));
        for stored in recording.tracks[1].stored.iter_mut().skip(2) {
            *stored = None;
        }
        assert_eq!(place(&recording, 1.0).map(|p| p.msn), Some(1), "the nearest before");
        recording.tracks.pop();
        assert_eq!(place(&recording, 0.5), None, "sound has none");
    }

    #[test]
    fn nonsense_is_no_configuration() {
        for bytes in [&b""[..], b"\0\0\0\x08moov", b"\xff\xff\xff\xffmoov", &[0; 40]] {
            assert!(configuration(bytes).is_none());
        }
    }
}
