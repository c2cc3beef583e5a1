//! One room on this machine: where it is said, where it is heard, what newcomers are told.
//!
//! ```text
//! log ──load──► Lane ◄──publish── desk
//!                │ writer ─► intake `said`
//!                └ room ─► viewers' sockets · polling
//! ```
//!
//! - **Enters**: decided records, each durable, in order.
//! - **Leaves**: their texts.
//! - **Held**: the newest texts (in the room's ring), who may write, what is above the
//!   others, what was deleted, who watches the video.
//! - **Ends** with the broadcast.
//! - **Never here**: deciding anything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chat::{PushError, Start, UserTag};
use parking_lot::Mutex;
use records::{Act, ChatMessage, ChatRecord, Mode, StreamId};
use runtime::Writer;

use super::plane::Spoken;
use super::wire::Text;

/// How long somebody watches after their page last said so: it does every ten seconds.
const WATCHES: Duration = Duration::from_secs(25);

/// How long a player plays after it last asked for a playlist: it does at least once per
/// segment.
const PLAYS: Duration = Duration::from_secs(15);

/// Players that are remembered.
const PLAYERS_MAX: usize = 1_000_000;

/// A program on a machine, as far as requests show it: their address and user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayerTag(pub u64);

/// Deleted messages that are remembered, the newest; older ones only the lake has anyway.
const DELETED_MAX: usize = 20_000;

/// A room; see the module.
pub struct Lane {
    /// Whose.
    pub stream: StreamId,
    /// Its viewers, and the texts they are given.
    pub room: Arc<chat::Room>,
    /// Where it is said.
    pub writer: Writer<Spoken>,
    notes: Mutex<Notes>,
    // Pages that say who they are, and by which program they do.
    watching: Mutex<HashMap<UserTag, (Instant, PlayerTag)>>,
    players: Mutex<HashMap<PlayerTag, Instant>>,
    // Of these, those that no page runs in.
    players_alone: AtomicUsize,
}

/// What newcomers are told beside the texts.
#[derive(Clone, Default)]
pub struct Notes {
    /// Who may write.
    pub mode: Mode,
    /// Above the others.
    pub pinned: Option<ChatMessage>,
    deleted: HashSet<u64>,
    // No message before this is shown.
    cleared: u64,
    // By which a pin finds its message.
    recent: std::collections::VecDeque<ChatMessage>,
}

/// Messages that can be pinned, the newest.
const PINNABLE: usize = 500;

impl Notes {
    /// Of a room whose earlier records aren't known, only what they came to.
    #[must_use]
    pub fn begin(mode: Mode, pinned: Option<ChatMessage>) -> Self {
        let recent = pinned.iter().cloned().collect();
        Self { mode, pinned, recent, ..Self::default() }
    }

    /// Takes a record in.
    pub fn note(&mut self, record: &ChatRecord) {
        match record {
            ChatRecord::Message(message) => {
                if self.recent.len() == PINNABLE {
                    self.recent.pop_front();
                }
                self.recent.push_back(message.clone());
            }
            ChatRecord::Act(act) => match &act.act {
                Act::Delete { seq } => {
                    if self.deleted.len() >= DELETED_MAX {
                        let oldest = self.deleted.iter().min().copied();
                        oldest.map(|seq| self.deleted.remove(&seq));
                    }
                    self.deleted.insert(*seq);
                    self.pinned = self.pinned.take().filter(|pinned| pinned.seq != *seq);
                }
                Act::Clear => {
                    self.cleared = act.seq;
                    self.deleted.clear();
                    self.pinned = None;
                }
                Act::Pin { seq } => {
                    self.pinned = self.recent.iter().find(|m| m.seq == *seq).cloned();
                }
                Act::Unpin => self.pinned = None,
                Act::Mode { mode } => self.mode = mode.clone(),
                Act::Ban { .. } | Act::TimeOut { .. } | Act::Unban { .. } => {}
            },
        }
    }

    /// Whether the message may still be shown.
    #[must_use]
    pub fn shows(&self, seq: u64) -> bool {
        seq > self.cleared && !self.deleted.contains(&seq)
    }
}

impl Lane {
    /// The room, as its records say: `texts` are the newest ones, `last` the number of the
    /// last.
    #[must_use]
    pub fn new(
        writer: Writer<Spoken>,
        epoch: u64,
        notes: Notes,
        texts: impl IntoIterator<Item = (u64, String)>,
        last: u64,
        ring_bytes: usize,
    ) -> Self {
        let stream = writer.stream();
        let mut texts = texts.into_iter().peekable();
        let before = texts.peek().map_or(last, |(seq, _)| seq - 1);
        let room = chat::Room::new(stream.to_string(), epoch, before, ring_bytes);
        for (seq, text) in texts {
            if let Err(error) = room.publish(seq, &text) {
                tracing::error!(%stream, seq, %error, "a chat's text can't be shown");
            }
        }
        Self {
            stream,
            room,
            writer,
            notes: Mutex::new(notes),
            watching: Mutex::default(),
            players: Mutex::default(),
            players_alone: AtomicUsize::new(0),
        }
    }

    /// Gives a durable record to everybody.
    ///
    /// # Errors
    /// [`PushError`] for one that isn't the room's next, or too large.
    pub fn publish(&self, record: &ChatRecord) -> Result<(), PushError> {
        // Before the text is out: whoever comes after it is told the mode that it set.
        self.notes.lock().note(record);
        self.room.publish(record.seq(), &Text::from(record).json())
    }

    /// What newcomers are told.
    pub fn notes<T>(&self, look: impl FnOnce(&Notes) -> T) -> T {
        look(&self.notes.lock())
    }

    /// How many watch or read, each once: pages by what they call themselves, other
    /// players by what their requests show. Those who share both are one.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.room.presence().viewers().users + self.players_alone.load(Relaxed)
    }

    /// A page says that somebody watches or reads.
    pub fn watches(&self, who: UserTag, by: PlayerTag) {
        if self.watching.lock().insert(who, (Instant::now(), by)).is_none() {
            self.room.presence().enter(who);
        }
    }

    /// A player asked for a playlist.
    pub fn plays(&self, player: PlayerTag) {
        let mut players = self.players.lock();
        if players.len() < PLAYERS_MAX || players.contains_key(&player) {
            players.insert(player, Instant::now());
        }
    }

    /// Forgets those who haven't said so for a while, and counts the others.
    pub fn settle(&self) {
        let mut pages = HashSet::new();
        self.watching.lock().retain(|who, (said, by)| {
            let stays = said.elapsed() < WATCHES;
            if stays {
                pages.insert(*by);
            } else {
                self.room.presence().leave(*who);
            }
            stays
        });
        let mut players = self.players.lock();
        players.retain(|_, asked| asked.elapsed() < PLAYS);
        let alone = players.keys().filter(|player| !pages.contains(player)).count();
        self.players_alone.store(alone, Relaxed);
    }

    /// Texts of messages before number `before` (or the newest), at most `limit`, newest
    /// first; None if some of them are no longer held.
    #[must_use]
    pub fn held_before(&self, before: Option<u64>, limit: usize) -> Option<Vec<serde_json::Value>> {
        let epoch = self.room.epoch();
        let before = before.unwrap_or(u64::MAX).min(self.room.last() + 1);
        // Numbers of acts and of what was deleted fall out, so begin further back.
        let mut reach = limit as u64;
        loop {
            let from = before.saturating_sub(1).saturating_sub(reach);
            let position = self.room.seek(Start::After { epoch, seq: from });
            if !position.recovered {
                return None;
            }
            let mut shown = self.texts_between(position.offset, from, before)?;
            if shown.len() >= limit || from == 0 {
                shown.reverse();
                shown.truncate(limit);
                return Some(shown);
            }
            reach *= 4;
        }
    }

    fn texts_between(
        &self,
        offset: u64,
        after: u64,
        before: u64,
    ) -> Option<Vec<serde_json::Value>> {
        let (mut at, mut shown) = (offset, Vec::new());
        loop {
            let page = self.room.page(at, 64 << 10).ok()?;
            at = page.next;
            for frame in &page.frames {
                let Some(seq) = frame.seq.filter(|seq| *seq > after && *seq < before) else {
                    continue;
                };
                let text: serde_json::Value = serde_json::from_slice(&frame.payload).ok()?;
                if text["type"] == "message" && self.notes(|notes| notes.shows(seq)) {
                    shown.push(text);
                }
            }
            if page.frames.is_empty() || page.seq + 1 >= before {
                return Some(shown);
            }
        }
    }
}
