//! The lake from the log to Delta and back, with nothing in between replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use lake::{Committer, Error, Fault, Faults, Lake, LakeConfig, Outcome, Step, Table, pull, tail};
use log::{Embedded, Log, Topic};

use crate::support::*;

#[tokio::test]
async fn records_become_rows_once_and_the_tail_is_the_rest() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..3000).await;
    let (mut follower, snapshot) = follower(&log, config(place.path()));
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: 3000, more: false });
    assert_eq!(follower.step(true).await.unwrap(), Step::Idle);
    append_events(&*log, 3000..3100).await;

    let shown = snapshot.borrow().clone().unwrap();
    let committed = origins(&shown.delta).await;
    let tail = tail(&*log, Table::Events, &shown.positions, 10_000).await.unwrap();
    let rest: Vec<_> = tail.iter().flat_map(origins_of).collect();
    assert_eq!((committed.len(), rest.len()), (3000, 100));
    let mut all = [committed, rest].concat();
    all.sort_unstable();
    assert_eq!(all, in_log(&*log, Topic::Events).await);

    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: 100, more: false });
    let shown = snapshot.borrow().clone().unwrap();
    assert_eq!(sorted_origins(&shown.delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn files_are_by_day_sorted_and_have_statistics() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    // Two days, from three streams, out of order.
    append_events_at(&*log, 0..500, |n| AT_US + (n % 2) * 86_400_000_000 + (n * 7919 % 500)).await;
    let (mut follower, snapshot) = follower(&log, config(place.path()));
    follower.step(true).await.unwrap();
    let delta = snapshot.borrow().clone().unwrap().delta;
    let files = files(&delta);
    assert_eq!(files.len(), 2);
    for file in files {
        assert!(file.to_string_lossy().contains("date=2026-07-0"), "{}", file.display());
        let rows = read(&file);
        assert_eq!(rows.num_rows(), 250);
        let order = order(&rows);
        assert!(order.is_sorted(), "{}", file.display());
        let compression = compression(&file);
        assert!(compression.contains("ZSTD"), "{compression}");
    }
    let log_text = commit_text(place.path(), Table::Events, 2);
    assert!(log_text.contains(r#"\"minValues\""#) && log_text.contains("stream_id"), "{log_text}");
}

#[tokio::test]
async fn a_commit_holds_no_more_than_its_limit() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..2500).await;
    let config = LakeConfig { commit_rows_max: 1000, ..config(place.path()) };
    let (mut follower, _) = follower(&log, config);
    let mut sizes = Vec::new();
    while let Step::Committed { rows, more } = follower.step(true).await.unwrap() {
        sizes.push((rows, more));
    }
    assert_eq!(sizes, [(1000, true), (1000, true), (500, false)]);
}

#[tokio::test]
async fn little_waits_and_much_does_not() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { commit_idle: Duration::from_millis(300), ..config(place.path()) };
    let (mut follower, _) = follower(&log, config);
    append_events(&*log, 0..10).await;
    assert_eq!(follower.step(false).await.unwrap(), Step::Waiting);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(follower.step(false).await.unwrap(), Step::Committed { rows: 10, more: false });
    append_events(&*log, 10..1010).await;
    assert_eq!(follower.step(false).await.unwrap(), Step::Committed { rows: 1000, more: false });
}

#[tokio::test]
async fn another_writer_that_was_first_is_seen_and_gone_on_behind() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..100).await;
    let config = config(place.path());
    let mut slow = Committer::open(&config.root, Table::Events).await.unwrap();
    let mut fast = Committer::open(&config.root, Table::Events).await.unwrap();
    let pulled = pull(&*log, Table::Events, slow.positions(), 1000, 1 << 20).await.unwrap();
    let rows = Table::Events.decode(&pulled.records).unwrap().rows;
    let (late, early) = (slow.write(&rows).await.unwrap(), fast.write(&rows).await.unwrap());
    assert!(matches!(fast.commit(early, &pulled.next, &[]).await.unwrap(), Outcome::Committed(_)));
    assert_eq!(slow.commit(late, &pulled.next, &[]).await.unwrap(), Outcome::Overtaken);
    assert_eq!(slow.positions(), fast.positions());
    assert_eq!(origins(&slow.snapshot().delta).await.len(), 100);

    append_events(&*log, 100..150).await;
    let (mut follower, snapshot) = follower(&log, config);
    follower.step(true).await.unwrap();
    let delta = snapshot.borrow().clone().unwrap().delta;
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_damaged_delta_log_is_named_and_the_live_side_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = config(place.path());
    Committer::open(&config.root, Table::Events).await.unwrap();
    let commit = folder(&config, Table::Events).join("_delta_log/00000000000000000000.json");
    let whole = std::fs::read(&commit).unwrap();
    std::fs::write(&commit, &whole[..whole.len() / 2]).unwrap();
    // Where a folder has to be is a file.
    std::fs::write(folder(&config, Table::Segments), "").unwrap();

    let lake = Lake::start(&config, &log).unwrap();
    append_events(&*log, 0..50).await;
    let trouble = |table| lake.metrics().of(table).trouble();
    until(|| trouble(Table::Events).is_some() && trouble(Table::Segments).is_some()).await;
    let text = trouble(Table::Events).unwrap();
    assert!(text.contains("lake/events") && text.contains("move all of the table away"), "{text}");
    let text = trouble(Table::Segments).unwrap();
    assert!(text.contains("lake/segments") && text.contains("lake.root"), "{text}");

    // Mended: it goes on by itself.
    std::fs::write(&commit, whole).unwrap();
    until(|| {
        lake.snapshot(Table::Events).is_some_and(|shown| shown.positions.iter().sum::<u64>() == 50)
    })
    .await;
    assert_eq!(trouble(Table::Events), None);
    lake.stop().await;
}

#[tokio::test]
async fn a_log_that_is_shorter_than_the_lake_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    {
        let log: Arc<dyn Log> = Arc::new(Embedded::open(&place.path().join("one")).unwrap());
        append_events(&*log, 0..100).await;
        follower(&log, config.clone()).0.step(true).await.unwrap();
    }
    let log: Arc<dyn Log> = Arc::new(Embedded::open(&place.path().join("two")).unwrap());
    append_events(&*log, 0..10).await;
    let error = follower(&log, config).0.step(true).await.unwrap_err();
    assert!(matches!(error, Error::Ahead { end, .. } if end < 10), "{error}");
}

#[tokio::test]
async fn checkpoints_let_a_reader_begin_late() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { checkpoint_every: 5, ..config(place.path()) };
    let (mut follower, _) = follower(&log, config.clone());
    commit_tens(&*log, &mut follower, 0..12).await;
    let delta_log = folder(&config, Table::Events).join("_delta_log");
    let names = std::fs::read_dir(&delta_log).unwrap().map(|entry| entry.unwrap().file_name());
    let checkpoints = names.filter(|name| name.to_string_lossy().contains("checkpoint.parquet"));
    assert!(checkpoints.count() >= 2);
    // What the newest one replaces isn't needed any more, positions included.
    std::fs::remove_file(delta_log.join("00000000000000000000.json")).unwrap();
    std::fs::remove_file(delta_log.join("00000000000000000001.json")).unwrap();
    let committer = Committer::open(&config.root, Table::Events).await.unwrap();
    assert_eq!(committer.positions().iter().sum::<u64>(), 120);
    assert_eq!(
        sorted_origins(&committer.snapshot().delta).await,
        in_log(&*log, Topic::Events).await
    );
}

#[tokio::test]
async fn small_files_become_one_with_the_same_rows() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { compact_every: 20, ..config(place.path()) };
    let (mut follower, snapshot) = follower(&log, config.clone());
    let mut old = None;
    for n in 0..20 {
        append_events(&*log, n * 10..n * 10 + 10).await;
        follower.step(true).await.unwrap();
        if n == 18 {
            old = snapshot.borrow().clone();
        }
    }
    let delta = merged_into(1, &mut follower, &snapshot).await;
    let merged = files(&delta);
    assert!(order(&read(&merged[0])).is_sorted());
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
    // Who reads the version before goes on.
    assert_eq!(origins(&old.unwrap().delta).await.len(), 190);
    // And the next commit goes on behind it.
    append_events(&*log, 200..210).await;
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: 10, more: false });
    let committer = Committer::open(&config.root, Table::Events).await.unwrap();
    assert_eq!(
        sorted_origins(&committer.snapshot().delta).await,
        in_log(&*log, Topic::Events).await
    );
}

#[tokio::test]
async fn files_are_merged_beside_commits_and_merged_again() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { compact_every: 1, ..config(place.path()) };
    let (mut follower, snapshot) = follower(&log, config);
    // Streams of all files overlap, and a file of another day stays apart.
    append_events_at(&*log, 0..10, |n| AT_US - 86_400_000_000 + n).await;
    follower.step(true).await.unwrap();
    for round in 0..16 {
        for n in 0..16 {
            let first = 10 + (round * 16 + n) * 60;
            append_events(&*log, first..first + 60).await;
            follower.step(true).await.unwrap();
        }
        // The sixteenth of these is one too many: they are merged again.
        let left = if round == 15 { 2 } else { 2 + round as usize };
        merged_into(left, &mut follower, &snapshot).await;
    }
    let delta = snapshot.borrow().clone().unwrap().delta;
    let mut rows: Vec<_> = files(&delta).iter().map(|file| read(file)).collect();
    rows.sort_by_key(RecordBatch::num_rows);
    assert_eq!(rows.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [10, 256 * 60]);
    assert!(rows.iter().all(|rows| order(rows).is_sorted()));
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_merge_of_files_that_somebody_else_replaced_is_given_up() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { compact_every: 16, ..config(place.path()) };
    let (mut ours, shown) = follower(&log, config.clone());
    commit_tens(&*log, &mut ours, 0..16).await;
    // Ours has begun, and is done before theirs, which puts its file there first.
    let (mut theirs, snapshot) = follower(&log, config);
    commit_tens(&*log, &mut theirs, 16..32).await;
    merged_into(1, &mut theirs, &snapshot).await;
    append_events(&*log, 320..330).await;
    assert_eq!(ours.step(true).await.unwrap(), Step::Committed { rows: 10, more: false });
    let delta = shown.borrow().clone().unwrap().delta;
    assert_eq!(files(&delta).len(), 2);
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_merge_goes_on_behind_what_others_have_committed() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { compact_every: 16, ..config(place.path()) };
    let (mut ours, shown) = follower(&log, config.clone());
    commit_tens(&*log, &mut ours, 0..16).await;
    let (mut theirs, _) = follower(&log, config);
    append_events(&*log, 160..170).await;
    theirs.step(true).await.unwrap();
    let delta = merged_into(2, &mut ours, &shown).await;
    assert_eq!(sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_no_others_from_being_merged() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = config(place.path());
    let never = LakeConfig { compact_every: 1000, ..config.clone() };
    let (mut follower, snapshot) = follower(&log, never);
    for n in 0..16 {
        append_events(&*log, n * 2000..n * 2000 + 2000).await;
        follower.step(true).await.unwrap();
    }
    let large = files(&snapshot.borrow().clone().unwrap().delta);
    assert_eq!(large.len(), 16);
    std::fs::write(&large[7], "not Parquet").unwrap();

    let often = LakeConfig { compact_every: 1, ..config };
    let (mut follower, snapshot) = crate::support::follower(&log, often);
    for n in 0..16 {
        append_events(&*log, 40_000 + n..40_001 + n).await;
        follower.step(true).await.unwrap();
    }
    let delta = merged_into(17, &mut follower, &snapshot).await;
    assert!(large.iter().all(|file| files(&delta).contains(file)));
}

#[tokio::test]
async fn the_end_commits_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let config = LakeConfig { commit_idle: Duration::from_secs(3600), ..config(place.path()) };
    let lake = Lake::start(&config, &log).unwrap();
    append_events(&*log, 0..20).await;
    lake.stop().await;
    let shown = lake.snapshot(Table::Events).unwrap();
    assert_eq!(sorted_origins(&shown.delta).await, in_log(&*log, Topic::Events).await);
}

#[tokio::test]
async fn a_bug_in_one_table_is_survived_and_seen() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let met = AtomicBool::new(false);
    let faults = Faults::new(move |table, fault| {
        let is_it = table == Table::Events && fault == Fault::Committed;
        assert!(!is_it || met.swap(true, Ordering::Relaxed), "a bug");
    });
    let lake = Lake::start(&LakeConfig { faults, ..config(place.path()) }, &log).unwrap();
    append_events(&*log, 0..1000).await;
    let metrics = lake.metrics().of(Table::Events);
    until(|| metrics.trouble().is_some_and(|trouble| trouble.contains("a bug"))).await;
    append_events(&*log, 1000..2000).await;
    until(|| {
        lake.snapshot(Table::Events)
            .is_some_and(|shown| shown.positions.iter().sum::<u64>() == 2000)
    })
    .await;
    let shown = lake.snapshot(Table::Events).unwrap();
    assert_eq!(sorted_origins(&shown.delta).await, in_log(&*log, Topic::Events).await);
    until(|| metrics.trouble().is_none()).await;
    lake.stop().await;
}

#[tokio::test]
async fn a_tail_is_whole_or_refused() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..500).await;
    let from = vec![0; usize::from(Topic::Events.partitions())];
    let rows = |tail: Vec<arrow::array::RecordBatch>| {
        tail.iter().map(|rows| rows.num_rows()).sum::<usize>()
    };
    assert_eq!(rows(tail(&*log, Table::Events, &from, 1000).await.unwrap()), 500);
    let error = tail(&*log, Table::Events, &from, 100).await.unwrap_err();
    assert!(matches!(error, Error::Behind { records: 100, .. }), "{error}");
}
