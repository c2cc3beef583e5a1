//! A query stays within its bounds, and nothing of it stays.

use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::fixture::Fixture;
use crate::{Error, Limits};

/// Endless work: a cross join that gives no rows.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 10000000) AS a(x) \
     CROSS JOIN generate_series(1, 10000000) AS b(y) WHERE sin(x) + cos(y) > 3";
/// Needs some 300 MB to sort. Not as a view: each batch of those counts for all that
/// its neighbours look into, and DataFusion then refuses instead of spilling.
const LARGE_SORT: &str = "SELECT x, arrow_cast(md5(arrow_cast(x, 'Utf8')), 'Utf8') AS hash \
     FROM generate_series(1, 4000000) AS a(x) ORDER BY hash";

fn limits() -> Limits {
    Limits { threads: 2, time: Duration::from_secs(300), ..Limits::default() }
}

fn spilled(fixture: &Fixture) -> usize {
    std::fs::read_dir(fixture.dir.path().join("spill")).map_or(0, Iterator::count)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends() {
    let fixture = Fixture::new(Limits { time: Duration::from_millis(300), ..limits() }, None);
    let error = fixture.error(ENDLESS).await;
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    // Its place and its threads are free again.
    fixture.rows("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn joins_can_be_ended_on_one_thread() {
    let joins = |filter: &str| {
        format!(
            "SELECT count(*) FROM generate_series(1, 1000000) AS a(x) \
             CROSS JOIN generate_series(1, 1000000) AS b(y) WHERE {filter}"
        )
    };
    let one = Limits { threads: 1, at_once: 1, time: Duration::from_secs(20), ..limits() };
    for filter in ["x + y > 3", "(x * y) % 7 = 3"] {
        let fixture = Fixture::new(one, None);
        let sql = joins(filter);
        let asked = fixture.rows(&sql);
        let given_up = tokio::time::timeout(Duration::from_millis(300), asked).await;
        assert!(given_up.is_err(), "it can't be done");
        fixture.rows("SELECT 1").await.unwrap_or_else(|error| panic!("{filter}: {error}"));
    }
    // One that finds nothing has no pauses: it is answered, and others have their turn.
    let two = Limits { at_once: 2, time: Duration::from_millis(500), ..one };
    let fixture = Fixture::new(two, None);
    let error = fixture.error(&joins("sin(x) + cos(y) > 3")).await;
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    fixture.rows("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn too_many_rows_are_an_error_and_not_a_short_answer() {
    let fixture = Fixture::new(Limits { rows: 10_000, ..limits() }, None);
    let error = fixture.error("SELECT * FROM generate_series(1, 10001)").await;
    assert!(matches!(error, Error::TooManyRows { rows_max: 10_000 }), "{error:?}");
    fixture.rows("SELECT * FROM generate_series(1, 10000)").await.unwrap();
}

#[tokio::test]
async fn a_sort_larger_than_its_memory_goes_through_files_that_do_not_stay() {
    let fixture = Fixture::new(Limits { memory_bytes: 128 << 20, ..limits() }, None);
    let plan = fixture.ask(&format!("EXPLAIN ANALYZE {LARGE_SORT}")).await;
    let spills = plan.split("spill_count=").skip(1).any(|rest| !rest.starts_with('0'));
    assert!(spills, "{plan}");
    until("temporary files are removed", || spilled(&fixture) == 0).await;
}

#[tokio::test]
async fn different_texts_are_counted_by_way_of_files_too() {
    let fixture = Fixture::new(Limits { memory_bytes: 64 << 20, ..limits() }, None);
    let counted = "SELECT sum(different) AS different, sum(rows) AS rows FROM (\
         SELECT v % 5000 AS place, count(DISTINCT md5(CAST(v % 400000 AS text))) AS different, \
           count(*) AS rows FROM generate_series(1, 900000) AS s (v) GROUP BY place) AS places";
    let plan = fixture.ask(&format!("EXPLAIN ANALYZE {counted}")).await;
    assert!(plan.split("spill_count=").skip(1).any(|rest| !rest.starts_with('0')), "{plan}");
    let answer = fixture.ask(counted).await;
    assert!(answer.contains("| 400000 ") && answer.contains("| 900000 "), "{answer}");
}

#[tokio::test]
async fn a_query_that_needs_more_than_memory_and_files_is_told_so() {
    let tight = Limits { memory_bytes: 128 << 20, spill_bytes: 1 << 20, ..limits() };
    let fixture = Fixture::new(tight, None);
    let error = fixture.error(LARGE_SORT).await;
    let Error::TooLarge { memory_bytes_max, spill_bytes_max, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((memory_bytes_max, spill_bytes_max), (128 << 20, 1 << 20));
    until("temporary files are removed", || spilled(&fixture) == 0).await;
}

#[tokio::test]
async fn a_dropped_answer_frees_its_place_and_its_files() {
    let one = Limits { at_once: 1, memory_bytes: 128 << 20, ..limits() };
    let fixture = Fixture::new(one, None);
    let mut rows = fixture.session.query(LARGE_SORT, "").await.unwrap();
    rows.next().await.unwrap().unwrap();
    assert!(spilled(&fixture) > 0, "the query is at work");
    drop(rows);
    let begun = Instant::now();
    fixture.rows("SELECT 1").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("temporary files are removed", || spilled(&fixture) == 0).await;
}

#[tokio::test]
async fn a_question_that_is_given_up_before_its_answer_frees_its_place() {
    let fixture = Fixture::new(Limits { at_once: 1, ..limits() }, None);
    let given_up = tokio::time::timeout(Duration::from_millis(200), fixture.rows(ENDLESS)).await;
    assert!(given_up.is_err(), "it can't be done");
    let begun = Instant::now();
    fixture.rows("SELECT 1").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn more_queries_than_places_wait_and_then_give_up() {
    let none = Limits { at_once: 0, time: Duration::from_millis(200), ..limits() };
    let fixture = Fixture::new(none, None);
    let error = fixture.error("SELECT 1").await;
    assert!(matches!(error, Error::Busy), "{error:?}");
    assert!(!error.is_callers_fault());
}

#[tokio::test]
async fn a_reader_that_stops_reading_gives_its_place_back_in_time() {
    let one = Limits { at_once: 1, time: Duration::from_millis(500), ..limits() };
    let fixture = Fixture::new(one, None);
    let held = fixture.session.query("SELECT * FROM generate_series(1, 900000)", "").await.unwrap();
    // Each waits for the place as long as a query may take, the time that the first has left.
    let mut waited = 0;
    while let Err(error) = fixture.rows("SELECT 1").await {
        assert!(matches!(error, Error::Busy) && waited < 3, "{error:?}");
        waited += 1;
    }
    let error = held.collect().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
}

#[tokio::test]
async fn the_longest_text_is_bounded() {
    let fixture = Fixture::empty();
    let sql = format!("SELECT '{}'", "x".repeat(200_000));
    assert!(matches!(fixture.error(&sql).await, Error::TooLong { .. }));
}

#[tokio::test]
async fn deep_nesting_is_an_error_and_not_a_crash() {
    let fixture = Fixture::empty();
    let sql = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(matches!(fixture.error(&sql).await, Error::Sql(_)));
    for deep in [
        format!("SELECT 1{}", "+1".repeat(20_000)),
        format!("SELECT 1{}", "::int".repeat(10_000)),
        format!("SELECT 1{}", " IS NULL".repeat(5_000)),
        format!("SELECT 1 FROM a{}", ",a".repeat(10_000)),
        format!("SELECT * FROM events{}", " UNION SELECT * FROM events".repeat(2_000)),
    ] {
        let error = fixture.error(&deep).await;
        assert!(matches!(error, Error::TooDeep { .. }), "{error:?}");
    }
    fixture.rows(&format!("SELECT 1{}", "+1".repeat(200))).await.unwrap();
    fixture.rows(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(200))).await.unwrap();
    fixture.rows(&format!("SELECT 1 WHERE 1 IN (1{})", ",1".repeat(20_000))).await.unwrap();
}

#[tokio::test]
async fn its_threads_are_nice() {
    let fixture = Fixture::empty();
    fixture.rows("SELECT 1").await.unwrap();
    let mut niceness = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let (Ok(name), Ok(stat)) = (
            std::fs::read_to_string(task.join("comm")),
            std::fs::read_to_string(task.join("stat")),
        ) else {
            continue;
        };
        // proc_pid_stat(5): the 17th field after the name in parentheses.
        let after = stat.rsplit(')').next().unwrap();
        let nice: i32 = after.split_whitespace().nth(16).unwrap().parse().unwrap();
        niceness.push((name.trim().to_owned(), nice));
    }
    let of = |named: bool| {
        niceness.iter().filter(move |(name, _)| (name == "queries") == named).map(|(_, n)| *n)
    };
    assert!(of(true).count() >= 2, "{niceness:?}");
    assert!(of(true).all(|nice| nice >= 10), "{niceness:?}");
    assert!(of(false).min() < of(true).min(), "{niceness:?}");
}

#[tokio::test]
async fn leftovers_of_a_killed_process_are_removed() {
    let fixture = Fixture::empty();
    let spill = fixture.dir.path().join("spill");
    std::fs::create_dir_all(spill.join("datafusion-x")).unwrap();
    std::fs::create_dir_all(spill.join("kept")).unwrap();
    super::fixture::open(fixture.dir.path(), limits(), None);
    assert!(!spill.join("datafusion-x").exists());
    assert!(spill.join("kept").exists());
}
