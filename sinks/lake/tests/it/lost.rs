//! Records that leave the log before the lake has them: never silently.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use lake::{Committer, Error, LakeMetrics, Step, Table, tail};
use log::{Embedded, Log, Topic};

use crate::support::*;

/// Trims all but the last `keep` records of each partition; how many went.
async fn trim(log: &dyn Log, keep: u64) -> u64 {
    let mut gone = 0;
    for partition in 0..Topic::Events.partitions() {
        let bounds = log.bounds(Topic::Events, partition).await.unwrap();
        let below = bounds.end.saturating_sub(keep).max(bounds.start);
        log.trim(Topic::Events, partition, below).await.unwrap();
        gone += below - bounds.start;
    }
    gone
}

#[tokio::test]
async fn what_the_log_lost_is_counted_and_written_down() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    let metrics = Arc::new(LakeMetrics::default());
    let lost = || metrics.of(Table::Events).lost_total.load(Relaxed);
    let (mut follower, snapshot) =
        follower_with(Table::Events, &log, config(place.path()), Arc::clone(&metrics));
    append_events(&*log, 0..400).await;
    follower.step(true).await.unwrap();
    // Trimmed after they were committed: nothing is lost.
    trim(&*log, 0).await;
    assert_eq!(follower.step(true).await.unwrap(), Step::Idle);
    assert_eq!(lost(), 0);

    append_events(&*log, 400..800).await;
    let from = snapshot.borrow().clone().unwrap().positions;
    let gone = trim(&*log, 2).await;
    let error = tail(&*log, Table::Events, &from, 10_000).await.unwrap_err();
    assert!(matches!(error, Error::Trimmed { .. }), "{error}");
    let kept = in_log(&*log, Topic::Events).await;
    assert!(gone > 100 && !kept.is_empty(), "{gone} gone, {} kept", kept.len());
    let rows = kept.len() as u64;
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows, more: false });
    assert_eq!(lost(), gone);
    let delta = snapshot.borrow().clone().unwrap().delta;
    assert_eq!(origins(&delta).await.len() as u64, 400 + rows);

    // All of it, and nothing comes behind it.
    append_events(&*log, 800..900).await;
    assert_eq!(trim(&*log, 0).await, 100 + rows);
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: 0, more: false });
    assert_eq!(lost(), gone + 100);
    assert_eq!(follower.step(true).await.unwrap(), Step::Idle);

    // The table itself knows, ranges and sum.
    let version = snapshot.borrow().clone().unwrap().delta.version().unwrap();
    let text = commit_text(place.path(), Table::Events, version);
    assert!(
        text.contains(r#""millstream.lost":[{"#) && text.contains(r#""events/lost""#),
        "{text}"
    );
    let committer = Committer::open(&config(place.path()).root, Table::Events).await.unwrap();
    assert_eq!(committer.lost(), gone + 100);
}

#[tokio::test]
async fn a_lake_that_begins_late_has_lost_nothing() {
    let place = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
    append_events(&*log, 0..400).await;
    trim(&*log, 2).await;
    let kept = in_log(&*log, Topic::Events).await.len() as u64;
    let metrics = Arc::new(LakeMetrics::default());
    let (mut follower, _) =
        follower_with(Table::Events, &log, config(place.path()), Arc::clone(&metrics));
    assert_eq!(follower.step(true).await.unwrap(), Step::Committed { rows: kept, more: false });
    assert_eq!(metrics.of(Table::Events).lost_total.load(Relaxed), 0);
    // But partitions that were empty then count from then on.
    let committer = Committer::open(&config(place.path()).root, Table::Events).await.unwrap();
    assert!(!committer.is_new());
}
