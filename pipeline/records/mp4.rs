//! ISO boxes (BMFF 4.2): what segments and downloads are made of.
//!
//! Enters: field values, or a file of ours. Leaves: bytes appended to one
//! buffer, or slices of what was read. Held: nothing. Never done here: deciding
//! what a file holds.

use bytes::{BufMut, BytesMut};

/// Columns and defaults of a fragment (BMFF 8.8.7, 8.8.8): bits of `tfhd` flags.
pub mod tfhd {
    /// It says where the media begin.
    pub const BASE: u32 = 0x01;
    /// It names a sample description.
    pub const DESCRIPTION: u32 = 0x02;
    /// It has a duration for samples without their own.
    pub const DURATION: u32 = 0x08;
    /// It has a size for samples without their own.
    pub const SIZE: u32 = 0x10;
    /// It has flags for samples without their own.
    pub const FLAGS: u32 = 0x20;
    /// Media begin with their `moof`.
    pub const BASE_IS_MOOF: u32 = 0x02_0000;
}

/// The same: bits of `trun` flags.
pub mod trun {
    /// It says how far behind the base its samples begin.
    pub const DATA_OFFSET: u32 = 0x01;
    /// Its first sample has flags of its own.
    pub const FIRST_FLAGS: u32 = 0x04;
    /// Each sample has a duration.
    pub const DURATION: u32 = 0x100;
    /// Each sample has a size.
    pub const SIZE: u32 = 0x200;
    /// Each sample has flags.
    pub const FLAGS: u32 = 0x400;
    /// Each sample has a composition offset.
    pub const OFFSET: u32 = 0x800;
}

const UNITY_MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// "und", three letters of five bits (BMFF 8.4.2.3).
pub const LANGUAGE_UNDETERMINED: u16 = 0x55c4;

/// Appends a box of type `kind` whose body `body` writes: less than 4 GiB, as
/// parts of a broadcast and the tables of a week are by far.
pub fn boxed(out: &mut BytesMut, kind: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    body(out);
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a box with a version and flags (BMFF 4.2).
pub fn full(
    out: &mut BytesMut,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut BytesMut),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        body(out);
    });
}

/// Appends the matrix that leaves a picture as it is.
pub fn put_matrix(out: &mut BytesMut) {
    UNITY_MATRIX.iter().for_each(|value| out.put_u32(*value));
}

/// Appends a track's `hdlr`: whether it is to be seen or heard.
pub fn put_handler(out: &mut BytesMut, is_video: bool) {
    let (handler, name): (&[u8; 4], &[u8]) =
        if is_video { (b"vide", b"picture\0") } else { (b"soun", b"sound\0") };
    full(out, b"hdlr", 0, 0, |out| {
        out.put_u32(0);
        out.put_slice(handler);
        out.put_bytes(0, 12);
        out.put_slice(name);
    });
}

/// Appends a track's `minf`, whose media lie in the same file and whose `stbl`
/// holds what `tables` writes.
pub fn put_media_information(
    out: &mut BytesMut,
    is_video: bool,
    tables: impl FnOnce(&mut BytesMut),
) {
    boxed(out, b"minf", |out| {
        if is_video {
            full(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8));
        } else {
            full(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4));
        }
        boxed(out, b"dinf", |out| {
            full(out, b"dref", 0, 0, |out| {
                out.put_u32(1);
                full(out, b"url ", 0, 1, |_| {}); // flag 1: in this very file
            });
        });
        boxed(out, b"stbl", tables);
    });
}

/// The payload of the first box of this name among those that `bytes` is made
/// of. None: there is none before the end, or before what isn't a box.
#[must_use]
pub fn child<'a>(mut bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let size = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        let whole = bytes.get(..size).filter(|whole| whole.len() >= 8)?;
        if whole[4..8] == *name {
            return Some(&whole[8..]);
        }
        bytes = &bytes[size..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let mut out = BytesMut::new();
        boxed(&mut out, b"moov", |out| {
            put_handler(out, true);
            put_media_information(out, false, |out| {
                full(out, b"stsz", 1, 2, |out| out.put_u32(7));
            });
        });
        let moov = child(&out, b"moov").unwrap();
        assert_eq!(child(moov, b"hdlr").unwrap()[8..12], *b"vide");
        let minf = child(moov, b"minf").unwrap();
        assert!(child(minf, b"smhd").is_some());
        let table = child(child(minf, b"stbl").unwrap(), b"stsz");
        assert_eq!(table, Some(&[1, 0, 0, 2, 0, 0, 0, 7][..]));
        assert_eq!(child(moov, b"free"), None);
    }

    #[test]
    fn nonsense_holds_no_box() {
        for bytes in [&b""[..], b"\0\0\0\x07moov", b"\xff\xff\xff\xffmoov", &[0; 40]] {
            assert_eq!(child(bytes, b"moov"), None);
        }
    }
}
