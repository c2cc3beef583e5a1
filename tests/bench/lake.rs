//! The lake's figures, each printed as a line of JSON for `bench.py`.
//!
//! ```text
//! lake commit ROWS      the log to committed Delta, ROWS per commit: rows per CPU-second
//! lake fresh RATE SECS  RATE events a second: from being logged to showing in SQL, and to Delta
//! lake behind RECORDS   a lake that has RECORDS to catch up with: until the last is committed
//! lake fill FOLDER ROWS yesterday's ROWS in FOLDER, in as many files as there were commits
//! lake merge FOLDER     those files merged until none is worth it: processor and memory
//! lake ask FOLDER FILE… the query in each FILE asked of the lake in FOLDER: milliseconds of each
//! ```
//!
//! Rows are of the size of chat messages: a stream, a time, a kind and sixty letters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures_util::StreamExt;
use lake::{Committer, Follower, Lake, LakeConfig, Root, Snapshot, Step, Table};
use log::{Embedded, Log, NewRecord, Topic};
use millstream::tail::LogTail;
use queries::{Limits, Options, Session};
use records::{StreamEvent, StreamId};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

/// The product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often each query is asked.
const ASKED: usize = 5;

/// Streams that the rows are of.
const STREAMS: u128 = 40;

fn main() -> anyhow::Result<()> {
    // cargo adds --bench.
    let given: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    match given.as_slice() {
        ["commit", rows] => runtime.block_on(commit(folder.path(), rows.parse()?)),
        ["fresh", rate, seconds] => {
            runtime.block_on(fresh(folder.path(), rate.parse()?, seconds.parse()?))
        }
        ["behind", records] => runtime.block_on(behind(folder.path(), records.parse()?)),
        ["fill", folder, rows] => {
            runtime.block_on(fill_with_small_files(Path::new(folder), rows.parse()?))
        }
        ["merge", folder] => runtime.block_on(merge(Path::new(folder))),
        ["ask", folder, files @ ..] => runtime.block_on(ask(Path::new(folder), files)),
        _ => bail!(
            "ask FOLDER FILE…, behind RECORDS, commit ROWS, fill FOLDER ROWS, fresh RATE SECONDS or merge FOLDER"
        ),
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

fn event(n: u64, at_us: u64, message: String) -> anyhow::Result<NewRecord> {
    let stream = StreamId(Uuid::from_u128((u128::from(n) % STREAMS) << 64 | 7));
    let detail = BTreeMap::from([("message".to_owned(), message)]);
    let value = serde_json::to_vec(&StreamEvent { kind: "MESSAGE".into(), at_us, detail })?;
    Ok(NewRecord::new(Topic::Events.partition(stream.shard()), stream.0.as_bytes().to_vec(), value))
}

fn numbered(n: u64) -> String {
    format!("message {n:08} says what people say in a room like this one")
}

/// Twelve words of a thousand, which compress as what people say.
fn spoken(n: u64) -> String {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..12).map(|_| {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{:x}", 0xace + state % 1000 * 61)
    });
    words.collect::<Vec<_>>().join(" ")
}

async fn fill(
    log: &dyn Log,
    records: u64,
    begun_us: u64,
    message: fn(u64) -> String,
) -> anyhow::Result<()> {
    let mut n = 0;
    while n < records {
        let many = 10_000.min(records - n);
        let batch =
            (n..n + many).map(|n| event(n, begun_us + n, message(n))).collect::<Result<_, _>>()?;
        log.append_many(Topic::Events, batch).await?;
        n += many;
    }
    Ok(())
}

fn config(folder: &Path) -> anyhow::Result<LakeConfig> {
    Ok(LakeConfig::new(Root::at(&folder.join("lake"))?))
}

/// Whoever commits the events that the log in `folder` has.
fn events(folder: &Path, config: LakeConfig) -> anyhow::Result<Follower> {
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder)?);
    let (shown, _) = watch::channel(None);
    Ok(Follower::new(log, Table::Events, config, Arc::default(), shown))
}

/// Seconds of processor that this process has had: fields 14 and 15 of
/// proc_pid_stat(5), in hundredths.
fn cpu() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let mut ticks = 0;
    for field in after.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(ticks as f64 / 100.0)
}

async fn commit(folder: &Path, rows: usize) -> anyhow::Result<()> {
    // Ten commits at least.
    let all = (rows * 10).max(500_000) as u64;
    // Closed and opened again: what the log tidies up after so many appends isn't the lake's.
    fill(&Embedded::open(folder)?, all, now_us(), numbered).await?;
    let config = LakeConfig { commit_rows_max: rows, ..config(folder)? };
    let mut follower = events(folder, config)?;
    let (begun, spent) = (Instant::now(), cpu()?);
    let (mut committed, mut commits) = (0, 0);
    while committed < all {
        match follower.step(true).await? {
            Step::Committed { rows, .. } => {
                committed += rows;
                commits += 1;
            }
            step => bail!("{step:?} after {committed} of {all} rows"),
        }
    }
    let (wall, spent) = (begun.elapsed().as_secs_f64(), cpu()? - spent);
    println!("{}", json!({"rows": all, "commits": commits, "cpu_s": spent, "wall_s": wall}));
    Ok(())
}

async fn fresh(folder: &Path, rate: u64, seconds: u64) -> anyhow::Result<()> {
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder)?);
    let lake = Arc::new(Lake::start(&config(folder)?, &log)?);
    let session = Session::open(Options {
        lake: Root::at(&folder.join("lake"))?,
        spill: folder.join("spill"),
        limits: Limits::default(),
        tail: Some(Arc::new(LogTail::new(Arc::clone(&log)))),
    })?;
    let (told, mut appended) = watch::channel(0);
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let begun = Instant::now();
            // Twenty batches a second, as a room's log appends them.
            for tick in 0..seconds * 20 {
                tokio::time::sleep_until((begun + Duration::from_millis(50 * tick)).into()).await;
                let first = tick * rate / 20;
                let at_us = now_us();
                let batch = (first..(tick + 1) * rate / 20).map(|n| event(n, at_us, numbered(n)));
                log.append_many(Topic::Events, batch.collect::<Result<_, _>>()?).await?;
                told.send_replace(at_us);
            }
            anyhow::Ok(())
        })
    };
    let committed = tokio::spawn(committed(Arc::clone(&lake), Arc::clone(&log), rate * seconds));
    // Whoever asks all the time: each answer's newest row is as old as it shows.
    let mut visible = Vec::new();
    while !writer.is_finished() {
        if appended.changed().await.is_err() {
            break;
        }
        let logged_us = *appended.borrow_and_update();
        let sql = format!(
            "SELECT count(*) FROM events WHERE date >= current_date - 1 AND at >= to_timestamp_micros({logged_us})"
        );
        let mut rows = session.query(&sql, "").await?;
        let batch = rows.next().await.context("an answer")??;
        let count = batch.column(0).as_primitive::<Int64Type>().value(0);
        if count < (rate / 20) as i64 {
            bail!("{count} of the {} rows that were logged show", rate / 20);
        }
        // Since it was made, which is before it was logged.
        visible.push(now_us() - logged_us);
    }
    writer.await??;
    let mut committed = committed.await??;
    lake.stop().await;
    println!(
        "{}",
        json!({
            "answers": visible.len(),
            "visible_ms_p50": quantile(&mut visible, 0.5), "visible_ms_p99": quantile(&mut visible, 0.99),
            "committed_ms_p50": quantile(&mut committed, 0.5), "committed_ms_p99": quantile(&mut committed, 0.99),
        })
    );
    Ok(())
}

/// The age of each record, in microseconds, when the commit that has it shows.
async fn committed(lake: Arc<Lake>, log: Arc<dyn Log>, all: u64) -> anyhow::Result<Vec<u64>> {
    let mut ages = Vec::new();
    let mut known = vec![0; usize::from(Topic::Events.partitions())];
    while (ages.len() as u64) < all {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Some(Snapshot { positions, .. }) = lake.snapshot(Table::Events) else { continue };
        let seen_us = now_us();
        for (partition, known) in known.iter_mut().enumerate() {
            while *known < positions[partition] {
                let page = log.read(Topic::Events, partition as u16, *known, 1000).await?;
                for record in page.iter().filter(|record| record.offset < positions[partition]) {
                    let value = record.value.as_ref().context("a value")?;
                    let event: StreamEvent = serde_json::from_slice(value)?;
                    ages.push(seen_us.saturating_sub(event.at_us));
                    *known = record.offset + 1;
                }
            }
        }
    }
    Ok(ages)
}

async fn behind(folder: &Path, records: u64) -> anyhow::Result<()> {
    {
        let log = Embedded::open(folder)?;
        fill(&log, records, now_us(), numbered).await?;
    }
    let begun = Instant::now();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder)?);
    let open = begun.elapsed();
    let lake = Lake::start(&config(folder)?, &log)?;
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let held = lake.snapshot(Table::Events).map(|shown| shown.positions.iter().sum::<u64>());
        if held == Some(records) {
            break;
        }
    }
    let all = begun.elapsed();
    lake.stop().await;
    println!("{}", json!({"open_s": open.as_secs_f64(), "caught_up_s": all.as_secs_f64()}));
    Ok(())
}

async fn fill_with_small_files(folder: &Path, rows: u64) -> anyhow::Result<()> {
    fill(&Embedded::open(folder)?, rows, now_us() - 86_400_000_000, spoken).await?;
    let config = LakeConfig { compact_every: u64::MAX, ..config(folder)? };
    let mut follower = events(folder, config)?;
    let mut committed = 0;
    while committed < rows {
        match follower.step(true).await? {
            Step::Committed { rows, .. } => committed += rows,
            step => bail!("{step:?} after {committed} of {rows} rows"),
        }
    }
    Ok(())
}

async fn merge(folder: &Path) -> anyhow::Result<()> {
    let config = LakeConfig { compact_every: 1, ..config(folder)? };
    // A first row of today: yesterday is over.
    fill(&Embedded::open(folder)?, 1, now_us(), spoken).await?;
    let mut follower = events(folder, config)?;
    let (begun, before) = (Instant::now(), cpu()?);
    let mut spent = 0.0;
    // Merges are beside the commits: they are over when nothing is computed any more.
    loop {
        let known = spent;
        for _ in 0..50 {
            follower.step(true).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        spent = cpu()? - before;
        if spent - known < 0.05 {
            break;
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    let peak = peak_mib()?;
    let merged = Committer::open(&Root::at(&folder.join("lake"))?, Table::Events).await?.snapshot();
    let files = merged.delta.get_file_uris()?.count();
    println!("{}", json!({"cpu_s": spent, "wall_s": wall, "peak_mib": peak, "files": files}));
    Ok(())
}

/// The most memory that this process has had, proc_pid_status(5).
fn peak_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Asks each query [`ASKED`] times.
async fn ask(folder: &Path, files: &[&str]) -> anyhow::Result<()> {
    let spill = tempfile::tempdir()?;
    let threads = std::thread::available_parallelism()?.get();
    // As many as the peer has, and no bound that it lacks.
    let limits = Limits { threads, rows: u64::MAX, memory_bytes: 2 << 30, ..Limits::default() };
    let session = Session::open(Options {
        lake: Root::at(folder)?,
        spill: spill.path().to_owned(),
        limits,
        tail: None,
    })?;
    for file in files {
        let sql = std::fs::read_to_string(file).with_context(|| (*file).to_owned())?;
        let (mut times, mut rows) = (Vec::new(), 0);
        for _ in 0..ASKED {
            let begun = Instant::now();
            let answer = session.query(&sql, "").await?.collect().await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            rows = answer.iter().map(|batch| batch.num_rows()).sum();
        }
        println!("{}", json!({"file": file, "ms": times, "rows": rows}));
    }
    Ok(())
}

/// In milliseconds, of microseconds.
fn quantile(values: &mut [u64], share: f64) -> f64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).map_or(f64::NAN, |us| *us as f64 / 1e3)
}
