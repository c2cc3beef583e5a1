//! All that knows timely's machinery: clock, shards, edges, wakers, generations, credit.
//!
//! ```text
//! I/O plane ──Intake──► generation N of W workers ──Edge──► I/O plane
//!             (retained)        │        ▲          (credit)
//!                               └Handover┘
//! ```
//!
//! A *generation* is a fixed number of workers and a fixed set of dataflows.
//! Rescaling, a worker's panic and a deploy are one mechanism: end generation
//! N, start N+1. Sockets, encoders and the viewers' window live outside, so a
//! new generation drops no connection.

mod clock;
mod edge;
mod handover;
mod intake;
mod shards;
mod waker;

pub use clock::{Clock, EPOCH, Epoch, wall_us};
pub use edge::{Edge, EdgeMeter, EdgeReceiver, edge};
pub use handover::Handover;
pub use intake::{Closed, Intake, IntakeLimits, Retained, Writer};
pub use shards::{LANES, ShardTable};
pub use waker::Waker;
