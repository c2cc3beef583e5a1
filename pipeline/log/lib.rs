//! The durable log: topics, partitions, offsets.
//!
//! ```text
//! tasks and threads ──append──► Log ──fsync──► offset back to the caller
//!                                └──read · latest──► catalog, replays, the lake
//! ```
//!
//! Enters: [`NewRecord`]s. Leaves: the same as [`Record`]s with offsets that
//! rise by one per append and never repeat, and only once they are durable.
//! Held: everything until it is trimmed or, in a compacted topic, superseded.
//! Never done here: interpreting a key or a value.
//!
//! [`Log`] is the contract, [`Embedded`] the implementation that needs nothing
//! installed, [`Kafka`] the one that several engines can share, `testing.rs` the
//! suite that every implementation passes.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! use log::{Embedded, Log, NewRecord, Topic, wait};
//!
//! let log = Embedded::open(dir.path())?;
//! let offset = wait(log.append(Topic::Events, NewRecord::new(0, "stream", "began")))?;
//! assert_eq!(wait(log.read(Topic::Events, 0, offset, 10))?[0].value.as_deref(), Some(&b"began"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contract;
mod embedded;
mod error;
mod kafka;
mod limits;
mod lock;
mod record;
#[cfg(test)]
mod testing;
mod topic;
mod wait;

pub use contract::{Answer, Log};
pub use embedded::Embedded;
pub use error::Error;
pub use kafka::{Kafka, KafkaOptions, RESERVED};
pub use lock::DataLock;
pub use record::{NewRecord, Record};
pub use topic::Topic;
pub use wait::wait;

use std::sync::Arc;
use std::thread::JoinHandle;

/// A named thread of a log.
pub(crate) fn thread(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name.into()).spawn(body).map_err(|source| Error::Directory {
        action: "start a thread for the log named",
        path: name.into(),
        source: Arc::new(source),
    })
}
