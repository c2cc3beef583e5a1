//! The rooms of a gateway.
//!
//! Enters: who wants to be in one; texts from the link. Leaves: texts to the room, who is
//! here to the link. Held: for each room its ring, what newcomers are told, its crowd.
//! Ends, a room: with its broadcast, with a hole, or when nobody was here for a while.
//! Never here: connections to the origin, but for asking for one.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chat::ws::CloseReason;
use chat::{Room, Start, UserTag};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use records::{ChatRecord, StreamId};
use serde::Deserialize;
use sources::chat::{CROWD_MAX, ClientText};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::link;
use super::origin::{Origin, OriginError};
use crate::chat::{Notes, Told, ToldWelcome};

/// Rooms that are opened at a time.
const OPENING_MAX: usize = 64;

/// How long who comes back waits for the link to have what it has.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// Shared: all who wait for a room wait for one connection, and hear the same.
type Opening = Shared<BoxFuture<'static, Result<Arc<Hall>, OriginError>>>;

/// A text is missing, or one can't be held.
#[derive(Debug, PartialEq, Eq)]
pub struct Hole;

/// A room; see the module.
pub struct Hall {
    /// Whose.
    pub stream: StreamId,
    /// Its viewers here, and the texts they are given.
    pub room: Arc<Room>,
    notes: Mutex<Notes>,
    // As the origin last said, gateways' viewers included.
    viewers: AtomicUsize,
    crowd: Mutex<Crowd>,
}

/// Who is here, and what of it the origin doesn't know yet.
struct Crowd {
    here: HashMap<UserTag, u32>,
    entered: Vec<Uuid>,
    left: Vec<Uuid>,
    // Without a link nothing is noted: the next one begins with everybody.
    is_linked: bool,
    // Since when nobody is here.
    empty: Option<Instant>,
}

impl Hall {
    /// As the origin welcomed us to it.
    fn new(stream: StreamId, epoch: u64, welcome: ToldWelcome, ring_bytes: usize) -> Self {
        let pinned = welcome.pinned.map(|pinned| pinned.message(stream));
        Self {
            stream,
            room: Room::new(stream.to_string(), epoch, welcome.seq, ring_bytes),
            notes: Mutex::new(Notes::begin(welcome.mode, pinned)),
            viewers: AtomicUsize::new(welcome.viewers),
            crowd: Mutex::new(Crowd {
                here: HashMap::new(),
                entered: Vec::new(),
                left: Vec::new(),
                is_linked: false,
                empty: Some(Instant::now()),
            }),
        }
    }

    /// Takes in a text of the origin.
    ///
    /// # Errors
    /// [`Hole`].
    pub fn told(&self, text: &str) -> Result<(), Hole> {
        let record = match serde_json::from_str(text) {
            Ok(Told::Viewers { viewers }) => {
                self.viewers.store(viewers, Relaxed);
                return self.room.notice(text).map_err(|_| Hole);
            }
            Ok(told) => told.record(self.stream),
            Err(error) => {
                tracing::warn!(stream = %self.stream, %error, "a text isn't understood");
                None
            }
        };
        // A newer origin's is passed on, though newcomers here aren't told what it changed.
        let Some(seq) = record.as_ref().map(ChatRecord::seq).or_else(|| number(text)) else {
            return Ok(());
        };
        match seq.checked_sub(self.room.last()) {
            // We have it: the link was cut behind it.
            None | Some(0) => Ok(()),
            Some(1) => {
                if let Some(record) = &record {
                    self.notes.lock().note(record);
                }
                self.room.publish(seq, text).map_err(|_| Hole)
            }
            Some(_) => Err(Hole),
        }
    }

    /// Waits until the room has what somebody who comes back has: the link is a moment behind
    /// the origin, and behind other gateways. Not for long; then it isn't recovered.
    pub async fn reach(&self, start: Start) {
        let Start::After { epoch, seq } = start else { return };
        if epoch != self.room.epoch() {
            return;
        }
        let mut news = self.room.watch();
        let reached = async { while self.room.last() < seq && news.changed().await.is_ok() {} };
        let _late = tokio::time::timeout(BEHIND_MAX, reached).await;
    }

    /// What newcomers are told.
    pub fn notes<T>(&self, look: impl FnOnce(&Notes) -> T) -> T {
        look(&self.notes.lock())
    }

    /// How many watch or read, as far as is known here.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Relaxed).max(self.room.presence().viewers().users)
    }

    /// A viewer is here.
    pub fn enter(&self, who: UserTag) {
        let mut crowd = self.crowd.lock();
        *crowd.here.entry(who).or_default() += 1;
        crowd.empty = None;
        if crowd.is_linked {
            crowd.entered.push(Uuid::from_u128(who.0));
        }
    }

    /// A viewer that was here left.
    pub fn leave(&self, who: UserTag) {
        let mut crowd = self.crowd.lock();
        let Some(times) = crowd.here.get_mut(&who) else { return };
        *times -= 1;
        if *times == 0 {
            crowd.here.remove(&who);
        }
        if crowd.is_linked {
            crowd.left.push(Uuid::from_u128(who.0));
        }
        if crowd.here.is_empty() {
            crowd.empty = Some(Instant::now());
        }
    }

    /// Since when nobody is here; None: somebody is.
    #[must_use]
    pub fn empty(&self) -> Option<Instant> {
        self.crowd.lock().empty
    }

    /// Texts for an origin that knows of nobody here.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let mut crowd = self.crowd.lock();
        crowd.is_linked = true;
        let each = crowd.here.iter().map(|(tag, times)| (Uuid::from_u128(tag.0), *times as usize));
        texts(
            &each.flat_map(|(tag, times)| std::iter::repeat_n(tag, times)).collect::<Vec<_>>(),
            &[],
        )
    }

    /// The link is cut.
    pub fn unlink(&self) {
        let mut crowd = self.crowd.lock();
        crowd.is_linked = false;
        (crowd.entered, crowd.left) = (Vec::new(), Vec::new());
    }

    /// Texts of what changed since it was last asked.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let mut crowd = self.crowd.lock();
        let (entered, left) = (std::mem::take(&mut crowd.entered), std::mem::take(&mut crowd.left));
        drop(crowd);
        texts(&entered, &left)
    }
}

/// The number of a text that isn't understood otherwise.
fn number(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    serde_json::from_str(text).ok().map(|Numbered { seq }| seq)
}

/// Whoever came and left is told of first as having come.
fn texts(entered: &[Uuid], left: &[Uuid]) -> Vec<String> {
    let entered = entered.chunks(CROWD_MAX).map(|some| (some.to_vec(), Vec::new()));
    let left = left.chunks(CROWD_MAX).map(|some| (Vec::new(), some.to_vec()));
    let crowds = entered.chain(left).map(|(entered, left)| ClientText::Crowd { entered, left });
    // Lists of identifiers can't fail.
    crowds.map(|crowd| serde_json::to_string(&crowd).unwrap_or_default()).collect()
}

/// All rooms; see the module.
pub struct Halls {
    origin: Arc<Origin>,
    ring_bytes: usize,
    halls: Mutex<HashMap<StreamId, Opening>>,
    // Strangers may ask for rooms that don't exist.
    opening: Semaphore,
    // Why all have ended, and those that are still being opened will.
    closed: OnceLock<CloseReason>,
    /// Rooms whose link is there.
    pub linked: AtomicUsize,
}

impl Halls {
    /// None yet.
    #[must_use]
    pub fn new(origin: Arc<Origin>, ring_bytes: usize) -> Self {
        Self {
            origin,
            ring_bytes,
            halls: Mutex::default(),
            opening: Semaphore::new(OPENING_MAX),
            closed: OnceLock::new(),
            linked: AtomicUsize::new(0),
        }
    }

    /// Whose rooms they are.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The room, opened if need be.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn get(self: Arc<Self>, stream: StreamId) -> Result<Arc<Hall>, OriginError> {
        let opening = {
            let mut halls = self.halls.lock();
            let open = || {
                let opening = Arc::clone(&self).open(stream).boxed().shared();
                tokio::spawn(Arc::clone(&self).see_through(stream, opening.clone()));
                opening
            };
            halls.entry(stream).or_insert_with(open).clone()
        };
        opening.await
    }

    /// Whoever asked may be gone before the answer; a room that doesn't open is forgotten, and
    /// one that opens after all have ended ends as they did.
    async fn see_through(self: Arc<Self>, stream: StreamId, opening: Opening) {
        let opened = opening.clone().await;
        let closed = {
            // With the lock: either this sees the end, or the end sees that it is open.
            let mut halls = self.halls.lock();
            if opened.is_err() && halls.get(&stream).is_some_and(|held| held.ptr_eq(&opening)) {
                halls.remove(&stream);
            }
            self.closed.get()
        };
        if let (Ok(hall), Some(reason)) = (opened, closed) {
            hall.room.close(reason.clone());
        }
    }

    async fn open(self: Arc<Self>, stream: StreamId) -> Result<Arc<Hall>, OriginError> {
        let away = |why: &str| OriginError::Away(why.to_owned());
        let turn = self.opening.acquire().await.map_err(|_| away("we are stopping"))?;
        let (mut wire, welcome) = self.origin.subscribe(stream, None).await?;
        let epoch = welcome.epoch.parse().map_err(|_| away("its epoch isn't a number"))?;
        let last = welcome.last;
        let hall = Arc::new(Hall::new(stream, epoch, welcome, self.ring_bytes));
        // What was said before is there when the first viewer is.
        link::fill(&hall, &mut wire, last).await.map_err(|_| away("a room's past is cut off"))?;
        drop(turn);
        tokio::spawn(link::keep(Arc::clone(&self), Arc::clone(&hall), wire));
        Ok(hall)
    }

    /// The room if it is open.
    #[must_use]
    pub fn known(&self, stream: StreamId) -> Option<Arc<Hall>> {
        self.halls.lock().get(&stream)?.peek()?.clone().ok()
    }

    /// The room is no more; the next who asks opens another.
    pub fn remove(&self, hall: &Arc<Hall>) {
        let mut halls = self.halls.lock();
        let held = halls.get(&hall.stream).and_then(|opening| opening.peek()?.clone().ok());
        if held.is_some_and(|held| Arc::ptr_eq(&held, hall)) {
            halls.remove(&hall.stream);
        }
    }

    /// Ends all for good: those that are being opened once they are open, and no other is
    /// opened.
    pub fn close(&self, reason: &CloseReason) {
        self.opening.close();
        let halls = {
            let mut halls = self.halls.lock();
            let _already = self.closed.set(reason.clone());
            std::mem::take(&mut *halls)
        };
        for hall in halls.values().filter_map(|opening| opening.peek()?.clone().ok()) {
            hall.room.close(reason.clone());
        }
    }

    /// How many there are, and how many of them hear the origin.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.halls.lock().len(), self.linked.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::gateway::going_away;

    fn hall(seq: u64) -> Hall {
        let welcome = format!(
            r#"{{"epoch":"7","seq":{seq},"recovered":true,"mode":{{}},"last":{seq},"pinned":null,"viewers":1}}"#
        );
        let stream = StreamId(Uuid::from_u128(1));
        Hall::new(stream, 7, serde_json::from_str(&welcome).unwrap(), 4096)
    }

    fn message(seq: u64) -> String {
        let id = Uuid::nil();
        format!(
            r#"{{"type":"message","seq":{seq},"message_id":"{id}","user_id":"{id}","name":"a","sent_at_us":1,"message":"hi"}}"#
        )
    }

    #[test]
    fn texts_follow_one_another_or_there_is_a_hole() {
        let hall = hall(4);
        assert_eq!(hall.told(&message(5)), Ok(()));
        assert_eq!(hall.told(&message(5)), Ok(()));
        assert_eq!(hall.told(r#"{"type":"viewers","viewers":12}"#), Ok(()));
        assert_eq!(hall.told(r#"{"type":"dance"}"#), Ok(()));
        assert_eq!((hall.room.last(), hall.viewers()), (5, 12));
        assert_eq!(hall.told(&message(7)), Err(Hole));
        let mode = r#"{"type":"act","seq":6,"by":"00000000-0000-0000-0000-000000000000","sent_at_us":2,"act":{"kind":"mode","mode":{"slow_s":9}}}"#;
        assert_eq!(hall.told(mode), Ok(()));
        assert_eq!(hall.notes(|notes| notes.mode.slow_s), Some(9));
        let page = hall.room.page(hall.room.seek(chat::Start::Oldest).offset, 4096).unwrap();
        assert_eq!(page.frames.len(), 3);
        // What is new to us isn't to the viewers of a newer origin.
        for text in [r#"{"type":"dance","seq":7}"#, r#"{"type":"act","seq":8,"act":{"kind":"?"}}"#]
        {
            assert_eq!(hall.told(text), Ok(()));
        }
        assert_eq!(hall.room.last(), 8);
        assert_eq!(page.frames[0].payload, message(5).as_bytes());
    }

    #[tokio::test]
    async fn a_room_that_opens_while_all_end_ends_too() {
        let origin = "http://127.0.0.1:9".parse().unwrap();
        let origin = Origin::new(&origin, Secret("any".to_owned())).unwrap();
        let halls = Arc::new(Halls::new(Arc::new(origin), 4096));
        let hall = Arc::new(hall(0));
        let (open, opened) = tokio::sync::oneshot::channel::<Arc<Hall>>();
        let opening = opened
            .map(|hall| hall.map_err(|_| OriginError::Away("nobody opened it".to_owned())))
            .boxed()
            .shared();
        halls.halls.lock().insert(hall.stream, opening.clone());
        let seen = tokio::spawn(Arc::clone(&halls).see_through(hall.stream, opening));
        let reason = going_away("the gateway stops");
        halls.close(&reason);
        assert_eq!(hall.room.closed(), None);
        assert!(Arc::clone(&halls).get(hall.stream).await.is_err(), "no other is opened");
        assert!(open.send(Arc::clone(&hall)).is_ok());
        seen.await.unwrap();
        assert_eq!(hall.room.closed(), Some(reason));
    }

    #[test]
    fn the_origin_is_told_who_is_here() {
        let crowds = |texts: Vec<String>| {
            texts
                .iter()
                .map(|text| {
                    assert!(text.len() as u64 <= sources::chat::CLIENT_TEXT_BYTES_MAX);
                    match ClientText::parse(text).unwrap() {
                        ClientText::Crowd { entered, left } => (entered.len(), left.len()),
                        _ => panic!("{text}"),
                    }
                })
                .collect::<Vec<_>>()
        };
        let hall = hall(0);
        assert!(hall.empty().is_some());
        assert_eq!(crowds(hall.all()), []);
        for tag in 0..1000 {
            hall.enter(UserTag(tag));
        }
        hall.enter(UserTag(5));
        hall.leave(UserTag(7));
        hall.leave(UserTag(7_000_000));
        assert!(hall.empty().is_none());
        assert_eq!(crowds(hall.changes()), [(400, 0), (400, 0), (201, 0), (0, 1)]);
        assert_eq!(crowds(hall.changes()), []);
        hall.unlink();
        hall.leave(UserTag(8));
        assert_eq!(crowds(hall.all()), [(400, 0), (400, 0), (199, 0)]);
    }
}
