//! Reads segments back for viewers: one access however many ask at once.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Shared, files};
use crate::hls::{Cold, ColdError, ColdRead, Object};

/// The reading side of the archive: files, with a small cache before them.
pub struct ArchiveReader {
    shared: Arc<Shared>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    // A cell without a value is being read; whoever asks meanwhile waits for it.
    cells: HashMap<Object, Arc<OnceCell<Bytes>>>,
    // Cells with a value, oldest first.
    read: VecDeque<(Object, usize)>,
    bytes: usize,
}

impl ArchiveReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, cache: Mutex::default() }
    }

    async fn read_through(&self, object: Object) -> Result<Bytes, ColdError> {
        let cell = Arc::clone(self.cache.lock().cells.entry(object).or_default());
        let mut fresh = false;
        let outcome = cell
            .get_or_try_init(|| async {
                fresh = true;
                let path = files::path(&self.shared.config.root, object);
                let read = tokio::task::spawn_blocking(move || std::fs::read(path));
                match read.await {
                    Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
                    Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                        Err(ColdError::Missing)
                    }
                    Ok(Err(error)) => Err(ColdError::Storage(Arc::new(error))),
                    Err(join) => Err(ColdError::Storage(Arc::new(io::Error::other(join)))),
                }
            })
            .await
            .cloned();
        if fresh {
            self.cache.lock().settle(object, &outcome, self.shared.config.read_cache_bytes_max);
        }
        outcome
    }
}

impl Cache {
    /// Keeps what was read, within the budget; forgets what failed.
    fn settle(&mut self, object: Object, outcome: &Result<Bytes, ColdError>, bytes_max: usize) {
        match outcome {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.read.push_back((object, bytes.len()));
            }
            Err(_) => {
                self.cells.remove(&object);
            }
        }
        while self.bytes > bytes_max
            && let Some((oldest, bytes)) = self.read.pop_front()
        {
            self.bytes -= bytes;
            self.cells.remove(&oldest);
        }
    }
}

impl Cold for ArchiveReader {
    fn holds(&self, object: Object) -> bool {
        let held = self.shared.held.lock();
        match object {
            Object::Segment { stream, rendition, msn } => {
                held.get(&(stream, rendition)).is_some_and(|held| held.has(msn))
            }
            Object::Init { stream, rendition, run } => {
                held.get(&(stream, rendition)).is_some_and(|held| held.run >= Some(run))
            }
        }
    }

    fn read(&self, object: Object) -> ColdRead<'_> {
        Box::pin(self.read_through(object))
    }
}
