//! The users, in memory and in the log.
//!
//! ```text
//! change ──decide from the view──► append, fsync ──► show
//!                                    └─ in doubt: written anew before the next change
//! ```
//!
//! Enters: changes, each durable before its method returns. Leaves: lookups, at
//! memory speed. Held: every user (some 600 bytes each). Never: two changes at
//! once; a name is taken by whoever's turn comes first, and everybody after
//! that sees it taken.
//!
//! When an append fails it is open whether the log has it. The view then shows
//! what was before, and what it shows is written again before anything else is:
//! else a user that nobody was told of could come back after a restart beside
//! the one who got the name meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use log::{Log, NewRecord, Topic};
use parking_lot::RwLock;

use records::UserId;

use crate::error::AccountError;
use crate::name::{folded, looks};
use crate::user::{Entry, External};

/// Entities in the topic are told apart by what their key begins with.
const KEY_PREFIX: &str = "user/";

#[derive(Default)]
pub(crate) struct View {
    users: HashMap<UserId, Arc<Entry>>,
    by_name: HashMap<String, UserId>,
    by_looks: HashMap<String, UserId>,
    by_email: HashMap<String, UserId>,
    by_external: HashMap<External, UserId>,
    /// Whose change is decided and not yet shown.
    pending: Option<UserId>,
}

impl View {
    /// Names, addresses and identities never change, so a user's keys are put once.
    fn put(&mut self, entry: Entry) {
        let id = entry.user_id;
        if !self.users.contains_key(&id) {
            // Who was first keeps a key. Two users with one exist only if rules of
            // Unicode changed between versions; then both are still found by id.
            self.by_name.entry(folded(&entry.name)).or_insert(id);
            for look in looks(&entry.name) {
                self.by_looks.entry(look).or_insert(id);
            }
            if let Some(email) = &entry.email {
                self.by_email.entry(email.key()).or_insert(id);
            }
            if let Some(external) = &entry.external {
                self.by_external.entry(external.clone()).or_insert(id);
            }
        }
        self.users.insert(id, Arc::new(entry));
    }

    pub(crate) fn get(&self, id: UserId) -> Option<&Arc<Entry>> {
        self.users.get(&id)
    }

    /// By name in any case, or by e-mail address.
    pub(crate) fn by_login(&self, login: &str) -> Option<&Arc<Entry>> {
        let by = if login.contains('@') { &self.by_email } else { &self.by_name };
        by.get(&folded(login)).and_then(|id| self.users.get(id))
    }

    pub(crate) fn by_external(&self, external: &External) -> Option<&Arc<Entry>> {
        self.by_external.get(external).and_then(|id| self.users.get(id))
    }

    pub(crate) fn is_taken(&self, name: &str) -> bool {
        looks(name).iter().any(|look| self.by_looks.contains_key(look))
            || self.by_name.contains_key(&folded(name))
    }

    pub(crate) fn has_email(&self, key: &str) -> bool {
        self.by_email.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }
}

/// What is held by the one change under way.
#[derive(Default)]
struct Turn {
    // Whose last append failed.
    doubtful: HashSet<UserId>,
}

struct Shared {
    log: Arc<dyn Log>,
    view: RwLock<View>,
    turn: tokio::sync::Mutex<Turn>,
}

/// The users; clones share them. Changes need a tokio runtime.
#[derive(Clone)]
pub(crate) struct Users {
    shared: Arc<Shared>,
}

impl Users {
    pub(crate) async fn load(log: Arc<dyn Log>) -> Result<Self, AccountError> {
        let mut found = Vec::new();
        for record in log.latest(Topic::Catalog).await? {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            // Other entities share the topic.
            let (Some(_), Some(value)) = (key.strip_prefix(KEY_PREFIX), record.value) else {
                continue;
            };
            let entry = serde_json::from_slice::<Entry>(&value)
                .map_err(|error| AccountError::Entry { key, reason: what(&error) })?;
            found.push(entry);
        }
        // By id, which is by time: who was first has the name.
        found.sort_unstable_by_key(|entry| entry.user_id);
        let mut view = View::default();
        found.into_iter().for_each(|entry| view.put(entry));
        let (view, turn) = (RwLock::new(view), Default::default());
        Ok(Self { shared: Arc::new(Shared { log, view, turn }) })
    }

    /// Looks at the users. Not to be held on to: changes wait for it.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.shared.view.read())
    }

    pub(crate) fn get(&self, id: UserId) -> Option<Arc<Entry>> {
        self.read(|view| view.get(id).cloned())
    }

    /// Looks at the users while no change of this one is under way.
    pub(crate) async fn settled<T>(&self, id: UserId, look: impl FnOnce(&View) -> T) -> T {
        loop {
            {
                let view = self.shared.view.read();
                if view.pending != Some(id) {
                    return look(&view);
                }
            }
            drop(self.shared.turn.lock().await);
        }
    }

    /// Decides on a change of one user from the view, makes it durable, then
    /// shows it. It runs in a task of its own, so a caller that goes away
    /// half-way doesn't leave log and view apart.
    pub(crate) async fn change(
        &self,
        decide: impl FnOnce(&View) -> Result<Entry, AccountError> + Send + 'static,
    ) -> Result<Arc<Entry>, AccountError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let mut turn = shared.turn.lock().await;
            let again = {
                let view = shared.view.read();
                let of = |id: &UserId| record(*id, view.get(*id).map(|entry| &**entry));
                turn.doubtful.iter().map(of).collect::<Result<Vec<_>, _>>()?
            };
            if !again.is_empty() {
                shared.log.append_many(Topic::Catalog, again).await?;
                turn.doubtful.clear();
            }
            let (id, entry, record) = {
                // To write: whoever looks sees no decision of this change, or that it is pending.
                let mut view = shared.view.write();
                let entry = decide(&view)?;
                let id = entry.user_id;
                if let Some(known) = view.get(id).filter(|known| ***known == entry) {
                    return Ok(Arc::clone(known));
                }
                let record = record(id, Some(&entry))?;
                view.pending = Some(id);
                (id, entry, record)
            };
            let appended = shared.log.append(Topic::Catalog, record).await;
            let mut view = shared.view.write();
            view.pending = None;
            if let Err(error) = appended {
                turn.doubtful.insert(id);
                return Err(error.into());
            }
            view.put(entry);
            view.get(id).cloned().ok_or(AccountError::Unknown)
        });
        task.await.map_err(|_| AccountError::Interrupted)?
    }
}

fn record(id: UserId, entry: Option<&Entry>) -> Result<NewRecord, AccountError> {
    let key = format!("{KEY_PREFIX}{id}");
    let Some(entry) = entry else { return Ok(NewRecord::tombstone(0, key)) };
    match serde_json::to_vec(entry) {
        Ok(value) => Ok(NewRecord::new(0, key, value)),
        Err(error) => Err(AccountError::Entry { key, reason: what(&error) }),
    }
}

/// Where it is wrong, without the text around it, which can be a hash.
fn what(error: &serde_json::Error) -> String {
    format!("{:?} error at column {}", error.classify(), error.column())
}
