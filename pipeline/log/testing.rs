//! The suite that every implementation of [`Log`] passes.
//!
//! Enters: an implementation, as a [`Place`] where a log can be opened again
//! and again. Each function panics with the promise that was broken; call them
//! all through [`suite`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Error, Log, NewRecord, Topic, wait};

/// Somewhere a log lives on while it is closed.
pub trait Place {
    /// Opens the log that is there. Never called while one is open.
    fn open(&self) -> Arc<dyn Log>;

    /// Whether the storage behind it can trim. The contract lets it refuse.
    fn trims(&self) -> bool {
        true
    }

    /// Whether a compacted topic drops what was superseded at once, and
    /// tombstones when it is trimmed, rather than when it likes.
    fn compacts_at_once(&self) -> bool {
        true
    }
}

/// Runs every check, each in a place of its own made by `place`.
///
/// # Panics
/// If a promise of [`Log`] is broken.
pub fn suite<P: Place>(place: impl Fn() -> P) {
    offsets_have_no_holes(&place());
    a_batch_is_in_order_and_whole(&place());
    reads_begin_and_stop_anywhere(&place());
    concurrent_appends_get_every_offset_once(&place());
    trim_forgets_and_offsets_go_on(&place());
    latest_is_one_value_per_key(&place());
    tombstones_go_when_trimmed(&place());
    records_come_back_as_they_were(&place());
    misuse_is_refused(&place());
}

fn append(log: &dyn Log, topic: Topic, record: NewRecord) -> u64 {
    wait(log.append(topic, record)).expect("append")
}

fn offsets(log: &dyn Log, topic: Topic, partition: u16, from: u64) -> Vec<u64> {
    let records = wait(log.read(topic, partition, from, usize::MAX)).expect("read");
    records.iter().map(|record| record.offset).collect()
}

/// Offsets rise by one per partition, also across opening again.
pub fn offsets_have_no_holes(place: &impl Place) {
    for round in 0..3u64 {
        let log = place.open();
        for i in 0..5u64 {
            let n = round * 5 + i;
            for partition in [0, 7] {
                let record = NewRecord::new(partition, "key", n.to_string());
                assert_eq!(append(&*log, Topic::Events, record), n);
            }
        }
        assert_eq!(wait(log.bounds(Topic::Events, 7)).expect("bounds"), 0..round * 5 + 5);
        let records = wait(log.read(Topic::Events, 7, 0, usize::MAX)).expect("read");
        for (n, record) in records.iter().enumerate() {
            assert_eq!((record.partition, record.offset), (7, n as u64));
            assert_eq!(record.value.as_deref(), Some(n.to_string().as_bytes()));
        }
        assert_eq!(records.len() as u64, round * 5 + 5);
    }
    let log = place.open();
    assert_eq!(offsets(&*log, Topic::Events, 7, 13), [13, 14]);
    assert_eq!(wait(log.read(Topic::Events, 7, 3, 2)).expect("read").len(), 2);
    assert!(offsets(&*log, Topic::Events, 7, 15).is_empty(), "beyond the end there is nothing yet");
    assert!(offsets(&*log, Topic::Events, 1, 0).is_empty(), "partitions are apart");
    assert!(offsets(&*log, Topic::Health, 7, 0).is_empty(), "topics are apart");
}

/// A batch over several partitions keeps its order and is all there.
pub fn a_batch_is_in_order_and_whole(place: &impl Place) {
    let log = place.open();
    let batch = (0..100u16).map(|n| NewRecord::new(n % 2, "", n.to_string())).collect();
    let got = wait(log.append_many(Topic::Views, batch)).expect("append_many");
    assert_eq!(got, (0..100u64).map(|n| n / 2).collect::<Vec<_>>());
    assert!(wait(log.append_many(Topic::Views, Vec::new())).expect("append_many").is_empty());
    let odd = wait(log.read(Topic::Views, 1, 0, usize::MAX)).expect("read");
    let values: Vec<_> = odd.iter().filter_map(|record| record.value.clone()).collect();
    assert_eq!(values, (0..50).map(|n| (2 * n + 1).to_string()).collect::<Vec<_>>());
}

/// However records were appended, a read begins with the one that it asks for, ends
/// after as many as it asks for, and a trim may cut between any two.
pub fn reads_begin_and_stop_anywhere(place: &impl Place) {
    const ALL: u64 = 1000;
    {
        let log = place.open();
        let record = |n: u64| NewRecord::new(5, "key", format!("{n} {}", "x".repeat(100)));
        append(&*log, Topic::Chat, record(0));
        wait(log.append_many(Topic::Chat, (1..900).map(record).collect())).expect("append_many");
        wait(log.append_many(Topic::Chat, (900..ALL).map(record).collect())).expect("append_many");
    }
    let log = place.open();
    let check = |from: u64, max: usize, start: u64| {
        let read = wait(log.read(Topic::Chat, 5, from, max)).expect("read");
        let first = from.max(start);
        let wanted = first..ALL.min(first.saturating_add(max as u64));
        assert!(read.len() as u64 <= wanted.end - wanted.start, "{} from {from}", read.len());
        // Perhaps not all at once.
        assert_eq!(read.is_empty(), wanted.is_empty(), "from {from}");
        for (record, offset) in read.into_iter().zip(wanted) {
            assert_eq!(record.offset, offset);
            let value = record.value.expect("a value");
            assert!(value.starts_with(format!("{} ", record.offset).as_bytes()));
        }
    };
    for from in [0, 1, 2, 250, 251, 600, 898, 899, 900, 998, 999, ALL] {
        for max in [1, 2, 300, usize::MAX] {
            check(from, max, 0);
        }
    }
    if place.trims() {
        wait(log.trim(Topic::Chat, 5, 450)).expect("trim");
        for from in [0, 449, 450, 451, 999] {
            check(from, 3, 450);
        }
    }
}

/// Threads that append at once each get offsets that nobody else gets.
pub fn concurrent_appends_get_every_offset_once(place: &impl Place) {
    let log = place.open();
    let mut got: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n: u8| {
                let log = &*log;
                scope.spawn(move || {
                    let one = |i: u8| append(log, Topic::Chat, NewRecord::new(3, vec![n], vec![i]));
                    let mine: Vec<u64> = (0..25).map(one).collect();
                    assert!(mine.is_sorted(), "one caller's appends keep their order");
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("appender")).collect()
    });
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(offsets(&*log, Topic::Chat, 3, 0), got);
}

/// What is trimmed is gone and its offsets are not given out again.
pub fn trim_forgets_and_offsets_go_on(place: &impl Place) {
    {
        let log = place.open();
        for n in 0..10u64 {
            append(&*log, Topic::Health, NewRecord::new(2, "key", n.to_string()));
        }
        wait(log.trim(Topic::Health, 2, 0)).expect("a trim at the start changes nothing");
        if !place.trims() {
            return;
        }
        wait(log.trim(Topic::Health, 2, 4)).expect("trim");
        assert_eq!(offsets(&*log, Topic::Health, 2, 0), [4, 5, 6, 7, 8, 9]);
        wait(log.trim(Topic::Health, 2, 3)).expect("a trim below the start changes nothing");
        assert_eq!(wait(log.bounds(Topic::Health, 2)).expect("bounds"), 4..10);
    }
    {
        let log = place.open();
        assert_eq!(wait(log.bounds(Topic::Health, 2)).expect("bounds"), 4..10);
        wait(log.trim(Topic::Health, 2, u64::MAX)).expect("trim");
        assert!(offsets(&*log, Topic::Health, 2, 0).is_empty());
    }
    let log = place.open();
    assert_eq!(append(&*log, Topic::Health, NewRecord::new(2, "key", "next")), 10);
    assert_eq!(offsets(&*log, Topic::Health, 2, 0), [10]);
}

/// A compacted topic answers with the newest value of each key.
pub fn latest_is_one_value_per_key(place: &impl Place) {
    let mut model = BTreeMap::new();
    for round in 0..2 {
        let log = place.open();
        for n in 0..40u32 {
            let key = format!("key {}", n % 7);
            let value = (n % 5 != 3).then(|| format!("{round} {n}"));
            let mut record = NewRecord::tombstone(0, key.clone());
            record.value = value.clone().map(Into::into);
            // The same key twice in one batch: the second wins.
            let batch = vec![NewRecord::new(0, key.clone(), "superseded at once"), record];
            wait(log.append_many(Topic::Catalog, batch)).expect("append_many");
            model.insert(key, value);
        }
    }
    let log = place.open();
    let latest = wait(log.latest(Topic::Catalog)).expect("latest");
    assert!(latest.is_sorted_by_key(|record| record.offset));
    let got: BTreeMap<_, _> = latest.iter().map(|r| (r.key.to_vec(), r.value.clone())).collect();
    let wanted: BTreeMap<_, _> = model
        .into_iter()
        .filter_map(|(key, value)| Some((key.into_bytes(), Some(value?.into()))))
        .collect();
    assert_eq!(got, wanted);
    assert_eq!(wait(log.bounds(Topic::Catalog, 0)).expect("bounds").end, 160);
}

/// A reader that follows a compacted topic sees removals, until they are trimmed.
pub fn tombstones_go_when_trimmed(place: &impl Place) {
    let log = place.open();
    for key in ["a", "b"] {
        append(&*log, Topic::Catalog, NewRecord::new(0, key, "value"));
    }
    let at = append(&*log, Topic::Catalog, NewRecord::tombstone(0, "a"));
    let followed = wait(log.read(Topic::Catalog, 0, at, 10)).expect("read");
    assert_eq!((followed.len(), followed[0].value.as_deref()), (1, None));
    wait(log.trim(Topic::Catalog, 0, u64::MAX)).expect("trim");
    let left = offsets(&*log, Topic::Catalog, 0, 0);
    match place.compacts_at_once() {
        true => assert_eq!(left, [1], "only the living is left"),
        false => assert!(left.contains(&1), "the living are left"),
    }
    assert_eq!(append(&*log, Topic::Catalog, NewRecord::new(0, "a", "again")), 3);
    log.health().expect("nothing is wrong");
    drop(log);
    let log = place.open();
    assert_eq!(wait(log.latest(Topic::Catalog)).expect("latest").len(), 2);
}

/// Empty, binary and large records, and tombstones, are read as appended.
pub fn records_come_back_as_they_were(place: &impl Place) {
    let log = place.open();
    let records = vec![
        NewRecord::new(0, "", ""),
        NewRecord::new(0, "key", ""),
        NewRecord::new(0, vec![0, 255, 10], vec![0; 3]),
        NewRecord::tombstone(0, "key"),
        NewRecord::new(0, vec![b'k'; 4 << 10], vec![7; 1 << 20]),
    ];
    wait(log.append_many(Topic::Views, records.clone())).expect("append_many");
    let mut read = Vec::new();
    while read.len() < records.len() {
        let next = wait(log.read(Topic::Views, 0, read.len() as u64, 2)).expect("read");
        assert!(!next.is_empty() && next.len() <= 2);
        read.extend(next);
    }
    for (got, wanted) in read.iter().zip(&records) {
        assert_eq!((&got.key, &got.value), (&wanted.key, &wanted.value));
    }
}

/// The caller's mistakes are errors that say so, and append nothing.
pub fn misuse_is_refused(place: &impl Place) {
    let log = place.open();
    let refused = |topic, records| wait(log.append_many(topic, records)).expect_err("refused");
    let fine = NewRecord::new(0, "key", "value");
    let elsewhere = NewRecord::new(999, "key", "value");
    let huge = NewRecord::new(0, "key", vec![0; (1 << 20) + 1]);
    let unnamed = NewRecord::new(0, "", "value");
    assert!(matches!(
        refused(Topic::Events, vec![fine.clone(), elsewhere]),
        Error::NoSuchPartition { partition: 999, .. }
    ));
    assert!(matches!(refused(Topic::Events, vec![fine.clone(), huge]), Error::TooLarge { .. }));
    assert!(matches!(refused(Topic::Catalog, vec![fine, unnamed]), Error::NoKey(_)));
    assert!(matches!(wait(log.latest(Topic::Events)), Err(Error::NotCompacted(_))));
    assert!(matches!(wait(log.read(Topic::Events, 999, 0, 1)), Err(Error::NoSuchPartition { .. })));
    assert!(matches!(wait(log.trim(Topic::Events, 999, 0)), Err(Error::NoSuchPartition { .. })));
    for topic in [Topic::Events, Topic::Catalog] {
        assert_eq!(wait(log.bounds(topic, 0)).expect("bounds"), 0..0);
    }
}
