//! One upload: the bytes, the request, what became of it.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use object_store::PutPayload;

use super::content::Content;
use super::item::{Outcome, Task};
use super::{Spool, now};
use crate::archive::files;
use crate::archive::store::{StoreFailure, Stored};
use crate::hls::Object;

impl Spool {
    /// Tries it once. Never panics.
    pub(super) async fn attempt(
        self: Arc<Self>,
        task: Task,
        content: Option<Content>,
    ) -> (Task, Outcome) {
        let outcome = AssertUnwindSafe(self.upload(&task, content)).catch_unwind().await;
        (task, outcome.unwrap_or(Outcome::Failed))
    }

    async fn upload(&self, task: &Task, content: Option<Content>) -> Outcome {
        let (object, metrics) = (task.object(), &self.metrics);
        if task.item.is_found {
            match self.config.store.length(object).await {
                Ok(length) if length == task.item.bytes => {
                    metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
                    return Outcome::Up;
                }
                Ok(_) | Err(StoreFailure::Missing) => {}
                Err(failure) => return Outcome::Away(failure.to_string()),
            }
        }
        // Held until the request ends, and counted for as long.
        let payload = match &content {
            Some(content) => content.payload(),
            None => match self.read_back(object).await {
                Ok(payload) => payload,
                Err(outcome) => return outcome,
            },
        };
        let length = payload.content_length() as u64;
        match self.config.store.put(object, payload).await {
            Ok(Stored::Written) => {
                metrics.uploads_total.fetch_add(1, Ordering::Relaxed);
                metrics.upload_bytes_total.fetch_add(length, Ordering::Relaxed);
                Outcome::Up
            }
            Ok(Stored::Kept) => {
                metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
                Outcome::Up
            }
            Ok(Stored::Other(found)) => {
                metrics.conflicts_total.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(?object, length, found, "the store has another object of that name");
                Outcome::Up
            }
            Err(failure) => Outcome::Away(failure.to_string()),
        }
    }

    /// Reads a file that is to go up, in one piece.
    async fn read_back(&self, object: Object) -> Result<PutPayload, Outcome> {
        let path = files::path(&self.root, object);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        match read.unwrap_or_else(|died| Err(std::io::Error::other(died))) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Outcome::Gone),
            Err(error) => {
                tracing::warn!(?object, %error, "a file that is to go up can't be read");
                Err(Outcome::Failed)
            }
        }
    }

    /// Notes how it ended, and says when the store goes and comes back.
    pub(super) async fn settle(&self, task: &Task, outcome: &Outcome) {
        match outcome {
            Outcome::Up => {}
            Outcome::Gone => {
                self.metrics.gone_total.fetch_add(1, Ordering::Relaxed);
                let object = task.object();
                tracing::warn!(?object, "a file was gone before it went up");
            }
            Outcome::Failed | Outcome::Away(_) => {
                self.metrics.errors_total.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (was_away, is_away, is_whole, objects) = {
            let mut waiting = self.waiting.lock();
            let was_away = waiting.trouble.is_some();
            let is_whole = waiting.settle(task, outcome, now());
            (was_away, waiting.trouble.clone(), is_whole, waiting.objects)
        };
        let store = &self.config.store;
        match is_away {
            Some(why) if !was_away => {
                tracing::warn!(%store, why, "the store is away; segments wait on disk");
            }
            None if was_away => tracing::info!(%store, objects, "the store is back"),
            _ => {}
        }
        self.settled.notify_waiters();
        if is_whole {
            // So that a restart needn't look at its files.
            self.write_marks().await;
            self.whole.notify_one();
        }
    }
}
