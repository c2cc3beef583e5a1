//! Viewers on sockets: who they are, and what they say.
//!
//! ```text
//! flush loops ─► joined · text · left ─► Sockets ─► desk
//!                        hello ─► accounts (a task: a signature takes a while)
//! ```
//!
//! - **Enters**: viewers' texts, and who is with gateways. **Leaves**: welcomes, and what is
//!   said, to the desk; gateways' viewers, to the room's count.
//! - **Held**: a session for each viewer that said who it is; what it said while that
//!   was looked at; each gateway's crowd.
//! - **Ends**: with the connection. A session that ended meanwhile says nothing more.
//! - **Never here**: waiting. These methods run in loops that serve thousands.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use accounts::Session;
use chat::{ConnectionId, Flushers, Handler, Left, Position, UserTag, Who};
use parking_lot::Mutex;
use records::StreamId;
use sources::chat::ClientText;
use tokio::runtime::Handle;

use super::desk::Desk;
use super::lane::Lane;
use super::people::People;
use super::places::Places;
use super::senders::Asker;
use super::wire::{Refused, Text, Welcome};

/// Texts that wait for a viewer's hello, or at a gateway for an answer; more are refused.
pub const WAITING_MAX: usize = 32;

/// Who a viewer is.
enum Voice {
    /// That is being looked at; this came meanwhile.
    Coming(Vec<String>),
    /// Known.
    Known(Arc<Session>),
    /// A gateway, with the viewers who are there, each as often as it is.
    Gateway(Arc<Mutex<HashMap<UserTag, u32>>>),
}

/// Who somebody is whom the upgrade showed to be so.
#[derive(Clone)]
pub enum Guest {
    /// This user.
    User(Arc<Session>),
    /// A gateway; it isn't a viewer, but speaks for its own.
    Gateway,
}

/// See the module.
pub struct Sockets {
    desk: Arc<Desk>,
    people: People,
    runtime: Handle,
    voices: Mutex<HashMap<ConnectionId, Voice>>,
    // Who showed with the upgrade who they are, until they are in the room.
    arrivals: Mutex<HashMap<UserTag, Guest>>,
    /// Of viewers, and of those on their way. Each is given back by the viewer's leaving,
    /// or by whoever sees that it never came.
    pub places: Places,
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
            places: Places::new(places),
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

    /// The viewer with this tag, which nobody else may have, is this one: the upgrade
    /// showed it.
    pub fn expect(&self, tag: UserTag, guest: Guest) {
        self.arrivals.lock().insert(tag, guest);
    }

    /// The viewer with this tag didn't come.
    pub fn unexpect(&self, tag: UserTag) {
        self.arrived(tag);
    }

    fn arrived(&self, tag: UserTag) -> Option<Guest> {
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
        let refuse = |refused| self.reply(id, &Text::Refused(refused).json());
        match ClientText::parse(text) {
            Err(error) => refuse(Refused::plain(400, "malformed", &error.to_string(), None)),
            Ok(ClientText::Hello { token }) => self.hello(id, lane.stream, token),
            Ok(ClientText::Say { message, client_id }) => {
                let Some(session) = who.filter(|session| self.people.may_still(session)) else {
                    return refuse(Refused::stranger(client_id.as_deref()));
                };
                let asker = Asker::Socket { id, client_id: client_id.clone() };
                let (asked, body) = self.people.said(lane, session, message, client_id);
                self.desk.put(lane, asked, body, asker);
            }
            Ok(ClientText::Crowd { .. }) => refuse(Refused::not_a_gateway()),
        }
    }
}

impl Handler for Sockets {
    fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
        let lane = self.lane(who)?;
        match self.arrived(who.user) {
            Some(Guest::User(session)) => {
                // Through the loop's inbox: behind the welcome.
                self.reply(who.id, &self.people.you(&lane, &session).json());
                self.voices.lock().insert(who.id, Voice::Known(session));
            }
            Some(Guest::Gateway) => {
                lane.room.presence().leave(who.user);
                self.voices.lock().insert(who.id, Voice::Gateway(Arc::default()));
            }
            None => {}
        }
        let viewers = lane.viewers();
        Some(lane.notes(|notes| Text::Welcome(Welcome::new(who, at, notes, viewers)).json()))
    }

    fn text(&self, who: Who<'_>, text: &str) {
        let Some(lane) = self.lane(who) else { return };
        let mut voices = self.voices.lock();
        let session = match voices.get_mut(&who.id) {
            Some(Voice::Coming(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    return waiting.push(text.to_owned());
                }
                return who.reply(&Text::Refused(Refused::busy(None)).json());
            }
            Some(Voice::Known(session)) => Some(Arc::clone(session)),
            Some(Voice::Gateway(crowd)) => {
                let crowd = Arc::clone(crowd);
                drop(voices);
                return report(who, text, &mut crowd.lock());
            }
            None => None,
        };
        drop(voices);
        self.heard(who.id, &lane, session.as_ref(), text);
    }

    fn left(&self, who: Who<'_>, _why: &Left) {
        // Without the lock, which all loops need: a crowd is thousands.
        let voice = self.voices.lock().remove(&who.id);
        if let Some(Voice::Gateway(crowd)) = voice {
            // It says so again when it comes back.
            for (tag, times) in crowd.lock().drain() {
                (0..times).for_each(|_| who.room.presence().leave(tag));
            }
        }
        self.unexpect(who.user);
        self.places.give_back();
    }
}

/// A gateway says who came to it and who left.
fn report(who: Who<'_>, text: &str, crowd: &mut HashMap<UserTag, u32>) {
    let Ok(ClientText::Crowd { entered, left }) = ClientText::parse(text) else {
        let detail = "a gateway says who is there, and nothing else";
        return who.reply(&Text::Refused(Refused::plain(400, "malformed", detail, None)).json());
    };
    for tag in entered.into_iter().map(|tag| UserTag(tag.as_u128())) {
        *crowd.entry(tag).or_default() += 1;
        who.room.presence().enter(tag);
    }
    for tag in left.into_iter().map(|tag| UserTag(tag.as_u128())) {
        let Some(times) = crowd.get_mut(&tag) else { continue };
        *times -= 1;
        if *times == 0 {
            crowd.remove(&tag);
        }
        who.room.presence().leave(tag);
    }
}
