//! The object store that segments go up to: whole objects by the names of the archive.
//!
//! Enters: objects and a [`Place`]. Leaves: what became of each request. Never
//! here: trying again (a failed attempt is seen at once by whoever decides what
//! follows).

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use records::StreamId;
use store::{Place, reason};

use super::files;
use crate::hls::Object;

/// How long one request may take, whatever kind of store it is. Requests over
/// HTTP have shorter limits of their own, which options can change.
const REQUEST_MAX: Duration = Duration::from_secs(120);

/// A request that failed. A retry may help, after the operator's work at times.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFailure {
    /// There is no such object.
    #[error("the store has no such object")]
    Missing,
    /// No answer in time.
    #[error("the store did not answer in time: {0}")]
    Slow(String),
    /// It can't be reached, or refuses.
    #[error("{0}")]
    Refused(String),
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Written,
    /// It was there already, as long as this.
    Kept,
    /// It was there already with another length. What was first stands.
    Other(u64),
}

/// The archive's place in an object store. Clones share the client.
#[derive(Clone, Debug)]
pub struct Store(pub(super) Place);

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Store {
    /// All below `place`, whose client sends each request once.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self(place)
    }

    fn location(&self, object: Object) -> Path {
        Path::from_iter(self.0.prefix().parts().chain(Path::from(files::name(object)).parts()))
    }

    /// Puts an object there unless it is there.
    pub(super) async fn put(
        &self,
        object: Object,
        payload: PutPayload,
    ) -> Result<Stored, StoreFailure> {
        let (location, length) = (self.location(object), payload.content_length() as u64);
        let options = PutOptions::from(PutMode::Create);
        let put = self.0.client().put_opts(&location, payload, options);
        match in_time(put).await {
            Ok(_) => return Ok(Stored::Written),
            Err(Failed::Store(Error::AlreadyExists { .. })) => {}
            Err(failed) => return Err(failed.into()),
        }
        // Or another request for it is under way, ours of before: then the
        // answer is the same, and what counts is whether it is there.
        match self.length(object).await? {
            found if found == length => Ok(Stored::Kept),
            found => Ok(Stored::Other(found)),
        }
    }

    /// The length of an object.
    pub(super) async fn length(&self, object: Object) -> Result<u64, StoreFailure> {
        Ok(in_time(self.0.client().head(&self.location(object))).await?.size)
    }

    /// Reads a whole object.
    pub(super) async fn get(&self, object: Object) -> Result<Bytes, StoreFailure> {
        let location = self.location(object);
        let read = async { self.0.client().get(&location).await?.bytes().await };
        Ok(in_time(read).await?)
    }

    /// Deletes all objects of a stream; how many there were.
    pub(super) async fn remove(&self, stream: StreamId) -> Result<usize, StoreFailure> {
        let folder = self.0.prefix().clone().join(stream.to_string());
        let listed = self.0.client().list(Some(&folder)).map_ok(|found| found.location).boxed();
        let gone = self.0.client().delete_stream(listed);
        let gone = gone.try_fold(0, |count, _| async move { Ok(count + 1) });
        Ok(in_time(gone).await?)
    }
}

pub(super) enum Failed {
    Store(Error),
    Slow,
}

pub(super) async fn in_time<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(REQUEST_MAX, request).await {
        Ok(answer) => answer.map_err(Failed::Store),
        Err(_) => Err(Failed::Slow),
    }
}

impl From<Failed> for StoreFailure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Slow => Self::Slow(format!("no answer in {} s", REQUEST_MAX.as_secs())),
            Failed::Store(Error::NotFound { ref source, .. })
                if !reason(&**source).contains("NoSuchBucket") =>
            {
                Self::Missing
            }
            Failed::Store(error) if is_slow(&error) => Self::Slow(reason(&error)),
            Failed::Store(error) => Self::Refused(reason(&error)),
        }
    }
}

/// Whether waiting for an answer is what failed.
fn is_slow(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let http = inner.downcast_ref::<object_store::client::HttpError>();
        if http.is_some_and(|e| e.kind() == object_store::client::HttpErrorKind::Timeout) {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn objects_lie_below_the_place() {
        let place = Place::new(Arc::new(InMemory::new()), "s3://bucket/a/b/").unwrap();
        let stream = StreamId::generate();
        let location = Store::new(place).location(Object::Recording { stream });
        assert_eq!(location.to_string(), format!("a/b/{stream}/recording.json"));
    }
}
