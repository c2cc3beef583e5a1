//! Which records of the log a version of a table holds.
//!
//! Enters: the `txn` actions of the Delta log. Leaves: by partition, the first
//! offset that the version doesn't hold, and how many records before it left
//! the log too early to be held.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::logstore::get_actions;
use deltalake_core::{DeltaTable, DeltaTableError};
use serde_json::{Value, json};

use crate::Table;

/// What a commit says of it, beside the table's own metadata of a commit.
pub(crate) const LOST_METADATA: &str = "millstream.lost";

/// Commits that are looked through for positions before the log is replayed.
const RECENT: usize = 8;

/// Records that the log no longer had when the lake got to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which partition.
    pub partition: u16,
    /// Their offsets.
    pub offsets: Range<u64>,
}

impl Lost {
    /// How many.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.offsets.end.saturating_sub(self.offsets.start)
    }

    pub(crate) fn metadata(all: &[Self]) -> Value {
        let lost = all.iter().map(|lost| {
            json!({
                "partition": lost.partition,
                "from": lost.offsets.start,
                "to": lost.offsets.end,
            })
        });
        lost.collect()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Positions {
    /// By partition of the table's topic.
    pub next: Arc<[u64]>,
    /// Records that are missing for ever, of all partitions.
    pub lost: u64,
    /// Some partition has no position yet: where the lake begins isn't said.
    pub incomplete: bool,
}

impl Positions {
    /// Reads the newest commits, each of which says all; only where they don't,
    /// the Delta log back to its checkpoint.
    pub async fn load(delta: &DeltaTable, table: Table) -> Result<Self, DeltaTableError> {
        let recent = recent(delta, &lost_id(table)).await?;
        let position = async |app_id: String| match recent.get(&app_id) {
            Some(version) => parse(&app_id, *version).map(Some),
            None => version(delta, app_id).await,
        };
        let (mut next, mut incomplete) = (Vec::new(), false);
        for partition in 0..table.topic().partitions() {
            let position = position(table.app_id(partition)).await?;
            incomplete |= position.is_none();
            next.push(position.unwrap_or(0));
        }
        let lost = position(lost_id(table)).await?.unwrap_or(0);
        Ok(Self { next: next.into(), lost, incomplete })
    }

    /// These positions after a commit.
    pub fn advanced(&self, next: &[u64], lost: &[Lost]) -> Self {
        let lost = self.lost + lost.iter().map(Lost::records).sum::<u64>();
        let next = next.iter().zip(&*self.next).map(|(next, position)| *next.max(position));
        Self { next: next.collect(), lost, incomplete: false }
    }

    /// What a commit says so that these follow: all of it, also what is as it was.
    /// Whoever opens the table then needs one entry of its log; to look for what
    /// an older one said, a store is asked for each entry since the checkpoint.
    pub fn transactions(&self, table: Table) -> Vec<Transaction> {
        let all = (0..).zip(&*self.next);
        let all = all.map(|(partition, next)| (table.app_id(partition), *next));
        let all = all.chain([(lost_id(table), self.lost)]);
        all.map(|(app_id, version)| Transaction::new(app_id, version as i64)).collect()
    }
}

/// `appId` of the count of lost records.
fn lost_id(table: Table) -> String {
    format!("{}/lost", table.name())
}

/// By `appId`, what the newest commits say, back to one that counts what is
/// lost: it says all. Compaction and other programs say nothing.
async fn recent(
    delta: &DeltaTable,
    lost_id: &str,
) -> Result<HashMap<String, i64>, DeltaTableError> {
    let mut found = HashMap::new();
    let Some(newest) = delta.version() else { return Ok(found) };
    let log_store = delta.log_store();
    for version in (0..=newest).rev().take(RECENT) {
        // Cleaned up: a checkpoint holds it.
        let Some(entry) = log_store.read_commit_entry(version).await? else { break };
        for action in get_actions(version, &entry)? {
            if let Action::Txn(said) = action {
                found.entry(said.app_id).or_insert(said.version);
            }
        }
        if found.contains_key(lost_id) {
            break;
        }
    }
    Ok(found)
}

/// Looks through the Delta log, back to its checkpoint.
async fn version(delta: &DeltaTable, app_id: String) -> Result<Option<u64>, DeltaTableError> {
    let (state, log_store) = (delta.snapshot()?, delta.log_store());
    let version = state.transaction_version(log_store.as_ref(), &app_id).await?;
    version.map(|version| parse(&app_id, version)).transpose()
}

/// Taking anything else for 0 would commit all of it again.
fn parse(app_id: &str, version: i64) -> Result<u64, DeltaTableError> {
    u64::try_from(version)
        .map_err(|_| DeltaTableError::Generic(format!("txn {app_id} has version {version}")))
}
