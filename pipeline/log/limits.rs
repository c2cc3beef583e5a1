//! What every log takes: sizes, and the check before an append.

use crate::{Error, NewRecord, Topic};

/// Bytes that may wait to be written; further appends wait for room.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;

/// A read answers with fewer records rather than with more bytes than this (plus one record).
pub(crate) const READ_BYTES_MAX: usize = 8 << 20;

const KEY_BYTES_MAX: usize = 4 << 10;
const VALUE_BYTES_MAX: usize = 1 << 20;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Bytes the records count for, if they may be appended together.
pub(crate) fn check(topic: Topic, records: &[NewRecord]) -> Result<u32, Error> {
    let limit = |what, bytes, max| match bytes > max {
        true => Err(Error::TooLarge { what, topic, bytes, max }),
        false => Ok(()),
    };
    let mut bytes = 0;
    for record in records {
        check_partition(topic, record.partition)?;
        if topic.is_compacted() && record.key.is_empty() {
            return Err(Error::NoKey(topic));
        }
        limit("a key", record.key.len(), KEY_BYTES_MAX)?;
        limit("a value", record.value.as_ref().map_or(0, |v| v.len()), VALUE_BYTES_MAX)?;
        bytes += record.weight();
    }
    limit("a batch", bytes, BATCH_BYTES_MAX)?;
    Ok(bytes as u32)
}

/// Whether the topic has the partition.
pub(crate) fn check_partition(topic: Topic, partition: u16) -> Result<(), Error> {
    match partition < topic.partitions() {
        true => Ok(()),
        false => Err(Error::NoSuchPartition { topic, partition }),
    }
}
