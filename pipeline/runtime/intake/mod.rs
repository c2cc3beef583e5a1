//! The retained queue into the data plane.
//!
//! ```text
//! Writer (one per stream) ──push──► StreamLog ──read──► a source operator
//!                                   ▲      ▲
//!                        ack (drop) ┘      └ rewind (read again)
//! ```
//!
//! Enters: records of many streams, each stream by one [`Writer`]. Leaves: the
//! same records, in order per stream, stamped with their offset. Held: what
//! hasn't been read (bounded: a full stream isn't read from its socket, so TCP
//! slows the encoder) and what has been read but not acknowledged, so that a
//! generation that dies can be replayed. A stream ends when its writer closes
//! it and everything is acknowledged. Never done here: waiting, by the reader.

mod writer;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use records::{Frame, Packet, Shard, StreamId};
use tokio::sync::Notify;

use crate::shards::LANES;
use crate::{ShardTable, Waker};

pub use writer::{Closed, Writer};

/// A record that belongs to a stream, and so goes where its stream is.
pub trait OfStream {
    /// Which stream.
    fn stream(&self) -> StreamId;
}

/// A record that an intake can hold.
pub trait Retained: OfStream + Clone + Send + 'static {
    /// Bytes it counts for in the budget.
    fn weight(&self) -> usize;
    /// Takes its place in the stream's intake.
    fn stamp(&mut self, offset: u64);
}

impl OfStream for Packet {
    fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Retained for Packet {
    fn weight(&self) -> usize {
        Packet::weight(self)
    }
    fn stamp(&mut self, offset: u64) {
        self.offset = offset;
    }
}

impl OfStream for Frame {
    fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Retained for Frame {
    fn weight(&self) -> usize {
        Frame::weight(self)
    }
    fn stamp(&mut self, offset: u64) {
        self.offset = offset;
    }
}

/// How much an intake may hold for each stream.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Bytes not yet read by the data plane beyond which [`Writer::push`] waits.
    pub unread_bytes_max: usize,
    /// Bytes read but kept for replay beyond which the oldest go: a replay
    /// then begins later, with a discontinuity, instead of memory growing.
    pub retained_bytes_max: usize,
}

struct Log<T> {
    // entries[i] has offset base + i.
    entries: VecDeque<T>,
    base: u64,
    // Next offset to hand to the data plane, base..=base + entries.len().
    cursor: u64,
    unread_bytes: usize,
    retained_bytes: usize,
    // In its lane's ready queue, or being read.
    queued: bool,
    closed: bool,
}

impl<T> Log<T> {
    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }
}

pub(super) struct StreamLog<T> {
    stream: StreamId,
    log: Mutex<Log<T>>,
    // A writer waits here for room.
    room: Notify,
}

/// Streams of one lane that have unread records.
type Ready<T> = Mutex<VecDeque<Arc<StreamLog<T>>>>;

struct Shared<T> {
    name: &'static str,
    limits: IntakeLimits,
    // Ready queues; a stream's is `shard % LANES`, so a worker locks only its own.
    lanes: Box<[Ready<T>]>,
    streams: RwLock<HashMap<StreamId, Arc<StreamLog<T>>>>,
    // By lane, of the running generation; empty while there is none.
    wakers: RwLock<Vec<Arc<Waker>>>,
    written_total: AtomicU64,
    unread_bytes: AtomicUsize,
}

/// The retained queue of one kind of record, for all streams. Clones share it.
pub struct Intake<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Intake<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Retained> Intake<T> {
    /// An empty intake, named for metrics.
    #[must_use]
    pub fn new(name: &'static str, limits: IntakeLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                limits,
                lanes: (0..LANES).map(|_| Mutex::default()).collect(),
                streams: RwLock::default(),
                wakers: RwLock::default(),
                written_total: AtomicU64::new(0),
                unread_bytes: AtomicUsize::new(0),
            }),
        }
    }

    /// Name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// Records ever written.
    #[must_use]
    pub fn written_total(&self) -> u64 {
        self.shared.written_total.load(Ordering::Relaxed)
    }

    /// Bytes that the data plane hasn't read yet, all streams together.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.shared.unread_bytes.load(Ordering::Relaxed)
    }

    /// The way in for `stream`; the first call opens it.
    #[must_use]
    pub fn writer(&self, stream: StreamId) -> Writer<T> {
        let mut streams = self.shared.streams.write();
        let log = streams.entry(stream).or_insert_with(|| {
            Arc::new(StreamLog {
                stream,
                log: Mutex::new(Log {
                    entries: VecDeque::new(),
                    base: 0,
                    cursor: 0,
                    unread_bytes: 0,
                    retained_bytes: 0,
                    queued: false,
                    closed: false,
                }),
                room: Notify::new(),
            })
        });
        Writer { intake: self.clone(), log: Arc::clone(log) }
    }

    /// Ties each lane to the worker that reads it in this generation.
    pub fn bind(&self, wakers: Vec<Arc<Waker>>, table: &ShardTable) {
        let by_lane =
            (0..LANES).map(|lane| Arc::clone(&wakers[table.worker(Shard(lane))])).collect();
        *self.shared.wakers.write() = by_lane;
        for waker in &wakers {
            waker.wake();
        }
    }

    /// No worker reads until the next [`Intake::bind`].
    pub fn unbind(&self) {
        self.shared.wakers.write().clear();
    }

    /// Hands up to about `fuel_bytes` unread records of `worker`'s shards to
    /// `take`, each stream in order, streams in turn. True if more are waiting.
    pub fn read(
        &self,
        worker: usize,
        table: &ShardTable,
        fuel_bytes: usize,
        mut take: impl FnMut(T),
    ) -> bool {
        let mut fuel = fuel_bytes;
        let mut more = false;
        for lane in (0..LANES).filter(|lane| table.worker(Shard(*lane)) == worker) {
            // One round over those ready now: a stream that refills meanwhile waits its turn.
            let round = self.shared.lanes[usize::from(lane)].lock().len();
            for _ in 0..round {
                if fuel == 0 {
                    return true;
                }
                let Some(stream) = self.shared.lanes[usize::from(lane)].lock().pop_front() else {
                    break;
                };
                if self.read_stream(&stream, &mut fuel, &mut take) {
                    self.shared.lanes[usize::from(lane)].lock().push_back(stream);
                    more = true;
                }
            }
        }
        more
    }

    /// True if the stream still has unread records (and so stays queued).
    fn read_stream(
        &self,
        stream: &StreamLog<T>,
        fuel: &mut usize,
        take: &mut impl FnMut(T),
    ) -> bool {
        let mut log = stream.log.lock();
        let mut read = 0;
        while *fuel > 0 && log.cursor < log.end() {
            let record = log.entries[(log.cursor - log.base) as usize].clone();
            let weight = record.weight();
            *fuel = fuel.saturating_sub(weight);
            read += weight;
            log.cursor += 1;
            take(record);
        }
        log.unread_bytes -= read;
        log.retained_bytes += read;
        self.shared.unread_bytes.fetch_sub(read, Ordering::Relaxed);
        while log.retained_bytes > self.shared.limits.retained_bytes_max && log.base < log.cursor {
            Self::drop_oldest(&mut log);
        }
        log.queued = log.cursor < log.end();
        let queued = log.queued;
        let has_room = log.unread_bytes < self.shared.limits.unread_bytes_max;
        drop(log);
        if has_room {
            stream.room.notify_one();
        }
        queued
    }

    fn drop_oldest(log: &mut Log<T>) {
        if let Some(record) = log.entries.pop_front() {
            log.base += 1;
            log.retained_bytes -= record.weight();
        }
    }

    /// Everything of `stream` below `next` took effect for good and need not be
    /// kept. A closed stream that is acknowledged to its end is forgotten.
    pub fn ack(&self, stream: StreamId, next: u64) {
        let Some(found) = self.shared.streams.read().get(&stream).cloned() else {
            return;
        };
        let mut log = found.log.lock();
        while log.base < next.min(log.cursor) {
            Self::drop_oldest(&mut log);
        }
        let over = log.closed && log.entries.is_empty();
        drop(log);
        if over {
            self.shared.streams.write().remove(&stream);
        }
    }

    /// After an unplanned end: every stream is read again from `from(stream)`,
    /// or from the oldest record still kept if that is later.
    pub fn rewind(&self, from: impl Fn(StreamId) -> u64) {
        for stream in self.shared.streams.read().values() {
            let mut log = stream.log.lock();
            let target = from(stream.stream).clamp(log.base, log.cursor);
            let again: usize = log
                .entries
                .range((target - log.base) as usize..(log.cursor - log.base) as usize)
                .map(Retained::weight)
                .sum();
            log.cursor = target;
            log.unread_bytes += again;
            log.retained_bytes -= again;
            self.shared.unread_bytes.fetch_add(again, Ordering::Relaxed);
            if log.cursor < log.end() && !log.queued {
                log.queued = true;
                drop(log);
                self.enqueue(stream);
            }
        }
    }

    /// Closes `stream` and forgets all it holds, read or not.
    pub fn discard(&self, stream: StreamId) {
        let Some(found) = self.shared.streams.write().remove(&stream) else {
            return;
        };
        let mut log = found.log.lock();
        log.closed = true;
        self.shared.unread_bytes.fetch_sub(log.unread_bytes, Ordering::Relaxed);
        log.base = log.end();
        log.cursor = log.base;
        log.entries.clear();
        (log.unread_bytes, log.retained_bytes) = (0, 0);
        drop(log);
        found.room.notify_one();
    }

    fn enqueue(&self, stream: &Arc<StreamLog<T>>) {
        let lane = usize::from(stream.stream.shard().0 % LANES);
        self.shared.lanes[lane].lock().push_back(Arc::clone(stream));
        if let Some(waker) = self.shared.wakers.read().get(lane) {
            waker.wake();
        }
    }
}
