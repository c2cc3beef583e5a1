//! Who waits to hear what became of what they said.
//!
//! Enters: an asker for each thing said. Leaves: its answer, once. Held: askers, at most
//! [`ASKERS_MAX`], none for longer than [`PATIENCE`]. Never here:
//! what is answered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chat::ConnectionId;
use moderate::{Receipt, Refusal};
use parking_lot::Mutex;
use records::MessageId;
use tokio::sync::oneshot;

/// Askers at once; more are turned away.
const ASKERS_MAX: usize = 200_000;

/// How long anybody waits: for a log that is away, or a data plane that was stopped. What
/// was said may still come to be heard; a retry with the same `client_id` finds out.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What became of it.
#[derive(Debug)]
pub enum Answer {
    /// It is in the room, and durable.
    Accepted(Receipt),
    /// The room refused it.
    Refused(Refusal),
    /// Too much waits, or the log fails: whether it will be in the room is open.
    Busy,
}

/// Who is told.
pub enum Asker {
    /// A viewer on a socket.
    Socket {
        /// Which.
        id: ConnectionId,
        /// Its own name for what it said.
        client_id: Option<String>,
    },
    /// A request.
    Call(oneshot::Sender<Answer>),
}

/// See the module.
#[derive(Default)]
pub struct Senders {
    waiting: Mutex<HashMap<MessageId, (Instant, Asker)>>,
}

impl Senders {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The asker again: too many wait.
    pub fn wait(&self, id: MessageId, asker: Asker) -> Result<(), Asker> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= ASKERS_MAX {
            return Err(asker);
        }
        waiting.insert(id, (Instant::now(), asker));
        Ok(())
    }

    /// Whoever waits for this answer; nobody does once it was taken.
    pub fn take(&self, id: MessageId) -> Option<Asker> {
        self.waiting.lock().remove(&id).map(|(_, asker)| asker)
    }

    /// Those who have waited long enough.
    pub fn tired(&self) -> Vec<Asker> {
        let mut waiting = self.waiting.lock();
        let tired = waiting.extract_if(|_, (since, _)| since.elapsed() >= PATIENCE);
        tired.map(|(_, (_, asker))| asker).collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}
