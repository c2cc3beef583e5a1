//! SQL over the lake, read-only and within limits.
//!
//! ```text
//! text ──admit──► plan ──► DataFusion on threads of its own ──► Rows ──► table · CSV · JSON · Parquet · Arrow
//!                  │                                             (bounded)
//!      Delta tables ∪ Tail (what the log has beyond them)
//! ```
//!
//! Enters: the text of one statement. Leaves: [`Rows`], batch by batch. Held:
//! the Delta tables' latest snapshots, and of a running query what its
//! [`Limits`] allow; all of that goes when its [`Rows`] are dropped. Never done
//! here: writing, reading files that aren't the lake's, deciding who may ask.
//!
//! [`Session`] is the way in, [`Postgres`] that of PostgreSQL's clients and [`Flight`]
//! that of Arrow's; [`named`] holds the queries that come with the product; [`Format`] writes what comes out.

mod catalog;
mod comments;
mod doors;
mod error;
mod flight;
mod format;
mod functions;
mod guard;
mod lake;
mod limits;
mod memory;
pub mod named;
mod pool;
mod postgres;
mod rows;
mod session;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod views;

pub use arrow::datatypes::SchemaRef;
pub use arrow::record_batch::RecordBatch;
pub use doors::{Admits, Entrance, TlsConfig};
pub use error::Error;
pub use flight::Flight;
pub use format::{ArrowDecoder, Format, ParseFormatError, Writer, arrow_stream};
pub use limits::Limits;
pub use postgres::Postgres;
pub use rows::Rows;
pub use session::{Options, Session};
pub use tail::{Tail, TailError};
