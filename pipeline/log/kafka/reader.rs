//! Reading: one consumer, one thread, a queue per partition that is followed.
//!
//! ```text
//! read ──► thread log-read ──► follower of the partition ◄── librdkafka fetches ahead
//! ```
//!
//! Enters: reads, as jobs. Leaves: records. Held: a follower for each partition
//! read within [`IDLE`], with at most [`AHEAD_KBYTES`] fetched ahead and
//! [`KEPT_BYTES`] of what it gave last. A reader that comes back for what follows
//! gets it without a round trip, and so does another one close behind; an empty
//! answer too, since the brokers keep telling where the partition ends. Never
//! done here: consumer groups; positions are the callers' business.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::address::{Address, refused};
use super::producer::Ends;
use super::pulse::{Listener, Pulse};
use crate::limits::READ_BYTES_MAX;
use crate::{Error, NewRecord, Record, Topic};

/// How long a read waits for the brokers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between looks at the consumer's own events.
const STEP: Duration = Duration::from_millis(100);
/// Records of ours that don't come for so long may be compacted: look anew.
const HOLE: Duration = Duration::from_secs(3);
/// A partition that nobody reads for so long is no longer fetched.
const IDLE: Duration = Duration::from_secs(30);
/// The client's own events that are served before each operation.
const EVENTS: usize = 32;
/// Fetched ahead of a partition's reader.
const AHEAD_KBYTES: &str = "1024";
/// Given last and kept of a partition: the lake and queries read the same tail,
/// again and again, and beginning anew takes a fetch's whole wait.
const KEPT_BYTES: usize = 256 << 10;

impl ConsumerContext for Listener {}

pub(super) struct Reader {
    consumer: Arc<BaseConsumer<Listener>>,
    /// Asks for bounds. Brokers answer one request of a connection at a time,
    /// and the other one has a fetch waiting on it nearly always.
    asker: BaseConsumer<Listener>,
    followers: HashMap<(Topic, u16), Follower>,
    address: Address,
    pulse: Arc<Pulse>,
    ends: Arc<Ends>,
}

struct Follower {
    queue: PartitionQueue<Listener>,
    kept: Kept,
    /// Where the partition ended when this began.
    end: u64,
    /// The brokers said since that they gave all they have, so nothing is left up
    /// to `end`, whatever the offsets.
    has_ended: bool,
    used: Instant,
}

/// What a partition's queue gave last, each record once.
struct Kept {
    records: VecDeque<Record>,
    bytes: usize,
    /// What is from here up to `next` is in `records`.
    from: u64,
    /// Nothing from here on was given yet.
    next: u64,
}

impl Reader {
    pub fn open(
        mut config: ClientConfig,
        address: Address,
        pulse: Arc<Pulse>,
        ends: Arc<Ends>,
    ) -> Result<Self, Error> {
        if config.get("group.id").is_none() {
            // Needed for explicit positions too; nothing joins or commits.
            config.set("group.id", "millstream");
        }
        config
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // How long a partition may wait to be fetched because others have nothing new.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            .set("queued.max.messages.kbytes", AHEAD_KBYTES);
        let listener = Listener(Arc::clone(&pulse));
        let open = || BaseConsumer::from_config_and_context(&config, listener.clone());
        let (consumer, asker) = (open().map_err(refused)?, open().map_err(refused)?);
        let followers = HashMap::new();
        Ok(Self { consumer: Arc::new(consumer), asker, followers, address, pulse, ends })
    }

    /// What the brokers know of `topic`. Gives up early where waiting can't help.
    /// Asked by the client that reads: one that hasn't heard of a topic looks for the
    /// leaders of its partitions once a second, and its first reader would wait for that.
    pub fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, Error> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.fetch_metadata(Some(topic), left.min(STEP * 5)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    self.events();
                    let hopeless = self.pulse.hopeless();
                    if hopeless.is_some() || left.is_zero() {
                        return Err(self.pulse.explain("open its topics", &error));
                    }
                }
            }
        }
    }

    /// Asks where all partitions end.
    pub fn find_ends(&self) -> Result<(), Error> {
        let explain = |error| self.pulse.explain("find the ends of its topics", &error);
        let mut list = TopicPartitionList::new();
        for topic in Topic::ALL {
            for partition in 0..topic.partitions() {
                let (name, at) = (self.address.name(topic), i32::from(partition));
                list.add_partition_offset(name, at, Offset::End).map_err(explain)?;
            }
        }
        let found = self.asker.offsets_for_times(list, PATIENCE).map_err(explain)?;
        for topic in Topic::ALL {
            for partition in 0..topic.partitions() {
                let (name, at) = (self.address.name(topic), i32::from(partition));
                let end = found.find_partition(name, at).map(|found| found.offset());
                match end {
                    Some(Offset::Offset(end)) => {
                        self.ends.raise(topic, partition, end.max(0) as u64);
                    }
                    // Empty so far.
                    Some(Offset::End) => {}
                    _ => self.ends.raise(topic, partition, self.bounds(topic, partition)?.end),
                }
            }
        }
        Ok(())
    }

    pub fn bounds(&self, topic: Topic, partition: u16) -> Result<Range<u64>, Error> {
        self.events();
        let name = self.address.name(topic);
        let found = self.asker.fetch_watermarks(name, i32::from(partition), PATIENCE);
        let (start, end) = found.map_err(|error| {
            self.events();
            self.pulse.explain(format!("find the bounds of {topic}/{partition}"), &error)
        })?;
        let end = (end.max(0) as u64).max(self.ends.get(topic, partition));
        Ok((start.max(0) as u64).min(end)..end)
    }

    pub fn read(
        &mut self,
        topic: Topic,
        partition: u16,
        from: u64,
        max: usize,
    ) -> Result<Vec<Record>, Error> {
        self.events();
        let until = Instant::now() + PATIENCE;
        let mut out = Vec::new();
        if max == 0 || !self.follow(topic, partition, from)? {
            return Ok(out);
        }
        let mut quiet = Instant::now();
        let mut bytes = 0;
        let kept = self.followers.get(&(topic, partition)).map(|follower| &follower.kept.records);
        for record in kept.into_iter().flatten().filter(|record| record.offset >= from) {
            bytes += weight(record);
            out.push(record.clone());
            if out.len() >= max || bytes >= READ_BYTES_MAX {
                return Ok(out);
            }
        }
        loop {
            if out.is_empty() && Instant::now() > until {
                self.forget(topic, partition);
                let error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.pulse.explain(format!("read {topic}/{partition}"), &error));
            }
            let own_end = self.ends.get(topic, partition);
            let Some(follower) = self.followers.get_mut(&(topic, partition)) else {
                return Ok(out);
            };
            follower.used = Instant::now();
            let known_end = own_end.max(follower.end);
            let passed = if follower.has_ended { follower.end } else { 0 };
            // Whoever has something comes back for more: a partition that grows all
            // the time has no end to wait for. What is known to be there is waited
            // for, since an empty answer says that there is nothing.
            let done = !out.is_empty() || follower.kept.next.max(passed) >= known_end;
            match follower.queue.poll(if done { Duration::ZERO } else { STEP }) {
                Some(Ok(message)) => {
                    let Some(offset) = u64::try_from(message.offset()).ok() else { continue };
                    if follower.kept.had(offset) {
                        // A client whose broker comes back may begin anew where it was told
                        // to, maybe days ago: it is told to begin here.
                        self.forget(topic, partition);
                        if !out.is_empty() || !self.follow(topic, partition, from)? {
                            return Ok(out);
                        }
                        continue;
                    }
                    quiet = Instant::now();
                    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
                    let key = copy(message.key()).unwrap_or_default();
                    let record = Record { partition, offset, key, value: copy(message.payload()) };
                    drop(message);
                    follower.kept.keep(&record);
                    if offset < from {
                        continue;
                    }
                    bytes += weight(&record);
                    out.push(record);
                    if out.len() >= max || bytes >= READ_BYTES_MAX {
                        return Ok(out);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => follower.has_ended = true,
                Some(Err(error)) => {
                    self.forget(topic, partition);
                    if !out.is_empty() {
                        return Ok(out);
                    }
                    // Trimmed under our feet, or a broker that starts: look where it begins now.
                    let reset = Some(RDKafkaErrorCode::AutoOffsetReset);
                    if error.rdkafka_error_code() != reset || Instant::now() > until {
                        return Err(self
                            .pulse
                            .explain(format!("read {topic}/{partition}"), &error));
                    }
                    if !self.follow(topic, partition, from)? {
                        return Ok(out);
                    }
                }
                None if done => return Ok(out),
                None => {
                    self.events();
                    if quiet.elapsed() > HOLE {
                        self.forget(topic, partition);
                        if !self.follow(topic, partition, from)? {
                            return Ok(out);
                        }
                        quiet = Instant::now();
                    }
                }
            }
        }
    }

    /// Has partitions fetched that nobody follows yet. What can't be now is left to
    /// those who read it.
    pub fn prefetch(&mut self, topic: Topic, from: &[(u16, u64)]) {
        if self.pulse.trouble().is_some() {
            return;
        }
        for (partition, from) in from {
            if !self.followers.contains_key(&(topic, *partition))
                && let Err(error) = self.follow(topic, *partition, *from)
            {
                tracing::debug!(%error, %topic, partition, "not fetched ahead");
                return;
            }
        }
    }

    /// Every key's newest record. What is written meanwhile is in it or not,
    /// but no key is missing because it was superseded while we read.
    pub fn latest(&mut self, topic: Topic) -> Result<Vec<Record>, Error> {
        if !topic.is_compacted() {
            return Err(Error::NotCompacted(topic));
        }
        let mut out = Vec::new();
        for partition in 0..topic.partitions() {
            // Asks the brokers anew where the partition ends.
            self.forget(topic, partition);
            let mut newest = HashMap::new();
            let mut from = 0;
            loop {
                let page = self.read(topic, partition, from, usize::MAX)?;
                let Some(last) = page.last() else { break };
                from = last.offset + 1;
                newest.extend(page.into_iter().map(|record| (record.key.clone(), record)));
            }
            let mut living: Vec<_> =
                newest.into_values().filter(|record| record.value.is_some()).collect();
            living.sort_unstable_by_key(|record| record.offset);
            out.extend(living);
        }
        Ok(out)
    }

    /// Where records are that the brokers have without saying where: the first
    /// like them, in order, from `from` on. Empty places are left if they are
    /// nowhere (compacted meanwhile).
    pub fn locate(
        &mut self,
        topic: Topic,
        partition: u16,
        from: u64,
        wanted: &[&NewRecord],
    ) -> Result<Vec<Option<u64>>, Error> {
        let mut found = vec![None; wanted.len()];
        let (mut from, mut index) = (from, 0);
        self.forget(topic, partition);
        loop {
            let page = self.read(topic, partition, from, usize::MAX)?;
            let Some(last) = page.last() else { return Ok(found) };
            from = last.offset + 1;
            for record in &page {
                let Some(next) = wanted.get(index) else { return Ok(found) };
                if record.key == next.key && record.value == next.value {
                    found[index] = Some(record.offset);
                    index += 1;
                }
            }
        }
    }

    /// Stops fetching a partition: it was trimmed, or its end must be asked for anew.
    pub fn forget(&mut self, topic: Topic, partition: u16) {
        if self.followers.remove(&(topic, partition)).is_some() {
            let mut list = TopicPartitionList::new();
            list.add_partition(self.address.name(topic), i32::from(partition));
            if let Err(error) = self.consumer.incremental_unassign(&list) {
                tracing::warn!(%error, %topic, partition, "cannot stop fetching a partition");
            }
        }
    }

    /// Stops fetching what nobody reads.
    pub fn tidy(&mut self) {
        self.events();
        let idle = self.followers.iter().filter(|(_, follower)| follower.used.elapsed() > IDLE);
        let idle: Vec<_> = idle.map(|(at, _)| *at).collect();
        for (topic, partition) in idle {
            self.forget(topic, partition);
        }
    }

    /// Has the partition fetched from `from` on; false if there is nothing yet.
    fn follow(&mut self, topic: Topic, partition: u16, from: u64) -> Result<bool, Error> {
        let follower = self.followers.get(&(topic, partition));
        if follower.is_some_and(|follower| follower.kept.reaches(from)) {
            return Ok(true);
        }
        self.forget(topic, partition);
        let bounds = self.bounds(topic, partition)?;
        let from = from.max(bounds.start);
        if from >= bounds.end {
            return Ok(false);
        }
        let name = self.address.name(topic);
        let at = i32::from(partition);
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(name, at, Offset::Offset(from as i64))
            .and_then(|()| self.consumer.incremental_assign(&list));
        assigned
            .map_err(|error| self.pulse.explain(format!("read {topic}/{partition}"), &error))?;
        // Before the first fetch can answer, so nothing of it lands in the consumer's own queue.
        let queue = self.consumer.split_partition_queue(name, at).ok_or(Error::Closed)?;
        let follower = Follower {
            queue,
            kept: Kept::from(from),
            end: bounds.end,
            has_ended: false,
            used: Instant::now(),
        };
        self.followers.insert((topic, partition), follower);
        Ok(true)
    }

    /// Serves the client's callbacks. A poll that served one says no more than
    /// one that found none, so there are as many as can have gathered.
    fn events(&self) {
        for _ in 0..EVENTS {
            // Follows nothing, so it has nothing but callbacks.
            let _ = self.asker.poll(Duration::ZERO);
            if let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) {
                // Would be a hole in what its reader gets.
                tracing::error!(topic = message.topic(), "a record came by the wrong queue");
            }
        }
    }
}

impl Kept {
    /// Nothing yet, of a queue that begins here.
    fn from(from: u64) -> Self {
        Self { records: VecDeque::new(), bytes: 0, from, next: from }
    }

    /// Whether what is from here on is either kept or yet to come.
    fn reaches(&self, from: u64) -> bool {
        self.from <= from && from <= self.next
    }

    /// Whether the queue gave this before.
    fn had(&self, offset: u64) -> bool {
        offset < self.next
    }

    /// Notes what the queue gave, for whoever comes next.
    fn keep(&mut self, record: &Record) {
        self.next = record.offset + 1;
        self.bytes += weight(record);
        self.records.push_back(record.clone());
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= weight(&oldest);
            self.from = oldest.offset + 1;
        }
    }
}

fn weight(record: &Record) -> usize {
    record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64, length: usize) -> Record {
        Record { partition: 3, offset, key: Bytes::new(), value: Some(vec![b'x'; length].into()) }
    }

    #[test]
    fn what_a_queue_gives_twice_is_known() {
        let mut kept = Kept::from(5);
        // With a hole, as compaction leaves it.
        for offset in [5, 6, 9] {
            assert!(!kept.had(offset));
            kept.keep(&record(offset, 10));
        }
        assert!((0..10).all(|offset| kept.had(offset)) && !kept.had(10));
        assert!(kept.records.iter().map(|record| record.offset).eq([5, 6, 9]));
        assert!(kept.reaches(5) && kept.reaches(10) && !kept.reaches(4) && !kept.reaches(11));
    }

    #[test]
    fn the_newest_are_kept_up_to_a_bound() {
        let mut kept = Kept::from(0);
        for offset in 0..100 {
            kept.keep(&record(offset, KEPT_BYTES / 10));
            assert!(kept.bytes <= KEPT_BYTES);
        }
        assert_eq!(kept.bytes, kept.records.iter().map(weight).sum::<usize>());
        assert_eq!(kept.records.front().map(|record| record.offset), Some(kept.from));
        assert!(kept.from > 85 && kept.next == 100);
        // Gone, and not taken for new.
        assert!(!kept.reaches(2) && kept.had(2));
    }
}
