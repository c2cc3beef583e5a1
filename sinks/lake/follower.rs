//! One table's way from the log to the lake, a step at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use log::Log;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::housekeeping::Housekeeping;
use crate::{Committer, Error, Fault, LakeConfig, LakeMetrics, Outcome, Snapshot, Table, pull};

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The lake has all that the log has.
    Idle,
    /// Records wait until there are more of them, or long enough.
    Waiting,
    /// Rows were committed; with `more`, others can be at once.
    Committed {
        /// How many.
        rows: u64,
        /// The limit of one commit was reached.
        more: bool,
    },
    /// Somebody else committed first; the next step begins where they ended.
    Overtaken,
}

/// Follows the log for one table. Plain calls: whoever owns it decides when.
pub struct Follower {
    log: Arc<dyn Log>,
    table: Table,
    config: LakeConfig,
    metrics: Arc<LakeMetrics>,
    shown: watch::Sender<Option<Snapshot>>,
    // None before the first step and after a failure: then it isn't known what
    // became of the last commit.
    committer: Option<Committer>,
    housekeeping: Housekeeping,
    // When the oldest record that waits was first seen.
    waiting_since: Option<Instant>,
    // Records that were trimmed unread have been spoken of.
    told_of_loss: bool,
}

impl Follower {
    /// Nothing is opened before the first step.
    #[must_use]
    pub fn new(
        log: Arc<dyn Log>,
        table: Table,
        config: LakeConfig,
        metrics: Arc<LakeMetrics>,
        shown: watch::Sender<Option<Snapshot>>,
    ) -> Self {
        let housekeeping = Housekeeping::new(&config);
        Self {
            log,
            table,
            config,
            metrics,
            shown,
            committer: None,
            housekeeping,
            waiting_since: None,
            told_of_loss: false,
        }
    }

    /// Commits what the log has, if it is time to; with `now`, whatever there is.
    ///
    /// # Errors
    /// Whatever stands in the way. Nothing is lost: the next step begins with
    /// what is in the table by then.
    pub async fn step(&mut self, now: bool) -> Result<Step, Error> {
        let table = self.table;
        let mut committer = match self.committer.take() {
            Some(committer) => committer,
            None => self.open().await?,
        };
        let lag = self.lag(&committer).await?;
        if lag == 0 {
            self.waiting_since = None;
            self.committer = Some(committer);
            return Ok(Step::Idle);
        }
        let waited = self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        let metrics = self.metrics.of(table);
        metrics.lag_ms.store(waited.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
        if !now && lag < self.config.busy_records && waited < self.config.commit_idle {
            self.committer = Some(committer);
            return Ok(Step::Waiting);
        }

        let (rows_max, bytes_max) = (self.config.commit_rows_max, self.config.commit_bytes_max);
        let pulled = pull(&*self.log, table, committer.positions(), rows_max, bytes_max).await?;
        self.config.faults.reach(table, Fault::Read);
        if pulled.next == committer.positions() {
            // What the end counts beyond has been compacted away.
            self.forget_lag();
            self.committer = Some(committer);
            return Ok(Step::Idle);
        }
        let decoded = table.decode(&pulled.records)?;
        let files = committer.write(&decoded.rows).await?;
        self.config.faults.reach(table, Fault::Written);
        let (count, bytes) = (files.len() as u64, files.iter().map(|file| file.size).sum::<i64>());
        let outcome = committer.commit(files, &pulled.next).await?;
        let Outcome::Committed(_) = outcome else {
            tracing::info!(%table, "another program committed first; going on behind it");
            metrics.conflicts_total.fetch_add(1, Relaxed);
            self.show(&committer);
            self.committer = Some(committer);
            return Ok(Step::Overtaken);
        };
        self.config.faults.reach(table, Fault::Committed);

        let rows = decoded.rows.num_rows() as u64;
        metrics.rows_total.fetch_add(rows, Relaxed);
        metrics.skipped_total.fetch_add(decoded.skipped, Relaxed);
        metrics.commits_total.fetch_add(1, Relaxed);
        metrics.files_total.fetch_add(count, Relaxed);
        metrics.bytes_total.fetch_add(bytes.unsigned_abs(), Relaxed);
        self.waiting_since = None;
        if !pulled.more {
            self.forget_lag();
        }
        self.housekeeping.after_commit(&mut committer).await;
        self.show(&committer);
        self.committer = Some(committer);
        Ok(Step::Committed { rows, more: pulled.more })
    }

    async fn open(&self) -> Result<Committer, Error> {
        let committer = Committer::open(&self.config.root, self.table).await?;
        self.show(&committer);
        Ok(committer)
    }

    /// Records that the log has and the lake hasn't.
    async fn lag(&mut self, committer: &Committer) -> Result<u64, Error> {
        let (table, topic) = (self.table, self.table.topic());
        let mut lag = 0;
        for partition in 0..topic.partitions() {
            let bounds = self.log.bounds(topic, partition).await?;
            let position =
                committer.positions().get(usize::from(partition)).copied().unwrap_or_default();
            if bounds.end < position {
                let (path, end) = (committer.path().to_owned(), bounds.end);
                return Err(Error::Ahead { table, path, partition, position, end });
            }
            if bounds.start > position && !topic.is_compacted() && !self.told_of_loss {
                self.told_of_loss = true;
                let lost = bounds.start - position;
                tracing::warn!(%table, partition, lost, "records left the log before they reached the lake");
            }
            lag += bounds.end - position.max(bounds.start);
        }
        self.metrics.of(table).lag_records.store(lag, Relaxed);
        Ok(lag)
    }

    fn forget_lag(&self) {
        let metrics = self.metrics.of(self.table);
        metrics.lag_records.store(0, Relaxed);
        metrics.lag_ms.store(0, Relaxed);
    }

    fn show(&self, committer: &Committer) {
        self.shown.send_replace(Some(committer.snapshot()));
    }
}
