//! How records lie in the store.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `{topic}` | partition u16, offset u64 of the last of them | a bundle of records |
//! | `{topic}` (compacted) | partition u16, offset u64 | one record |
//! | `{topic}.latest` (compacted) | partition u16, key | offset u64 of its newest record |
//! | `bounds` | topic name, `/`, partition u16 | start u64, next u64 |
//!
//! One record: format u8 = 1, flags u8, key length u16, key, value. A bundle: format
//! u8 = 2, nothing u8, count u16; then, for each, flags u8, key length u16, value
//! length u32, key, value. What is appended together lies together, since an entry
//! costs the store more than a record's bytes do. By its last offset a bundle is the
//! first entry at or behind any of its records, and gone once all of them are trimmed.
//!
//! Integers are big-endian, so that the store's order is the log's order. Logs that
//! were begun before there were bundles hold single records in every topic.

use bytes::{Buf, BufMut, Bytes};

use crate::{NewRecord, Record, Topic};

const RECORD: u8 = 1;
const BUNDLE: u8 = 2;
const FLAG_TOMBSTONE: u8 = 1;

/// A bundle takes no further record at this size: who wants one of them reads them all.
const BUNDLE_BYTES: usize = 32 << 10;

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
    out.put_u8(RECORD);
    out.put_u8(flags(record));
    out.put_u16(record.key.len() as u16); // at most 4 KiB, checked on append
    out.put_slice(&record.key);
    out.put_slice(record.value.as_deref().unwrap_or_default());
    out
}

/// Records of one partition that follow each other, as one value of the store.
#[derive(Debug)]
pub(super) struct Bundle {
    value: Vec<u8>,
    count: u16,
    last: u64,
}

impl Bundle {
    /// Its first record has the offset `first`.
    pub fn new(first: u64, record: &NewRecord) -> Self {
        let mut value = Vec::with_capacity(record.weight());
        value.extend([BUNDLE, 0, 0, 0]);
        let mut bundle = Self { value, count: 0, last: first };
        bundle.write(record);
        bundle
    }

    /// Adds the record behind its last one.
    pub fn push(&mut self, record: &NewRecord) {
        self.last += 1;
        self.write(record);
    }

    fn write(&mut self, record: &NewRecord) {
        let value = record.value.as_deref().unwrap_or_default();
        self.count += 1;
        self.value.put_u8(flags(record));
        self.value.put_u16(record.key.len() as u16); // at most 4 KiB, checked on append
        self.value.put_u32(value.len() as u32); // at most 1 MiB, checked on append
        self.value.put_slice(&record.key);
        self.value.put_slice(value);
    }

    /// Whether the next record begins another one.
    pub fn is_full(&self) -> bool {
        self.value.len() >= BUNDLE_BYTES
    }

    /// The store's key and value.
    pub fn finish(mut self, partition: u16) -> ([u8; 10], Vec<u8>) {
        if let Some(count) = self.value.get_mut(2..4) {
            count.copy_from_slice(&self.count.to_be_bytes());
        }
        (record_key(partition, self.last), self.value)
    }
}

fn flags(record: &NewRecord) -> u8 {
    if record.value.is_none() { FLAG_TOMBSTONE } else { 0 }
}

/// The records of an entry, oldest first and at least one; None if it can't be read.
pub(super) fn parse_entry(key: &[u8], value: &[u8]) -> Option<Vec<Record>> {
    let (partition, last) = parse_record_key(key)?;
    // One copy, which all of its records share.
    let mut rest = Bytes::copy_from_slice(value);
    match rest.try_get_u8().ok()? {
        RECORD => {
            let (flags, key_len) = (rest.try_get_u8().ok()?, rest.try_get_u16().ok()?);
            let value_len = rest.len().checked_sub(key_len.into())?;
            let (key, value) = take(&mut rest, flags, key_len.into(), value_len)?;
            Some(vec![Record { partition, offset: last, key, value }])
        }
        BUNDLE => {
            let (_, count) = (rest.try_get_u8().ok()?, rest.try_get_u16().ok()?);
            let first = last.checked_add(1)?.checked_sub(count.into())?;
            let mut records = Vec::with_capacity(count.into());
            for offset in first..=last {
                let (flags, key_len) = (rest.try_get_u8().ok()?, rest.try_get_u16().ok()?);
                let value_len = rest.try_get_u32().ok()? as usize;
                let (key, value) = take(&mut rest, flags, key_len.into(), value_len)?;
                records.push(Record { partition, offset, key, value });
            }
            (rest.is_empty() && !records.is_empty()).then_some(records)
        }
        _ => None,
    }
}

/// A record's key and value.
fn take(
    rest: &mut Bytes,
    flags: u8,
    key_len: usize,
    value_len: usize,
) -> Option<(Bytes, Option<Bytes>)> {
    if rest.len() < key_len.checked_add(value_len)? {
        return None;
    }
    let (key, value) = (rest.split_to(key_len), rest.split_to(value_len));
    Some((key, (flags & FLAG_TOMBSTONE == 0).then_some(value)))
}

/// Whether a single record is a tombstone, without reading the rest of it.
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

    fn records() -> [NewRecord; 4] {
        [
            NewRecord::new(3, "key", "value"),
            NewRecord::new(3, "", ""),
            NewRecord::tombstone(3, "key"),
            NewRecord::new(3, vec![7; 4096], vec![9; 1 << 20]),
        ]
    }

    fn stored(record: NewRecord, offset: u64) -> Record {
        Record { partition: record.partition, offset, key: record.key, value: record.value }
    }

    #[test]
    fn single_records_round_trip() {
        for record in records() {
            let (key, value) = (record_key(3, 1 << 40), record_value(&record));
            assert_eq!(is_tombstone(&value), record.value.is_none());
            assert_eq!(parse_entry(&key, &value).unwrap(), [stored(record, 1 << 40)]);
        }
    }

    #[test]
    fn bundles_round_trip_and_are_found_by_their_last_offset() {
        let mut bundle = Bundle::new(1 << 40, &records()[0]);
        records()[1..].iter().for_each(|record| bundle.push(record));
        assert!(bundle.is_full());
        let (key, value) = bundle.finish(3);
        assert_eq!(key, record_key(3, (1 << 40) + 3));
        let expected: Vec<_> =
            records().into_iter().zip(1 << 40..).map(|(record, at)| stored(record, at)).collect();
        assert_eq!(parse_entry(&key, &value).unwrap(), expected);
        for cut in [0, 1, 3, 4, 5, 10, value.len() - 1] {
            assert!(parse_entry(&key, &value[..cut]).is_none(), "{cut}");
        }
        assert!(parse_entry(&key, &[&value[..], &[0]].concat()).is_none());
        // Its first record would lie before the partition begins.
        assert!(parse_entry(&record_key(3, 2), &value).is_none());
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for value in [&[1, 0, 0, 9, 1][..], &[2, 0, 0, 0], &[3, 0, 0, 0], &[]] {
            assert!(parse_entry(&record_key(0, 0), value).is_none(), "{value:?}");
        }
        assert!(parse_entry(&[0; 9], &record_value(&records()[0])).is_none());
    }
}
