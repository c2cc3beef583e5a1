//! What waits for the store, and what goes up next: plain state, no I/O.
//!
//! ```text
//! broadcast ─┬─ lane per rendition: init sections, then segments, by number
//!            └─ recording.json, once every lane is empty
//! ```
//!
//! One object of a lane is under way at a time, so a rendition goes up in
//! order. How many are under way together is halved by each failure and grows
//! by one with each success: a store that says SlowDown gets less, one that is
//! away is asked by one request at a time.
//!
//! A segment's bytes are kept for its first attempt while the store keeps up:
//! nothing failed last, at most one file of the lane is before it, and there is
//! room. All else is read back from its file.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use records::{Pieces, Rendition, StreamId};
use tokio::sync::Semaphore;

use super::content::Content;
use super::item::{Item, Key, Name, Outcome, Task, Victim};
use super::mark::Mark;

/// Pause after a first failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause: how long after its return a store is noticed at the latest.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Bytes of segments that are kept in memory, those under way included: some
/// fifty of 2.6 Mbit/s. Beyond it they are read back, which costs a little CPU.
const CONTENT_BYTES_MAX: usize = 32 << 20;
/// Files of a lane that may go up before one whose bytes are kept: with more,
/// they might be held for longer than the live window holds them.
const CONTENT_AHEAD_MAX: usize = 1;

#[derive(Default)]
struct Lane {
    items: BTreeMap<Name, Item>,
    /// The bytes of some of them, until they are first tried.
    contents: BTreeMap<Name, Content>,
    under_way: bool,
    /// Whether it has a turn coming.
    queued: bool,
    failures: u32,
}

#[derive(Default)]
struct Broadcast {
    lanes: BTreeMap<Rendition, Lane>,
    /// recording.json waits or is under way.
    recording: Option<Item>,
    recording_lane: Lane,
    /// Segments on the way to be given up.
    dying: usize,
    mark: Mark,
    is_marked: bool,
    /// `(msn, end of it)` of what live playlists may list.
    listed: VecDeque<(u64, i64)>,
    /// Until when they may; None: it is live.
    listed_until: Option<Instant>,
}

impl Broadcast {
    fn lane(&mut self, rendition: Option<Rendition>) -> Option<&mut Lane> {
        match rendition {
            None => Some(&mut self.recording_lane),
            Some(rendition) => self.lanes.get_mut(&rendition),
        }
    }

    fn is_drained(&self) -> bool {
        self.dying == 0 && self.lanes.values().all(|lane| lane.items.is_empty())
    }

    /// The first number that playlists list: it and later ones aren't given up.
    fn listed_from(&self, now: Instant) -> u64 {
        match self.listed_until {
            Some(until) if until <= now => u64::MAX,
            _ => self.listed.front().map_or(u64::MAX, |(msn, _)| *msn),
        }
    }
}

/// See the module.
pub(super) struct Waiting {
    broadcasts: HashMap<StreamId, Broadcast>,
    /// Lanes by when their turn comes.
    turns: BTreeMap<(Instant, u64), Key>,
    turns_total: u64,
    /// Bytes of segments that wait.
    pub(super) bytes: u64,
    /// Objects that wait.
    pub(super) objects: u64,
    under_way: usize,
    /// How many of each broadcast; one that is forgotten meanwhile included.
    busy: HashMap<StreamId, usize>,
    allowed: usize,
    allowed_max: usize,
    /// Why the last attempt failed, if it did.
    pub(super) trouble: Option<String>,
    /// A permit for each byte of content that may still be kept.
    room: Arc<Semaphore>,
    window_us: i64,
    keep: Duration,
}

impl Waiting {
    /// At most `uploads` at a time. Playlists list the last `window`, for
    /// `keep` after the end.
    pub(super) fn new(uploads: usize, window: Duration, keep: Duration) -> Self {
        Self {
            broadcasts: HashMap::new(),
            turns: BTreeMap::new(),
            turns_total: 0,
            bytes: 0,
            objects: 0,
            under_way: 0,
            busy: HashMap::new(),
            allowed: uploads.max(1),
            allowed_max: uploads.max(1),
            trouble: None,
            room: Arc::new(Semaphore::new(CONTENT_BYTES_MAX)),
            window_us: i64::try_from(window.as_micros()).unwrap_or(i64::MAX),
            keep,
        }
    }

    /// Adds a file; one that waits already stays as it is.
    pub(super) fn push(
        &mut self,
        stream: StreamId,
        rendition: Rendition,
        name: Name,
        item: Item,
        now: Instant,
    ) {
        let broadcast = self.broadcasts.entry(stream).or_default();
        let lane = broadcast.lanes.entry(rendition).or_default();
        if lane.items.contains_key(&name) {
            return;
        }
        lane.items.insert(name, item);
        self.bytes += item.bytes;
        self.objects += 1;
        self.turn((stream, Some(rendition)), now);
    }

    /// Keeps the bytes of a file that was just pushed, if it will soon be tried.
    pub(super) fn keep_content(
        &mut self,
        stream: StreamId,
        rendition: Rendition,
        name: Name,
        pieces: &[Pieces],
    ) {
        if self.trouble.is_some() {
            return;
        }
        let Some(broadcast) = self.broadcasts.get_mut(&stream) else { return };
        let Some(lane) = broadcast.lanes.get_mut(&rendition) else { return };
        // Itself among them.
        if lane.items.len() > 1 + CONTENT_AHEAD_MAX {
            return;
        }
        if let Some(content) = Content::keep(&self.room, pieces) {
            lane.contents.insert(name, content);
        }
    }

    /// The bytes of what [`Waiting::next`] gave, if they were kept. They are
    /// gone from here: if the attempt fails, the next one reads the file.
    pub(super) fn take_content(&mut self, task: &Task) -> Option<Content> {
        let lane = self.broadcasts.get_mut(&task.key.0)?.lane(task.key.1)?;
        lane.contents.remove(&task.name?)
    }

    /// Lets go of all bytes that wait: nobody knows for how long.
    fn drop_contents(&mut self) {
        for broadcast in self.broadcasts.values_mut() {
            broadcast.lanes.values_mut().for_each(|lane| lane.contents.clear());
        }
    }

    /// Takes over what a restart found of a broadcast: its mark, and what waits.
    pub(super) fn found(
        &mut self,
        stream: StreamId,
        mark: Mark,
        items: Vec<(Rendition, Name, Item)>,
        recording: Option<Item>,
        now: Instant,
    ) {
        let broadcast = self.broadcasts.entry(stream).or_default();
        broadcast.mark.merge(&mark);
        for (rendition, name, item) in items {
            self.push(stream, rendition, name, item, now);
        }
        if let Some(item) = recording {
            self.recording(stream, item, now);
        }
    }

    /// The description of the recording is there; it goes up last.
    pub(super) fn recording(&mut self, stream: StreamId, item: Item, now: Instant) {
        let broadcast = self.broadcasts.entry(stream).or_default();
        if broadcast.recording.replace(item).is_none() {
            self.objects += 1;
        }
        self.turn((stream, None), now);
    }

    /// Live playlists list a segment that ends at `end_us`, and less of what was before.
    pub(super) fn list(&mut self, stream: StreamId, msn: u64, end_us: i64) {
        let window_us = self.window_us;
        let broadcast = self.broadcasts.entry(stream).or_default();
        if broadcast.listed.back().is_none_or(|(newest, _)| *newest < msn) {
            broadcast.listed.push_back((msn, end_us));
        }
        while broadcast
            .listed
            .front()
            .is_some_and(|(_, end)| end.saturating_add(window_us) < end_us)
        {
            broadcast.listed.pop_front();
        }
    }

    /// The broadcast is over; its last window stays listed for a while.
    pub(super) fn end(&mut self, stream: StreamId, now: Instant) {
        let keep = self.keep;
        if let Some(broadcast) = self.broadcasts.get_mut(&stream) {
            broadcast.listed_until = now.checked_add(keep);
        }
    }

    /// Gives a lane a turn, unless it has one, is under way or has nothing to do.
    fn turn(&mut self, key: Key, at: Instant) {
        let Some(broadcast) = self.broadcasts.get_mut(&key.0) else { return };
        let has_work = match key.1 {
            None => broadcast.recording.is_some() && broadcast.is_drained(),
            Some(rendition) => {
                broadcast.lanes.get(&rendition).is_some_and(|lane| !lane.items.is_empty())
            }
        };
        let Some(lane) = broadcast.lane(key.1) else { return };
        if !has_work || lane.queued || lane.under_way {
            return;
        }
        lane.queued = true;
        self.turns_total += 1;
        self.turns.insert((at, self.turns_total), key);
    }

    /// What is to be tried now, if anything.
    pub(super) fn next(&mut self, now: Instant) -> Option<Task> {
        while self.under_way < self.allowed {
            let entry = self.turns.first_entry().filter(|entry| entry.key().0 <= now)?;
            let key = entry.remove();
            let Some(broadcast) = self.broadcasts.get_mut(&key.0) else { continue };
            let is_drained = broadcast.is_drained();
            let recording = broadcast.recording.filter(|_| is_drained);
            let Some(lane) = broadcast.lane(key.1) else { continue };
            lane.queued = false;
            let first = lane.items.first_key_value().map(|(name, item)| (Some(*name), *item));
            let wanted = if key.1.is_none() { recording.map(|item| (None, item)) } else { first };
            let Some((name, item)) = wanted else { continue };
            lane.under_way = true;
            self.under_way += 1;
            *self.busy.entry(key.0).or_default() += 1;
            return Some(Task { key, name, item });
        }
        None
    }

    /// When the next turn comes, unless something else happens before.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        let is_free = self.under_way < self.allowed;
        self.turns.first_key_value().filter(|_| is_free).map(|((at, _), _)| *at)
    }

    /// An upload ended. True: its broadcast is in the store now, all of it.
    pub(super) fn settle(&mut self, task: &Task, outcome: &Outcome, now: Instant) -> bool {
        self.under_way -= 1;
        if let Entry::Occupied(mut busy) = self.busy.entry(task.key.0) {
            *busy.get_mut() -= 1;
            if *busy.get() == 0 {
                busy.remove();
            }
        }
        match outcome {
            Outcome::Up | Outcome::Gone => {
                self.allowed = (self.allowed + 1).min(self.allowed_max);
                // A file that is gone says nothing about the store.
                if *outcome == Outcome::Up && self.trouble.take().is_some() {
                    self.turns = std::mem::take(&mut self.turns)
                        .into_iter()
                        .map(|((_, n), key)| ((now, n), key))
                        .collect();
                }
            }
            Outcome::Failed => {}
            Outcome::Away(why) => {
                self.allowed = (self.allowed / 2).max(1);
                // While in trouble none are kept.
                if self.trouble.replace(why.clone()).is_none() {
                    self.drop_contents();
                }
            }
        }
        let (stream, rendition) = task.key;
        let Some(broadcast) = self.broadcasts.get_mut(&stream) else { return false };
        let Some(lane) = broadcast.lane(rendition) else { return false };
        lane.under_way = false;
        if matches!(outcome, Outcome::Failed | Outcome::Away(_)) {
            lane.failures = lane.failures.saturating_add(1);
            let pause = pause(lane.failures);
            self.turn(task.key, now + pause);
            return false;
        }
        lane.failures = 0;
        let was_there = match task.name {
            Some(name) => {
                lane.contents.remove(&name);
                lane.items.remove(&name)
            }
            None => broadcast.recording.take(),
        };
        if was_there.is_some() {
            self.objects -= 1;
            self.bytes -= if rendition.is_some() { task.item.bytes } else { 0 };
        }
        match (rendition, task.name) {
            (Some(rendition), Some(name)) => broadcast.mark.pass(rendition, name),
            _ => broadcast.mark.recording = *outcome == Outcome::Up,
        }
        broadcast.is_marked = false;
        let is_whole = broadcast.mark.recording && broadcast.is_drained();
        self.turn(task.key, now);
        self.turn((stream, None), now);
        is_whole
    }

    /// Marks that changed since the last time.
    pub(super) fn take_marks(&mut self) -> Vec<(StreamId, Mark)> {
        let changed = self
            .broadcasts
            .iter_mut()
            .filter(|(_, broadcast)| !broadcast.is_marked && broadcast.mark != Mark::default());
        changed
            .map(|(stream, broadcast)| {
                broadcast.is_marked = true;
                (*stream, broadcast.mark.clone())
            })
            .collect()
    }

    /// Picks what is given up so that no more than `bytes_max` wait: the
    /// smallest rungs first, the published picture and the sound last, of each
    /// the oldest; nothing that live playlists list or that is under way. A
    /// little more than is needed, so that this is rare.
    pub(super) fn give_up(&mut self, bytes_max: u64, now: Instant) -> Vec<Victim> {
        if self.bytes <= bytes_max {
            return Vec::new();
        }
        let mut excess = self.bytes - (bytes_max - bytes_max / 20);
        let mut all = Vec::new();
        for (stream, broadcast) in &self.broadcasts {
            let listed_from = broadcast.listed_from(now);
            for (rendition, lane) in &broadcast.lanes {
                let first = lane.items.first_key_value().map(|(name, _)| *name);
                let busy = first.filter(|_| lane.under_way);
                for (name, item) in &lane.items {
                    let Name::Segment(msn) = *name else { continue };
                    if msn >= listed_from {
                        break;
                    }
                    if busy == Some(*name) {
                        continue;
                    }
                    let Item { bytes, at_us, is_found } = *item;
                    let (stream, rendition) = (*stream, *rendition);
                    all.push(Victim { stream, rendition, msn, bytes, at_us, is_found });
                }
            }
        }
        all.sort_unstable_by_key(Victim::value);
        all.retain(|victim| {
            let is_chosen = excess > 0;
            excess = excess.saturating_sub(victim.bytes.max(1));
            is_chosen
        });
        for victim in &all {
            let Some(broadcast) = self.broadcasts.get_mut(&victim.stream) else { continue };
            broadcast.dying += 1;
            let Some(lane) = broadcast.lanes.get_mut(&victim.rendition) else { continue };
            lane.contents.remove(&Name::Segment(victim.msn));
            if lane.items.remove(&Name::Segment(victim.msn)).is_some() {
                self.bytes -= victim.bytes;
                self.objects -= 1;
            }
        }
        all
    }

    /// What was picked is gone, or (`is_gone` false) goes up after all.
    pub(super) fn given_up(&mut self, victims: &[Victim], is_gone: bool, now: Instant) {
        for victim in victims {
            let Victim { stream, rendition, msn, bytes, at_us, is_found } = *victim;
            // Deleted meanwhile.
            let Some(broadcast) = self.broadcasts.get_mut(&stream) else { continue };
            broadcast.dying -= 1;
            if !is_gone {
                let item = Item { bytes, at_us, is_found };
                self.push(stream, rendition, Name::Segment(msn), item, now);
            }
            self.turn((stream, None), now);
        }
    }

    /// Forgets a broadcast. What is under way ends by itself.
    pub(super) fn forget(&mut self, stream: StreamId) {
        let Some(broadcast) = self.broadcasts.remove(&stream) else { return };
        let lanes = broadcast.lanes.values().flat_map(|lane| lane.items.values());
        let (bytes, objects) = lanes.fold((0, 0), |(b, n), item| (b + item.bytes, n + 1));
        self.bytes -= bytes;
        self.objects -= objects + u64::from(broadcast.recording.is_some());
        self.turns.retain(|_, (of, _)| *of != stream);
    }

    /// Whether an object of a broadcast is under way.
    pub(super) fn is_busy(&self, stream: StreamId) -> bool {
        self.busy.contains_key(&stream)
    }

    /// Whether all of a broadcast is in the store, its recording included.
    pub(super) fn is_whole(&self, stream: StreamId) -> bool {
        let broadcast = self.broadcasts.get(&stream);
        broadcast.is_some_and(|known| known.mark.recording && known.is_drained())
    }

    /// Whether a broadcast has files here.
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.broadcasts.contains_key(&stream)
    }

    /// Broadcasts that have files here.
    pub(super) fn broadcasts(&self) -> Vec<StreamId> {
        self.broadcasts.keys().copied().collect()
    }
}

/// Doubles up to a limit; between half of that and all of it, by chance, so
/// that lanes that failed together don't try together.
fn pause(failures: u32) -> Duration {
    let full = PAUSE_MIN * 2_u32.pow(failures.saturating_sub(1).min(10));
    let chance = RandomState::new().hash_one(failures) % 1000;
    full.min(PAUSE_MAX) * (500 + chance as u32 / 2) / 1000
}

#[cfg(test)]
mod tests;
