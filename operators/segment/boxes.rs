//! Writing ISO boxes: a size that is filled in when the box ends.
//!
//! Enters: field values. Leaves: bytes appended to one buffer. Held: nothing.
//! Never done here: reading.

use bytes::{BufMut, BytesMut};

/// Appends a box of type `kind` whose body `body` writes.
pub(super) fn boxed(out: &mut BytesMut, kind: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    body(out);
    // A header is under 64 KiB and a chunk is bounded by its part's bytes.
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a box with a version and flags (BMFF 4.2).
pub(super) fn full(
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
