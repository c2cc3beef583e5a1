//! Bytes that lie in several places.
//!
//! Enters: shared slices. Leaves: the same bytes, in order. Held: the slices,
//! never a copy, until somebody asks for one piece. Never done here: looking at
//! them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// A run of bytes in pieces, so that what came off the wire goes to disk and to
/// viewers without being copied on the way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    list: Arc<[Bytes]>,
    len: usize,
}

impl Pieces {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.list.iter()
    }

    /// All bytes in one piece; copies if there are several.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.slice(0..self.len).unwrap_or_default()
    }

    /// All bytes in one piece, which is kept in place of the several.
    pub fn join(&mut self) -> Bytes {
        let whole = self.to_bytes();
        if self.list.len() > 1 {
            *self = whole.clone().into();
        }
        whole
    }

    /// Bytes of `range`, shared if they lie in one piece. None: beyond the end.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        let mut copy = BytesMut::new();
        let mut offset = 0;
        for piece in self.iter() {
            let from = range.start.saturating_sub(offset).min(piece.len());
            let to = range.end.saturating_sub(offset).min(piece.len());
            offset += piece.len();
            if to - from == range.len() {
                return Some(piece.slice(from..to));
            }
            if from < to {
                if copy.is_empty() {
                    copy.reserve(range.len());
                }
                copy.extend_from_slice(&piece[from..to]);
            }
        }
        Some(copy.freeze())
    }
}

/// Equal if the bytes are, wherever they lie.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().flatten().eq(other.iter().flatten())
    }
}

impl Eq for Pieces {}

impl From<Vec<Bytes>> for Pieces {
    fn from(list: Vec<Bytes>) -> Self {
        Self { len: list.iter().map(Bytes::len).sum(), list: list.into() }
    }
}

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self { len: whole.len(), list: [whole].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_as_one_buffer_would() {
        let pieces = Pieces::from(["abc", "", "de", "fgh"].map(Bytes::from).to_vec());
        for from in 0..=8 {
            for to in from..=8 {
                assert_eq!(pieces.slice(from..to).unwrap(), "abcdefgh"[from..to]);
            }
        }
        assert_eq!(pieces.slice(0..9), None);
        let within = pieces.slice(6..8).unwrap();
        assert_eq!(within.as_ptr(), pieces.iter().last().unwrap()[1..].as_ptr(), "not copied");
    }

    #[test]
    fn joins_once() {
        let mut pieces = Pieces::from(["abc", "de"].map(Bytes::from).to_vec());
        let whole = pieces.join();
        assert_eq!((whole.as_ref(), pieces.len()), (&b"abcde"[..], 5));
        assert_eq!(pieces.join().as_ptr(), whole.as_ptr());
        assert_eq!(pieces, Pieces::from(["a", "bcde"].map(Bytes::from).to_vec()));
        assert!(Pieces::default().to_bytes().is_empty());
    }
}
