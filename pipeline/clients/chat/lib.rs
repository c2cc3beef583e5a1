//! Thousands of chat viewers in one process, and what they saw.
//!
//! ```text
//!          ┌─► one thread: who speaks, at a rate or as fast as is answered ─┐
//! run ─► ──┤                                                                ├─► Report
//!          └─► threads of viewers, each on one epoll: what arrives, when ───┘
//! ```
//!
//! - **Enters**: an address and how much to load it with. **Leaves**: deliveries, their
//!   latency from sending to reading, what is said and when that is answered, gaps,
//!   repetitions, and the server's CPU time and memory.
//! - **Held**: per viewer its socket, and bytes while a frame isn't whole.
//! - **Ends** by itself after [`Options::duration`], or once [`Options::stop`] is set.
//! - **Never here**: addresses other than those given; the server's code.
//!
//! Marks in the messages carry the time of sending, by this machine's clock, so several of
//! these processes can share a room: one publishes, the others hear its marks.

mod cost;
mod crowd;
mod files;
mod findings;
mod handshake;
mod histogram;
mod load;
mod marker;
mod options;
mod phase;
mod report;
mod speakers;
#[cfg(test)]
mod tests;
mod texts;
mod viewer;

pub use cost::Cost;
pub use findings::{AFTER, BACK, Findings, JOINING, MEASURED};
pub use histogram::Histogram;
pub use load::{run, run_when};
pub use marker::{Mark, now_ns};
pub use options::{Dialect, LoadError, Options, People, Publish};
pub use report::{Report, ServerCost};
