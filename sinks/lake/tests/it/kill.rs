//! Exactly once through `kill -9`, between any two steps and at any time.
//!
//! A child process appends records while the lake follows; the parent kills it,
//! again and again, and at last compares the table with the log.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lake::{Fault, Faults, Lake, LakeConfig, Step, Table};
use log::{Embedded, Log, Topic};
use records::StreamId;

use crate::support::*;

const PLACE: &str = "MILLSTREAM_TEST_LAKE_PLACE";
const FAULT: &str = "MILLSTREAM_TEST_LAKE_FAULT";

/// How each life ends: at a fault's n-th time, or after so many milliseconds.
#[derive(Clone, Copy, Debug)]
enum End {
    At(Fault, u32),
    After(u64),
}

/// The child: a server's log and lake, without the rest. Never returns.
#[test]
#[ignore = "started by every_record_is_in_the_lake_once_whenever_it_is_killed"]
fn child() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let place = Path::new(&place);
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place).unwrap());
    let fault = std::env::var(FAULT).unwrap();
    let (wanted, left) = match fault.split_once(':') {
        Some((name, times)) => (name.to_owned(), times.parse().unwrap()),
        None => (String::new(), 1),
    };
    let left = AtomicU32::new(left);
    let reached = place.join("reached");
    let faults = Faults::new(move |table, fault| {
        let is_it = table == Table::Events && format!("{fault:?}") == wanted;
        if is_it && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::fs::write(&reached, "").unwrap();
            // The parent kills us here.
            std::thread::sleep(Duration::from_secs(3600));
        }
    });
    // Often enough that kills hit housekeeping, too.
    let (checkpoint_every, compact_every) = (7, 5);
    let config =
        LakeConfig { faults, busy_records: 1, checkpoint_every, compact_every, ..config(place) };
    let _lake = Lake::start(&config, &log).unwrap();
    let mut n = u64::from(std::process::id()) << 20;
    loop {
        let many = 1 + n % 50;
        let records = (n..n + many).map(|n| event(n, AT_US + n)).collect();
        log::wait(log.append_many(Topic::Events, records)).unwrap();
        let ends = (0..3).map(|_| {
            let stream = StreamId::generate();
            let partition = Topic::Segments.partition(stream.shard());
            log::NewRecord::new(partition, stream.0.as_bytes().to_vec(), "\"end\"")
        });
        log::wait(log.append_many(Topic::Segments, ends.collect())).unwrap();
        n += many;
    }
}

fn start(place: &Path, end: End) -> Child {
    let fault = match end {
        End::At(fault, times) => format!("{fault:?}:{times}"),
        End::After(_) => "none".into(),
    };
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(PLACE, place)
        .env(FAULT, fault)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the end and brings it about.
fn kill(mut child: Child, place: &Path, end: End) {
    let reached = place.join("reached");
    let begun = Instant::now();
    match end {
        End::After(ms) => std::thread::sleep(Duration::from_millis(ms)),
        End::At(..) => {
            while !reached.exists() {
                assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
                assert!(begun.elapsed() < Duration::from_secs(60), "{end:?} was not reached");
                std::thread::sleep(Duration::from_millis(5));
            }
            // Long enough for what runs beside it to go on.
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = std::fs::remove_file(reached);
}

#[test]
fn every_record_is_in_the_lake_once_whenever_it_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    // A folder that stays, for a look with another reader.
    let kept = std::env::var_os("MILLSTREAM_TEST_LAKE_KEEP").map(std::path::PathBuf::from);
    let place = kept.as_deref().unwrap_or(temporary.path());
    let kills = std::env::var("MILLSTREAM_TEST_LAKE_KILLS").ok().and_then(|n| n.parse().ok());
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    println!("seed {seed}");
    let mut random = seed;
    for round in 0..kills.unwrap_or(12_u32) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let times = 1 + (random >> 16) % 4;
        let end = match round % 4 {
            0 => End::At(Fault::Written, times),
            1 => End::At(Fault::Committed, times),
            2 => End::At(Fault::Read, times),
            _ => End::After(u64::from(50 + (random >> 16) % 900)),
        };
        let child = start(place, end);
        kill(child, place, end);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare(place));
}

async fn compare(place: &Path) {
    let log: Arc<dyn Log> = Arc::new(Embedded::open(place).unwrap());
    let before = committed_so_far(place).await;
    let (mut follower, snapshot) = follower(&log, config(place));
    while follower.step(true).await.unwrap() != Step::Idle {}
    let delta = snapshot.borrow().clone().unwrap().delta;
    let (rows, wanted) = (sorted_origins(&delta).await, in_log(&*log, Topic::Events).await);
    assert!(wanted.len() > 100, "{} records are no test", wanted.len());
    assert!(before > 0, "the children committed nothing");
    let mut once = rows.clone();
    once.dedup();
    println!("{} records, {before} rows before the last run", wanted.len());
    assert_eq!(rows.len() - once.len(), 0, "duplicates");
    assert!(once == wanted, "{} rows of {} records", once.len(), wanted.len());
    // Files of commits that never were are there, and in no version of the table.
    let folder = folder(&config(place), Table::Events);
    let committed = added(&folder);
    let orphans = parquet_files(&folder).into_iter().filter(|file| !committed.contains(file));
    assert!(orphans.count() > 0, "no kill hit between files and commit");
}

async fn committed_so_far(place: &Path) -> usize {
    let committer = lake::Committer::open(&config(place).root, Table::Events).await.unwrap();
    origins(&committer.snapshot().delta).await.len()
}

fn parquet_files(folder: &Path) -> Vec<String> {
    let days = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let days = days.filter(|path| path.to_string_lossy().contains("date="));
    let files = days.flat_map(|day| std::fs::read_dir(day).unwrap());
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

/// Names of the files that any version of the table has added.
fn added(folder: &Path) -> HashSet<String> {
    let entries = std::fs::read_dir(folder.join("_delta_log")).unwrap();
    let commits = entries.map(|entry| entry.unwrap().path());
    let commits = commits.filter(|path| path.extension().is_some_and(|ext| ext == "json"));
    let mut names = HashSet::new();
    for commit in commits {
        for action in std::fs::read_to_string(commit).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(action).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                names.insert(path.rsplit('/').next().unwrap().to_owned());
            }
        }
    }
    names
}
