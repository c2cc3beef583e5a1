//! Initialization sections, parts and segments, box by box (PROTOCOLS §2).
//!
//! Enters: their bytes, in playback order, with what the playlist says of
//! them. Held: where the track's next chunk must begin. Read with mp4-atom,
//! which has no part in making them.

mod track;

use std::fmt::Write;

use mp4_atom::{Atom, Codec, Decode, FourCC, Ftyp, Header, Moof, Moov, Trak, Trex};

use super::{Findings, Violation};

pub use track::Track;

/// `sample_is_non_sync_sample` (BMFF 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

const BOXES: &str = "BMFF whole, readable boxes";

/// What the chunks of a track are read with.
#[derive(Clone, Debug)]
pub struct Init {
    /// The only track's id.
    pub track_id: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// Pictures, not sound.
    pub video: bool,
    /// For `CODECS` (RFC 6381); only the sample entry's name where the rest
    /// isn't known here.
    pub codec: String,
    /// Length of a NAL unit's length, for H.264.
    nal_length: Option<usize>,
    trex: Trex,
    /// Media time of presentation time zero, by the edit list, in ticks.
    presented_from: i64,
}

/// One moof with its mdat.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// Of the mfhd.
    pub sequence: u32,
    /// Decode time of its first sample, in ticks.
    pub decode_time: u64,
    /// When its first sample is presented, by the edit list, in ticks.
    pub presented: i64,
    /// Sum of its samples' durations, in ticks.
    pub duration: u64,
    /// The longest of its samples, in ticks.
    pub sample_duration_max: u64,
    /// How many samples.
    pub samples: usize,
    /// The first sample is a sync sample.
    pub starts_sync: bool,
    /// Any of them is a sync sample.
    pub has_sync: bool,
}

/// Reads and judges an initialization section.
#[must_use]
pub fn init(bytes: &[u8]) -> (Option<Init>, Vec<Violation>) {
    let mut found = Findings::default();
    let mut rest = bytes;
    let (mut ftyp, mut moov) = (None, None);
    while let Some((kind, body, after)) = next_box(rest) {
        match &kind {
            b"ftyp" => {
                found.check(moov.is_none(), "BMFF 4.3 ftyp comes first", String::new);
                ftyp = Ftyp::decode_body(&mut &*body).ok();
            }
            b"moov" => moov = Moov::decode_body(&mut &*body).ok(),
            _ => {}
        }
        rest = after;
    }
    found.check(rest.is_empty(), BOXES, || format!("{} bytes at the init's end", rest.len()));
    let modern: [FourCC; 5] = [b"iso6", b"iso7", b"iso8", b"iso9", b"cmfc"].map(FourCC::new);
    let brands = ftyp.map(|f| {
        let mut brands = f.compatible_brands;
        brands.push(f.major_brand);
        brands
    });
    found.check(
        brands.iter().flatten().any(|b| modern.contains(b)),
        "bis 3.1.2 ftyp with iso6 or later",
        || format!("{brands:?}"),
    );
    let Some(moov) = moov else {
        found.check(false, BOXES, || "no readable moov".into());
        return (None, found.0);
    };
    found.check(moov.mvhd.duration == 0, "bis 3.1.2 mvhd without a duration", || {
        moov.mvhd.duration.to_string()
    });
    found.check(moov.trak.len() == 1, "AC one track in each playlist", || {
        format!("{} tracks", moov.trak.len())
    });
    let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.first()).cloned();
    found.check(trex.is_some(), "bis 3.1.2 mvex with a trex", String::new);
    let init = moov.trak.first().and_then(|trak| track(trak, trex.unwrap_or_default(), &mut found));
    (init, found.0)
}

fn track(trak: &Trak, trex: Trex, found: &mut Findings) -> Option<Init> {
    found.check(trak.tkhd.duration == 0, "bis 3.1.2 tkhd without a duration", || {
        trak.tkhd.duration.to_string()
    });
    let stbl = &trak.mdia.minf.stbl;
    let empty = stbl.stts.entries.is_empty()
        && stbl.stsc.entries.is_empty()
        && stbl.stco.as_ref().is_none_or(|stco| stco.entries.is_empty());
    found.check(empty, "bis 3.1.2 no samples in the moov", String::new);
    let video = trak.mdia.hdlr.handler == FourCC::new(b"vide");
    let codec = stbl.stsd.codecs.first();
    found.check(codec.is_some(), BOXES, || "no sample entry".into());
    let timescale = trak.mdia.mdhd.timescale;
    found.check(timescale > 0, BOXES, || "timescale 0".into());
    let (codec, nal_length) = codec_name(codec?);
    if let Some(audio) = match stbl.stsd.codecs.first() {
        Some(Codec::Mp4a(entry)) => Some(&entry.audio),
        _ => None,
    } {
        let rate = u32::from(audio.sample_rate.integer());
        found.check(
            rate == 0 || rate == timescale,
            "an audio timescale equals the sample rate",
            || format!("timescale {timescale}, sample rate {rate}"),
        );
    }
    Some(Init {
        track_id: trak.tkhd.track_id,
        timescale: timescale.max(1),
        video,
        codec,
        nal_length,
        trex,
        presented_from: presented_from(trak),
    })
}

fn presented_from(trak: &Trak) -> i64 {
    let edits = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let from = edits.and_then(|elst| elst.entries.iter().find_map(|entry| entry.media_time));
    from.and_then(|ticks| i64::try_from(ticks).ok()).unwrap_or(0)
}

fn codec_name(codec: &Codec) -> (String, Option<usize>) {
    match codec {
        Codec::Avc1(entry) => {
            let avcc = &entry.avcc;
            let mut name = String::from("avc1.");
            for byte in
                [avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication]
            {
                // Writing to a string can't fail.
                let _ = write!(name, "{byte:02x}");
            }
            (name, Some(usize::from(avcc.length_size)))
        }
        Codec::Hvc1(_) => ("hvc1".into(), None),
        Codec::Av01(_) => ("av01".into(), None),
        Codec::Mp4a(entry) => {
            let config = entry.esds.es_desc.dec_config.dec_specific.as_ref();
            let object_type = config.map_or(2, |config| config.profile);
            (format!("mp4a.40.{object_type}"), None)
        }
        Codec::Opus(_) => ("opus".into(), None),
        _ => ("unknown".into(), None),
    }
}

/// Takes one box off the front: its kind, its body, what follows.
fn next_box(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let mut rest = bytes;
    if rest.len() < 8 {
        return None;
    }
    let header = Header::decode(&mut rest).ok()?;
    let size = header.size.unwrap_or(rest.len());
    let body = rest.get(..size)?;
    Some((header.kind.into(), body, &rest[size..]))
}

/// Reads and judges the chunks in a part or segment.
#[must_use]
pub fn chunks(init: &Init, bytes: &[u8]) -> (Vec<Chunk>, Vec<Violation>) {
    let mut found = Findings::default();
    let mut chunks = Vec::new();
    let mut rest = bytes;
    let mut open: Option<(Moof, usize)> = None;
    while let Some((kind, body, after)) = next_box(rest) {
        let at = bytes.len() - rest.len();
        match &kind {
            b"moof" => {
                found.check(open.is_none(), "bis 3.1.2 each moof with its mdat", || {
                    format!("two moofs before byte {at}")
                });
                match Moof::decode_body(&mut &*body) {
                    Ok(moof) => open = Some((moof, at)),
                    Err(error) => found.check(false, BOXES, || format!("moof at {at}: {error}")),
                }
            }
            b"mdat" => match open.take() {
                Some((moof, moof_at)) => {
                    let end = bytes.len() - after.len();
                    let mdat = (end - body.len(), end);
                    chunks.extend(chunk(init, &moof, bytes, moof_at, mdat, &mut found));
                }
                None => found
                    .check(false, "bis 3.1.2 each mdat after its moof", || format!("mdat at {at}")),
            },
            b"emsg" | b"styp" | b"sidx" | b"prft" => {
                found.check(
                    open.is_none(),
                    "BMFF events and indexes stand before the moof",
                    || format!("{} at {at}", String::from_utf8_lossy(&kind)),
                );
            }
            _ => {}
        }
        rest = after;
    }
    found.check(rest.is_empty(), BOXES, || format!("{} bytes are left over", rest.len()));
    found.check(open.is_none() && !chunks.is_empty(), "bis 3.1.2 a whole moof and mdat", || {
        format!("{} chunks in {} bytes", chunks.len(), bytes.len())
    });
    (chunks, found.0)
}

fn chunk(
    init: &Init,
    moof: &Moof,
    bytes: &[u8],
    moof_at: usize,
    mdat: (usize, usize),
    found: &mut Findings,
) -> Option<Chunk> {
    found.check(moof.traf.len() == 1, "AC one traf in each moof", || {
        format!("{} at byte {moof_at}", moof.traf.len())
    });
    let traf = moof.traf.first()?;
    found.check(traf.tfhd.track_id == init.track_id, "BMFF 8.8.7 the traf's track exists", || {
        format!("track {}", traf.tfhd.track_id)
    });
    found.check(
        traf.tfhd.default_base_is_moof && traf.tfhd.base_data_offset.is_none(),
        "bis 3.1.2 default-base-is-moof",
        || format!("at byte {moof_at}"),
    );
    found.check(traf.tfdt.is_some(), "bis 3.1.2 a tfdt in every traf", || {
        format!("at byte {moof_at}")
    });
    let mut chunk = Chunk {
        sequence: moof.mfhd.sequence_number,
        decode_time: traf.tfdt.as_ref()?.base_media_decode_time,
        ..Chunk::default()
    };
    let default_flags = traf.tfhd.default_sample_flags.unwrap_or(init.trex.default_sample_flags);
    let default_size = traf.tfhd.default_sample_size.unwrap_or(init.trex.default_sample_size);
    let default_duration =
        traf.tfhd.default_sample_duration.unwrap_or(init.trex.default_sample_duration);
    let mut at = mdat.0;
    for run in &traf.trun {
        if let Some(offset) = run.data_offset {
            at = moof_at.saturating_add_signed(offset as isize);
        }
        for sample in &run.samples {
            let flags = sample.flags.unwrap_or(default_flags);
            let size = sample.size.unwrap_or(default_size) as usize;
            let duration = u64::from(sample.duration.unwrap_or(default_duration));
            let sync = !init.video || flags & NON_SYNC == 0;
            let end = at.saturating_add(size);
            found.check(
                at >= mdat.0 && end <= mdat.1,
                "BMFF 8.8.8 samples lie in their mdat",
                || format!("bytes {at}..{end}, mdat {}..{}", mdat.0, mdat.1),
            );
            if let (Some(length), Some(data)) = (init.nal_length, bytes.get(at..end)) {
                let idr = has_idr(data, length);
                found.check(sync == idr, "BMFF 8.8.3.1 sync flags are honest", || {
                    let number = chunk.samples;
                    format!("sample {number} at byte {at}: flagged sync {sync}, IDR {idr}")
                });
            }
            if chunk.samples == 0 {
                chunk.starts_sync = sync;
                let composed = chunk.decode_time.saturating_add_signed(sample.cts.unwrap_or(0));
                chunk.presented = i64::try_from(composed).unwrap_or(i64::MAX) - init.presented_from;
            }
            chunk.has_sync |= sync;
            chunk.samples += 1;
            chunk.duration += duration;
            chunk.sample_duration_max = chunk.sample_duration_max.max(duration);
            at = end;
        }
    }
    found.check(chunk.samples > 0, "bis 3.1.2 samples in every chunk", || {
        format!("none at byte {moof_at}")
    });
    Some(chunk)
}

/// Whether an access unit of length-prefixed NAL units holds an IDR slice.
fn has_idr(mut data: &[u8], length_size: usize) -> bool {
    while data.len() > length_size {
        let (length, rest) = data.split_at(length_size);
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        if rest.first().is_some_and(|header| header & 0x1f == 5) {
            return true;
        }
        data = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Judges an entry of an I-frame playlist: the bytes from its moof to the end
/// of its picture (bis 4.4.3.6; A 6).
#[must_use]
pub fn i_frame(init: &Init, bytes: &[u8]) -> Vec<Violation> {
    const RULE: &str = "A 6 an I-frame entry is a moof and one sync sample";
    let mut found = Findings::default();
    let first = next_box(bytes).filter(|(kind, ..)| kind == b"moof");
    let Some((_, body, after)) = first else {
        found.check(false, RULE, || "it doesn't begin with a moof".into());
        return found.0;
    };
    let Some(moof) = Moof::decode_body(&mut &*body).ok() else {
        found.check(false, BOXES, || "its moof".into());
        return found.0;
    };
    let traf = moof.traf.first();
    let run = traf.and_then(|traf| traf.trun.first());
    let (Some(traf), Some(run)) = (traf, run) else {
        found.check(false, RULE, || "it has no samples".into());
        return found.0;
    };
    let Some(first) = run.samples.get(0) else {
        found.check(false, RULE, || "it has no samples".into());
        return found.0;
    };
    let default_flags = traf.tfhd.default_sample_flags.unwrap_or(init.trex.default_sample_flags);
    found.check(first.flags.unwrap_or(default_flags) & NON_SYNC == 0, RULE, || {
        "its first sample isn't sync".into()
    });
    let default_size = traf.tfhd.default_sample_size.unwrap_or(init.trex.default_sample_size);
    let size = first.size.unwrap_or(default_size) as usize;
    let start = run.data_offset.map_or(bytes.len() - after.len() + 8, |o| o.max(0) as usize);
    found.check(start + size <= bytes.len(), RULE, || {
        format!("its picture ends at byte {}, the range at {}", start + size, bytes.len())
    });
    found.0
}
