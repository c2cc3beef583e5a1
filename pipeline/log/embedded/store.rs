//! The store behind the embedded log: opening, checking, reading.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::RwLock;

use super::layout;
use crate::limits::READ_BYTES_MAX;
use crate::{Error, Record, Topic};

/// A memtable is written out at this size: memory is a multiple of it per topic in use.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Blocks kept in memory. Readers mostly follow the tail, which is in memtables.
const CACHE_BYTES: u64 = 8 << 20;
/// The smallest that fjall takes; bounds the time a start needs to replay.
const JOURNAL_BYTES: u64 = 64 << 20;

/// First kept and next offset of a partition; `start <= next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub start: u64,
    pub next: u64,
}

/// A topic's keyspaces.
pub(super) struct TopicSpaces {
    pub records: Keyspace,
    /// Only of a compacted topic.
    pub latest: Option<Keyspace>,
}

pub(super) struct Store {
    pub db: Database,
    pub dir: PathBuf,
    pub bounds_space: Keyspace,
    spaces: Vec<TopicSpaces>,
    // What is durable. Written by the writer thread alone, after each fsync.
    bounds: RwLock<HashMap<(Topic, u16), Bounds>>,
    // The first write that failed; none is taken after it.
    pub failed: OnceLock<Error>,
}

impl Store {
    /// Opens or makes the store in `dir` and checks that each partition ends
    /// where its bounds say.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let corrupt = |detail: String| Error::Corrupt { dir: dir.to_owned(), detail };
        // fjall asserts on some kinds of damage; whoever starts the server gets our message instead.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| Self::open_spaces(dir)));
        let store = match opened {
            Ok(result) => result.map_err(|error| explain_open(dir, error))?,
            Err(_) => return Err(corrupt("the store cannot be read".into())),
        };
        store.load_bounds()?;
        Ok(store)
    }

    fn open_spaces(dir: &Path) -> fjall::Result<Self> {
        let db = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            // The writer thread decides when to sync: once per group.
            .manual_journal_persist(true)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let mut spaces = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let latest = match topic.is_compacted() {
                true => Some(db.keyspace(&format!("{topic}.latest"), options)?),
                false => None,
            };
            spaces.push(TopicSpaces { records: db.keyspace(topic.name(), options)?, latest });
        }
        let bounds_space = db.keyspace("bounds", options)?;
        Ok(Self {
            db,
            dir: dir.to_owned(),
            bounds_space,
            spaces,
            bounds: RwLock::default(),
            failed: OnceLock::new(),
        })
    }

    fn load_bounds(&self) -> Result<(), Error> {
        for topic in Topic::ALL {
            for partition in 0..topic.partitions() {
                let bounds = self.stored_bounds(topic, partition)?;
                let last = self.last_offset(topic, partition)?;
                // A compacted topic's newest record may have been a trimmed tombstone.
                let sound = match last {
                    None => bounds.start == bounds.next || topic.is_compacted(),
                    Some(last) if topic.is_compacted() => last < bounds.next,
                    Some(last) => last.checked_add(1) == Some(bounds.next),
                };
                if !sound {
                    return Err(self.corrupt(format!(
                        "partition {topic}/{partition} should end at offset {}, but its last record is {last:?}",
                        bounds.next
                    )));
                }
                self.bounds.write().insert((topic, partition), bounds);
            }
        }
        Ok(())
    }

    fn stored_bounds(&self, topic: Topic, partition: u16) -> Result<Bounds, Error> {
        let stored = self.get(&self.bounds_space, &layout::bounds_key(topic, partition))?;
        let Some(stored) = stored else { return Ok(Bounds::default()) };
        layout::parse_bounds(&stored)
            .filter(|(start, next)| start <= next)
            .map(|(start, next)| Bounds { start, next })
            .ok_or_else(|| {
                self.corrupt(format!("the bounds of {topic}/{partition} are unreadable"))
            })
    }

    fn last_offset(&self, topic: Topic, partition: u16) -> Result<Option<u64>, Error> {
        let all = layout::record_key(partition, 0)..=layout::record_key(partition, u64::MAX);
        let Some(last) = self.spaces(topic).records.range(all).next_back() else {
            return Ok(None);
        };
        let key = last.key().map_err(|error| self.explain("read", error))?;
        let parsed = layout::parse_record_key(&key);
        parsed.map(|(_, offset)| Some(offset)).ok_or_else(|| self.unreadable(topic, partition))
    }

    pub fn spaces(&self, topic: Topic) -> &TopicSpaces {
        &self.spaces[topic as usize]
    }

    /// The partition's bounds, if it exists.
    pub fn bounds(&self, topic: Topic, partition: u16) -> Result<Bounds, Error> {
        let found = self.bounds.read().get(&(topic, partition)).copied();
        found.ok_or(Error::NoSuchPartition { topic, partition })
    }

    /// Makes what a group changed visible to readers, once it is durable.
    pub fn publish(&self, changed: HashMap<(Topic, u16), Bounds>) {
        self.bounds.write().extend(changed);
    }

    /// Every partition's bounds, for the watermark.
    pub fn all_bounds(&self) -> Vec<((Topic, u16), Bounds)> {
        self.bounds.read().iter().map(|(at, bounds)| (*at, *bounds)).collect()
    }

    pub fn get(&self, space: &Keyspace, key: &[u8]) -> Result<Option<fjall::UserValue>, Error> {
        space.get(key).map_err(|error| self.explain("read", error))
    }

    pub fn read(
        &self,
        topic: Topic,
        partition: u16,
        from: u64,
        max: usize,
    ) -> Result<Vec<Record>, Error> {
        let Bounds { start, next } = self.bounds(topic, partition)?;
        let from = from.max(start);
        let mut out = Vec::new();
        if from >= next {
            return Ok(out);
        }
        let range = layout::record_key(partition, from)..layout::record_key(partition, next);
        let mut bytes = 0;
        let mut expected = from;
        for entry in self.spaces(topic).records.range(range) {
            let (key, value) = entry.into_inner().map_err(|error| self.explain("read", error))?;
            let records = layout::parse_entry(&key, &value)
                .ok_or_else(|| self.unreadable(topic, partition))?;
            // Also catches a trim that overtook this read: the reader comes back and begins later.
            if !topic.is_compacted() && records.first().is_none_or(|at| at.offset > expected) {
                if self.bounds(topic, partition)?.start > expected {
                    break;
                }
                return Err(
                    self.corrupt(format!("partition {topic}/{partition} lacks offset {expected}"))
                );
            }
            for record in records.into_iter().skip_while(|record| record.offset < from) {
                if out.len() == max || bytes >= READ_BYTES_MAX {
                    return Ok(out);
                }
                bytes += record.key.len() + record.value.as_ref().map_or(0, |value| value.len());
                expected = record.offset + 1;
                out.push(record);
            }
            if out.len() == max || bytes >= READ_BYTES_MAX {
                break;
            }
        }
        Ok(out)
    }

    pub fn latest(&self, topic: Topic) -> Result<Vec<Record>, Error> {
        let spaces = self.spaces(topic);
        if spaces.latest.is_none() {
            return Err(Error::NotCompacted(topic));
        }
        // What is superseded is gone from `records`, so what is left is the latest of each key.
        let mut out = Vec::new();
        for partition in 0..topic.partitions() {
            // Not up to a `next` read beforehand: a key superseded in between would be missing.
            // What the store shows is durable, since it syncs a batch before it shows it.
            let all = layout::record_key(partition, 0)..=layout::record_key(partition, u64::MAX);
            for entry in spaces.records.range(all) {
                let (key, value) =
                    entry.into_inner().map_err(|error| self.explain("read", error))?;
                let records = layout::parse_entry(&key, &value)
                    .ok_or_else(|| self.unreadable(topic, partition))?;
                out.extend(records.into_iter().filter(|record| record.value.is_some()));
            }
        }
        Ok(out)
    }

    pub fn corrupt(&self, detail: String) -> Error {
        Error::Corrupt { dir: self.dir.clone(), detail }
    }

    pub fn unreadable(&self, topic: Topic, partition: u16) -> Error {
        self.corrupt(format!("a record of {topic}/{partition} is unreadable"))
    }

    pub fn explain(&self, action: &'static str, error: fjall::Error) -> Error {
        match damage(&error) {
            true => self.corrupt(error.to_string()),
            false => Error::Storage { action, source: Arc::new(error) },
        }
    }
}

/// Whether the error means that the bytes on disk are wrong, rather than out of reach.
fn damage(error: &fjall::Error) -> bool {
    use fjall::Error as E;
    match error {
        E::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::NotFound
        ),
        E::Storage(fjall::LsmError::Io(error)) => matches!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::NotFound
        ),
        E::Storage(_)
        | E::JournalRecovery(_)
        | E::InvalidVersion(_)
        | E::Decompress(_)
        | E::InvalidTrailer
        | E::InvalidTag(_)
        | E::Unrecoverable => true,
        _ => false,
    }
}

fn explain_open(dir: &Path, error: fjall::Error) -> Error {
    match error {
        fjall::Error::Locked => Error::InUse { dir: dir.to_owned(), pid: None },
        error if damage(&error) => {
            Error::Corrupt { dir: dir.to_owned(), detail: error.to_string() }
        }
        error => Error::Storage { action: "open its store", source: Arc::new(error) },
    }
}
