//! One CMAF chunk: samples in, `moof` + `mdat` out.
//!
//! Enters: the samples of one part with their durations decided. Leaves: the
//! part's bytes. Held: nothing. Never done here: deciding what goes together.
//!
//! ```text
//! moof ─ mfhd
//!      └ traf ─ tfhd  default-base-is-moof, sample flags, common duration
//!             ├ tfdt  v1, decode time of the first sample
//!             └ trun  v1, signed offsets; only the columns that differ
//! mdat
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use records::Pieces;
use records::mp4::{boxed, full, tfhd, trun};

/// A sync sample: depends on no other (BMFF 8.8.3.1).
pub(super) const SYNC: u32 = 0x0200_0000;
/// A sample that depends on others and isn't a sync sample.
pub(super) const NON_SYNC: u32 = 0x0101_0000;

/// A sample shorter than this is copied behind what is before it: to carry a
/// piece of its own costs more.
const SHARED_MIN: usize = 4 << 10;

/// A sample as it is written.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Decode duration in ticks, at least 1.
    pub duration: u32,
    /// Presentation minus decode time in ticks.
    pub offset: i32,
    /// Whether it is a sync sample.
    pub sync: bool,
    /// The access unit.
    pub data: Bytes,
}

/// Bytes from the chunk's start to the end of its first sample.
pub(super) struct Encoded {
    /// The whole chunk.
    pub bytes: Pieces,
    /// Length of the chunk's start up to and including its first sample.
    pub first_end: u32,
}

/// Which columns the trun carries, and what the tfhd says instead.
struct Columns {
    tfhd: u32,
    trun: u32,
    default_flags: u32,
}

impl Columns {
    fn of(samples: &[Entry]) -> Self {
        let mut in_tfhd = tfhd::BASE_IS_MOOF | tfhd::FLAGS;
        let mut in_trun = trun::DATA_OFFSET | trun::SIZE;
        let first = &samples[0];
        let rest = &samples[1..];
        if rest.iter().all(|s| s.duration == first.duration) {
            in_tfhd |= tfhd::DURATION;
        } else {
            in_trun |= trun::DURATION;
        }
        if samples.iter().any(|s| s.offset != 0) {
            in_trun |= trun::OFFSET;
        }
        // The flags of all but the first as default; the first's own if it differs.
        let like = rest.first().unwrap_or(first).sync;
        if rest.iter().any(|s| s.sync != like) {
            in_trun |= trun::FLAGS;
        } else if first.sync != like {
            in_trun |= trun::FIRST_FLAGS;
        }
        Self { tfhd: in_tfhd, trun: in_trun, default_flags: flags(like) }
    }

    fn has(&self, column: u32) -> bool {
        self.trun & column != 0
    }

    fn row_bytes(&self) -> usize {
        let columns = self.trun & (trun::DURATION | trun::SIZE | trun::FLAGS | trun::OFFSET);
        columns.count_ones() as usize * 4
    }

    /// Bytes of the whole moof for `count` samples.
    fn moof_bytes(&self, count: usize) -> usize {
        let tfhd = 20 + if self.tfhd & tfhd::DURATION != 0 { 4 } else { 0 };
        let trun = 20 + if self.has(trun::FIRST_FLAGS) { 4 } else { 0 } + count * self.row_bytes();
        8 + 16 + 8 + tfhd + 20 + trun
    }
}

fn flags(sync: bool) -> u32 {
    if sync { SYNC } else { NON_SYNC }
}

/// Writes one chunk: `sequence` for mfhd, `decode_time` for tfdt. No samples give no bytes.
///
/// Large payloads are shared; one allocation holds all the rest.
pub(super) fn encode(sequence: u32, decode_time: u64, samples: &[Entry]) -> Encoded {
    let Some(first) = samples.first() else {
        return Encoded { bytes: Pieces::default(), first_end: 0 };
    };
    let columns = Columns::of(samples);
    let payload: usize = samples.iter().map(|s| s.data.len()).sum();
    let head = columns.moof_bytes(samples.len()) + 8;
    let copied = samples.iter().map(|s| s.data.len()).filter(|len| *len < SHARED_MIN);
    let mut out = BytesMut::with_capacity(head + copied.sum::<usize>());
    boxed(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| out.put_u32(sequence));
        boxed(out, b"traf", |out| {
            full(out, b"tfhd", 0, columns.tfhd, |out| {
                out.put_u32(super::header::TRACK_ID);
                if columns.tfhd & tfhd::DURATION != 0 {
                    out.put_u32(first.duration);
                }
                out.put_u32(columns.default_flags);
            });
            full(out, b"tfdt", 1, 0, |out| out.put_u64(decode_time));
            full(out, b"trun", 1, columns.trun, |out| {
                out.put_u32(samples.len() as u32);
                out.put_u32(head as u32);
                if columns.has(trun::FIRST_FLAGS) {
                    out.put_u32(flags(first.sync));
                }
                for sample in samples {
                    if columns.has(trun::DURATION) {
                        out.put_u32(sample.duration);
                    }
                    out.put_u32(sample.data.len() as u32);
                    if columns.has(trun::FLAGS) {
                        out.put_u32(flags(sample.sync));
                    }
                    if columns.has(trun::OFFSET) {
                        out.put_i32(sample.offset);
                    }
                }
            });
        });
    });
    debug_assert_eq!(out.len() + 8, head, "the moof's size was foreseen");
    out.put_u32((payload + 8) as u32);
    out.put_slice(b"mdat");
    let mut pieces = Vec::with_capacity(samples.len() + 1);
    for sample in samples {
        if sample.data.len() < SHARED_MIN {
            out.put_slice(&sample.data);
            continue;
        }
        if !out.is_empty() {
            pieces.push(out.split().freeze());
        }
        pieces.push(sample.data.clone());
    }
    if !out.is_empty() {
        pieces.push(out.freeze());
    }
    Encoded { bytes: pieces.into(), first_end: (head + first.data.len()) as u32 }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Decode, Mdat, Moof};

    use super::*;

    fn entry(duration: u32, offset: i32, sync: bool, data: &'static [u8]) -> Entry {
        Entry { duration, offset, sync, data: Bytes::from_static(data) }
    }

    fn decode(samples: &[Entry]) -> (Moof, Mdat, Encoded) {
        let encoded = encode(7, 1 << 40, samples);
        let bytes = encoded.bytes.to_bytes();
        let mut rest: &[u8] = &bytes;
        let moof = Moof::decode(&mut rest).unwrap();
        let mdat = Mdat::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        (moof, mdat, encoded)
    }

    #[test]
    fn a_constant_rate_costs_only_sizes() {
        let samples = [entry(40, 0, true, b"key"), entry(40, 0, false, b"p")];
        let (moof, mdat, encoded) = decode(&samples);
        let traf = &moof.traf[0];
        assert_eq!(moof.mfhd.sequence_number, 7);
        assert!(traf.tfhd.default_base_is_moof);
        assert_eq!(traf.tfhd.default_sample_duration, Some(40));
        assert_eq!(traf.tfhd.default_sample_flags, Some(NON_SYNC));
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 1 << 40);
        let trun = &traf.trun[0];
        assert_eq!(trun.samples.get(0).unwrap().flags, Some(SYNC));
        assert_eq!(trun.samples.iter().map(|e| e.size).collect::<Vec<_>>(), [Some(3), Some(1)]);
        assert_eq!(mdat.data, b"keyp");
        let offset = trun.data_offset.unwrap() as usize;
        assert_eq!(&encoded.bytes.to_bytes()[offset..offset + 3], b"key");
        assert_eq!(encoded.first_end as usize, offset + 3);
    }

    #[test]
    fn whatever_differs_has_its_own_column() {
        let samples =
            [entry(1, -5, false, b"a"), entry(2, 5, true, b"bc"), entry(3, 0, false, b"")];
        let (moof, _, _) = decode(&samples);
        let traf = &moof.traf[0];
        assert_eq!(traf.tfhd.default_sample_duration, None);
        for (row, sample) in traf.trun[0].samples.iter().zip(&samples) {
            assert_eq!(row.duration, Some(sample.duration));
            assert_eq!(row.cts, Some(i64::from(sample.offset)));
            assert_eq!(row.flags, Some(flags(sample.sync)));
        }
    }

    #[test]
    fn sound_is_all_sync() {
        let (moof, _, _) = decode(&[entry(1024, 0, true, b"a"), entry(1024, 0, true, b"b")]);
        assert_eq!(moof.traf[0].tfhd.default_sample_flags, Some(SYNC));
    }
}
