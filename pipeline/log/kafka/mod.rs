//! The log at a Kafka cluster: several engines share it, others subscribe to it.
//!
//! ```text
//! append ──► producer (idempotent, acks=all, bounded in bytes) ──► brokers
//! read   ──► queue ──► thread log-read ◄── consumer ◄───────────── brokers
//! health ◄── thread log-health: error events, acknowledgements, probes
//! ```
//!
//! Enters and leaves: see [`Log`]. Held: appends not yet acknowledged, records
//! fetched ahead. Ends when dropped, after a short wait for what nobody waits
//! for any more. Never done here: deciding where records go; the caller names
//! the partition, external readers find the same one.
//!
//! A topic is called `{prefix}.{topic}`. Keys and values are as appended, a
//! tombstone is a null value, there are no headers.
//!
//! Where it differs from the embedded log: an append of several records that
//! fails may leave the first of them in each partition; what is superseded or
//! trimmed goes when the brokers get to it; `trim` needs brokers with
//! DeleteRecords and does nothing to compacted topics, whose tombstones go by
//! `delete.retention.ms`.

mod address;
mod producer;
mod pulse;
mod reader;
#[cfg(test)]
mod tests;
mod topics;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use self::address::{KafkaOptions, RESERVED};

use self::address::Address;
use self::producer::{Batch, Ends, Placed, Producer};
use self::pulse::Pulse;
use self::reader::Reader;
use self::topics::Admin;
use crate::limits::{check, check_partition};
use crate::{Answer, Error, Log, NewRecord, Record, Topic};

/// Reads that may wait.
const QUEUE_READS: usize = 256;
/// Between looks at the brokers' health.
const PULSE: Duration = Duration::from_secs(1);
/// How long a broker may take to answer such a look.
const PROBE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// A [`Log`] at a Kafka cluster, by librdkafka.
pub struct Kafka {
    producer: Arc<Producer>,
    admin: Admin,
    // Some until dropped.
    reads: Option<mpsc::Sender<Job>>,
    pulse: Arc<Pulse>,
    ends: Arc<Ends>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Kafka {
    /// Opens the log at `kafka://host:port[,host:port]/prefix`: makes the topics
    /// that are missing and checks the others. Blocks until the brokers
    /// answered, at most some ten seconds.
    ///
    /// # Errors
    /// [`Error::LogUrl`], [`Error::LogOption`]: the configuration can't work.
    /// [`Error::Broker`]: no broker can be reached, or they refuse us.
    /// [`Error::TopicDiffers`]: what is there can't be used.
    pub fn open(url: &str, options: &KafkaOptions) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        let config = address.config(options)?;
        let pulse = Arc::new(Pulse::new(Arc::clone(&address.brokers)));
        let ends = Arc::new(Ends::new());
        let shared = || (address.clone(), Arc::clone(&pulse));

        let (at, listening) = shared();
        let mut reader = Reader::open(config.clone(), at, listening, Arc::clone(&ends))?;
        let (at, listening) = shared();
        let admin = Admin::open(&config, at, listening)?;
        admin.prepare(&reader, options)?;
        let (at, listening) = shared();
        let producer = Arc::new(Producer::open(config, at, listening, Arc::clone(&ends))?);
        producer.probe(PROBE * 5)?;
        reader.find_ends()?;

        let (reads, mut read_queue) = mpsc::channel::<Job>(QUEUE_READS);
        let stop = Arc::new(AtomicBool::new(false));
        let health = Health {
            producer: Arc::clone(&producer),
            pulse: Arc::clone(&pulse),
            reads: reads.downgrade(),
            stop: Arc::clone(&stop),
        };
        let threads = vec![
            crate::thread("log-read", move || {
                while let Some(job) = read_queue.blocking_recv() {
                    job(&mut reader);
                }
            })?,
            crate::thread("log-health", move || health.run())?,
        ];
        tracing::info!(brokers = %address.brokers, "the log is at Kafka");
        Ok(Self { producer, admin, reads: Some(reads), pulse, ends, stop, threads })
    }

    /// Whether `url` and `options` can work, without asking any broker.
    ///
    /// # Errors
    /// [`Error::LogUrl`], [`Error::LogOption`].
    pub fn check(url: &str, options: &KafkaOptions) -> Result<(), Error> {
        let config = Address::parse(url)?.config(options)?;
        config.create_native_config().map(drop).map_err(address::refused)
    }

    /// Runs `job` on the reading thread.
    async fn on_reader<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            let _ = done.send(job(reader));
        });
        let reads = self.reads.as_ref().ok_or(Error::Closed)?;
        reads.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// The offsets of an acknowledged batch, looked up where the broker knew a
    /// repeat but not its offset. `before`: where each record's partition ended
    /// for us when it was sent.
    async fn offsets(
        &self,
        batch: Arc<Batch>,
        mut placed: Placed,
        before: &[u64],
    ) -> Result<Vec<u64>, Error> {
        while let Some(lost) = placed.iter().position(Option::is_none) {
            let partition = batch.records[lost].partition;
            let all: Vec<_> = (0..placed.len())
                .filter(|i| placed[*i].is_none() && batch.records[*i].partition == partition)
                .collect();
            let (from, same, topic) = (before[lost], Arc::clone(&batch), batch.topic);
            let indexes = all.clone();
            let found = self
                .on_reader(move |reader| {
                    let wanted: Vec<_> = indexes.iter().map(|i| &same.records[*i]).collect();
                    reader.locate(topic, partition, from, &wanted)
                })
                .await;
            let found = match found {
                Ok(found) => found,
                // They are durable: the answer waits as an append does.
                Err(Error::Broker { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (index, offset) in all.into_iter().zip(found) {
                let Some(offset) = offset else {
                    let reason = format!(
                        "a record of {topic}/{partition} was appended from offset {from} on, but is gone"
                    );
                    return Err(self.pulse.broker(
                        "tell its offset",
                        reason,
                        "read the topic again",
                    ));
                };
                self.ends.raise(topic, partition, offset + 1);
                placed[index] = Some(offset);
            }
        }
        Ok(placed.into_iter().flatten().collect())
    }
}

impl Log for Kafka {
    fn append_many(&self, topic: Topic, records: Vec<NewRecord>) -> Answer<'_, Vec<u64>> {
        Box::pin(async move {
            let bytes = check(topic, &records)?;
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let ends = |record: &NewRecord| self.ends.get(topic, record.partition);
            let before: Vec<_> = records.iter().map(ends).collect();
            let (batch, placed) = self.producer.append(topic, records, bytes).await?;
            self.offsets(batch, placed, &before).await
        })
    }

    fn read(&self, topic: Topic, partition: u16, from: u64, max: usize) -> Answer<'_, Vec<Record>> {
        Box::pin(async move {
            check_partition(topic, partition)?;
            self.on_reader(move |reader| reader.read(topic, partition, from, max)).await
        })
    }

    fn prefetch(&self, topic: Topic, from: &[(u16, u64)]) -> Answer<'_, ()> {
        let from = from.to_vec();
        let prefetch = move |reader: &mut Reader| {
            reader.prefetch(topic, &from);
            Ok(())
        };
        Box::pin(self.on_reader(prefetch))
    }

    fn latest(&self, topic: Topic) -> Answer<'_, Vec<Record>> {
        Box::pin(self.on_reader(move |reader| reader.latest(topic)))
    }

    fn bounds(&self, topic: Topic, partition: u16) -> Answer<'_, Range<u64>> {
        Box::pin(async move {
            check_partition(topic, partition)?;
            self.on_reader(move |reader| reader.bounds(topic, partition)).await
        })
    }

    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Answer<'_, ()> {
        Box::pin(async move {
            let bounds = self.bounds(topic, partition).await?;
            if topic.is_compacted() || below <= bounds.start {
                return Ok(());
            }
            let below = (below < bounds.end).then_some(below);
            self.admin.trim(topic, partition, below).await?;
            let forget = move |reader: &mut Reader| {
                reader.forget(topic, partition);
                Ok(())
            };
            self.on_reader(forget).await
        })
    }

    fn health(&self) -> Result<(), Error> {
        self.producer.failed().or_else(|| self.pulse.trouble()).map_or(Ok(()), Err)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.reads = None;
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }
}

/// The thread that finds out whether appends get through.
struct Health {
    producer: Arc<Producer>,
    pulse: Arc<Pulse>,
    // Weak, so that the reading thread ends when the log is dropped.
    reads: mpsc::WeakSender<Job>,
    stop: Arc<AtomicBool>,
}

impl Health {
    fn run(self) {
        let mut acknowledged = self.pulse.acknowledged();
        while !self.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(PULSE);
            let now = self.pulse.acknowledged();
            // An acknowledgement is a better proof than any probe.
            let proven = now != std::mem::replace(&mut acknowledged, now);
            let found = match (self.producer.failed(), self.pulse.stalled()) {
                (Some(failed), _) => Err(failed),
                (None, _) if proven => Ok(()),
                (None, Some(stalled)) => self.producer.probe(PROBE).and(Err(stalled)),
                (None, None) => self.producer.probe(PROBE),
            };
            self.pulse.set(found);
            if let Some(reads) = self.reads.upgrade() {
                // If reads wait, this can wait too.
                let _ = reads.try_send(Box::new(Reader::tidy));
            }
        }
    }
}
