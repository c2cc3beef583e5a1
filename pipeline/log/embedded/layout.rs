//! How records lie in the store.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `{topic}` | partition u16, offset u64 | format u8, flags u8, key length u16, key, value |
//! | `{topic}.latest` (compacted) | partition u16, key | offset u64 of its newest record |
//! | `bounds` | topic name, `/`, partition u16 | start u64, next u64 |
//!
//! Integers are big-endian, so that the store's order is the log's order. The
//! format byte leaves room for what a record doesn't have yet, such as the
//! sender's message id.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{NewRecord, Record, Topic};

const FORMAT: u8 = 1;
const FLAG_TOMBSTONE: u8 = 1;

pub(super) fn record_key(partition: u16, offset: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&partition.to_be_bytes());
    key[2..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(super) fn parse_record_key(key: &[u8]) -> Option<(u16, u64)> {
    let (partition, offset) = key.split_first_chunk()?;
    Some((u16::from_be_bytes(*partition), parse_u64(offset)?))
}

pub(super) fn record_value(record: &NewRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.weight());
    out.put_u8(FORMAT);
    out.put_u8(if record.value.is_none() { FLAG_TOMBSTONE } else { 0 });
    out.put_u16(record.key.len() as u16); // at most 4 KiB, checked on append
    out.put_slice(&record.key);
    out.put_slice(record.value.as_deref().unwrap_or_default());
    out
}

pub(super) fn parse_record(key: &[u8], value: &[u8]) -> Option<Record> {
    let (partition, offset) = parse_record_key(key)?;
    let ([format, flags, high, low], rest) = value.split_first_chunk()?;
    if *format != FORMAT {
        return None;
    }
    let key_len = usize::from(u16::from_be_bytes([*high, *low]));
    let mut rest = BytesMut::from(rest).freeze();
    if rest.len() < key_len {
        return None;
    }
    let key = rest.split_to(key_len);
    let value = (flags & FLAG_TOMBSTONE == 0).then_some(rest);
    Some(Record { partition, offset, key, value })
}

/// Whether a stored value is a tombstone, without reading the rest of it.
pub(super) fn is_tombstone(value: &[u8]) -> bool {
    value.get(1).is_some_and(|flags| flags & FLAG_TOMBSTONE != 0)
}

pub(super) fn latest_key(partition: u16, key: &Bytes) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + key.len());
    out.put_u16(partition);
    out.put_slice(key);
    out
}

pub(super) fn bounds_key(topic: Topic, partition: u16) -> Vec<u8> {
    let mut out = Vec::from(topic.name());
    out.put_u8(b'/');
    out.put_u16(partition);
    out
}

pub(super) fn bounds_value(start: u64, next: u64) -> Vec<u8> {
    [start.to_be_bytes(), next.to_be_bytes()].concat()
}

pub(super) fn parse_bounds(value: &[u8]) -> Option<(u64, u64)> {
    let (start, next) = value.split_at_checked(8)?;
    Some((parse_u64(start)?, parse_u64(next)?))
}

pub(super) fn parse_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        for record in [
            NewRecord::new(3, "key", "value"),
            NewRecord::new(3, "", ""),
            NewRecord::tombstone(65535, "key"),
        ] {
            let key = record_key(record.partition, 1 << 40);
            let stored = record_value(&record);
            let parsed = parse_record(&key, &stored).unwrap();
            assert_eq!((parsed.partition, parsed.offset), (record.partition, 1 << 40));
            assert_eq!((parsed.key, parsed.value), (record.key, record.value.clone()));
            assert_eq!(is_tombstone(&stored), record.value.is_none());
        }
        assert!(parse_record(&record_key(0, 0), &[1, 0, 0, 9, 1]).is_none());
        assert!(parse_record(&record_key(0, 0), &[2, 0, 0, 0]).is_none());
    }
}
