//! The lake at work: one task per table, on a runtime of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::Log;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Error, Follower, LakeConfig, LakeMetrics, Snapshot, Step, Table};

/// Pause after the first failure; doubles with each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const RETRY_MAX: Duration = Duration::from_secs(30);
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
        // Sorting and compressing would hold up whatever shares their threads.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(64)
            .thread_name("lake")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        let metrics = Arc::new(LakeMetrics::default());
        let (stop, stopping) = watch::channel(false);
        let mut tasks = Vec::new();
        let snapshots = Table::ALL.map(|table| {
            let (shown, snapshot) = watch::channel(None);
            let (log, metrics) = (Arc::clone(log), Arc::clone(&metrics));
            let pause = config.commit_busy;
            let follower = Follower::new(log, table, config.clone(), Arc::clone(&metrics), shown);
            tasks.push(runtime.spawn(follow(follower, table, metrics, pause, stopping.clone())));
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

async fn follow(
    mut follower: Follower,
    table: Table,
    metrics: Arc<LakeMetrics>,
    pause: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let mut retry = RETRY_MIN;
    loop {
        let last = *stopping.borrow_and_update();
        let wait = match follower.step(last).await {
            Ok(step) => {
                if metrics.of(table).trouble.lock().take().is_some() {
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
                let of = metrics.of(table);
                of.errors_total.fetch_add(1, Relaxed);
                let text = error.to_string();
                // The same again is no news.
                if of.trouble.lock().replace(text.clone()).as_ref() != Some(&text) {
                    tracing::error!(%table, error = text, "the lake cannot be written; trying again");
                }
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
