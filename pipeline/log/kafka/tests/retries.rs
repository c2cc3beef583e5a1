//! Retries: whatever is lost on the way, every acknowledged record is there
//! once, at the offset that was answered, in order.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::tansu::Tansu;
use super::{eventually, open, prefix, proxy, values};
use crate::{Kafka, Log, NewRecord, Topic, wait};

const PARTITIONS: u16 = 4;

/// Appends `value n` to one partition after another until told to stop;
/// answers with what was acknowledged, by partition and offset.
fn keep_appending(log: &dyn Log, name: u8, stop: &AtomicBool) -> Vec<(u16, u64, String)> {
    let mut acknowledged = Vec::new();
    for n in 0u32.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let partition = (n % u32::from(PARTITIONS)) as u16;
        // Three at once, to see that batches stay whole and in order too.
        let texts: Vec<_> = (0..3).map(|part| format!("{name} {n:06} {part}")).collect();
        let records =
            texts.iter().map(|text| NewRecord::new(partition, "", text.clone())).collect();
        let offsets = wait(log.append_many(Topic::Chat, records)).unwrap();
        for (offset, text) in offsets.into_iter().zip(texts) {
            acknowledged.push((partition, offset, text));
        }
    }
    acknowledged
}

/// Reads a partition from its begin, page after page and whatever stands in the way;
/// told that all is there, until there is no more.
fn keep_reading(log: &dyn Log, partition: u16, is_all: &AtomicBool) -> Vec<u64> {
    let mut offsets = Vec::new();
    loop {
        let is_last = is_all.load(Ordering::Acquire);
        let next = offsets.last().map_or(0, |last| last + 1);
        match wait(log.read(Topic::Chat, partition, next, usize::MAX)) {
            Ok(page) if page.is_empty() && is_last => return offsets,
            Ok(page) => offsets.extend(page.into_iter().map(|record| record.offset)),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Appends and reads from several threads while `disturb` does its worst, then compares
/// what is there with what was acknowledged and with what was read.
fn nothing_is_lost_or_repeated(log: &dyn Log, disturb: impl FnOnce()) {
    let (stop, is_all) = (AtomicBool::new(false), AtomicBool::new(false));
    let (acknowledged, read): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..4u8)
            .map(|name| {
                let stop = &stop;
                scope.spawn(move || keep_appending(log, name, stop))
            })
            .collect();
        let readers: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let is_all = &is_all;
                scope.spawn(move || keep_reading(log, partition, is_all))
            })
            .collect();
        disturb();
        stop.store(true, Ordering::Release);
        let acknowledged = appenders.into_iter().flat_map(|thread| thread.join().unwrap());
        let acknowledged = acknowledged.collect();
        is_all.store(true, Ordering::Release);
        (acknowledged, readers.into_iter().map(|thread| thread.join().unwrap()).collect())
    });
    assert!(acknowledged.len() > 100, "only {} appends got through", acknowledged.len());
    let mut total = 0;
    for (partition, read) in (0..PARTITIONS).zip(read) {
        let found = values(log, Topic::Chat, partition);
        assert!(read.iter().copied().eq(0..found.len() as u64), "{partition}: {read:?}");
        total += found.len();
        for (at, offset, text) in acknowledged.iter().filter(|(at, ..)| *at == partition) {
            assert_eq!(found.get(*offset as usize), Some(text), "{at}/{offset}");
        }
        let mut last = HashMap::new();
        for text in &found {
            let (name, rest) = text.split_at(1);
            let before = last.insert(name, rest);
            assert!(before.is_none_or(|before| before < rest), "{text} after {before:?}");
        }
    }
    assert_eq!(total, acknowledged.len(), "nothing is there twice");
}

/// Waits until so many more records are acknowledged.
fn goes_on(log: &Kafka, records: u64) {
    let wanted = log.pulse.acknowledged() + records;
    eventually("appends get through", || log.pulse.acknowledged() >= wanted);
}

#[test]
fn a_killed_broker_loses_and_repeats_nothing() {
    let mut broker = Tansu::start();
    let log = open(&broker.url(&prefix()));
    nothing_is_lost_or_repeated(&log, || {
        for records in [300, 500, 100] {
            goes_on(&log, records);
            broker.kill();
            eventually("the log says that its broker is away", || log.health().is_err());
            broker.restart();
        }
        goes_on(&log, 100);
    });
}

#[test]
fn a_lost_answer_repeats_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    let broker = Tansu::behind(Some(front));
    let faults = proxy::start(listener, broker.port);
    let log = open(&format!("kafka://127.0.0.1:{front}/{}", prefix()));
    nothing_is_lost_or_repeated(&log, || {
        for n in 1..=5 {
            goes_on(&log, 100);
            faults.lose_next.store(true, Ordering::Release);
            eventually("an answer is lost", || faults.lost.load(Ordering::Acquire) == n);
        }
        goes_on(&log, 100);
    });
}
