//! Viewers of a gateway: they are welcomed here and heard at the origin.
//!
//! ```text
//! flush loops ─► joined · text · left ─► Voices ─► a queue for each who speaks ─► origin
//! ```
//!
//! - **Enters**: viewers' texts. **Leaves**: welcomes; the origin's answers.
//! - **Held**: for each viewer who spoke a task, its token, and a few texts.
//! - **Ends**: with the connection, once what was said by then is said.
//! - **Never here**: waiting, but in those tasks; knowing who somebody is.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use chat::{ConnectionId, Flushers, Handler, Left, Position, UserTag, Who};
use parking_lot::Mutex;
use records::StreamId;
use sources::chat::ClientText;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::halls::{Hall, Halls};
use super::origin::{Origin, Refusal};
use crate::chat::{Places, Refused, Text, WAITING_MAX, Welcome};

/// Until the origin is asked once more who somebody is.
const HELLO_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
pub struct Voices {
    origin: Arc<Origin>,
    halls: Arc<Halls>,
    runtime: Handle,
    queues: Mutex<HashMap<ConnectionId, mpsc::Sender<ClientText>>>,
    // Tokens that came with the upgrade, until the viewer is in the room.
    arrivals: Mutex<HashMap<UserTag, String>>,
    /// Of viewers, and of those on their way.
    pub places: Places,
    flushers: OnceLock<Weak<Flushers>>,
    own: OnceLock<Weak<Self>>,
}

impl Voices {
    /// Must be called on a tokio runtime, where the origin is asked.
    #[must_use]
    pub fn new(origin: Arc<Origin>, halls: Arc<Halls>, places: Places) -> Arc<Self> {
        let voices = Arc::new(Self {
            origin,
            halls,
            runtime: Handle::current(),
            queues: Mutex::default(),
            arrivals: Mutex::default(),
            places,
            flushers: OnceLock::new(),
            own: OnceLock::new(),
        });
        let _already = voices.own.set(Arc::downgrade(&voices));
        voices
    }

    /// Through which viewers are answered.
    pub fn answer_by(&self, flushers: &Arc<Flushers>) {
        let _already = self.flushers.set(Arc::downgrade(flushers));
    }

    /// The viewer with this tag, which nobody else may have, showed a token.
    pub fn expect(&self, tag: UserTag, token: String) {
        self.arrivals.lock().insert(tag, token);
    }

    /// It didn't come.
    pub fn unexpect(&self, tag: UserTag) {
        self.arrivals.lock().remove(&tag);
    }

    /// The viewer's hall; none if it has ended, even if another has taken its place.
    fn hall(&self, who: Who<'_>) -> Option<Arc<Hall>> {
        let hall = self.halls.known(stream(who)?)?;
        Arc::ptr_eq(&hall.room, who.room).then_some(hall)
    }

    fn is_here(&self, id: ConnectionId) -> bool {
        self.queues.lock().contains_key(&id)
    }

    fn reply(&self, id: ConnectionId, text: &Text<'_>) {
        self.reply_text(id, &text.json());
    }

    fn reply_text(&self, id: ConnectionId, text: &str) {
        if let Some(flushers) = self.flushers.get().and_then(Weak::upgrade) {
            let _full = flushers.reply(id, text);
        }
    }

    /// Hands a text to the viewer's own task, which is there from its first text on.
    fn hear(&self, id: ConnectionId, stream: StreamId, text: ClientText) {
        let mut queues = self.queues.lock();
        let queue = queues.entry(id).or_insert_with(|| {
            let (queue, said) = mpsc::channel(WAITING_MAX);
            if let Some(own) = self.own.get().and_then(Weak::upgrade) {
                self.runtime.spawn(own.listen(id, stream, said));
            }
            queue
        });
        if let Err(full) = queue.try_send(text) {
            drop(queues);
            let (mpsc::error::TrySendError::Full(text) | mpsc::error::TrySendError::Closed(text)) =
                full;
            let client_id = match &text {
                ClientText::Say { client_id, .. } => client_id.as_deref(),
                ClientText::Hello { .. } | ClientText::Crowd { .. } => None,
            };
            self.reply(id, &Text::Refused(Refused::busy(client_id)));
        }
    }

    /// One viewer's texts, one after the other, lest they get out of order.
    async fn listen(
        self: Arc<Self>,
        id: ConnectionId,
        stream: StreamId,
        mut said: mpsc::Receiver<ClientText>,
    ) {
        let mut token: Option<String> = None;
        while let Some(text) = said.recv().await {
            match text {
                // Nobody is there to be known.
                ClientText::Hello { .. } if !self.is_here(id) => {}
                ClientText::Hello { token: given } => {
                    let mut asked = self.origin.you(stream, &given).await;
                    // Clients say it once: an origin that is away is asked until it is back.
                    while asked.as_ref().is_err_and(Refusal::is_open) && self.is_here(id) {
                        tokio::time::sleep(HELLO_AGAIN).await;
                        asked = self.origin.you(stream, &given).await;
                    }
                    token = asked.is_ok().then_some(given);
                    match asked {
                        Ok(you) => self.reply_text(id, &you),
                        Err(refusal) => self.reply(id, &Text::Refused(refusal.told(None))),
                    }
                }
                ClientText::Say { message, client_id } => {
                    let client_id = client_id.as_deref();
                    let Some(token) = &token else {
                        self.reply(id, &Text::Refused(Refused::stranger(client_id)));
                        continue;
                    };
                    match self.origin.say(stream, token, &message, client_id).await {
                        Ok(receipt) => self.reply(id, &Text::accepted(receipt, client_id)),
                        Err(refusal) => self.reply(id, &Text::Refused(refusal.told(client_id))),
                    }
                }
                ClientText::Crowd { .. } => {
                    self.reply(id, &Text::Refused(Refused::not_a_gateway()));
                }
            }
        }
    }
}

fn stream(who: Who<'_>) -> Option<StreamId> {
    who.room.name().parse().ok()
}

impl Handler for Voices {
    fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
        let arrived = self.arrivals.lock().remove(&who.user);
        let stream = stream(who)?;
        let hall = self.hall(who)?;
        hall.enter(who.user);
        if let Some(token) = arrived {
            self.hear(who.id, stream, ClientText::Hello { token });
        }
        let viewers = hall.viewers();
        Some(hall.notes(|notes| Text::Welcome(Welcome::new(who, at, notes, viewers)).json()))
    }

    fn text(&self, who: Who<'_>, text: &str) {
        let Some(stream) = stream(who) else { return };
        match ClientText::parse(text) {
            Ok(text) => self.hear(who.id, stream, text),
            Err(error) => {
                let refused = Refused::plain(400, "malformed", "", None);
                let refused = Refused { detail: error.to_string().into(), ..refused };
                who.reply(&Text::Refused(refused).json());
            }
        }
    }

    fn left(&self, who: Who<'_>, _why: &Left) {
        self.queues.lock().remove(&who.id);
        self.unexpect(who.user);
        if let Some(hall) = self.hall(who) {
            hall.leave(who.user);
        }
        self.places.give_back();
    }
}
