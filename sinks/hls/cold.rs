//! Where bytes are read from once they have left memory.

use std::error::Error;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use records::{Rendition, StreamId};

/// Names a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A whole segment.
    Segment {
        /// Its stream.
        stream: StreamId,
        /// Its rendition.
        rendition: Rendition,
        /// Its media sequence number.
        msn: u64,
    },
    /// The initialization section of a run.
    Init {
        /// Its stream.
        stream: StreamId,
        /// Its rendition.
        rendition: Rendition,
        /// The run's number.
        run: u64,
    },
    /// What a finished stream's recording is made of.
    Recording {
        /// Its stream.
        stream: StreamId,
    },
}

impl Object {
    /// Whose it is.
    #[must_use]
    pub fn stream(self) -> StreamId {
        match self {
            Self::Segment { stream, .. }
            | Self::Init { stream, .. }
            | Self::Recording { stream } => stream,
        }
    }
}

/// The object can't be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ColdError {
    /// It was never stored, or retention removed it: a retry won't help.
    #[error("the object is not stored")]
    Missing,
    /// Storage failed: a retry may help.
    #[error("storage failed: {0}")]
    Storage(#[source] Arc<io::Error>),
    /// It is in a store that can't be reached, or refuses: a retry may help.
    #[error("the archive's store is away: {0}")]
    Away(#[source] Arc<dyn Error + Send + Sync>),
    /// The store didn't answer in time: a retry may help.
    #[error("the archive's store is too slow: {0}")]
    Slow(#[source] Arc<dyn Error + Send + Sync>),
}

impl ColdError {
    /// What a viewer is told: the status, and a sentence without our internals.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing => (StatusCode::NOT_FOUND, "no longer stored"),
            Self::Storage(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage failed; try again"),
            Self::Away(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the archive's store can't be reached; try again shortly",
            ),
            Self::Slow(_) => (
                StatusCode::GATEWAY_TIMEOUT,
                "the archive's store did not answer in time; try again shortly",
            ),
        }
    }
}

/// A stored object that is open for reading.
#[derive(Debug)]
pub enum Opened {
    /// On disk.
    File(File),
    /// From elsewhere, all of it.
    Bytes(Bytes),
}

impl Opened {
    /// Fills `buffer` with what is at `at`. Blocks.
    ///
    /// # Errors
    /// It can't be read, or ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, at),
            Self::Bytes(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                let found = bytes.get(from..from.saturating_add(buffer.len()));
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// It can't be asked for.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.metadata().map(|found| found.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }
}

/// A read in progress.
pub type ColdRead<'a> = Pin<Box<dyn Future<Output = Result<Bytes, ColdError>> + Send + 'a>>;

/// Storage of what viewers may still ask for but memory no longer holds.
pub trait Cold: Send + Sync + 'static {
    /// Whether the object is stored, so that memory may let go of it. Called
    /// once per segment with a lock held: must be quick and may not wait.
    fn holds(&self, object: Object) -> bool;

    /// Reads a whole object. Reads of one object at the same time should share one access.
    fn read(&self, object: Object) -> ColdRead<'_>;

    /// A file of exactly `len` bytes that are the object's, for the kernel to
    /// send from. None: there is none at hand, and the bytes in memory have to do.
    fn file(&self, object: Object, len: u64) -> Option<Arc<File>> {
        let _ = (object, len);
        None
    }

    /// The same for an object that was read just now, so that it is known to be whole.
    fn reopen(&self, object: Object, len: u64) -> Option<Arc<File>> {
        self.file(object, len)
    }

    /// Opens a stored object, whatever is known of it. Blocks; for threads
    /// of a runtime that may.
    ///
    /// # Errors
    /// It isn't stored, or storage failed.
    fn open(&self, object: Object) -> Result<Opened, ColdError> {
        let _ = object;
        Err(ColdError::Missing)
    }

    /// Lets go of what is held of a stream whose objects were deleted.
    fn forget(&self, stream: StreamId) {
        let _ = stream;
    }
}

/// No storage: everything that is listed stays in memory, and the DVR window
/// shrinks to the live window.
pub struct NoCold;

impl Cold for NoCold {
    fn holds(&self, _: Object) -> bool {
        false
    }

    fn read(&self, _: Object) -> ColdRead<'_> {
        Box::pin(async { Err(ColdError::Missing) })
    }
}
