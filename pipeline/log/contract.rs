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
/// answered. Concurrent appends share one fsync, so a caller with much to
/// write uses [`Log::append_many`] or several appends at once.
pub trait Log: Send + Sync + 'static {
    /// Appends `records` in order, all or none, and answers with their offsets
    /// once they are durable.
    ///
    /// Dropping the answer early leaves open whether the records were appended
    /// (as losing a network connection would); all-or-none still holds.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::TooLarge`] and [`Error::NoKey`] are
    /// the caller's fault and nothing was appended; [`Error::Storage`] and
    /// [`Error::Closed`] are not, and it is open whether something was.
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
    /// record kept if `from` was trimmed; a compacted topic leaves out what was
    /// superseded, so look at each record's offset.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Storage`], [`Error::Corrupt`].
    fn read(&self, topic: Topic, partition: u16, from: u64, max: usize) -> Answer<'_, Vec<Record>>;

    /// The newest record of each key of a compacted topic, tombstones left
    /// out, by partition and offset. Holds the whole topic in memory.
    ///
    /// # Errors
    /// [`Error::NotCompacted`], [`Error::Storage`], [`Error::Corrupt`].
    fn latest(&self, topic: Topic) -> Answer<'_, Vec<Record>>;

    /// The oldest offset that [`Log::read`] may still answer, and the offset
    /// that the next record will get.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Closed`].
    fn bounds(&self, topic: Topic, partition: u16) -> Answer<'_, Range<u64>>;

    /// Forgets the records below offset `below`; of a compacted topic only the
    /// tombstones, since its other records are still the newest of their key.
    /// An offset beyond the end trims everything; offsets continue all the same.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], [`Error::Storage`].
    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Answer<'_, ()>;
}
