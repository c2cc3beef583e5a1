//! What keeps a table quick to open and its folder small: checkpoints, fewer
//! and larger files, the end of old entries of the Delta log and of files that
//! nothing refers to.
//!
//! Runs between two commits of the same task, so that it never conflicts with
//! them. A failure is logged and tried again later: it costs readers time, never rows.

use std::time::Duration;

use deltalake_core::checkpoints;
use deltalake_core::operations::vacuum::VacuumMode;
use tokio::time::Instant;

use crate::compact::compact;
use crate::{Committer, Error, LakeConfig};

/// Pause between looks for files that nothing refers to.
const VACUUM_EVERY: Duration = Duration::from_secs(6 * 3600);

/// No look in the first minutes: others start, too.
const VACUUM_FIRST: Duration = Duration::from_secs(600);

/// Limits, and when each was last done.
pub(crate) struct Housekeeping {
    checkpoint_every: u64,
    // Version of the newest checkpoint tried.
    checkpoint: Option<u64>,
    vacuum_at: Instant,
    compact_every: u64,
    commits: u64,
}

impl Housekeeping {
    pub fn new(config: &LakeConfig) -> Self {
        Self {
            checkpoint_every: config.checkpoint_every.max(1),
            checkpoint: None,
            vacuum_at: Instant::now() + VACUUM_FIRST,
            compact_every: config.compact_every.max(1),
            commits: 0,
        }
    }

    /// Does what is due.
    pub async fn after_commit(&mut self, committer: &mut Committer) {
        let table = committer.table();
        self.commits += 1;
        if self.commits.is_multiple_of(self.compact_every) {
            match compact(committer).await {
                Ok(0) => {}
                Ok(files) => tracing::debug!(%table, files, "lake compacted"),
                Err(error) => tracing::warn!(%table, %error, "the lake was not compacted"),
            }
        }
        if let Err(error) = self.checkpoint(committer).await {
            tracing::warn!(%table, %error, "no checkpoint of the lake");
        }
        if Instant::now() >= self.vacuum_at {
            self.vacuum_at = Instant::now() + VACUUM_EVERY;
            if let Err(error) = vacuum(committer).await {
                tracing::warn!(%table, %error, "the lake was not swept");
            }
        }
    }

    async fn checkpoint(&mut self, committer: &Committer) -> Result<(), Error> {
        let delta = committer.snapshot().delta;
        let Some(version) = delta.version() else { return Ok(()) };
        // At the first commit of a process: it isn't known how long ago the last one was.
        let due = self.checkpoint.is_none_or(|last| version >= last + self.checkpoint_every);
        if !due {
            return Ok(());
        }
        self.checkpoint = Some(version);
        let (table, path) = (committer.table(), committer.path());
        let refuse = |action| move |source| Error::delta(action, table, path.to_owned(), source);
        checkpoints::create_checkpoint(&delta, None).await.map_err(refuse("checkpoint"))?;
        let ended = checkpoints::cleanup_metadata(&delta, None)
            .await
            .map_err(refuse("clean up the Delta log of"))?;
        tracing::debug!(%table, version, ended, "checkpoint of the lake");
        Ok(())
    }
}

/// Deletes files that no version within the retention refers to: what was
/// written and never committed, and what compaction replaced.
async fn vacuum(committer: &mut Committer) -> Result<(), Error> {
    let (table, path) = (committer.table(), committer.path().to_owned());
    let delta = committer.snapshot().delta;
    let swept = delta.vacuum().with_mode(VacuumMode::Full).await;
    let (delta, metrics) = swept.map_err(|source| Error::delta("sweep", table, path, source))?;
    if let Some(state) = delta.state {
        committer.adopt(state);
    }
    tracing::debug!(%table, files = metrics.files_deleted.len(), "lake swept");
    Ok(())
}
