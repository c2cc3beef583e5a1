//! The one thread that writes: group commit.
//!
//! ```text
//! callers ──Command──► bounded queue ──all that wait──► one batch, one fsync ──► callers
//! ```
//!
//! Enters: appends and trims. Leaves: their answers, after the fsync. Held: the
//! next offsets. Ends when every sender is gone and the queue is empty. While
//! one group is being synced the next one gathers, so the slower the disk, the
//! larger the groups.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fjall::{Keyspace, PersistMode};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::layout::{self, Bundle};
use super::store::{Bounds, Store};
use super::watermark::Watermark;
use crate::{Error, NewRecord, Topic};

/// A group takes no further append beyond this; one append may still exceed it.
const GROUP_BYTES: usize = 4 << 20;
/// Removals per batch of a trim.
const TRIM_BATCH: usize = 1024;

pub(super) enum Command {
    Append {
        topic: Topic,
        records: Vec<NewRecord>,
        done: oneshot::Sender<Result<Vec<u64>, Error>>,
        // Room in the queue, given back once answered.
        _room: OwnedSemaphorePermit,
    },
    Trim {
        topic: Topic,
        partition: u16,
        below: u64,
        done: oneshot::Sender<Result<(), Error>>,
    },
}

struct Pending {
    offsets: Vec<u64>,
    done: oneshot::Sender<Result<Vec<u64>, Error>>,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Records(Topic),
    Latest(Topic),
}

pub(super) struct Writer {
    store: Arc<Store>,
    watermark: Watermark,
}

impl Writer {
    pub fn new(store: Arc<Store>, watermark: Watermark) -> Self {
        Self { store, watermark }
    }

    /// Runs until the queue is closed and empty.
    pub fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut group = Group::default();
        while let Some(command) = queue.blocking_recv() {
            self.take(command, &mut group);
            while group.bytes < GROUP_BYTES {
                match queue.try_recv() {
                    Ok(command) => self.take(command, &mut group),
                    Err(_) => break,
                }
            }
            self.commit(&mut group);
            self.watermark.note(&self.store, false);
        }
        self.watermark.note(&self.store, true);
    }

    fn take(&self, command: Command, group: &mut Group) {
        match command {
            Command::Append { topic, records, done, _room } => {
                match group.append(&self.store, topic, &records) {
                    Ok(offsets) => group.pending.push(Pending { offsets, done, _room }),
                    // A read failed: the group may hold half of these records, so none of it goes in.
                    Err(error) => {
                        let _ = done.send(Err(error.clone()));
                        group.fail(&error);
                    }
                }
            }
            Command::Trim { topic, partition, below, done } => {
                // What is in the group is older than the trim.
                self.commit(group);
                let _ = done.send(self.trim(topic, partition, below));
            }
        }
    }

    fn commit(&self, group: &mut Group) {
        let Group { ops, bundles, full, bounds, pending, .. } = std::mem::take(group);
        if pending.is_empty() {
            return;
        }
        let mut batch = self.store.db.batch().durability(Some(PersistMode::SyncData));
        for ((space, key), value) in ops {
            let keyspace = match space {
                Space::Records(topic) => Some(&self.store.spaces(topic).records),
                Space::Latest(topic) => self.store.spaces(topic).latest.as_ref(),
            };
            match (keyspace, value) {
                (Some(keyspace), Some(value)) => batch.insert(keyspace, key, value),
                (Some(keyspace), None) => batch.remove(keyspace, key),
                (None, _) => {}
            }
        }
        for ((topic, partition), bundle) in full.into_iter().chain(bundles) {
            let (key, value) = bundle.finish(partition);
            batch.insert(&self.store.spaces(topic).records, key, value);
        }
        for ((topic, partition), Bounds { start, next }) in &bounds {
            let (key, value) =
                (layout::bounds_key(*topic, *partition), layout::bounds_value(*start, *next));
            batch.insert(&self.store.bounds_space, key, value);
        }
        match batch.commit().map_err(|error| self.store.explain("append", error)) {
            Ok(()) => {
                self.store.publish(bounds);
                for Pending { offsets, done, .. } in pending {
                    let _ = done.send(Ok(offsets));
                }
            }
            Err(error) => {
                tracing::error!(%error, appends = pending.len(), "log append failed");
                let _ = self.store.failed.set(error.clone());
                for Pending { done, .. } in pending {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Result<(), Error> {
        let bounds = self.store.bounds(topic, partition)?;
        let below = below.min(bounds.next);
        let start = if topic.is_compacted() { bounds.start } else { below.max(bounds.start) };
        let trimmed = Bounds { start, next: bounds.next };
        let failed = |error| self.store.explain("trim", error);

        // First the bounds, so that no reader (nor a crash half-way) sees a partition with a hole.
        let mut first = self.store.db.batch().durability(Some(PersistMode::SyncData));
        first.insert(
            &self.store.bounds_space,
            layout::bounds_key(topic, partition),
            layout::bounds_value(trimmed.start, trimmed.next),
        );
        first.commit().map_err(failed)?;
        self.store.publish(HashMap::from([((topic, partition), trimmed)]));

        let spaces = self.store.spaces(topic);
        let range = layout::record_key(partition, 0)..layout::record_key(partition, below);
        let mut batch = self.store.db.batch();
        for entry in spaces.records.range(range) {
            if let Some(latest) = &spaces.latest {
                let (key, value) = entry.into_inner().map_err(failed)?;
                if layout::is_tombstone(&value) {
                    let records = layout::parse_entry(&key, &value)
                        .ok_or_else(|| self.store.unreadable(topic, partition))?;
                    for record in records {
                        batch.remove(latest, layout::latest_key(partition, &record.key));
                    }
                    batch.remove(&spaces.records, key);
                }
            } else {
                batch.remove(&spaces.records, entry.key().map_err(failed)?);
            }
            if batch.len() >= TRIM_BATCH {
                std::mem::replace(&mut batch, self.store.db.batch()).commit().map_err(failed)?;
            }
        }
        // What a crash half-way leaves behind is below the start, and goes with the next trim.
        batch.durability(Some(PersistMode::SyncData)).commit().map_err(failed)
    }
}

/// Appends that share one fsync.
#[derive(Default)]
struct Group {
    // Of compacted topics. By key, so that a key written twice in a group is one operation:
    // the store gives all operations of a batch one sequence number and couldn't order them.
    ops: BTreeMap<(Space, Vec<u8>), Option<Vec<u8>>>,
    // Of the other topics: what is being filled, and what is full.
    bundles: HashMap<(Topic, u16), Bundle>,
    full: Vec<((Topic, u16), Bundle)>,
    bounds: HashMap<(Topic, u16), Bounds>,
    pending: Vec<Pending>,
    bytes: usize,
}

impl Group {
    fn append(
        &mut self,
        store: &Store,
        topic: Topic,
        records: &[NewRecord],
    ) -> Result<Vec<u64>, Error> {
        let latest = store.spaces(topic).latest.as_ref();
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let partition = record.partition;
            let mut bounds = match self.bounds.get(&(topic, partition)) {
                Some(bounds) => *bounds,
                None => store.bounds(topic, partition)?,
            };
            let offset = bounds.next;
            match latest {
                Some(latest) => {
                    self.supersede(store, topic, latest, record, offset)?;
                    let key = layout::record_key(partition, offset).to_vec();
                    let value = layout::record_value(record);
                    self.ops.insert((Space::Records(topic), key), Some(value));
                }
                None => self.bundle((topic, partition), record, offset),
            }
            bounds.next += 1;
            self.bounds.insert((topic, partition), bounds);
            self.bytes += record.weight();
            offsets.push(offset);
        }
        Ok(offsets)
    }

    /// Puts the record behind those of its partition that the group has already.
    fn bundle(&mut self, at: (Topic, u16), record: &NewRecord, offset: u64) {
        match self.bundles.entry(at) {
            Entry::Vacant(place) => {
                place.insert(Bundle::new(offset, record));
            }
            Entry::Occupied(mut bundle) if bundle.get().is_full() => {
                self.full.push((at, bundle.insert(Bundle::new(offset, record))));
            }
            Entry::Occupied(mut bundle) => bundle.get_mut().push(record),
        }
    }

    /// Removes the record that had `record`'s key so far and points the index at `offset`.
    fn supersede(
        &mut self,
        store: &Store,
        topic: Topic,
        latest: &Keyspace,
        record: &NewRecord,
        offset: u64,
    ) -> Result<(), Error> {
        let key = layout::latest_key(record.partition, &record.key);
        let in_group = self.ops.get(&(Space::Latest(topic), key.clone())).cloned().flatten();
        let before = match in_group {
            Some(value) => layout::parse_u64(&value),
            None => match store.get(latest, &key)? {
                Some(value) => layout::parse_u64(&value),
                None => None,
            },
        };
        if let Some(before) = before {
            let old = layout::record_key(record.partition, before).to_vec();
            self.ops.insert((Space::Records(topic), old), None);
        }
        self.ops.insert((Space::Latest(topic), key), Some(offset.to_be_bytes().to_vec()));
        Ok(())
    }

    fn fail(&mut self, error: &Error) {
        for Pending { done, .. } in std::mem::take(self).pending {
            let _ = done.send(Err(error.clone()));
        }
    }
}
