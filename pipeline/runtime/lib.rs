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
mod generation;
mod handover;
mod intake;
mod meter;
mod operator;
mod shards;
mod waker;

pub use clock::{Clock, EPOCH, Epoch, wall_us};
pub use edge::{Edge, EdgeMeter, EdgeReceiver, edge};
pub use generation::{
    Culprit, Engine, EngineStatus, Generation, Graph, Rescaled, ScaleError, working_on,
};
pub use handover::Handover;
pub use intake::{Closed, Intake, IntakeLimits, OfStream, Retained, Writer};
pub use meter::{Meters, OperatorMeter, OperatorReport};
pub use operator::{Credit, FUEL_BYTES, Inlet, PACE, keyed, lower, offload, sink, source};
pub use shards::{LANES, ShardTable};
pub use waker::Waker;
