//! A response body that is already in memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What a response carries: ready-made bytes, shared and never copied.
#[derive(Clone, Debug, Default)]
pub enum HlsBody {
    /// Nothing.
    #[default]
    Empty,
    /// One piece: a playlist, a part, an initialization section.
    Full(Bytes),
    /// A segment: its parts' bytes one after the other.
    Chunks {
        /// The bytes in memory.
        chunks: VecDeque<Bytes>,
        /// Where the first of them lies in a file, and the others after it.
        file: Option<InFile>,
    },
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct InFile {
    /// The file, open for reading. What it holds never changes.
    pub file: Arc<File>,
    /// Bytes before the place.
    pub offset: u64,
}

impl HlsBody {
    /// The body's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Full(bytes) => bytes.len() as u64,
            Self::Chunks { chunks, .. } => chunks.iter().map(|c| c.len() as u64).sum(),
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes `first..=last` of the body, sharing its memory. `last` must be
    /// inside the body.
    #[must_use]
    pub(super) fn slice(self, first: u64, last: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Full(bytes) => Self::Full(bytes.slice(first as usize..=last as usize)),
            Self::Chunks { chunks, file } => {
                let mut offset = 0;
                let mut kept = VecDeque::new();
                for chunk in chunks {
                    let end = offset + chunk.len() as u64;
                    if end > first && offset <= last {
                        let from = first.saturating_sub(offset) as usize;
                        let to = (last + 1).min(end).saturating_sub(offset) as usize;
                        kept.push_back(chunk.slice(from..to));
                    }
                    offset = end;
                }
                let file = file.map(|at| InFile { offset: at.offset + first, ..at });
                Self::Chunks { chunks: kept, file }
            }
        }
    }

    /// All bytes in one piece; copies if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Full(bytes) => bytes,
            Self::Chunks { mut chunks, .. } if chunks.len() == 1 => {
                chunks.pop_front().unwrap_or_default()
            }
            Self::Chunks { chunks, .. } => chunks.into_iter().flatten().collect(),
        }
    }
}

impl From<Bytes> for HlsBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

impl Body for HlsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        let next = match body {
            Self::Empty => None,
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                (!bytes.is_empty()).then_some(bytes)
            }
            Self::Chunks { chunks, .. } => chunks.pop_front(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Chunks { chunks, .. } => chunks.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_across_chunks() {
        let file = InFile { file: Arc::new(tempfile::tempfile().unwrap()), offset: 100 };
        let chunks = || HlsBody::Chunks {
            chunks: ["abc", "de", "fgh"].map(Bytes::from).into(),
            file: Some(file.clone()),
        };
        for first in 0..8u64 {
            for last in first..8 {
                let cut = chunks().slice(first, last);
                assert_eq!(cut.len(), last - first + 1);
                let HlsBody::Chunks { file: Some(at), .. } = &cut else { panic!() };
                assert_eq!(at.offset, 100 + first);
                assert_eq!(cut.into_bytes(), "abcdefgh"[first as usize..=last as usize]);
            }
        }
    }
}
