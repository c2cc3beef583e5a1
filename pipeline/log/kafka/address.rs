//! Where the brokers are, what topics are called there, and the clients' settings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::{Error, Topic};

/// What may be chosen besides the address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// librdkafka's own properties by name, for TLS and SASL above all. Those
    /// that the log's promises rest on are refused, see [`RESERVED`].
    pub properties: BTreeMap<String, String>,
    /// How long topics made by us keep records, the compacted ones excepted.
    /// None: until they are trimmed. Never shorter than readers may be away.
    pub retention: Option<Duration>,
    /// Copies of each partition of topics made by us. None: the cluster's default.
    pub replication: Option<u16>,
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be passwords.
        f.debug_struct("KafkaOptions")
            .field("properties", &self.properties.keys())
            .field("retention", &self.retention)
            .field("replication", &self.replication)
            .finish()
    }
}

/// Properties that can't be chosen: durability and the order of records rest on them.
pub const RESERVED: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "log.queue",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];

/// The largest message: a record at its limits, its framing, and room for headers.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// A parsed URL.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// `host:port,host:port`.
    pub brokers: Arc<str>,
    names: [String; Topic::ALL.len()],
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, Error> {
        let fail = |reason: &str| Error::LogUrl { url: url.to_owned(), reason: reason.to_owned() };
        let rest = url.strip_prefix("kafka://").ok_or_else(|| fail("it is no kafka URL"))?;
        let (brokers, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if brokers.contains('@') {
            // It would end up in messages and in the process list of whoever prints the settings.
            let reason = "user and password belong into the log's options (sasl.username, …)";
            return Err(Error::LogUrl { url: "kafka://…".into(), reason: reason.into() });
        }
        for broker in brokers.split(',') {
            let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
            if host.is_empty() {
                return Err(fail("a broker has no host"));
            }
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                continue;
            }
            return Err(fail(&format!("broker {broker:?} needs a port from 1 to 65535")));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !prefix.chars().all(legal) || prefix.len() > 200 {
            return Err(fail("a prefix has at most 200 letters, digits, dots, dashes and _"));
        }
        let name = |topic: Topic| match prefix {
            "" => topic.name().to_owned(),
            prefix => format!("{prefix}.{topic}"),
        };
        Ok(Self { brokers: brokers.into(), names: Topic::ALL.map(name) })
    }

    /// The topic's name at the brokers.
    pub fn name(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }

    /// Settings of every client, before those of its kind.
    pub fn config(&self, options: &KafkaOptions) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "millstream")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", "10000");
        for (name, value) in &options.properties {
            if RESERVED.contains(&name.as_str()) {
                let reason = "the log sets it itself, since its promises rest on it".into();
                return Err(Error::LogOption { name: name.clone(), reason });
            }
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &*self.brokers)
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        Ok(config)
    }
}

/// What librdkafka has against its settings. Never repeats a value: it may be a password.
pub(super) fn refused(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            let unknown = reason.contains("No such");
            let reason = match unknown {
                true => "librdkafka has no such property".to_owned(),
                false => "librdkafka refuses its value".to_owned(),
            };
            Error::LogOption { name, reason }
        }
        error => Error::LogOption { name: "(several)".into(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_brokers_and_prefix() {
        let address = Address::parse("kafka://a:9092,[::1]:9093/live.eu").unwrap();
        assert_eq!(&*address.brokers, "a:9092,[::1]:9093");
        assert_eq!(address.name(Topic::Catalog), "live.eu.catalog");
        for url in ["kafka://a:9092", "kafka://a:9092/"] {
            assert_eq!(Address::parse(url).unwrap().name(Topic::Chat), "chat");
        }
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        for (url, word) in [
            ("http://a:1/x", "no kafka URL"),
            ("kafka:///x", "no host"),
            ("kafka://a", "needs a port"),
            ("kafka://a:9092,b:0/x", "needs a port"),
            ("kafka://a:99999/x", "needs a port"),
            ("kafka://a:9092/x y", "prefix"),
            ("kafka://a:9092/x/y", "prefix"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("kafka://host:port"), "{error}");
        }
        let error = Address::parse("kafka://bob:hunter2@a:9092/x").unwrap_err().to_string();
        assert!(error.contains("sasl.username") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn settings_are_passed_through_but_never_printed() {
        let address = Address::parse("kafka://a:9092/x").unwrap();
        let with = |name: &str, value: &str| KafkaOptions {
            properties: [(name.to_owned(), value.to_owned())].into(),
            ..KafkaOptions::default()
        };
        let config = address.config(&with("sasl.username", "bob")).unwrap();
        assert_eq!(config.get("sasl.username"), Some("bob"));
        let error = address.config(&with("acks", "0")).unwrap_err().to_string();
        assert!(error.contains("acks"), "{error}");
        for (name, value) in [("sasl.passwort", "hunter2"), ("socket.timeout.ms", "hunter2")] {
            let config = address.config(&with(name, value)).unwrap();
            let error = config.create_native_config().map(drop).map_err(refused).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }
}
