//! Topics at the brokers: made if they are missing, checked if they are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::address::{Address, KafkaOptions, MESSAGE_BYTES_MAX, refused};
use super::pulse::{Listener, Pulse};
use super::reader::Reader;
use crate::{Error, Topic, wait};

/// How long the brokers may take to be reached, and to make the topics.
const PATIENCE: Duration = Duration::from_secs(10);
/// A hundred years. Kafka's own word for it is -1, which Tansu 0.6 takes for
/// less than nothing: it deletes every record within minutes.
const FOR_EVER: Duration = Duration::from_hours(24 * 36_525);
/// Between looks for new topics.
const STEP: Duration = Duration::from_millis(50);

pub(super) struct Admin {
    client: AdminClient<Listener>,
    address: Address,
    pulse: Arc<Pulse>,
}

impl Admin {
    pub fn open(config: &ClientConfig, address: Address, pulse: Arc<Pulse>) -> Result<Self, Error> {
        let listener = Listener(Arc::clone(&pulse));
        let client = AdminClient::from_config_and_context(config, listener).map_err(refused)?;
        Ok(Self { client, address, pulse })
    }

    /// Makes the topics that are missing and checks the others.
    pub fn prepare(&self, reader: &Reader, options: &KafkaOptions) -> Result<(), Error> {
        let mut missing = Vec::new();
        for topic in Topic::ALL {
            if !self.is_there(reader, topic)? {
                missing.push(topic);
            }
        }
        if !missing.is_empty() {
            self.make(&missing, options)?;
            let until = Instant::now() + PATIENCE;
            for topic in missing {
                while !self.is_there(reader, topic)? {
                    if Instant::now() > until {
                        let reason = format!(
                            "topic {} was made but has no leaders",
                            self.address.name(topic)
                        );
                        return Err(self.pulse.broker(
                            "open its topics",
                            reason,
                            "check the brokers",
                        ));
                    }
                    std::thread::sleep(STEP);
                }
            }
        }
        self.check_compaction()
    }

    /// Whether the topic exists, as it must be.
    fn is_there(&self, reader: &Reader, topic: Topic) -> Result<bool, Error> {
        let name = self.address.name(topic);
        let metadata = reader.metadata(name, PATIENCE)?;
        let Some(found) = metadata.topics().first() else { return Ok(false) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::LeaderNotAvailable,
            ) => return Ok(false),
            Some(code) => {
                let error = KafkaError::MetadataFetch(code);
                return Err(self.pulse.explain(format!("open topic {name}"), &error));
            }
        }
        let partitions = found.partitions().len();
        if partitions == 0 {
            return Ok(false);
        }
        if partitions != usize::from(topic.partitions()) {
            return Err(self.differs(
                topic,
                format!("it has {partitions} partitions instead of {}", topic.partitions()),
            ));
        }
        Ok(found.partitions().iter().all(|partition| partition.leader() >= 0))
    }

    fn make(&self, missing: &[Topic], options: &KafkaOptions) -> Result<(), Error> {
        let bytes_max = MESSAGE_BYTES_MAX.to_string();
        let retention = options.retention.unwrap_or(FOR_EVER).as_millis().to_string();
        let copies = options.replication.map_or(-1, i32::from);
        let topics: Vec<_> = missing
            .iter()
            .map(|topic| {
                let name = self.address.name(*topic);
                let copies = TopicReplication::Fixed(copies);
                let new = NewTopic::new(name, i32::from(topic.partitions()), copies)
                    .set("max.message.bytes", &bytes_max);
                match topic.is_compacted() {
                    true => new.set("cleanup.policy", "compact"),
                    false => new
                        .set("cleanup.policy", "delete")
                        .set("retention.ms", &retention)
                        .set("retention.bytes", "-1"),
                }
            })
            .collect();
        let patience =
            AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let explain = |name: &str, error| Err(self.pulse.explain(format!("make {name}"), &error));
        match wait(self.client.create_topics(&topics, &patience)) {
            Ok(made) => {
                for result in made {
                    match result {
                        // Another engine was faster.
                        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                        Err((name, code)) => {
                            return explain(&format!("topic {name}"), KafkaError::AdminOp(code));
                        }
                    }
                }
                Ok(())
            }
            Err(error) => explain("its topics", error),
        }
    }

    /// A catalog that isn't compacted but deleted by age would lose streams.
    fn check_compaction(&self) -> Result<(), Error> {
        let patience = AdminOptions::new().request_timeout(Some(PATIENCE));
        for topic in Topic::ALL.into_iter().filter(|topic| topic.is_compacted()) {
            let name = self.address.name(topic);
            let asked =
                wait(self.client.describe_configs(&[ResourceSpecifier::Topic(name)], &patience));
            let found = match asked.map(|mut answers| answers.pop()) {
                Ok(Some(Ok(found))) => found,
                other => {
                    // Not every user may ask.
                    let reason = format!("{:?}", other.map(|_| "refused"));
                    tracing::warn!(
                        topic = name,
                        reason,
                        "cannot check that the topic is compacted"
                    );
                    continue;
                }
            };
            let policy = found.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
            if policy.is_some_and(|policy| policy.split(',').any(|word| word.trim() == "delete")) {
                return Err(self.differs(
                    topic,
                    "its cleanup.policy would delete old entries; it must be compact".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn differs(&self, topic: Topic, detail: String) -> Error {
        let name = self.address.name(topic).to_owned();
        Error::TopicDiffers { name, brokers: self.address.brokers.clone(), detail }
    }

    /// Deletes what is below `below`; None: everything.
    pub async fn trim(
        &self,
        topic: Topic,
        partition: u16,
        below: Option<u64>,
    ) -> Result<(), Error> {
        let name = self.address.name(topic);
        let action = || format!("trim {topic}/{partition}");
        let below = below.map_or(Offset::End, |below| Offset::Offset(below as i64));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, i32::from(partition), below)
            .map_err(|error| self.pulse.explain(action(), &error))?;
        let patience = AdminOptions::new().request_timeout(Some(PATIENCE));
        let trimmed = self.client.delete_records(&list, &patience).await;
        let trimmed = trimmed
            .and_then(|list| list.elements().first().map_or(Ok(()), |element| element.error()));
        trimmed.map_err(|error| self.pulse.explain(action(), &error))
    }
}
