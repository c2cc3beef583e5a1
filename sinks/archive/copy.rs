//! A broadcast's objects from one store to another, and rid of in one.
//!
//! ```text
//! from ── names, lengths ──► what `to` lacks ── whole objects, a few at a time ──► to, put if absent
//! to   ── names, lengths ──► all there, each as long as it has to be
//! ```
//!
//! - **Enters**: which broadcast, and what its recording names. **Leaves**: objects in
//!   `to`, synced if it is a folder; how much was copied.
//! - **Held**: [`COPIES_MAX`] objects at a time.
//! - **Ends** with the first failure, or when the caller says so; what was copied
//!   stays, and the next attempt goes on from there.
//! - **Never here**: deleting what was copied; that is another call, for whoever made
//!   durable that the copy counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use records::{Rendition, StreamId};

use super::Store;
use super::store::{Failed, StoreFailure, in_time};
use crate::hls::vod::Recording;

/// Objects of one broadcast that are under way at a time, which bounds memory.
const COPIES_MAX: usize = 4;

/// What describes a broadcast, beside its renditions.
const RECORDING: &str = "recording.json";

/// Names of a broadcast's objects below its own folder, and their lengths.
type Lengths = BTreeMap<String, u64>;

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Objects that were copied now; the others were there already.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all that is there now.
    pub total_bytes: u64,
}

/// Why a broadcast was not copied. Both stores have what they had, and perhaps more.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store's; a retry may help.
    #[error("{store}: {failure}")]
    Store {
        /// Which one.
        store: Store,
        /// What it said.
        failure: StoreFailure,
    },
    /// Its recording names an object that neither store has: nothing is done to
    /// the broadcast until an operator looked at it.
    #[error("{store} lacks {name}, which the recording names")]
    Lacking {
        /// Where it was looked for.
        store: Store,
        /// Its name below the broadcast's folder.
        name: String,
    },
    /// An object of that name has another length: the operator's to look at.
    #[error("{name} has {found} bytes in {store} and should have {expected}; remove it there")]
    Other {
        /// Where.
        store: Store,
        /// Its name below the broadcast's folder.
        name: String,
        /// Its length.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// It can't be made sure that the copy outlives a power cut.
    #[error("{name} can't be synced: {source}")]
    Sync {
        /// Its name below the broadcast's folder.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The caller's wish.
    #[error("the broadcast is being deleted")]
    Stopped,
}

/// Copies what the renditions of `recording` have in `from`, and recording.json, to
/// `to`. `done` counts the bytes that are there; `goes_on` is asked before each object.
///
/// When this returns, `to` has all that the recording names.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(
    from: &Store,
    to: &Store,
    stream: StreamId,
    recording: &Recording,
    done: &AtomicU64,
    goes_on: impl Fn() -> bool + Sync,
) -> Result<Copied, CopyError> {
    let kept: BTreeSet<_> = recording.tracks.iter().map(|track| track.rendition).collect();
    let mut there = to.lengths(stream, &kept).await?;
    let mut missing = Lengths::new();
    for (name, length) in from.lengths(stream, &kept).await? {
        match there.get(&name) {
            None => {
                missing.insert(name, length);
            }
            Some(found) => to.compare(&name, *found, length)?,
        }
    }
    done.fetch_add(there.values().sum(), Ordering::Relaxed);
    for (name, length) in named(recording) {
        match (missing.get(&name), there.get(&name), length) {
            (None, None, _) => return Err(CopyError::Lacking { store: from.clone(), name }),
            (Some(found), _, Some(length)) => from.compare(&name, *found, length)?,
            (None, Some(found), Some(length)) => to.compare(&name, *found, length)?,
            (_, _, None) => {}
        }
    }
    let goes_on = &goes_on;
    let copies = stream::iter(missing.clone()).map(Ok);
    let copied = copies.try_for_each_concurrent(COPIES_MAX, |(name, length)| async move {
        if !goes_on() {
            return Err(CopyError::Stopped);
        }
        let bytes = from.take(stream, &name).await?;
        from.compare(&name, bytes.len() as u64, length)?;
        to.give(stream, &name, bytes).await?;
        done.fetch_add(length, Ordering::Relaxed);
        Ok(())
    });
    copied.await?;
    if !missing.is_empty() {
        // What the puts answered isn't enough to delete the other copy by.
        there = to.lengths(stream, &kept).await?;
        for (name, length) in &missing {
            match there.get(name) {
                None => return Err(CopyError::Lacking { store: to.clone(), name: name.clone() }),
                Some(found) => to.compare(name, *found, *length)?,
            }
        }
    }
    Ok(Copied {
        objects: missing.len() as u64,
        bytes: missing.values().sum(),
        total_bytes: there.values().sum(),
    })
}

/// What a recording names, with the lengths that it knows.
fn named(recording: &Recording) -> Vec<(String, Option<u64>)> {
    let mut all = Vec::new();
    for track in &recording.tracks {
        let rendition = track.rendition;
        all.extend(
            track.inits.iter().map(|(run, _)| (format!("{rendition}/init-{run}.mp4"), None)),
        );
        let stored = recording.moments.iter().zip(&track.stored);
        all.extend(stored.filter_map(|(moment, stored)| {
            Some((format!("{rendition}/{}.m4s", moment.msn), Some(stored.as_ref()?.bytes)))
        }));
    }
    all
}

/// Whether a name below a broadcast's folder is of these renditions, or describes them.
fn is_of(name: &str, kept: &BTreeSet<Rendition>) -> bool {
    let Some((rendition, file)) = name.split_once('/') else { return name == RECORDING };
    let is_media = file.ends_with(".m4s") || file.ends_with(".mp4");
    is_media && rendition.parse().is_ok_and(|rendition| kept.contains(&rendition))
}

impl Store {
    fn folder_of(&self, stream: StreamId) -> Path {
        self.0.prefix().clone().join(stream.to_string())
    }

    fn named(&self, stream: StreamId, name: &str) -> Path {
        Path::from_iter(self.folder_of(stream).parts().chain(Path::from(name).parts()))
    }

    fn failed(&self, failed: Failed) -> CopyError {
        CopyError::Store { store: self.clone(), failure: failed.into() }
    }

    fn compare(&self, name: &str, found: u64, expected: u64) -> Result<(), CopyError> {
        if found == expected {
            return Ok(());
        }
        Err(CopyError::Other { store: self.clone(), name: name.into(), found, expected })
    }

    async fn lengths(
        &self,
        stream: StreamId,
        kept: &BTreeSet<Rendition>,
    ) -> Result<Lengths, CopyError> {
        let folder = self.folder_of(stream);
        let found = in_time(self.0.client().list(Some(&folder)).try_collect::<Vec<_>>()).await;
        let found = found.map_err(|error| self.failed(error))?;
        let named = found.into_iter().filter_map(|object| {
            let parts: Vec<_> = object.location.prefix_match(&folder)?.collect();
            let name = parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
            is_of(&name, kept).then_some((name, object.size))
        });
        Ok(named.collect())
    }

    async fn take(&self, stream: StreamId, name: &str) -> Result<Bytes, CopyError> {
        let location = self.named(stream, name);
        let read = async { self.0.client().get(&location).await?.bytes().await };
        in_time(read).await.map_err(|error| self.failed(error))
    }

    /// Puts an object there unless it is there; whoever calls compares afterwards.
    async fn give(&self, stream: StreamId, name: &str, bytes: Bytes) -> Result<(), CopyError> {
        let location = self.named(stream, name);
        let options = PutOptions::from(PutMode::Create);
        match in_time(self.0.client().put_opts(&location, bytes.into(), options)).await {
            Ok(_) | Err(Failed::Store(Error::AlreadyExists { .. })) => {}
            Err(failed) => return Err(self.failed(failed)),
        }
        let Some(path) = self.0.file(&location) else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || {
            File::open(&path)?.sync_all()?;
            // Its name, too.
            File::open(path.parent().unwrap_or(&path))?.sync_all()
        });
        let synced = synced.await.unwrap_or_else(|died| Err(std::io::Error::other(died)));
        synced.map_err(|source| CopyError::Sync { name: name.into(), source })
    }

    /// Deletes all objects of a broadcast, recording.json included. Deleting what
    /// isn't there does nothing.
    ///
    /// # Errors
    /// The store can't do it now.
    pub async fn remove_broadcast(&self, stream: StreamId) -> Result<(), StoreFailure> {
        self.remove(stream).await.map(drop)
    }

    /// Deletes all objects of one rendition. Deleting what isn't there does nothing.
    ///
    /// # Errors
    /// The store can't do it now.
    pub async fn remove_rendition(
        &self,
        stream: StreamId,
        rendition: Rendition,
    ) -> Result<(), StoreFailure> {
        let folder = self.folder_of(stream).join(rendition.to_string());
        let client = Arc::clone(self.0.client());
        let listed = client.list(Some(&folder)).map_ok(|found| found.location).boxed();
        let gone = self.0.client().delete_stream(listed).try_for_each(|_| async { Ok(()) });
        Ok(in_time(gone).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::hls::vod::tests_support::recording;

    struct Place {
        folder: TempDir,
        store: Store,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("file://{}", folder.path().display());
            let store =
                Store::new(store::Place::open(&url, &BTreeMap::new(), store::Tries::One).unwrap());
            Self { folder, store }
        }

        fn path(&self, stream: StreamId, name: &str) -> PathBuf {
            self.folder.path().join(stream.to_string()).join(name)
        }

        fn write(&self, stream: StreamId, name: &str, length: usize) {
            let path = self.path(stream, name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![7; length]).unwrap();
        }

        /// All that a recording names, and what else lies about.
        fn fill(&self, stream: StreamId, recording: &Recording) {
            for (name, length) in named(recording) {
                self.write(stream, &name, length.unwrap_or(500) as usize);
            }
            for name in [RECORDING, "uploaded.json", "source/7.part", "720p/0.m4s"] {
                self.write(stream, name, 9);
            }
        }
    }

    async fn moved(
        from: &Place,
        to: &Place,
        stream: StreamId,
        recording: &Recording,
    ) -> Result<Copied, CopyError> {
        copy(&from.store, &to.store, stream, recording, &AtomicU64::new(0), || true).await
    }

    #[tokio::test]
    async fn all_that_a_recording_names_is_copied_once() {
        let (from, to, stream) = (Place::new(), Place::new(), StreamId::generate());
        let recording = recording();
        from.fill(stream, &recording);
        to.write(stream, "source/1.m4s", 1000);
        let done = AtomicU64::new(0);
        let copied =
            copy(&from.store, &to.store, stream, &recording, &done, || true).await.unwrap();
        // 19 segments, 4 maps and the description; one of them was there.
        assert_eq!(copied.objects, 23);
        assert_eq!(copied.total_bytes, 19_000 + 4 * 500 + 9);
        assert_eq!(copied.bytes, copied.total_bytes - 1000);
        assert_eq!(done.into_inner(), copied.total_bytes);
        let again = moved(&from, &to, stream, &recording).await.unwrap();
        assert_eq!((again.objects, again.total_bytes), (0, copied.total_bytes));
        for name in ["uploaded.json", "720p/0.m4s", "source/7.part"] {
            assert!(!to.path(stream, name).exists(), "{name} is no part of it");
        }
        // What is gone from here and is there already is there.
        from.store.remove_rendition(stream, Rendition::Source).await.unwrap();
        from.store.remove_rendition(stream, Rendition::Source).await.unwrap();
        assert!(!from.path(stream, "source/0.m4s").exists());
        assert!(from.path(stream, "audio/0.m4s").exists());
        moved(&from, &to, stream, &recording).await.unwrap();
        to.store.remove_broadcast(stream).await.unwrap();
        to.store.remove_broadcast(stream).await.unwrap();
        assert!(!to.path(stream, RECORDING).exists());
    }

    #[tokio::test]
    async fn half_a_broadcast_is_no_copy() {
        let (from, to, stream) = (Place::new(), Place::new(), StreamId::generate());
        let recording = recording();
        let lacking = moved(&from, &to, stream, &recording).await.unwrap_err();
        assert!(matches!(lacking, CopyError::Lacking { .. }), "an empty store: {lacking}");
        from.fill(stream, &recording);
        std::fs::remove_file(from.path(stream, "audio/34.m4s")).unwrap();
        let lacking = moved(&from, &to, stream, &recording).await.unwrap_err();
        assert!(lacking.to_string().contains("lacks audio/34.m4s"), "{lacking}");
        from.write(stream, "audio/34.m4s", 999);
        let short = moved(&from, &to, stream, &recording).await.unwrap_err();
        assert!(short.to_string().contains("has 999 bytes"), "{short}");
        from.write(stream, "audio/34.m4s", 1000);
        to.write(stream, "audio/34.m4s", 0);
        let torn = moved(&from, &to, stream, &recording).await.unwrap_err();
        assert!(matches!(torn, CopyError::Other { found: 0, .. }), "{torn}");
        assert!(!to.path(stream, "audio/0.m4s").exists(), "nothing was begun");
        std::fs::remove_file(to.path(stream, "audio/34.m4s")).unwrap();
        let stopped =
            copy(&from.store, &to.store, stream, &recording, &AtomicU64::new(0), || false).await;
        assert!(matches!(stopped, Err(CopyError::Stopped)));
        moved(&from, &to, stream, &recording).await.unwrap();
    }
}
