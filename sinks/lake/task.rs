//! The lake at work: one task per table, on a runtime of their own.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::available_parallelism;
use std::time::Duration;

use log::Log;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Error, Follower, LakeConfig, LakeMetrics, Snapshot, Step, Table, TableMetrics};

/// Pause after the first failure; doubles with each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long storage may take before that is trouble.
const SLOW: Duration = Duration::from_secs(15);
/// How long one step may take at all: an answer that never comes ends some time.
const STEP_MAX: Duration = Duration::from_secs(300);
/// One for a merge of files, and commits don't wait for each other.
const THREADS_MIN: usize = 3;
/// How far the lake's threads stand back (nice, 0 to 19).
const NICENESS: i32 = 5;
/// How long the last commits may take at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// All tables, followed until [`Lake::stop`].
pub struct Lake {
    metrics: Arc<LakeMetrics>,
    snapshots: [watch::Receiver<Option<Snapshot>>; Table::ALL.len()],
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    // Some until the end.
    runtime: Option<Runtime>,
}

impl Lake {
    /// Begins to follow `log`. A lake that can't be written doesn't fail here:
    /// it is tried again, and [`LakeMetrics::troubles`] says why.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn start(config: &LakeConfig, log: &Arc<dyn Log>) -> Result<Self, Error> {
        // Sorting and compressing would hold up whatever shares their threads, so they
        // are behind those of the live side; few, since each keeps memory for what it
        // once wrote.
        let cores = available_parallelism().map_or(THREADS_MIN, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.clamp(THREADS_MIN, Table::ALL.len()))
            .max_blocking_threads(64)
            .thread_name("lake")
            .on_thread_start(step_back)
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        let metrics = Arc::new(LakeMetrics::default());
        let (stop, stopping) = watch::channel(false);
        let mut tasks = Vec::new();
        let snapshots = Table::ALL.map(|table| {
            let (shown, snapshot) = watch::channel(None);
            let work = Work {
                table,
                config: config.clone(),
                log: Arc::clone(log),
                metrics: Arc::clone(&metrics),
                shown,
            };
            tasks.push(runtime.spawn(supervise(work, stopping.clone())));
            snapshot
        });
        Ok(Self { metrics, snapshots, stop, tasks: Mutex::new(tasks), runtime: Some(runtime) })
    }

    /// Counters, and what stands in the way.
    #[must_use]
    pub fn metrics(&self) -> &LakeMetrics {
        &self.metrics
    }

    /// The table as last committed; None before it could be opened.
    #[must_use]
    pub fn snapshot(&self, table: Table) -> Option<Snapshot> {
        self.snapshots[table.index()].borrow().clone()
    }

    /// Commits what the log holds and ends, within some ten seconds. What isn't
    /// committed by then stays in the log.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task of the lake died");
                }
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!(
                "the lake was still being written at the end; it goes on at the next start"
            );
        }
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would block, which a task may not.
            runtime.shutdown_background();
        }
    }
}

/// What a table's task needs to begin, and to begin again.
struct Work {
    table: Table,
    config: LakeConfig,
    log: Arc<dyn Log>,
    metrics: Arc<LakeMetrics>,
    shown: watch::Sender<Option<Snapshot>>,
}

/// Follows the log until the end, through panics: a table that is no longer
/// written although all else looks well would be noticed too late.
async fn supervise(work: Work, stopping: watch::Receiver<bool>) {
    let (table, metrics) = (work.table, Arc::clone(&work.metrics));
    let work = Arc::new(work);
    let mut retry = RETRY_MIN;
    loop {
        let task = tokio::spawn(follow(Arc::clone(&work), stopping.clone()));
        let Err(error) = task.await else { return };
        if error.is_cancelled() || *stopping.borrow() {
            return;
        }
        fail(metrics.of(table), table, format!("the lake's table {table} met a bug: {error}"));
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

async fn follow(work: Arc<Work>, mut stopping: watch::Receiver<bool>) {
    let (table, pause) = (work.table, work.config.commit_busy);
    let metrics = work.metrics.of(table);
    let (log, shown) = (Arc::clone(&work.log), work.shown.clone());
    let mut follower =
        Follower::new(log, table, work.config.clone(), Arc::clone(&work.metrics), shown);
    let mut retry = RETRY_MIN;
    loop {
        let last = *stopping.borrow_and_update();
        let wait = match watched(follower.step(last), &work).await {
            Ok(step) => {
                if metrics.trouble.lock().take().is_some() {
                    tracing::info!(%table, "the lake is written again");
                }
                retry = RETRY_MIN;
                match step {
                    Step::Committed { more: true, .. } | Step::Overtaken => Duration::ZERO,
                    _ if last => return,
                    _ => pause,
                }
            }
            Err(error) => {
                fail(metrics, table, error.to_string());
                if last {
                    return;
                }
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // An error means that the lake is gone.
            changed = stopping.changed() => if changed.is_err() { return },
        }
    }
}

/// A step that is told of while it takes too long, and given up if it goes on so.
/// The next one opens the table anew.
async fn watched(
    step: impl Future<Output = Result<Step, Error>>,
    work: &Work,
) -> Result<Step, Error> {
    let (table, root) = (work.table, work.config.root.join(work.table.name()));
    let slow =
        |after: Duration| Error::Slow { table, root: root.clone(), seconds: after.as_secs() };
    let mut step = pin!(step);
    match timeout(SLOW, &mut step).await {
        Ok(done) => done,
        Err(_) => {
            fail(work.metrics.of(table), table, slow(SLOW).to_string());
            timeout(STEP_MAX - SLOW, step).await.unwrap_or_else(|_| Err(slow(STEP_MAX)))
        }
    }
}

fn fail(metrics: &TableMetrics, table: Table, text: String) {
    metrics.errors_total.fetch_add(1, Relaxed);
    // The same again is no news.
    if metrics.trouble.lock().replace(text.clone()).as_ref() != Some(&text) {
        tracing::error!(%table, error = text, "the lake cannot be written; trying again");
    }
}

/// Whoever is live goes first.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the lake's threads have the priority of all others");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use log::Embedded;
    use store::Root;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_takes_too_long_is_told_of_and_given_up() {
        let place = tempfile::tempdir().unwrap();
        let metrics = Arc::new(LakeMetrics::default());
        let work = Work {
            table: Table::Events,
            config: LakeConfig::new(Root::at(Path::new("/srv/lake")).unwrap()),
            log: Arc::new(Embedded::open(place.path()).unwrap()),
            metrics: Arc::clone(&metrics),
            shown: watch::channel(None).0,
        };
        let trouble = || metrics.of(Table::Events).trouble();
        let quick = async { Ok(Step::Idle) };
        assert_eq!(watched(quick, &work).await.unwrap(), Step::Idle);
        assert_eq!(trouble(), None);
        let late = async {
            tokio::time::sleep(SLOW * 2).await;
            let said = trouble().unwrap();
            assert!(said.contains("/srv/lake/events") && said.contains("15 s"), "{said}");
            Ok(Step::Idle)
        };
        assert_eq!(watched(late, &work).await.unwrap(), Step::Idle);
        let given_up = watched(std::future::pending(), &work).await.unwrap_err();
        assert!(matches!(given_up, Error::Slow { seconds: 300, .. }), "{given_up}");
    }
}
