//! One process per data directory.
//!
//! Held: an advisory lock on `{data}/lock`, which the kernel releases when the
//! process ends however it ends, so no stale lock can keep a server from starting.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::Error;

/// The right to use a data directory, until dropped.
#[derive(Debug)]
pub struct DataLock {
    file: File,
}

impl DataLock {
    /// Makes the directory `dir` if it is missing and locks it.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process (or this one) holds it,
    /// [`Error::Directory`] if it can't be made or written.
    pub fn acquire(dir: &Path) -> Result<Self, Error> {
        let fail = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Directory { action, path, source: Arc::new(source) }
        };
        std::fs::create_dir_all(dir).map_err(fail("create the data directory", dir))?;
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fail("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&file).take(16).read_to_string(&mut holder);
                return Err(Error::InUse { dir: dir.to_owned(), pid: holder.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(fail("lock", &path)(source)),
        }
        // Only for the message that another process prints; the lock itself needs no content.
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(fail("write the lock file", &path))?;
        Ok(Self { file })
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child process that was forked this
        // moment and has yet to close what it inherited.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::acquire(dir.path()).unwrap();
        let refused = DataLock::acquire(dir.path()).unwrap_err();
        assert!(
            refused.to_string().contains(&format!("(pid {})", std::process::id())),
            "{refused}"
        );
        drop(first);
        DataLock::acquire(dir.path()).unwrap();
    }
}
