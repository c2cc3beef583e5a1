//! Viewers on sockets: who they are, and what they say.
//!
//! ```text
//! flush loops ─► joined · text · left ─► Sockets ─► desk
//!                        hello ─► accounts (a task: a signature takes a while)
//! ```
//!
//! - **Enters**: viewers' texts. **Leaves**: welcomes, and what is said, to the desk.
//! - **Held**: a session for each viewer that said who it is; what it said while that
//!   was looked at.
//! - **Ends**: with the connection. A session that ended meanwhile says nothing more.
//! - **Never here**: waiting. These methods run in loops that serve thousands.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use accounts::Session;
use chat::{ConnectionId, Flushers, Handler, Left, Position, UserTag, Who};
use parking_lot::Mutex;
use records::StreamId;
use sources::chat::ClientText;
use tokio::runtime::Handle;

use super::desk::Desk;
use super::lane::Lane;
use super::people::People;
use super::senders::Asker;
use super::wire::{Refused, Text, Welcome};

/// Texts that wait for a viewer's hello; more are refused.
const WAITING_MAX: usize = 32;

/// What a room's viewers are spread over when all of them come back at once.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_PER_THOUSAND: Duration = Duration::from_millis(300);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Who a viewer is.
enum Voice {
    /// That is being looked at; this came meanwhile.
    Coming(Vec<String>),
    /// Known.
    Known(Arc<Session>),
}

/// See the module.
pub struct Sockets {
    desk: Arc<Desk>,
    people: People,
    runtime: Handle,
    voices: Mutex<HashMap<ConnectionId, Voice>>,
    // Sessions that came with the upgrade, until the viewer is in the room.
    arrivals: Mutex<HashMap<UserTag, Arc<Session>>>,
    // Viewers, and those on their way; how many there may be.
    taken: AtomicU64,
    places: u64,
    flushers: OnceLock<Weak<Flushers>>,
    own: OnceLock<Weak<Self>>,
}

impl Sockets {
    /// Must be called on a tokio runtime, where hellos are looked at.
    #[must_use]
    pub fn new(desk: Arc<Desk>, people: People, places: u64) -> Arc<Self> {
        let sockets = Arc::new(Self {
            desk,
            people,
            runtime: Handle::current(),
            voices: Mutex::default(),
            arrivals: Mutex::default(),
            taken: AtomicU64::new(0),
            places,
            flushers: OnceLock::new(),
            own: OnceLock::new(),
        });
        let _already = sockets.own.set(Arc::downgrade(&sockets));
        sockets
    }

    /// Through which viewers are answered.
    pub fn answer_by(&self, flushers: &Arc<Flushers>) {
        let _already = self.flushers.set(Arc::downgrade(flushers));
    }

    /// Takes a place; false: there is none. Each is given back once, by the viewer's
    /// leaving, or by [`Sockets::give_back`] for one that never came.
    #[must_use]
    pub fn take_place(&self) -> bool {
        let more = |taken| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// A viewer that had a place didn't come.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }

    /// Viewers, and those on their way.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// The viewer with this tag, which nobody else may have, is this user: the upgrade
    /// showed it.
    pub fn expect(&self, tag: UserTag, session: Session) {
        self.arrivals.lock().insert(tag, Arc::new(session));
    }

    /// The viewer with this tag didn't come.
    pub fn unexpect(&self, tag: UserTag) {
        self.arrived(tag);
    }

    fn arrived(&self, tag: UserTag) -> Option<Arc<Session>> {
        self.arrivals.lock().remove(&tag)
    }

    fn lane(&self, who: Who<'_>) -> Option<Arc<Lane>> {
        let stream: StreamId = who.room.name().parse().ok()?;
        self.desk.known(stream)
    }

    fn hello(&self, id: ConnectionId, stream: StreamId, token: String) {
        let Some(own) = self.own.get().and_then(Weak::upgrade) else { return };
        self.voices.lock().insert(id, Voice::Coming(Vec::new()));
        self.runtime.spawn(async move {
            let session = own.people.accounts().authenticate(&token).await;
            own.known(id, stream, session.map_err(|error| (error.status(), error.to_string())));
        });
    }

    /// A hello was looked at.
    fn known(&self, id: ConnectionId, stream: StreamId, session: Result<Session, (u16, String)>) {
        let Some(lane) = self.desk.known(stream) else { return };
        let (text, session) = match session {
            Ok(session) => {
                let session = Arc::new(session);
                (self.people.you(&lane, &session).json(), Some(session))
            }
            Err((status, detail)) => {
                (Text::Refused(Refused::plain(status, "token", &detail, None)).json(), None)
            }
        };
        let mut voices = self.voices.lock();
        // Gone meanwhile.
        let Some(Voice::Coming(waiting)) = voices.remove(&id) else { return };
        if let Some(session) = &session {
            voices.insert(id, Voice::Known(Arc::clone(session)));
        }
        drop(voices);
        self.reply(id, &text);
        for text in waiting {
            self.heard(id, &lane, session.as_ref(), &text);
        }
    }

    fn reply(&self, id: ConnectionId, text: &str) {
        if let Some(flushers) = self.flushers.get().and_then(Weak::upgrade) {
            let _full = flushers.reply(id, text);
        }
    }

    /// One text of a viewer whose hello isn't being looked at.
    fn heard(&self, id: ConnectionId, lane: &Arc<Lane>, who: Option<&Arc<Session>>, text: &str) {
        let refuse = |status, code, detail: &str, client_id: Option<&str>| {
            let refused = Refused::plain(status, code, detail, client_id);
            self.reply(id, &Text::Refused(refused).json());
        };
        match ClientText::parse(text) {
            Err(error) => refuse(400, "malformed", &error.to_string(), None),
            Ok(ClientText::Hello { token }) => self.hello(id, lane.stream, token),
            Ok(ClientText::Say { message, client_id }) => {
                let Some(session) = who.filter(|session| self.people.may_still(session)) else {
                    return refuse(401, "token", "log in to write", client_id.as_deref());
                };
                let asker = Asker::Socket { id, client_id: client_id.clone() };
                let (asked, body) = self.people.said(lane, session, message, client_id);
                self.desk.put(lane, asked, body, asker);
            }
        }
    }
}

impl Handler for Sockets {
    fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
        let lane = self.lane(who)?;
        let viewers = lane.viewers();
        let retry_ms = retry_ms(viewers, who.id);
        let welcome = lane.notes(|notes| {
            let welcome = Welcome {
                epoch: at.epoch.to_string(),
                seq: at.seq,
                recovered: at.recovered,
                retry_ms,
                mode: &notes.mode,
                pinned: notes.pinned.as_ref().map(Into::into),
                viewers,
            };
            Text::Welcome(welcome).json()
        });
        if let Some(session) = self.arrived(who.user) {
            // Through the loop's inbox: behind the welcome.
            self.reply(who.id, &self.people.you(&lane, &session).json());
            self.voices.lock().insert(who.id, Voice::Known(session));
        }
        Some(welcome)
    }

    fn text(&self, who: Who<'_>, text: &str) {
        let Some(lane) = self.lane(who) else { return };
        let session = match self.voices.lock().get_mut(&who.id) {
            Some(Voice::Coming(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    return waiting.push(text.to_owned());
                }
                return who.reply(&Text::Refused(Refused::busy(None)).json());
            }
            Some(Voice::Known(session)) => Some(Arc::clone(session)),
            None => None,
        };
        self.heard(who.id, &lane, session.as_ref(), text);
    }

    fn left(&self, who: Who<'_>, _why: &Left) {
        self.voices.lock().remove(&who.id);
        self.give_back();
    }
}

/// When one of so many viewers should come back, lest all come at once.
fn retry_ms(viewers: usize, id: ConnectionId) -> u32 {
    let spread = (RETRY_PER_THOUSAND * (viewers as u32 / 1000 + 1)).min(RETRY_MAX);
    // Spread evenly over those who come one after the other, the same for one connection.
    let place = blake3::hash(format!("{id:?}").as_bytes()).as_bytes()[0];
    (RETRY_MIN + spread * u32::from(place) / 256).as_millis() as u32
}
