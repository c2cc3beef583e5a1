//! The lake: what the log says, as Delta tables, each record once.
//!
//! ```text
//! log ──read from the committed offsets──► rows ──► Parquet files ──► committer ──► Delta log
//!  ▲                                       (no reader sees them yet)   one per table     │
//!  └──────────────── positions: one `txn` per partition, in the same commit ◄────────────┘
//! ```
//!
//! - **Enters**: records of the log's topics. **Leaves**: Delta tables below one
//!   root (a folder or a place in an object store), partitioned by day, which any Delta reader can open; and
//!   [`Snapshot`]s, so that queries read the same version and add the [`tail`].
//! - **Held**: per table the state of its Delta log; rows only while a commit is
//!   under way, at most [`LakeConfig::commit_rows_max`].
//! - **Ends** with [`Lake::stop`], which commits what the log holds by then.
//! - **Never here**: waiting by whatever is live. All of it runs on a runtime of
//!   its own, and reads from the log what is durable there already.
//!
//! # Exactly once
//!
//! Positions live in the table: a commit holds its files and, for each
//! partition, where the next one begins ([`Committer::commit`]). So files and
//! positions change together or not at all, whenever the process dies: what was
//! written before a crash but not committed is a file that no reader looks at,
//! and its records are read again. Somebody else's commit makes ours fail; the
//! table is then loaded anew, and rows below its positions are dropped. A commit
//! is a file that is written only if no other has its name: a hard link in a
//! folder, `If-None-Match` in an object store. Where it is open what became of
//! one (a lost answer, a time-out), the table is opened anew and says so itself.
//!
//! Records that leave the log before the lake has them (retention shorter than
//! an outage) are lost, and that is never silent: an error in the log, a count
//! in [`TableMetrics`], and in the table the `txn` `TABLE/lost`, which is 0 at best.
//!
//! # Rows, files and commits as plain structs
//!
//! [`Table::decode`], [`Committer::write`] and [`Committer::commit`] don't know
//! who calls them. Here one task per table does ([`Lake::start`]).

mod committer;
mod compact;
mod config;
mod error;
mod fault;
mod files;
mod follower;
mod housekeeping;
mod metrics;
mod opening;
mod positions;
mod reader;
mod rows;
mod table;
mod task;
mod writer;

pub use committer::{Committer, Outcome, Snapshot};
pub use config::LakeConfig;
pub use error::Error;
pub use fault::{Fault, Faults};
pub use follower::{Follower, Step};
pub use metrics::{LakeMetrics, TableMetrics};
pub use positions::Lost;
pub use reader::{Pulled, pull, tail};
pub use rows::Decoded;
pub use store::Root;
pub use table::Table;
pub use task::Lake;
