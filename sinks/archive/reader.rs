//! Reads segments back for viewers, from disk or else from the store: one
//! access however many ask at once.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use records::StreamId;
use tokio::sync::OnceCell;

use super::{ArchiveConfig, Shared, files};
use crate::hls::{Cold, ColdError, ColdRead, Object, Opened};

/// The reading side of the archive: files and the store, with a small cache
/// before them.
pub struct ArchiveReader {
    shared: Arc<Shared>,
    cache: Mutex<Cache>,
    open: Mutex<OpenFiles>,
}

/// Files kept open for sending: those of segments that many ask for, one after
/// the other. Few beside the sockets that a process may have.
const OPEN_FILES_MAX: usize = 256;

#[derive(Default)]
struct OpenFiles {
    files: HashMap<Object, (Arc<File>, u64)>,
    // Oldest first.
    opened: VecDeque<Object>,
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
    /// Reads what an archive stored, without one: nothing is written.
    #[must_use]
    pub fn open(config: ArchiveConfig) -> Self {
        Self::new(Arc::new(Shared::new(config)))
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, cache: Mutex::default(), open: Mutex::default() }
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
                        self.read_stored(object).await
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

    /// What is no longer on disk, if there is a store.
    async fn read_stored(&self, object: Object) -> Result<Bytes, ColdError> {
        match &self.shared.spool {
            Some(spool) => spool.read(object).await,
            None => Err(ColdError::Missing),
        }
    }
}

impl OpenFiles {
    fn keep(&mut self, object: Object, file: Arc<File>, len: u64) {
        if self.files.insert(object, (file, len)).is_none() {
            self.opened.push_back(object);
        }
        if self.opened.len() > OPEN_FILES_MAX
            && let Some(oldest) = self.opened.pop_front()
        {
            self.files.remove(&oldest);
        }
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
            // Nothing waits in memory for it to be stored.
            Object::Recording { .. } => false,
        }
    }

    fn read(&self, object: Object) -> ColdRead<'_> {
        Box::pin(self.read_through(object))
    }

    fn file(&self, object: Object, len: u64) -> Option<Arc<File>> {
        if let Some((file, found)) = self.open.lock().files.get(&object) {
            return (*found == len).then(|| Arc::clone(file));
        }
        // Announced ones only: their names are known to the kernel, so that
        // opening doesn't wait, and what they hold is decided.
        if !self.holds(object) {
            return None;
        }
        self.reopen(object, len)
    }

    fn open(&self, object: Object) -> Result<Opened, ColdError> {
        // Beside those that are kept open: these are many, and each is looked at once.
        match File::open(files::path(&self.shared.config.root, object)) {
            Ok(file) => Ok(Opened::File(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let runtime = tokio::runtime::Handle::try_current()
                    .map_err(|error| ColdError::Storage(Arc::new(io::Error::other(error))))?;
                runtime.block_on(self.read_stored(object)).map(Opened::Bytes)
            }
            Err(error) => Err(ColdError::Storage(Arc::new(error))),
        }
    }

    fn forget(&self, stream: StreamId) {
        // The space of a deleted file is free once nobody has it open.
        let mut open = self.open.lock();
        open.files.retain(|object, _| object.stream() != stream);
        open.opened.retain(|object| object.stream() != stream);
        drop(open);
        let mut cache = self.cache.lock();
        cache.cells.retain(|object, _| object.stream() != stream);
        let gone = |(object, _): &(Object, usize)| object.stream() == stream;
        let freed: usize =
            cache.read.iter().filter(|read| gone(read)).map(|(_, bytes)| bytes).sum();
        cache.read.retain(|read| !gone(read));
        cache.bytes -= freed;
    }

    fn reopen(&self, object: Object, len: u64) -> Option<Arc<File>> {
        if let Some((file, found)) = self.open.lock().files.get(&object) {
            return (*found == len).then(|| Arc::clone(file));
        }
        let file = File::open(files::path(&self.shared.config.root, object)).ok()?;
        let found = file.metadata().ok()?.len();
        let file = Arc::new(file);
        self.open.lock().keep(object, Arc::clone(&file), found);
        (found == len).then_some(file)
    }
}
