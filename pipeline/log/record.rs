//! A record before and after it has an offset.

use bytes::Bytes;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// `0..topic.partitions()`, see [`crate::Topic::partition`].
    pub partition: u16,
    /// Stream or entity, at most 4 KiB; not empty in a compacted topic.
    pub key: Bytes,
    /// At most 1 MiB. None: a tombstone, the key is no more.
    pub value: Option<Bytes>,
}

impl NewRecord {
    /// A record with a value.
    #[must_use]
    pub fn new(partition: u16, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { partition, key: key.into(), value: Some(value.into()) }
    }

    /// A record that says that `key` is no more.
    #[must_use]
    pub fn tombstone(partition: u16, key: impl Into<Bytes>) -> Self {
        Self { partition, key: key.into(), value: None }
    }

    /// Bytes it counts for in a budget: payload plus a fixed overhead.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + 64
    }
}

/// A durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub partition: u16,
    /// Its position in the partition.
    pub offset: u64,
    /// As appended.
    pub key: Bytes,
    /// As appended; None for a tombstone.
    pub value: Option<Bytes>,
}
