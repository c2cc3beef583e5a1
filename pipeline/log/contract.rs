//! What every log promises.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use crate::{Error, NewRecord, Record, Topic};

/// An operation under way. Does nothing before it is polled. Await it in a
/// task or hand it to [`crate::wait`] in a thread; it needs no runtime.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A durable log of topics and partitions. All methods may be called from any
/// number of tasks and threads at once.
///
/// Two appends are ordered only if the second begins after the first has
/// answered. Concurrent appends share one fsync or request, so a caller with
/// much to write uses [`Log::append_many`] or several appends at once.
pub trait Log: Send + Sync + 'static {
    /// Appends `records` in order and answers with their offsets once all of
    /// them are durable. A log whose storage is away makes the caller wait, and
    /// refuses only when too much waits already.
    ///
    /// Dropping the answer early, an error or a crash leave open whether the
    /// records were appended (as losing a network connection would). The
    /// embedded log then has all or none of them; a shared one may have the
    /// first of them in each partition, never one without those before it. So
    /// put what others point to first.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::TooLarge`] and [`Error::NoKey`] are
    /// the caller's fault, [`Error::Full`] is not, and nothing was appended;
    /// with [`Error::Storage`], [`Error::Broker`] and [`Error::Closed`] it is
    /// open whether something was, and after the first two nothing more is
    /// taken until the log is opened again.
    fn append_many(&self, topic: Topic, records: Vec<NewRecord>) -> Answer<'_, Vec<u64>>;

    /// Appends one record and answers with its offset once it is durable.
    ///
    /// # Errors
    /// As [`Log::append_many`].
    fn append(&self, topic: Topic, record: NewRecord) -> Answer<'_, u64> {
        let appended = self.append_many(topic, vec![record]);
        Box::pin(async move { appended.await?.first().copied().ok_or(Error::Closed) })
    }

    /// Up to `max` durable records from offset `from` on, oldest first; fewer
    /// if they are large. Empty: there are no more yet. Begins at the oldest
    /// record kept if `from` was trimmed. A compacted topic may leave out what
    /// was superseded, and offsets of a shared log can be taken by what isn't a
    /// record: the next read begins behind the last record's offset, never at
    /// `from` plus a count.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Storage`], [`Error::Corrupt`];
    /// [`Error::Broker`] if none answers within some ten seconds.
    fn read(&self, topic: Topic, partition: u16, from: u64, max: usize) -> Answer<'_, Vec<Record>>;

    /// Says that partitions will be read soon, each from this offset on: a log far
    /// away begins to fetch all of them at once, rather than each when its turn
    /// comes. Nothing depends on it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn prefetch(&self, _: Topic, _: &[(u16, u64)]) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// The newest record of each key of a compacted topic, tombstones left
    /// out, by partition and offset. Holds the whole topic in memory.
    ///
    /// # Errors
    /// [`Error::NotCompacted`], [`Error::Storage`], [`Error::Corrupt`],
    /// [`Error::Broker`].
    fn latest(&self, topic: Topic) -> Answer<'_, Vec<Record>>;

    /// The oldest offset that [`Log::read`] may still answer, and the offset
    /// that the next record will get.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Closed`], [`Error::Broker`].
    fn bounds(&self, topic: Topic, partition: u16) -> Answer<'_, Range<u64>>;

    /// Forgets the records below offset `below`; of a compacted topic only the
    /// tombstones, since its other records are still the newest of their key,
    /// and a shared log does that by itself, later. An offset beyond the end
    /// trims everything; offsets continue all the same.
    ///
    /// For space only: nothing may depend on what is trimmed being gone.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Storage`]; [`Error::Broker`] also
    /// from brokers that can't, which changes nothing: retention is up to them.
    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Answer<'_, ()>;

    /// Whether appends are being answered; answers from memory at once. For
    /// readiness checks and those who would rather not wait.
    ///
    /// # Errors
    /// Why appends wait or are refused now.
    fn health(&self) -> Result<(), Error>;
}
