//! What a stored segment holds, sample by sample, without reading its media.
//!
//! Enters: a file of ours: `moof` and `mdat` by turns, one track. Leaves: for
//! each `mdat` where it lies and its samples. Held: nothing. Boxes that aren't
//! ours are an error, not a guess. Never done here: reading an `mdat`.

use std::io;

use records::mp4::{child, tfhd, trun};

/// `moof` boxes larger than this aren't ours.
const MOOF_BYTES_MAX: u64 = 1 << 20;

/// Of a sample's flags: it isn't a sync sample (BMFF 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// A sample of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) bytes: u32,
    /// In ticks of its track.
    pub(super) duration: u32,
    /// Presentation minus decode time in ticks.
    pub(super) offset: i32,
    pub(super) sync: bool,
}

/// The payload of an `mdat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it begins in its file.
    pub(super) at: u64,
    pub(super) samples: Vec<Sample>,
}

impl Chunk {
    pub(super) fn bytes(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.bytes)).sum()
    }
}

/// Reads the boxes of a file of `len` bytes; `read(at, buffer)` fills the buffer.
///
/// # Errors
/// Reading failed, or the file isn't one of ours.
pub(super) fn chunks(
    len: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<Chunk>> {
    let mut found = Vec::new();
    let mut samples = None;
    let mut at = 0;
    while at < len {
        let mut head = [0; 8];
        read(at, &mut head)?;
        let size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        if size < 8 || at + size > len {
            return Err(strange("a box that its file doesn't hold"));
        }
        match &head[4..] {
            b"moof" if size <= MOOF_BYTES_MAX => {
                let mut moof = vec![0; size as usize - 8];
                read(at + 8, &mut moof)?;
                samples = Some(fragment(&moof).ok_or_else(|| strange("a moof"))?);
            }
            b"mdat" => {
                let samples = samples.take().ok_or_else(|| strange("an mdat without its moof"))?;
                let chunk = Chunk { at: at + 8, samples };
                if chunk.bytes() != size - 8 {
                    return Err(strange("an mdat with more or less than its samples"));
                }
                found.push(chunk);
            }
            _ => return Err(strange("a box of another kind")),
        }
        at += size;
    }
    Ok(found)
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a segment holds {what}"))
}

/// Reads big-endian fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }

    /// The next field if `flags` have `flag`.
    fn optional(&mut self, flags: u32, flag: u32) -> Option<Option<u32>> {
        if flags & flag == 0 { Some(None) } else { self.u32().map(Some) }
    }
}

/// The samples of a `moof` with one `traf`.
fn fragment(moof: &[u8]) -> Option<Vec<Sample>> {
    let traf = child(moof, b"traf")?;
    let mut head = Fields(child(traf, b"tfhd")?);
    let flags = head.u32()? & 0x00ff_ffff;
    head.u32()?; // track
    if flags & tfhd::BASE != 0 {
        head.u32()?;
        head.u32()?;
    }
    head.optional(flags, tfhd::DESCRIPTION)?;
    let duration = head.optional(flags, tfhd::DURATION)?;
    head.optional(flags, tfhd::SIZE)?;
    let sample_flags = head.optional(flags, tfhd::FLAGS)?;

    let mut rows = Fields(child(traf, b"trun")?);
    let flags = rows.u32()? & 0x00ff_ffff;
    if flags & trun::SIZE == 0 {
        return None; // Ours say it of each sample, so a count that lies ends with the fields.
    }
    let count = rows.u32()? as usize;
    rows.optional(flags, trun::DATA_OFFSET)?;
    let first_flags = rows.optional(flags, trun::FIRST_FLAGS)?;
    let mut samples = Vec::with_capacity(count.min(rows.0.len() / 4));
    for index in 0..count {
        let own_duration = rows.optional(flags, trun::DURATION)?;
        let bytes = rows.u32()?;
        let own_flags = rows.optional(flags, trun::FLAGS)?;
        let offset = rows.optional(flags, trun::OFFSET)?.unwrap_or(0);
        let first = first_flags.filter(|_| index == 0);
        let sample_flags = own_flags.or(first).or(sample_flags).unwrap_or(0);
        samples.push(Sample {
            bytes,
            duration: own_duration.or(duration)?,
            offset: offset.cast_signed(),
            sync: sample_flags & NON_SYNC == 0,
        });
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = (body.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn file(trun: &[u32], payload: &[u8]) -> Vec<u8> {
        file_with(&[0x02_0028, 1, 40, 0x0101_0000], trun, payload)
    }

    fn file_with(tfhd: &[u32], trun: &[u32], payload: &[u8]) -> Vec<u8> {
        let (tfhd, trun) = (boxed(b"tfhd", &words(tfhd)), boxed(b"trun", &words(trun)));
        let traf = boxed(b"traf", &[tfhd, trun].concat());
        [boxed(b"moof", &traf), boxed(b"mdat", payload)].concat()
    }

    fn read(file: &[u8]) -> io::Result<Vec<Chunk>> {
        chunks(file.len() as u64, |at, buffer| {
            let from = file.get(at as usize..).unwrap_or_default();
            let from = from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(from);
            Ok(())
        })
    }

    #[test]
    fn defaults_and_columns_are_read() {
        // Sizes and signed offsets; the first sample's flags are its own.
        let trun = [0x0100_0a05, 2, 99, 0x0200_0000, 3, 5, 1, u32::MAX];
        let file = [file(&trun, b"keyp"), file(&[0x0100_0200, 1, 2], b"ab")].concat();
        let chunks = read(&file).unwrap();
        let key = Sample { bytes: 3, duration: 40, offset: 5, sync: true };
        let other = Sample { bytes: 1, duration: 40, offset: -1, sync: false };
        assert_eq!(chunks[0].samples, [key, other]);
        let at = chunks[0].at as usize;
        assert_eq!(&file[at..at + 4], b"keyp");
        assert_eq!(chunks[1].samples, [Sample { bytes: 2, offset: 0, ..other }]);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let good = file(&[0x0100_0200, 1, 2], b"ab");
        assert!(read(&good).is_ok());
        for bad in [
            file(&[0x0100_0200, 1, 3], b"ab"),
            file(&[0x0100_0200, u32::MAX, 2], b"ab"),
            // Four thousand million samples without a field.
            file_with(&[0x02_0038, 1, 40, 0, 0x0101_0000], &[0x0100_0000, u32::MAX], b""),
            boxed(b"mdat", b"ab"),
            boxed(b"free", b""),
            good[..good.len() - 1].to_vec(),
            vec![0; 16],
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}
