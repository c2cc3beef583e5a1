//! One table's way from the log to the lake, a step at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use log::Log;
use tokio::sync::watch;

use crate::housekeeping::Housekeeping;
use crate::{
    Committer, Error, Fault, LakeConfig, LakeMetrics, Lost, Outcome, Snapshot, Table, pull,
};

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
}

/// What the log has beyond a table.
#[derive(Debug, Default)]
struct Rest {
    /// Where to read on, by partition: behind what is lost.
    from: Vec<u64>,
    records: u64,
    lost: Vec<Lost>,
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
        Self { log, table, config, metrics, shown, committer: None, housekeeping }
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
        if self.housekeeping.between_commits(&mut committer).await {
            self.show(&committer);
        }
        let Rest { from, records, mut lost } = self.rest(&committer).await?;
        let metrics = self.metrics.of(table);
        if records == 0 && lost.is_empty() {
            self.forget_lag();
            self.committer = Some(committer);
            return Ok(Step::Idle);
        }
        let waited = metrics.waiting.lock().get_or_insert_with(Instant::now).elapsed();
        if !now && records < self.config.busy_records && waited < self.config.commit_idle {
            self.committer = Some(committer);
            return Ok(Step::Waiting);
        }

        let (rows_max, bytes_max) = (self.config.commit_rows_max, self.config.commit_bytes_max);
        let pulled = pull(&*self.log, table, &from, rows_max, bytes_max).await?;
        lost.extend(pulled.lost);
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
        let outcome = committer.commit(files, &pulled.next, &lost).await?;
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
        metrics.lost_total.store(committer.lost(), Relaxed);
        self.tell(&lost);
        match pulled.more {
            true => *metrics.waiting.lock() = Some(Instant::now()),
            false => self.forget_lag(),
        }
        self.show(&committer);
        self.housekeeping.after_commit(&mut committer).await;
        self.show(&committer);
        self.committer = Some(committer);
        Ok(Step::Committed { rows, more: pulled.more })
    }

    async fn open(&self) -> Result<Committer, Error> {
        let (table, topic) = (self.table, self.table.topic());
        let mut committer = Committer::open(&self.config.root, table).await?;
        while committer.is_new() {
            // From now on, what is gone from the log before it is here is lost.
            let mut begin = committer.positions().to_vec();
            for (partition, position) in (0..topic.partitions()).zip(&mut begin) {
                *position = self.log.bounds(topic, partition).await?.start.max(*position);
            }
            committer.commit(Vec::new(), &begin, &[]).await?;
        }
        self.metrics.of(table).lost_total.store(committer.lost(), Relaxed);
        self.show(&committer);
        Ok(committer)
    }

    /// Looks at what the log has and the lake hasn't.
    async fn rest(&self, committer: &Committer) -> Result<Rest, Error> {
        let (table, topic) = (self.table, self.table.topic());
        let mut rest = Rest::default();
        for (partition, position) in (0..topic.partitions()).zip(committer.positions()) {
            let (position, bounds) = (*position, self.log.bounds(topic, partition).await?);
            if bounds.end < position {
                let (root, end) = (committer.root().clone(), bounds.end);
                return Err(Error::Ahead { table, root, partition, position, end });
            }
            let from = position.max(bounds.start);
            if from > position && !topic.is_compacted() {
                rest.lost.push(Lost { partition, offsets: position..from });
            }
            rest.records += bounds.end - from;
            rest.from.push(if topic.is_compacted() { position } else { from });
        }
        self.metrics.of(table).lag_records.store(rest.records, Relaxed);
        Ok(rest)
    }

    /// Says which records are lost, once they are written off in the table.
    fn tell(&self, lost: &[Lost]) {
        for lost in lost {
            tracing::error!(
                table = %self.table,
                partition = lost.partition,
                from = lost.offsets.start,
                to = lost.offsets.end,
                "records left the log before they reached the lake: they are missing there for ever"
            );
        }
    }

    fn forget_lag(&self) {
        let metrics = self.metrics.of(self.table);
        metrics.lag_records.store(0, Relaxed);
        *metrics.waiting.lock() = None;
    }

    fn show(&self, committer: &Committer) {
        self.shown.send_replace(Some(committer.snapshot()));
    }
}
