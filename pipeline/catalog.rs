//! Which streams there are, and whose key is whose, across restarts.
//!
//! ```text
//! API, RTMP gate ──change──► Catalog ──append, fsync──► log topic `catalog`
//!                              │ view in memory ◄──latest per key── at boot
//! ```
//!
//! Enters: changes, each durable before its method returns. Leaves: lookups, at
//! memory speed. Held: every stream that wasn't forgotten. Never done here:
//! driving a stream's life (that is the registry's), or keeping a key in the
//! clear.
//!
//! Changes are made one after the other: a change reads the view, appends its
//! new entries and only then shows them. It runs in a task of its own, so a
//! caller that goes away half-way doesn't leave log and view apart.

mod entry;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use log::{Log, NewRecord, Topic};
use parking_lot::RwLock;
use records::{StreamId, StreamState, UserId};

use crate::journal;
use crate::keys::{KeyHash, StreamKey};

pub(crate) use entry::text;
pub use entry::{CATEGORY_CHARS_MAX, CatalogError, StreamEntry, TITLE_CHARS_MAX};

/// Entities in the topic are told apart by what their key begins with.
const KEY_PREFIX: &str = "stream/";

#[derive(Default)]
struct View {
    streams: HashMap<StreamId, StreamEntry>,
    by_key: HashMap<KeyHash, StreamId>,
}

impl View {
    fn put(&mut self, entry: StreamEntry) {
        self.remove(entry.stream_id);
        if let Some(key) = entry.key_hash {
            self.by_key.insert(key, entry.stream_id);
        }
        self.streams.insert(entry.stream_id, entry);
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.remove(&id)
            && let Some(key) = entry.key_hash
            && self.by_key.get(&key) == Some(&id)
        {
            self.by_key.remove(&key);
        }
    }

    fn get(&self, id: StreamId) -> Result<&StreamEntry, CatalogError> {
        self.streams.get(&id).ok_or(CatalogError::Unknown(id))
    }
}

struct Shared {
    log: Arc<dyn Log>,
    view: RwLock<View>,
    // Held by the one change under way.
    changing: tokio::sync::Mutex<()>,
}

/// The catalog of streams; clones share it. Changes need a tokio runtime.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalog({} streams)", self.shared.view.read().streams.len())
    }
}

/// What a change does.
enum Change {
    Put(Vec<StreamEntry>),
    Forget(StreamId),
}

impl Catalog {
    /// Reads what the log holds. Streams that were live when the server
    /// stopped still say so: their owner decides how they go on.
    ///
    /// # Errors
    /// [`CatalogError::Log`] if the log can't be read, [`CatalogError::Entry`]
    /// if it holds something that isn't a stream.
    pub async fn load(log: Arc<dyn Log>) -> Result<Self, CatalogError> {
        let mut view = View::default();
        // By offset, so the newest is the last.
        let (mut before, mut newest) = (None, None);
        for record in log.latest(Topic::Catalog).await? {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            // Other entities share the topic.
            let (Some(_), Some(value)) = (key.strip_prefix(KEY_PREFIX), record.value) else {
                continue;
            };
            let entry = serde_json::from_slice::<StreamEntry>(&value)
                .map_err(|error| CatalogError::Entry { key, reason: error.to_string() })?;
            before = newest.replace(entry.clone());
            view.put(entry);
        }
        // One change at a time, of two streams at most: only these can be untold.
        for entry in [before, newest].into_iter().flatten() {
            let untold = journal::untold(&*log, &entry, runtime::wall_us()).await?;
            journal::append(&*log, Topic::Events, untold.into_iter().collect()).await?;
        }
        let changing = tokio::sync::Mutex::new(());
        Ok(Self { shared: Arc::new(Shared { log, view: RwLock::new(view), changing }) })
    }

    /// The stream, if it exists; deleted ones do.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamEntry> {
        self.shared.view.read().streams.get(&id).cloned()
    }

    /// The stream whose key this is. Reads nothing but its hash.
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<StreamId> {
        // A key of another length is never one of ours; don't hash megabytes for strangers.
        if key.len() > 256 {
            return None;
        }
        self.shared.view.read().by_key.get(&KeyHash::of(key)).copied()
    }

    /// The streamer whose stream it is. None: the operator's, or there is none.
    #[must_use]
    pub fn owner(&self, id: StreamId) -> Option<UserId> {
        self.shared.view.read().streams.get(&id).and_then(|entry| entry.owner)
    }

    /// All streams that `wanted` accepts, oldest first.
    #[must_use]
    pub fn list(&self, wanted: impl Fn(&StreamEntry) -> bool) -> Vec<StreamEntry> {
        let view = self.shared.view.read();
        let mut found: Vec<_> =
            view.streams.values().filter(|entry| wanted(entry)).cloned().collect();
        // UUIDv7 sort by time.
        found.sort_unstable_by_key(|entry| entry.stream_id);
        found
    }

    /// The channel of a stream: all broadcasts that its key had, one after the
    /// other, itself included. Empty: there is no such stream.
    #[must_use]
    pub fn channel(&self, id: StreamId) -> HashSet<StreamId> {
        let view = self.shared.view.read();
        let mut found = HashSet::new();
        for next in [|e: &StreamEntry| e.predecessor, |e: &StreamEntry| e.successor] {
            let mut at = view.streams.get(&id);
            while let Some(entry) = at {
                found.insert(entry.stream_id);
                at = next(entry).and_then(|of| view.streams.get(&of));
            }
        }
        found
    }

    /// Streams that viewers can expect parts from, now or soon, oldest first.
    #[must_use]
    pub fn live(&self) -> Vec<StreamEntry> {
        self.list(|entry| entry.state.is_live())
    }

    /// A new stream of the operator's, with a key of its own, which is never to
    /// be had again.
    ///
    /// # Errors
    /// [`CatalogError::Field`], [`CatalogError::Log`], [`CatalogError::Key`].
    pub async fn create(
        &self,
        title: &str,
        category: &str,
    ) -> Result<(StreamEntry, StreamKey), CatalogError> {
        self.make(title, category, None).await
    }

    /// The same for a streamer, who may have `unused_max` streams that never went live.
    ///
    /// # Errors
    /// As [`Catalog::create`], and [`CatalogError::TooMany`].
    pub async fn create_for(
        &self,
        owner: UserId,
        unused_max: usize,
        title: &str,
        category: &str,
    ) -> Result<(StreamEntry, StreamKey), CatalogError> {
        self.make(title, category, Some((owner, unused_max))).await
    }

    async fn make(
        &self,
        title: &str,
        category: &str,
        owner: Option<(UserId, usize)>,
    ) -> Result<(StreamEntry, StreamKey), CatalogError> {
        let title = text("title", title, 1, TITLE_CHARS_MAX)?;
        let category = text("category", category, 0, CATEGORY_CHARS_MAX)?;
        let key = StreamKey::generate()?;
        let entry = StreamEntry {
            owner: owner.map(|(user, _)| user),
            key_hash: Some(key.hash()),
            ..fresh(title, category)
        };
        let id = entry.stream_id;
        self.change(move |view| {
            if let Some((user, max)) = owner {
                let unused = view.streams.values().filter(|of| {
                    of.owner == Some(user) && of.state == StreamState::Created && !of.deleted
                });
                if unused.count() >= max {
                    return Err(CatalogError::TooMany(max));
                }
            }
            Ok(Change::Put(vec![entry]))
        })
        .await?;
        Ok((self.found(id)?, key))
    }

    /// Replaces the stream's key; the old one is refused from now on.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`]; [`CatalogError::Over`] if it was deleted or
    /// its key moved on; [`CatalogError::Log`], [`CatalogError::Key`].
    pub async fn rotate_key(&self, id: StreamId) -> Result<StreamKey, CatalogError> {
        let key = StreamKey::generate()?;
        let hash = key.hash();
        self.change(move |view| {
            let entry = view.get(id)?;
            if entry.key_hash.is_none() {
                return Err(CatalogError::Over(id));
            }
            Ok(Change::Put(vec![StreamEntry { key_hash: Some(hash), ..entry.clone() }]))
        })
        .await?;
        Ok(key)
    }

    /// Publisher number `session` (1 for the stream's first) came: it is active.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::Over`], [`CatalogError::Log`].
    pub async fn started(&self, id: StreamId, session: u32) -> Result<(), CatalogError> {
        let now = runtime::wall_us();
        self.change(move |view| {
            let entry = alive(view, id)?;
            Ok(Change::Put(vec![StreamEntry {
                state: StreamState::StreamActive,
                started_at_us: entry.started_at_us.or(Some(now)),
                // Never falls: the data plane tells sessions apart by it.
                sessions: entry.sessions.max(session),
                ..entry.clone()
            }]))
        })
        .await
    }

    /// Publisher number `session` dropped: the stream waits for the next. Does
    /// nothing if that one is there already, or the stream is over.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::Log`].
    pub async fn dropped(&self, id: StreamId, session: u32) -> Result<(), CatalogError> {
        self.change(move |view| {
            let entry = view.get(id)?;
            if entry.state != StreamState::StreamActive || entry.sessions != session {
                return Ok(Change::Put(Vec::new()));
            }
            let state = StreamState::Reconnecting;
            Ok(Change::Put(vec![StreamEntry { state, ..entry.clone() }]))
        })
        .await
    }

    /// The stream's state is `state` from now on. Setting the one that it has does nothing.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`]; [`CatalogError::Over`], since a complete
    /// stream stays complete; [`CatalogError::Log`].
    pub async fn set_state(&self, id: StreamId, state: StreamState) -> Result<(), CatalogError> {
        let now = runtime::wall_us();
        self.change(move |view| {
            let present = view.get(id)?.state;
            // What became of its recording says that it is complete, too.
            if present == state || present.is_over() && state == StreamState::StreamComplete {
                return Ok(Change::Put(Vec::new()));
            }
            let entry = alive(view, id)?;
            let over = state == StreamState::StreamComplete;
            Ok(Change::Put(vec![StreamEntry {
                state,
                started_at_us: entry.started_at_us.or(state.is_live().then_some(now)),
                ended_at_us: over.then_some(now),
                ..entry.clone()
            }]))
        })
        .await
    }

    /// What became of the recording of a stream that is over: `state` is
    /// [`StreamState::Archived`] or [`StreamState::Inactive`]. Setting the one
    /// that it has does nothing.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::NotOver`], [`CatalogError::Log`].
    pub async fn settle(&self, id: StreamId, state: StreamState) -> Result<(), CatalogError> {
        self.change(move |view| {
            let entry = view.get(id)?;
            if !entry.state.is_over() || !state.is_over() {
                return Err(CatalogError::NotOver(id));
            }
            if entry.state == state {
                return Ok(Change::Put(Vec::new()));
            }
            Ok(Change::Put(vec![StreamEntry { state, ..entry.clone() }]))
        })
        .await
    }

    /// Ends the stream for good: its key is refused, nothing continues it.
    /// Deleting again does nothing.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::Log`].
    pub async fn delete(&self, id: StreamId) -> Result<(), CatalogError> {
        let now = runtime::wall_us();
        self.change(move |view| {
            let entry = view.get(id)?;
            if entry.deleted {
                return Ok(Change::Put(Vec::new()));
            }
            Ok(Change::Put(vec![StreamEntry {
                key_hash: None,
                state: over(entry.state),
                ended_at_us: entry.ended_at_us.or(Some(now)),
                deleted: true,
                ..entry.clone()
            }]))
        })
        .await
    }

    /// The publisher of a finished stream came back with its key: a new stream
    /// of the same title and category takes the key over. Both change at once.
    ///
    /// If it has a successor already, that one is the answer: publishers that
    /// race get the same stream.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::NotOver`],
    /// [`CatalogError::NoSuccessor`], [`CatalogError::Log`].
    pub async fn successor(&self, id: StreamId) -> Result<StreamEntry, CatalogError> {
        self.change(move |view| {
            let old = view.get(id)?;
            if old.deleted {
                return Err(CatalogError::NoSuccessor(id));
            }
            if old.successor.is_some() {
                return Ok(Change::Put(Vec::new()));
            }
            if !old.state.is_over() {
                return Err(CatalogError::NotOver(id));
            }
            let new = StreamEntry {
                owner: old.owner,
                key_hash: old.key_hash,
                predecessor: Some(id),
                ..fresh(old.title.clone(), old.category.clone())
            };
            let successor = Some(new.stream_id);
            // The new one first: a shared log may be left with that alone, which works.
            Ok(Change::Put(vec![new, StreamEntry { key_hash: None, successor, ..old.clone() }]))
        })
        .await?;
        let successor = self.found(id)?.successor;
        self.found(successor.ok_or(CatalogError::Unknown(id))?)
    }

    /// Removes a finished stream altogether, once nothing of it is stored any
    /// more. Its key goes with it. Forgetting what isn't there does nothing.
    ///
    /// # Errors
    /// [`CatalogError::NotOver`], [`CatalogError::Log`].
    pub async fn forget(&self, id: StreamId) -> Result<(), CatalogError> {
        self.change(move |view| match view.get(id) {
            Ok(entry) if !entry.state.is_over() => Err(CatalogError::NotOver(id)),
            Ok(_) => Ok(Change::Forget(id)),
            Err(_) => Ok(Change::Put(Vec::new())),
        })
        .await
    }

    fn found(&self, id: StreamId) -> Result<StreamEntry, CatalogError> {
        self.get(id).ok_or(CatalogError::Unknown(id))
    }

    /// Decides on a change from the view, makes it durable, then shows it.
    async fn change(
        &self,
        decide: impl FnOnce(&View) -> Result<Change, CatalogError> + Send + 'static,
    ) -> Result<(), CatalogError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let _turn = shared.changing.lock().await;
            let change = decide(&shared.view.read())?;
            let records = match &change {
                Change::Put(entries) => {
                    entries.iter().map(record).collect::<Result<Vec<_>, _>>()?
                }
                Change::Forget(id) => vec![NewRecord::tombstone(0, record_key(*id))],
            };
            let events = match &change {
                Change::Put(entries) => events(&shared.view.read(), entries),
                Change::Forget(_) => Vec::new(),
            };
            let log = &*shared.log;
            log.append_many(Topic::Catalog, records).await?;
            // The catalog is the truth, events are told of it: one by one, so that
            // after a crash the newest change alone may be untold.
            if let Err(error) = journal::append(log, Topic::Events, events).await {
                tracing::warn!(%error, "a stream's change is told at the next start");
            }
            let mut view = shared.view.write();
            match change {
                Change::Put(entries) => {
                    entries.into_iter().for_each(|entry| view.put(entry));
                }
                Change::Forget(id) => view.remove(id),
            }
            Ok(())
        });
        task.await.map_err(|_| CatalogError::Interrupted)?
    }
}

fn alive(view: &View, id: StreamId) -> Result<&StreamEntry, CatalogError> {
    let entry = view.get(id)?;
    match entry.state.is_over() {
        true => Err(CatalogError::Over(id)),
        false => Ok(entry),
    }
}

/// A stream's state once it is over: what became of its recording stays.
fn over(state: StreamState) -> StreamState {
    if state.is_over() { state } else { StreamState::StreamComplete }
}

fn fresh(title: String, category: String) -> StreamEntry {
    StreamEntry {
        stream_id: StreamId::generate(),
        owner: None,
        title,
        category,
        key_hash: None,
        state: StreamState::Created,
        created_at_us: runtime::wall_us(),
        started_at_us: None,
        ended_at_us: None,
        sessions: 0,
        successor: None,
        predecessor: None,
        deleted: false,
    }
}

/// What is to be told of a change.
fn events(view: &View, entries: &[StreamEntry]) -> Vec<NewRecord> {
    let now = runtime::wall_us();
    let before = |entry: &StreamEntry| view.streams.get(&entry.stream_id);
    entries.iter().filter_map(|entry| journal::event(before(entry), entry, now)).collect()
}

fn record_key(id: StreamId) -> String {
    format!("{KEY_PREFIX}{id}")
}

fn record(entry: &StreamEntry) -> Result<NewRecord, CatalogError> {
    let key = record_key(entry.stream_id);
    match serde_json::to_vec(entry) {
        Ok(value) => Ok(NewRecord::new(0, key, value)),
        Err(error) => Err(CatalogError::Entry { key, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
