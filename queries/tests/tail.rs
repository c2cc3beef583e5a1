//! Rows of the log's tail show at once, and only once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use parking_lot::Mutex;
use records::schema::EVENTS;
use serde_json::{Value, json};

use super::fixture::{self, CALM, Fixture, noon};
use crate::{Error, Limits, Tail, TailError};

/// Partition 3 of a log, in memory.
#[derive(Default)]
struct Memory(Mutex<Log>);

#[derive(Default)]
struct Log {
    rows: Vec<Value>,
    // Offsets below it are gone.
    trimmed: u64,
    asked: Vec<BTreeMap<u16, u64>>,
}

#[async_trait]
impl Tail for Memory {
    fn partitions(&self, table: &str) -> u16 {
        if table == "events" { 16 } else { 0 }
    }

    async fn rows(
        &self,
        table: &str,
        from: &BTreeMap<u16, u64>,
    ) -> Result<Vec<RecordBatch>, TailError> {
        assert_eq!(table, "events");
        let mut log = self.0.lock();
        log.asked.push(from.clone());
        let from = from.get(&3).copied().unwrap_or(0);
        if from < log.trimmed {
            return Err("the log begins later".into());
        }
        let rows = log.rows.get(from as usize..).unwrap_or_default();
        Ok(if rows.is_empty() { Vec::new() } else { vec![fixture::batch(&EVENTS, rows)] })
    }
}

fn event(offset: u32) -> Value {
    json!({
        "date": "2026-11-20", "stream_id": CALM, "at": noon(offset), "kind": "CREATED",
        "log_partition": 3, "log_offset": offset,
    })
}

fn fixture() -> (Fixture, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let tail = Arc::clone(&memory) as Arc<dyn Tail>;
    (Fixture::new(Limits { threads: 2, ..Limits::default() }, Some(tail)), memory)
}

#[tokio::test]
async fn every_row_shows_once_wherever_it_is() {
    let (fixture, memory) = fixture();
    assert_eq!(fixture.count("events").await, 0);
    memory.0.lock().rows.extend((0..5).map(event));
    assert_eq!(fixture.count("events").await, 5, "before there is a table");
    let rows: Vec<Value> = (0..5).map(event).collect();
    fixture::append(&fixture.lake(), &EVENTS, &rows, 0, 5).await;
    assert_eq!(fixture.count("events").await, 5, "committed");
    memory.0.lock().rows.extend((5..8).map(event));
    assert_eq!(fixture.count("events").await, 8, "some committed, some not");
    let rows: Vec<Value> = (5..8).map(event).collect();
    fixture::append(&fixture.lake(), &EVENTS, &rows, 1, 8).await;
    assert_eq!(fixture.count("events").await, 8, "committed too");
    assert_eq!(memory.0.lock().asked.last().unwrap(), &BTreeMap::from([(3, 8)]));
    let distinct = fixture.ask("SELECT count(DISTINCT log_offset) AS n FROM events").await;
    assert!(distinct.contains("| 8 |"), "{distinct}");
}

#[tokio::test]
async fn filters_orders_and_limits_see_both() {
    let (fixture, memory) = fixture();
    let rows: Vec<Value> = (0..5).map(event).collect();
    fixture::append(&fixture.lake(), &EVENTS, &rows, 0, 5).await;
    memory.0.lock().rows.extend((0..9).map(event));
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM events WHERE log_offset IN (2, 7)", "| 2 |"),
        ("SELECT max(log_offset) AS n FROM events", "| 8 |"),
        ("SELECT log_offset AS n FROM events ORDER BY at DESC LIMIT 1", "| 8 |"),
        ("SELECT count(*) AS n FROM (SELECT * FROM events LIMIT 7) AS some", "| 7 |"),
        (
            "SELECT count(*) AS n FROM events WHERE date = '2026-11-20' AND kind = 'CREATED'",
            "| 9 |",
        ),
        ("SELECT count(*) AS n FROM events WHERE date > '2026-11-20'", "| 0 |"),
        (
            "SELECT count(*) AS n FROM events AS a JOIN events AS b ON a.log_offset = b.log_offset",
            "| 9 |",
        ),
    ] {
        let answer = fixture.ask(sql).await;
        assert!(answer.contains(expected), "{sql}\n{answer}");
    }
}

#[tokio::test]
async fn two_mentions_in_one_query_are_the_same_moment() {
    let (fixture, memory) = fixture();
    memory.0.lock().rows.extend((0..5).map(event));
    fixture.ask("SELECT * FROM events AS a CROSS JOIN events AS b").await;
    assert_eq!(memory.0.lock().asked.len(), 1);
}

#[tokio::test]
async fn a_log_that_was_trimmed_meanwhile_is_an_error_and_never_a_hole() {
    let (fixture, memory) = fixture();
    let rows: Vec<Value> = (0..5).map(event).collect();
    fixture::append(&fixture.lake(), &EVENTS, &rows, 0, 5).await;
    memory.0.lock().rows.extend((0..9).map(event));
    memory.0.lock().trimmed = 6;
    let error = fixture.error("SELECT * FROM events").await;
    assert!(matches!(error, Error::Lake { .. }), "{error:?}");
    assert!(!error.is_callers_fault());
    // The commit that allowed it comes to light.
    let rows: Vec<Value> = (5..7).map(event).collect();
    fixture::append(&fixture.lake(), &EVENTS, &rows, 1, 7).await;
    assert_eq!(fixture.count("events").await, 9);
}
