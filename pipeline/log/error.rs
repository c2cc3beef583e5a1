//! What can go wrong, whose fault it is and what helps.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Topic;

/// Why the log did not do it. Cheap to clone: a failed group tells every caller in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: another server runs on this directory. A retry helps once that one is gone.
    #[error(
        "data directory {dir} is in use by another process{}; stop that one or choose another --data directory",
        pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Who holds it, if it said so.
        pid: Option<u32>,
    },
    /// The operator's: the directory can't be made, read or written.
    #[error("cannot {action} {path}: {source}")]
    Directory {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// The disk's: what was acknowledged is no longer all there. A retry does not help.
    #[error(
        "the log in {dir} is corrupted ({detail}); restore {dir} from a backup, or move it away to begin with an empty log"
    )]
    Corrupt {
        /// The log's directory.
        dir: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk's: reading or writing failed. After a failed write the log takes no
    /// more until it is opened again, since the state of the disk is then unknown.
    #[error("the log cannot {action}: {source}; check the disk's space and health, then restart")]
    Storage {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Why not.
        source: Arc<fjall::Error>,
    },
    /// The operator's: the log's URL can't be used. A retry does not help.
    #[error(
        "cannot use the log {url}: {reason}; write kafka://host:port/prefix, several brokers with commas"
    )]
    LogUrl {
        /// As given, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator's: one of the log's options can't be used. A retry does not help.
    #[error("cannot use the log's option {name}: {reason}; see librdkafka's CONFIGURATION.md")]
    LogOption {
        /// Which one. Its value may be a secret.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator's: a topic exists already and isn't as the log needs it.
    #[error(
        "topic {name} at Kafka {brokers} cannot be used: {detail}; delete it, or choose another prefix in the log's URL"
    )]
    TopicDiffers {
        /// Its name there.
        name: String,
        /// The brokers.
        brokers: Arc<str>,
        /// How it differs.
        detail: String,
    },
    /// The brokers', or the network's on the way there. A retry helps once they answer.
    #[error("the log cannot {action}: Kafka {brokers}: {reason}; {remedy}")]
    Broker {
        /// What was attempted, as a verb.
        action: String,
        /// The brokers.
        brokers: Arc<str>,
        /// Why not, as they or librdkafka said it.
        reason: String,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// The brokers': too much waits for them already. Nothing was appended; a
    /// retry helps once they answer.
    #[error("{bytes} bytes wait for the log already, which is the limit: {reason}")]
    Full {
        /// The limit.
        bytes: usize,
        /// Why they wait.
        reason: Box<Error>,
    },
    /// Ours: an append after the log was closed, or its thread died.
    #[error("the log is closed")]
    Closed,
    /// The caller's.
    #[error("topic {topic} has partitions 0..{}, not {partition}", topic.partitions())]
    NoSuchPartition {
        /// Which topic.
        topic: Topic,
        /// What was asked for.
        partition: u16,
    },
    /// The caller's: a record or a batch over the limit.
    #[error("{what} of {bytes} bytes for topic {topic} is over the limit of {max}")]
    TooLarge {
        /// Key, value or batch.
        what: &'static str,
        /// Which topic.
        topic: Topic,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The caller's: a record of a compacted topic with an empty key.
    #[error("a record of the compacted topic {0} needs a key")]
    NoKey(Topic),
    /// The caller's: the latest value per key of a topic that keeps them all.
    #[error("topic {0} is not compacted: it has no latest value per key")]
    NotCompacted(Topic),
}
