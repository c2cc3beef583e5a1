//! Cancel requests: they come by a connection of their own and name the other
//! one by a number and a secret that only its client was told.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pgwire::messages::startup::SecretKey;
use tokio::sync::watch;

type Key = (i32, Bytes);

/// Tells whoever listens that what runs is to end.
pub(super) type Cancel = Arc<watch::Sender<()>>;

/// The connections that can be told to cancel.
#[derive(Clone, Default)]
pub(super) struct Cancels(Arc<Mutex<HashMap<Key, Cancel>>>);

/// A connection's entry; goes with it.
pub(super) struct Registered {
    key: Key,
    cancels: Cancels,
}

impl Cancels {
    /// Makes `cancel` known under this name.
    pub(super) fn register(&self, pid: i32, secret: &SecretKey, cancel: &Cancel) -> Registered {
        let key = (pid, secret.to_bytes());
        self.0.lock().insert(key.clone(), Arc::clone(cancel));
        Registered { key, cancels: self.clone() }
    }

    /// Ends what runs there, if there is such a connection. Nobody is told whether there is.
    pub(super) fn cancel(&self, pid: i32, secret: &SecretKey) {
        if let Some(cancel) = self.0.lock().get(&(pid, secret.to_bytes())) {
            cancel.send_replace(());
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.cancels.0.lock().remove(&self.key);
    }
}
