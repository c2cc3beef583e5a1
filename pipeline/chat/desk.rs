//! Chat's part of the I/O plane: what a room decided is made durable, then told.
//!
//! ```text
//! edge `chat` ─► desk ─► log (one append for all that is there) ─┬─► lane ─► viewers
//!                 │                                              └─► senders
//!                 └─ wanted ─► read from the log ─► intake `said`
//! ```
//!
//! - **Enters**: verdicts. **Leaves**: records in the log, their texts, answers.
//! - **Held**: rooms that somebody is in or wrote to, until their broadcast is over.
//! - **Never here**: a text that isn't durable. Viewers wait for the disk as senders do
//!   (some milliseconds, shared by all that waits), and in return nothing that anybody
//!   saw is ever lost, so a number means the same before and after a crash.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use chat::Flushers;
use chat::ws::{CloseCode, CloseReason};
use log::{Log, NewRecord, Topic};
use moderate::{Receipt, Room, Rules};
use parking_lot::RwLock;
use records::{ChatRecord, FaultSite, MessageId, StreamId};
use runtime::EdgeReceiver;
use tokio::sync::OnceCell;

use super::lane::{Lane, Notes};
use super::past::{self, PastError};
use super::plane::{ChatPlane, Heard, HeardBody, Spoken, SpokenBody};
use super::senders::{Answer, Asker, Senders};
use super::wire::{Refused, Text};
use crate::catalog::Catalog;
use crate::journal;

/// Pause before a room that couldn't be read is read again.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Texts that a room read from the log begins with, the newest.
const TEXTS: usize = 2000;

/// What is appended at once, in bytes; the log takes twice that. A log that was away for a
/// while finds much more waiting.
const APPEND_BYTES: usize = 4 << 20;

/// Broadcasts of a channel whose bans go on in the next one.
const BROADCASTS: usize = 32;

/// A room whose broadcast is over, to whoever is in it.
pub const OVER: CloseCode = CloseCode(4001);

/// Settings of the desk.
#[derive(Clone, Debug)]
pub struct DeskConfig {
    /// What each room holds for those who come back, in bytes.
    pub ring_bytes: usize,
}

/// Why there is no such room.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The caller's: no such stream.
    #[error("there is no stream with this id")]
    Unknown,
    /// The caller's: too late.
    #[error("the broadcast is over, and so is its chat; it is replayed with the video")]
    Over,
    /// The log's.
    #[error(transparent)]
    Past(#[from] PastError),
}

/// See the module.
pub struct Desk {
    config: DeskConfig,
    log: Arc<dyn Log>,
    catalog: Arc<Catalog>,
    plane: Arc<ChatPlane>,
    rules: Arc<Rules>,
    lanes: RwLock<HashMap<StreamId, Arc<OnceCell<Arc<Lane>>>>>,
    senders: Senders,
    // Why the log takes nothing more. Rooms are ahead of it since: what they say is known to
    // them, and not durable.
    failed: OnceLock<log::Error>,
    // Set once: the loops hold the handler, which holds this.
    flushers: OnceLock<Weak<Flushers>>,
}

impl Desk {
    /// A desk without rooms.
    #[must_use]
    pub fn new(
        config: DeskConfig,
        log: Arc<dyn Log>,
        catalog: Arc<Catalog>,
        plane: Arc<ChatPlane>,
        rules: Arc<Rules>,
    ) -> Self {
        Self {
            config,
            log,
            catalog,
            plane,
            rules,
            lanes: RwLock::default(),
            senders: Senders::default(),
            failed: OnceLock::new(),
            flushers: OnceLock::new(),
        }
    }

    /// Through which viewers on sockets are answered.
    pub fn answer_by(&self, flushers: &Arc<Flushers>) {
        let _already = self.flushers.set(Arc::downgrade(flushers));
    }

    /// The stream's room, read from the log if it isn't here.
    ///
    /// # Errors
    /// [`RoomError`].
    pub async fn lane(&self, stream: StreamId) -> Result<Arc<Lane>, RoomError> {
        if let Some(lane) = self.known(stream) {
            return Ok(lane);
        }
        let entry = self.catalog.get(stream).ok_or(RoomError::Unknown)?;
        if entry.state.is_over() {
            return Err(RoomError::Over);
        }
        let cell = Arc::clone(self.lanes.write().entry(stream).or_default());
        let lane = cell.get_or_try_init(|| self.load(stream, entry.created_at_us)).await?;
        Ok(Arc::clone(lane))
    }

    /// The stream's room, if it is here.
    #[must_use]
    pub fn known(&self, stream: StreamId) -> Option<Arc<Lane>> {
        self.lanes.read().get(&stream).and_then(|cell| cell.get()).cloned()
    }

    /// All rooms that are here.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<Lane>> {
        self.lanes.read().values().filter_map(|cell| cell.get()).cloned().collect()
    }

    /// How many wait to hear what became of what they said.
    #[must_use]
    pub fn asking(&self) -> usize {
        self.senders.len()
    }

    /// Whether what is said can become durable.
    ///
    /// # Errors
    /// Why nothing can until the next start.
    pub fn health(&self) -> Result<(), log::Error> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Puts something before the room; `asker` is told what becomes of it.
    pub fn put(&self, lane: &Lane, asked: MessageId, body: SpokenBody, asker: Asker) {
        if !lane.writer.has_room() {
            return self.tell(asker, Answer::Busy);
        }
        if let Err(asker) = self.senders.wait(asked, asker) {
            return self.tell(asker, Answer::Busy);
        }
        let spoken = Spoken { stream: lane.stream, offset: 0, body };
        if lane.writer.push_now(spoken).is_err() {
            self.answer(asked, Answer::Busy);
        }
    }

    /// Has the room's operator panic; false: the room isn't here (`debug.faults` only).
    #[must_use]
    pub fn trip(&self, stream: StreamId, site: FaultSite) -> bool {
        let fault = Spoken { stream, offset: 0, body: SpokenBody::Fault(site) };
        self.known(stream).is_some_and(|lane| lane.writer.push_now(fault).is_ok())
    }

    /// Takes verdicts off the edge for as long as the server runs.
    pub async fn run(self: Arc<Self>, heard: EdgeReceiver<Heard>) {
        let mut batch = Vec::new();
        loop {
            heard.recv(&mut batch).await;
            let is_durable = self.append(&batch).await;
            for Heard { stream, body } in batch.drain(..) {
                match body {
                    HeardBody::Accepted(message) => {
                        let receipt = Receipt {
                            message_id: message.message_id,
                            seq: message.seq,
                            sent_at_us: message.sent_at_us,
                        };
                        self.told(stream, ChatRecord::Message(message), receipt, is_durable);
                    }
                    HeardBody::Done(act) => {
                        let receipt = Receipt {
                            message_id: act.act_id,
                            seq: act.seq,
                            sent_at_us: act.sent_at_us,
                        };
                        self.told(stream, ChatRecord::Act(act), receipt, is_durable);
                    }
                    HeardBody::Known { asked, receipt } if is_durable => {
                        self.answer(asked, Answer::Accepted(receipt));
                    }
                    HeardBody::Refused { asked, refusal } => {
                        self.answer(asked, Answer::Refused(refusal));
                    }
                    HeardBody::Busy { asked } | HeardBody::Known { asked, .. } => {
                        self.answer(asked, Answer::Busy);
                    }
                    HeardBody::Wanted { load } => {
                        tokio::spawn(Arc::clone(&self).open(stream, load));
                    }
                    HeardBody::Over => self.plane.said.discard(stream),
                }
            }
        }
    }

    /// Appends what was decided; waits for a log that is full or away. After a failure nothing
    /// is durable until the next start, which reads what the log has: neither what comes later
    /// nor a retry of what failed, which its room knows.
    async fn append(&self, batch: &[Heard]) -> bool {
        if self.failed.get().is_some() {
            return false;
        }
        for records in portions(batch.iter().filter_map(record)) {
            if let Err(error) = journal::append(&*self.log, Topic::Chat, records).await {
                tracing::error!(%error, "what was said could not be appended to the log");
                let _first = self.failed.set(error);
                return false;
            }
        }
        true
    }

    fn told(&self, stream: StreamId, record: ChatRecord, receipt: Receipt, is_durable: bool) {
        if !is_durable {
            self.answer(receipt.message_id, Answer::Busy);
            return;
        }
        if let Some(lane) = self.known(stream)
            && let Err(error) = lane.publish(&record)
        {
            tracing::error!(%stream, %error, "a chat's text can't be shown");
        }
        self.answer(receipt.message_id, Answer::Accepted(receipt));
    }

    fn answer(&self, asked: MessageId, answer: Answer) {
        if let Some(asker) = self.senders.take(asked) {
            self.tell(asker, answer);
        }
    }

    fn tell(&self, asker: Asker, answer: Answer) {
        match asker {
            Asker::Call(waits) => {
                // Whoever hung up will ask again by the same client_id.
                let _ = waits.send(answer);
            }
            Asker::Socket { id, client_id } => {
                let client_id = client_id.as_deref();
                let text = match &answer {
                    Answer::Accepted(receipt) => Text::accepted(*receipt, client_id),
                    Answer::Refused(refusal) => Text::Refused(Refused::by(refusal, client_id)),
                    Answer::Busy => Text::Refused(Refused::busy(client_id)),
                };
                if let Some(flushers) = self.flushers.get().and_then(Weak::upgrade) {
                    // Its loop has ten thousand replies to give before this one: it is cut off there.
                    let _full = flushers.reply(id, &text.json());
                }
            }
        }
    }

    /// Reads a room for an operator that lacks it.
    async fn open(self: Arc<Self>, stream: StreamId, load: u64) {
        loop {
            match self.read(stream).await {
                Ok(room) => {
                    // Plain data always has bytes.
                    let Ok(room) = room.to_bytes() else { return };
                    let writer = self.plane.said.writer(stream);
                    let body = SpokenBody::Opened { room: room.into(), load };
                    // Closed meanwhile: nobody waits for it.
                    let _closed = writer.push_now(Spoken { stream, offset: 0, body });
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "a chat waits for its log");
                    tokio::time::sleep(READ_PAUSE).await;
                }
            }
        }
    }

    /// The room as its records left it, with bans and mode of the channel's broadcasts before.
    async fn read(&self, stream: StreamId) -> Result<Room, PastError> {
        let mut chain = vec![stream];
        while let Some(before) = chain.last().and_then(|last| self.catalog.get(*last)?.predecessor)
            && chain.len() < BROADCASTS
        {
            chain.push(before);
        }
        let mut room: Option<Room> = None;
        for stream in chain.into_iter().rev() {
            let made_us = self.catalog.get(stream).map_or(0, |entry| entry.created_at_us);
            let mut next = match room {
                Some(room) => room.succeed(stream),
                None => Room::new(stream, Arc::clone(&self.rules)),
            };
            past::read(&self.log, stream, made_us, |record| {
                if let Err(error) = next.replay(&record) {
                    tracing::error!(%error, "a chat's record is passed over");
                }
            })
            .await?;
            room = Some(next);
        }
        Ok(room.unwrap_or_else(|| Room::new(stream, Arc::clone(&self.rules))))
    }

    async fn load(&self, stream: StreamId, made_us: u64) -> Result<Arc<Lane>, PastError> {
        let (mut notes, mut last) = (Notes::default(), 0);
        let mut texts = std::collections::VecDeque::new();
        past::read(&self.log, stream, made_us, |record| {
            notes.note(&record);
            last = record.seq();
            if texts.len() == TEXTS {
                texts.pop_front();
            }
            texts.push_back((record.seq(), Text::from(&record).json()));
        })
        .await?;
        let writer = self.plane.said.writer(stream);
        // A stream's numbers are for good; another one's would be another epoch.
        let lane = Lane::new(writer, made_us, notes, texts, last, self.config.ring_bytes);
        Ok(Arc::new(lane))
    }

    /// Once a second: who waited for too long, who watches no more, which broadcasts are over.
    pub fn tick(&self) {
        for asker in self.senders.tired() {
            self.tell(asker, Answer::Busy);
        }
        for lane in self.rooms() {
            lane.settle();
            let is_over = self.catalog.get(lane.stream).is_none_or(|entry| entry.state.is_over());
            if is_over {
                self.lanes.write().remove(&lane.stream);
                let closed = Spoken { stream: lane.stream, offset: 0, body: SpokenBody::Closed };
                let _closed = lane.writer.push_now(closed);
                lane.room.close(CloseReason::new(OVER, "the broadcast is over"));
            }
        }
    }

    /// Tells every room how many watch or read.
    pub fn tell_viewers(&self) {
        for lane in self.rooms() {
            let text = Text::Viewers { viewers: lane.viewers() };
            // Too large it is not.
            let _ = lane.room.notice(&text.json());
        }
    }
}

/// What of a verdict is to be kept.
fn record(heard: &Heard) -> Option<NewRecord> {
    let record = match &heard.body {
        HeardBody::Accepted(message) => ChatRecord::Message(message.clone()),
        HeardBody::Done(act) => ChatRecord::Act(act.clone()),
        _ => return None,
    };
    let partition = Topic::Chat.partition(heard.stream.shard());
    let value = record.encode().ok()?;
    Some(NewRecord::new(partition, heard.stream.0.as_bytes().to_vec(), value))
}

/// Records in their order, as many at once as are appended at once.
fn portions(records: impl Iterator<Item = NewRecord>) -> Vec<Vec<NewRecord>> {
    let (mut portions, mut bytes) = (Vec::new(), 0);
    for record in records {
        if portions.is_empty() || bytes + record.weight() > APPEND_BYTES {
            portions.push(Vec::new());
            bytes = 0;
        }
        bytes += record.weight();
        if let Some(portion) = portions.last_mut() {
            portion.push(record);
        }
    }
    portions
}

#[cfg(test)]
mod tests {
    use log::Embedded;

    use super::*;

    #[tokio::test]
    async fn however_much_waits_is_appended_in_order() {
        let record = |n: u32| NewRecord::new(0, "room", format!("{n} {}", "x".repeat(2000)));
        let portions = portions((0..10_000).map(record));
        assert_eq!(portions.len(), 5, "of 20 MB, which the log doesn't take at once");
        let place = tempfile::tempdir().unwrap();
        let log = Embedded::open(place.path()).unwrap();
        for records in portions {
            journal::append(&log, Topic::Chat, records).await.unwrap();
        }
        let mut at = 0;
        while at < 10_000 {
            let records = log.read(Topic::Chat, 0, at, 4096).await.unwrap();
            for found in records {
                let value = record(u32::try_from(at).unwrap()).value;
                assert_eq!((found.offset, found.value), (at, value));
                at += 1;
            }
        }
        assert!(super::portions(std::iter::empty()).is_empty(), "nothing is no append");
    }
}
