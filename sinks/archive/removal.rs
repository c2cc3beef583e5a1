//! What leaves the archive: broadcasts, renditions of them, segments that were given up.
//!
//! Enters: orders, of whoever made them durable. Leaves: room. Held: nothing. Never
//! here: deciding what is to go.

use records::{Rendition, StreamId};
use store::{Place, StoreError};

use super::queue::Job;
use super::{Archive, Store, StoreFailure, Victim, files};
use crate::hls::Object;

impl Archive {
    /// Deletes all of a finished stream's files; they are gone when this
    /// returns. Deleting what isn't there does nothing. Blocks on the file
    /// system. Its objects are deleted by [`Archive::remove_stored`], after this.
    ///
    /// # Errors
    /// Some of them couldn't be deleted.
    pub fn remove(&self, stream: StreamId) -> Result<(), std::io::Error> {
        self.iframes.lock().retain(|(of, _), _| *of != stream);
        // The thread forgets what it knew of them.
        self.enqueue(stream, Job::Delete { stream }, 0);
        if let Some(spool) = &self.shared.spool {
            spool.forget(stream);
        }
        files::remove_stream(&self.shared.config.root, stream)
    }

    /// Deletes all of a stream's objects from the store, if there is one.
    /// Deleting what isn't there does nothing.
    ///
    /// # Errors
    /// The store can't do it now.
    pub async fn remove_stored(&self, stream: StreamId) -> Result<(), StoreFailure> {
        match &self.shared.spool {
            Some(spool) => spool.remove(stream).await,
            None => Ok(()),
        }
    }

    /// Deletes a finished broadcast's files if all of them are in the store.
    /// False: they aren't. Blocks on the file system.
    ///
    /// # Errors
    /// Some of them couldn't be deleted; the next start tries again.
    pub fn evict(&self, stream: StreamId) -> Result<bool, std::io::Error> {
        let is_whole = self.shared.spool.as_ref().is_some_and(|spool| spool.release(stream));
        if is_whole {
            files::remove_stream(&self.shared.config.root, stream)?;
        }
        Ok(is_whole)
    }

    /// Where recorded broadcasts end up: the store, or without one the folder as a store.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn warm(&self) -> Result<Store, StoreError> {
        match &self.shared.spool {
            Some(spool) => Ok(spool.store().clone()),
            None => Place::at(&self.shared.config.root).map(Store::new),
        }
    }

    /// Whether a finished broadcast lies still: nothing of it waits for the store or
    /// is under way.
    #[must_use]
    pub fn is_at_rest(&self, stream: StreamId) -> bool {
        self.shared.spool.as_ref().is_none_or(|spool| spool.is_at_rest(stream))
    }

    /// Whether anything of a broadcast is on disk. Blocks on the file system.
    #[must_use]
    pub fn is_on_disk(&self, stream: StreamId) -> bool {
        files::stream_folder(&self.shared.config.root, stream).exists()
    }

    /// Deletes the files of some renditions of a finished broadcast. Deleting what
    /// isn't there does nothing. Blocks on the file system.
    ///
    /// # Errors
    /// Some of them couldn't be deleted.
    pub fn remove_renditions(
        &self,
        stream: StreamId,
        renditions: &[Rendition],
    ) -> Result<(), std::io::Error> {
        let is_one = |of: &(StreamId, Rendition)| of.0 == stream && renditions.contains(&of.1);
        self.shared.held.lock().retain(|of, _| !is_one(of));
        let root = &self.shared.config.root;
        renditions.iter().try_for_each(|of| files::remove_rendition(root, stream, *of))
    }

    /// Deletes files that [`Spool::overflow`] picked, once it is announced
    /// that they are lost. Blocks on the file system.
    pub fn discard(&self, victims: &[Victim]) {
        for victim in victims {
            let Victim { stream, rendition, msn, .. } = *victim;
            if let Some(held) = self.shared.held.lock().get_mut(&(stream, rendition)) {
                held.lost.insert(msn);
            }
            let object = Object::Segment { stream, rendition, msn };
            match std::fs::remove_file(files::path(&self.shared.config.root, object)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(?object, %error, "a segment that was given up is still there");
                }
                _ => {}
            }
        }
        if let Some(spool) = &self.shared.spool {
            spool.discarded(victims);
        }
    }
}
