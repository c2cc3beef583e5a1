//! What keeps a table quick to open and its folder small: checkpoints, fewer
//! and larger files, the end of old entries of the Delta log and of files that
//! nothing refers to.
//!
//! Runs between two commits of the same task, so that it never conflicts with them; files
//! are merged beside them. A failure is logged and tried again later: it costs readers
//! time, never rows.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use deltalake_core::checkpoints;
use deltalake_core::operations::vacuum::VacuumMode;
use tokio::time::Instant;

use crate::compact::Compaction;
use crate::files::sweep_staged;
use crate::{Committer, Error, LakeConfig};

/// Pause between looks for files that nothing refers to.
const VACUUM_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Files that a dead writer left unfinished go after this; living ones take seconds.
const STAGED_AGE: Duration = Duration::from_secs(24 * 3600);

/// No look in the first minutes: others start, too.
const VACUUM_FIRST: Duration = Duration::from_secs(600);

/// Limits, and when each was last done.
pub(crate) struct Housekeeping {
    checkpoint_every: u64,
    // Version of the newest checkpoint tried.
    checkpoint: Option<u64>,
    vacuum_at: Instant,
    compact_every: u64,
    compaction: Compaction,
    commits: u64,
}

impl Housekeeping {
    pub fn new(config: &LakeConfig) -> Self {
        Self {
            checkpoint_every: config.checkpoint_every.max(1),
            checkpoint: None,
            vacuum_at: Instant::now() + VACUUM_FIRST,
            compact_every: config.compact_every.max(1),
            compaction: Compaction::default(),
            commits: 0,
        }
    }

    /// Does what is due.
    pub async fn after_commit(&mut self, committer: &mut Committer) {
        let table = committer.table();
        self.commits += 1;
        if self.commits.is_multiple_of(self.compact_every)
            && let Err(error) = self.compaction.begin(committer)
        {
            tracing::warn!(%table, %error, "the lake is not compacted");
        }
        if let Err(error) = self.checkpoint(committer).await {
            tracing::warn!(%table, %error, "no checkpoint of the lake");
        }
        if Instant::now() >= self.vacuum_at {
            self.vacuum_at = Instant::now() + VACUUM_EVERY;
            self.compaction.try_all_again();
            if let Err(error) = vacuum(committer).await {
                tracing::warn!(%table, %error, "the lake was not swept");
            }
        }
    }

    /// Does what needn't wait for a commit; true if the table may be another.
    pub async fn between_commits(&mut self, committer: &mut Committer) -> bool {
        let table = committer.table();
        let begun = match self.compaction.end(committer).await {
            Ok(None) => return false,
            Ok(Some(files)) => {
                tracing::debug!(%table, files, "lake compacted");
                // What is left may be enough to be merged again.
                self.compaction.begin(committer)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            tracing::warn!(%table, %error, "the lake was not compacted");
        }
        true
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
        let (table, root) = (committer.table(), committer.root());
        let refuse = |action| move |source| Error::delta(action, table, root, source);
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
    let (table, root) = (committer.table(), committer.root().clone());
    // What others have committed since isn't refuse.
    committer.reload().await?;
    let delta = committer.snapshot().delta;
    let swept = delta.vacuum().with_mode(VacuumMode::Full).await;
    let refuse = |source| Error::delta("sweep", table, &root, source);
    let (_, metrics) = swept.map_err(refuse)?;
    // Its commits may have come behind somebody else's, whose positions count.
    committer.reload().await?;
    let staged = match root.folder() {
        Some(folder) => sweep_folder(folder.to_owned()).await?,
        // A store's objects come whole.
        None => 0,
    };
    tracing::debug!(%table, files = metrics.files_deleted.len(), staged, "lake swept");
    Ok(())
}

async fn sweep_folder(path: PathBuf) -> Result<usize, Error> {
    let folder = path.clone();
    let staged = tokio::task::spawn_blocking(move || sweep_staged(&folder, STAGED_AGE)).await;
    let staged = staged.map_err(io::Error::other).and_then(|swept| swept);
    staged.map_err(|source| Error::Folder { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use log::Record;
    use records::{StreamEvent, StreamId};

    use super::*;
    use crate::{Outcome, Root, Table};

    fn records(offsets: std::ops::Range<u64>) -> Vec<Record> {
        let event = StreamEvent {
            kind: "CREATED".into(),
            at_us: 1_782_907_200_000_000,
            detail: Default::default(),
        };
        let value = bytes::Bytes::from(serde_json::to_vec(&event).unwrap());
        let key = bytes::Bytes::from(StreamId::generate().0.as_bytes().to_vec());
        let record =
            |offset| Record { partition: 0, offset, key: key.clone(), value: Some(value.clone()) };
        offsets.map(record).collect()
    }

    /// As if written two days ago.
    fn age(path: &Path) {
        let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[tokio::test]
    async fn sweeping_takes_what_was_never_committed_and_sees_what_others_did() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path()).unwrap();
        let mut ours = Committer::open(&root, Table::Events).await.unwrap();
        let mut theirs = Committer::open(&root, Table::Events).await.unwrap();
        let rows = |offsets| Table::Events.decode(&records(offsets)).unwrap().rows;
        let path = |file: &str| place.path().join("events").join(file);

        let kept = theirs.write(&rows(0..10)).await.unwrap();
        let orphan = ours.write(&rows(0..10)).await.unwrap();
        let (kept_at, orphan_at) = (path(&kept[0].path), path(&orphan[0].path));
        let staged = kept_at.with_file_name("part.parquet#3");
        std::fs::write(&staged, "half").unwrap();
        [&kept_at, &orphan_at, &staged].into_iter().for_each(|path| age(path));
        let mut next = vec![0; usize::from(Table::Events.topic().partitions())];
        next[0] = 10;
        assert!(matches!(theirs.commit(kept, &next, &[]).await.unwrap(), Outcome::Committed(_)));

        vacuum(&mut ours).await.unwrap();
        assert!(kept_at.exists() && !orphan_at.exists() && !staged.exists());
        assert_eq!(ours.positions()[0], 10, "or the next commit would repeat what they committed");
        next[0] = 20;
        let files = ours.write(&rows(10..20)).await.unwrap();
        assert!(matches!(ours.commit(files, &next, &[]).await.unwrap(), Outcome::Committed(_)));
    }

    #[tokio::test]
    async fn a_store_is_swept_as_well() {
        let memory = Arc::new(object_store::memory::InMemory::new());
        let place = store::Place::new(memory, "s3://bucket/lake").unwrap();
        let root = Root::within(&place).unwrap();
        let mut committer = Committer::open(&root, Table::Events).await.unwrap();
        let rows = Table::Events.decode(&records(0..10)).unwrap().rows;
        let files = committer.write(&rows).await.unwrap();
        let mut next = vec![0; usize::from(Table::Events.topic().partitions())];
        next[0] = 10;
        let done = committer.commit(files, &next, &[]).await.unwrap();
        assert!(matches!(done, Outcome::Committed(_)));
        vacuum(&mut committer).await.unwrap();
        assert_eq!(committer.positions()[0], 10);
        let state = committer.snapshot().delta.snapshot().unwrap().snapshot().clone();
        assert_eq!(state.try_log_data().unwrap().num_files(), 1);
    }
}
