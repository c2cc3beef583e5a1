//! A rendered playlist, shared by everybody who asks for this version of it.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A playlist's text, and its gzip form once somebody asked for it.
pub(super) struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new() }
    }

    pub(super) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// The gzip form. The first caller compresses, those who come meanwhile
    /// wait for it (tens of microseconds) rather than doing the same.
    pub(super) fn gzip(&self, made_total: &AtomicU64) -> Bytes {
        self.gzip
            .get_or_init(|| {
                made_total.fetch_add(1, Ordering::Relaxed);
                // Level 1: a playlist is so repetitive that more gains little,
                // and every part makes a new one.
                let out = Vec::with_capacity(self.plain.len() / 4 + 64);
                let mut encoder = GzEncoder::new(out, Compression::fast());
                // Writing to memory doesn't fail; if it did, an empty body
                // would be worse than an uncompressed one labelled so.
                match encoder.write_all(&self.plain).and_then(|()| encoder.finish()) {
                    Ok(bytes) => bytes.into(),
                    Err(_) => Bytes::new(),
                }
            })
            .clone()
    }
}
