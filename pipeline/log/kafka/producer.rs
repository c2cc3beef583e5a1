//! Appending: an idempotent producer, and who waits for its acknowledgements.
//!
//! ```text
//! append ──► room (bounded in bytes) ──► librdkafka's queue ──► brokers
//!   ▲                                                            │ acks=all
//!   └──────────── batch complete ◄── thread "producer polling" ◄─┘
//! ```
//!
//! Enters: checked records. Leaves: their offsets, once every in-sync copy has
//! them. Held: records not yet acknowledged, at most [`QUEUE_BYTES`]. A broker
//! that is away is tried again for ever; the producer's sequence numbers make
//! the broker drop what a retry repeats and refuse what would leave a gap.
//! After an error that can't be mended (a record refused for good) nothing more
//! is sent until the log is opened again, since something after it would
//! otherwise overtake it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::address::{Address, refused};
use super::pulse::{Listener, Pulse};
use crate::limits::QUEUE_BYTES;
use crate::{Error, NewRecord, Topic};

/// How long a log that is closed waits for what nobody waits for any more.
const FLUSH: Duration = Duration::from_secs(5);

/// Where a batch's records are; None where the broker only said that it has it.
pub(super) type Placed = Vec<Option<u64>>;

/// The end of every partition when the log was opened and as far as our own
/// appends go since, so that a reader sees what was acknowledged to the same
/// process before.
pub(super) struct Ends(Vec<AtomicU64>);

impl Ends {
    const PARTITIONS: usize = 64;

    pub fn new() -> Self {
        let all = Topic::ALL.len() * Self::PARTITIONS;
        Self((0..all).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, topic: Topic, partition: u16) -> &AtomicU64 {
        &self.0[topic as usize * Self::PARTITIONS + usize::from(partition)]
    }

    pub fn get(&self, topic: Topic, partition: u16) -> u64 {
        self.of(topic, partition).load(Ordering::Acquire)
    }

    pub fn raise(&self, topic: Topic, partition: u16, end: u64) {
        self.of(topic, partition).fetch_max(end, Ordering::AcqRel);
    }
}

/// Records appended together.
pub(super) struct Batch {
    pub topic: Topic,
    pub records: Vec<NewRecord>,
    answer: Mutex<Collected>,
    // Room in the queue, given back when the last record is answered.
    _room: OwnedSemaphorePermit,
}

struct Collected {
    placed: Placed,
    missing: usize,
    failed: Option<Error>,
    done: Option<oneshot::Sender<Result<Placed, Error>>>,
}

impl Batch {
    fn settle(&self, index: usize, result: Result<Option<u64>, Error>) {
        let mut answer = self.answer.lock();
        match result {
            Ok(offset) => answer.placed[index] = offset,
            Err(error) => {
                answer.failed.get_or_insert(error);
            }
        }
        answer.missing -= 1;
        if answer.missing == 0
            && let Some(done) = answer.done.take()
        {
            let placed = std::mem::take(&mut answer.placed);
            // Nobody listens if the append's future was dropped.
            let _ = done.send(answer.failed.take().map_or(Ok(placed), Err));
        }
    }
}

/// A record on its way.
pub(super) struct Waiting {
    batch: Arc<Batch>,
    index: usize,
}

pub(super) struct Context {
    listener: Listener,
    ends: Arc<Ends>,
    // By partition: the next offset that is none, see `offset`.
    invented: Mutex<HashMap<(Topic, u16), i64>>,
}

impl Context {
    /// The offset that an acknowledgement came with, if it is one.
    ///
    /// A broker that finds a repeat older than it remembers in full says so
    /// without an offset. librdkafka then reports a success, and counts on from
    /// -1 for the records of that request: -1, 0, 1 …
    fn offset(&self, at: (Topic, u16), reported: i64) -> Option<u64> {
        let mut invented = self.invented.lock();
        if reported >= 0 && invented.get(&at) != Some(&reported) {
            invented.remove(&at);
            return u64::try_from(reported).ok();
        }
        invented.insert(at, reported.max(-1) + 1);
        None
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listener.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        let Waiting { batch, index } = *waiting;
        let pulse = &self.listener.0;
        pulse.answered(result.is_ok());
        let result = match result {
            Ok(message) => {
                let at = (batch.topic, batch.records[index].partition);
                let offset = self.offset(at, message.offset());
                if let Some(offset) = offset {
                    self.ends.raise(at.0, at.1, offset + 1);
                }
                Ok(offset)
            }
            Err((error, _)) => Err(pulse.explain(format!("append to {}", batch.topic), error)),
        };
        batch.settle(index, result);
    }
}

pub(super) struct Producer {
    client: ThreadedProducer<Context>,
    address: Address,
    room: Arc<Semaphore>,
    pulse: Arc<Pulse>,
}

impl Producer {
    pub fn open(
        mut config: ClientConfig,
        address: Address,
        pulse: Arc<Pulse>,
        ends: Arc<Ends>,
    ) -> Result<Self, Error> {
        if config.get("linger.ms").is_none() {
            config.set("linger.ms", "1");
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            // For ever: only the caller's patience ends.
            .set("message.timeout.ms", "0")
            // Ours is the bound; librdkafka's must never be reached.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", (QUEUE_BYTES * 8 / 1024).to_string())
            .set("retry.backoff.max.ms", "1000");
        let listener = Listener(Arc::clone(&pulse));
        let context = Context { listener, ends, invented: Mutex::default() };
        let client =
            ThreadedProducer::from_config_and_context(&config, context).map_err(refused)?;
        Ok(Self { client, address, room: Arc::new(Semaphore::new(QUEUE_BYTES)), pulse })
    }

    /// Waits for room, hands the records over, and answers once they are durable.
    pub async fn append(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
        bytes: u32,
    ) -> Result<(Arc<Batch>, Placed), Error> {
        let room = self.room(bytes).await?;
        let (done, answer) = oneshot::channel();
        let collected = Collected {
            placed: vec![None; records.len()],
            missing: records.len(),
            failed: None,
            done: Some(done),
        };
        let batch = Arc::new(Batch { topic, records, answer: Mutex::new(collected), _room: room });
        self.send(&batch);
        let placed = answer.await.map_err(|_| Error::Closed)??;
        Ok((batch, placed))
    }

    /// Room for an append. Waits while the brokers answer, since they make
    /// room; refuses when they don't and the bound is reached.
    async fn room(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            return Ok(room);
        }
        let mut trouble = self.pulse.subscribe();
        let refused = |reason: Error| Error::Full { bytes: QUEUE_BYTES, reason: reason.into() };
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(bytes) => {
                room.map_err(|_| Error::Closed)
            }
            state = trouble.wait_for(Option::is_some) => {
                let reason = state.ok().and_then(|state| state.clone());
                Err(reason.map_or(Error::Closed, refused))
            }
        }
    }

    fn send(&self, batch: &Arc<Batch>) {
        let name = self.address.name(batch.topic);
        for (index, record) in batch.records.iter().enumerate() {
            let waiting = Box::new(Waiting { batch: Arc::clone(batch), index });
            let mut message = BaseRecord::with_opaque_to(name, waiting)
                .partition(i32::from(record.partition))
                .key(&record.key[..]);
            if let Some(value) = &record.value {
                message = message.payload(&value[..]);
            }
            self.pulse.waits();
            let Err((error, _)) = self.client.send(message) else { continue };
            self.pulse.answered(false);
            let error = self.failed().unwrap_or_else(|| self.pulse.explain("append", &error));
            // What was sent already is answered by itself.
            for index in index..batch.records.len() {
                batch.settle(index, Err(error.clone()));
            }
            return;
        }
    }

    /// Why nothing can be appended until the log is opened again, if so.
    pub fn failed(&self) -> Option<Error> {
        let (_, reason) = self.client.client().fatal_error()?;
        let remedy = "an append was refused for good; mend the reason, then restart";
        Some(self.pulse.broker("append", reason, remedy))
    }

    /// Asks a broker for its metadata, which shows that one answers.
    pub fn probe(&self, timeout: Duration) -> Result<(), Error> {
        let name = self.address.name(Topic::Catalog);
        let explain = |error| Err(self.pulse.explain("append", &error));
        let metadata = match self.client.client().fetch_metadata(Some(name), timeout) {
            Ok(metadata) => metadata,
            Err(error) => return explain(error),
        };
        match metadata.topics().first().and_then(|topic| topic.error()) {
            Some(code) => explain(KafkaError::MetadataFetch(RDKafkaErrorCode::from(code))),
            None => Ok(()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Only appends whose futures were dropped can be left.
        if self.client.flush(FLUSH).is_err() {
            let records = self.client.in_flight_count();
            tracing::warn!(records, "closing the log with records that no broker acknowledged");
            self.client.purge(PurgeConfig::default().queue().inflight());
        }
    }
}
