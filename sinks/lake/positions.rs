//! Which records of the log a version of a table holds.
//!
//! Enters: the `txn` actions of the Delta log. Leaves: by partition, the first
//! offset that the version doesn't hold, and how many records before it left
//! the log too early to be held.

use std::ops::Range;
use std::sync::Arc;

use deltalake_core::kernel::Transaction;
use deltalake_core::{DeltaTable, DeltaTableError};
use serde_json::{Value, json};

use crate::Table;

/// What a commit says of it, beside the table's own metadata of a commit.
pub(crate) const LOST_METADATA: &str = "millstream.lost";

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
    /// Reads the Delta log back to its checkpoint.
    pub async fn load(delta: &DeltaTable, table: Table) -> Result<Self, DeltaTableError> {
        let (mut next, mut incomplete) = (Vec::new(), false);
        for partition in 0..table.topic().partitions() {
            let position = version(delta, table.app_id(partition)).await?;
            incomplete |= position.is_none();
            next.push(position.unwrap_or(0));
        }
        let lost = version(delta, lost_id(table)).await?.unwrap_or(0);
        Ok(Self { next: next.into(), lost, incomplete })
    }

    /// These positions after a commit.
    pub fn advanced(&self, next: &[u64], lost: &[Lost]) -> Self {
        let lost = self.lost + lost.iter().map(Lost::records).sum::<u64>();
        let next = next.iter().zip(&*self.next).map(|(next, position)| *next.max(position));
        Self { next: next.collect(), lost, incomplete: false }
    }

    /// What has to be committed so that `after` follows these.
    pub fn transactions(&self, after: &Self, table: Table) -> Vec<Transaction> {
        let partitions = after.next.iter().zip(&*self.next).enumerate();
        let moved = partitions.filter(|(_, (next, position))| self.incomplete || next > position);
        let mut transactions: Vec<_> = moved
            .map(|(partition, (next, _))| {
                Transaction::new(table.app_id(partition as u16), *next as i64)
            })
            .collect();
        if after.lost > self.lost {
            transactions.push(Transaction::new(lost_id(table), after.lost as i64));
        }
        transactions
    }
}

/// `appId` of the count of lost records.
fn lost_id(table: Table) -> String {
    format!("{}/lost", table.name())
}

async fn version(delta: &DeltaTable, app_id: String) -> Result<Option<u64>, DeltaTableError> {
    let (state, log_store) = (delta.snapshot()?, delta.log_store());
    let version = state.transaction_version(log_store.as_ref(), &app_id).await?;
    // Taking it for 0 would commit everything again.
    let parse = |version: i64| {
        u64::try_from(version)
            .map_err(|_| DeltaTableError::Generic(format!("txn {app_id} has version {version}")))
    };
    version.map(parse).transpose()
}
