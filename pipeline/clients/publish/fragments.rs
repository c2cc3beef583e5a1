//! Fragmented MP4 (recordings, CMAF): `moof` boxes to samples.
//!
//! Enters: a file's bytes and its movie box. Leaves: one track's samples, with
//! the times that the fragments say. Nothing is held. Never done here: looking at
//! payloads.

use mp4_atom::{Atom, DecodeMaybe, FourCC, Header, Moof, Moov, Traf, Trex};

use super::clip::{ClipError, Track};
use super::mp4::Sample;

/// sample_is_non_sync_sample (ISO 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// What a fragment leaves out (ISO 14496-12 §8.8.3 and §8.8.7).
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    fn of(traf: &Traf, trex: Option<&Trex>) -> Self {
        let tfhd = &traf.tfhd;
        let or = |own: Option<u32>, of: fn(&Trex) -> u32| own.or(trex.map(of)).unwrap_or(0);
        Self {
            duration: or(tfhd.default_sample_duration, |t| t.default_sample_duration),
            size: or(tfhd.default_sample_size, |t| t.default_sample_size),
            flags: or(tfhd.default_sample_flags, |t| t.default_sample_flags),
        }
    }
}

/// The samples of track `id`, and the time from the first's decoding to the last's end.
pub(super) fn samples(
    data: &[u8],
    moov: &Moov,
    id: u32,
    track: Track,
) -> Result<(Vec<Sample>, i64), ClipError> {
    let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.iter().find(|t| t.track_id == id));
    let mut found = Vec::new();
    let mut clock = 0;
    let mut at = 0;
    while let Some((header, body)) = next_box(data, at)? {
        let start = at as u64;
        at = body.end;
        if header.kind != FourCC::new(b"moof") {
            continue;
        }
        let moof = Moof::decode_body(&mut &data[body])?;
        for traf in moof.traf.iter().filter(|traf| traf.tfhd.track_id == id) {
            if let Some(tfdt) = &traf.tfdt {
                clock = i64::try_from(tfdt.base_media_decode_time)
                    .map_err(|_| ClipError::Damaged("a fragment's time overflows"))?;
            }
            let defaults = Defaults::of(traf, trex);
            let base = traf.tfhd.base_data_offset.unwrap_or(start);
            clock = run(traf, &defaults, base, clock, track, &mut found)?;
        }
    }
    let first = found.first().map_or(0, |sample: &Sample| sample.dts);
    Ok((found, clock - first))
}

/// The samples of one fragment; gives the time at its end.
fn run(
    traf: &Traf,
    defaults: &Defaults,
    base: u64,
    mut clock: i64,
    track: Track,
    out: &mut Vec<Sample>,
) -> Result<i64, ClipError> {
    let overflow = || ClipError::Damaged("a sample's offset overflows");
    let mut offset = base;
    for trun in &traf.trun {
        if let Some(relative) = trun.data_offset {
            offset = base.checked_add_signed(relative.into()).ok_or_else(overflow)?;
        }
        for row in trun.samples.iter() {
            let size = row.size.unwrap_or(defaults.size);
            let sync = row.flags.unwrap_or(defaults.flags) & NON_SYNC == 0;
            out.push(Sample {
                offset,
                size,
                dts: clock,
                cts: row.cts.unwrap_or(0),
                sync: sync || track == Track::Audio,
            });
            offset = offset.checked_add(size.into()).ok_or_else(overflow)?;
            clock = clock.saturating_add(row.duration.unwrap_or(defaults.duration).into());
        }
    }
    Ok(clock)
}

/// The box at `at`: its header and where its body lies. None at the end.
fn next_box(data: &[u8], at: usize) -> Result<Option<(Header, std::ops::Range<usize>)>, ClipError> {
    let mut rest = data.get(at..).unwrap_or_default();
    let whole = rest.len();
    let Some(header) = Header::decode_maybe(&mut rest)? else { return Ok(None) };
    let start = at + whole - rest.len();
    let size = header.size.unwrap_or(rest.len());
    if size > rest.len() {
        return Err(ClipError::Damaged("a box reaches beyond the file"));
    }
    Ok(Some((header, start..start + size)))
}
