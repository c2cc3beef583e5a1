//! RTMP, RTMPS and Enhanced RTMP ingest.
//!
//! ```text
//!  socket ─► handshake ─► ChunkReader ─► Session ─► Writer<Packet> ─► data plane
//!    ▲     (TLS, C0..C2)    messages      │  ▲
//!    └────── ChunkWriter ◄──── replies ───┘  └──► Gate (who may publish)
//! ```
//!
//! Enters: connections of publishers. Leaves: their picture, sound and data,
//! as published, in order, with timestamps that don't wrap. Held per
//! connection: at most [`RtmpConfig::connection_bytes_max`]. A connection ends
//! when its peer closes, breaks a rule, is silent too long, is refused, or is
//! closed by an [`Order`]; the gate learns of every end. Never done here:
//! looking into media, storing anything before the gate admitted its
//! publisher, logging a stream key, queueing: while the stream's budget in the
//! intake is used up its socket isn't read, and TCP slows the encoder.

pub mod amf;
pub mod chunk;
pub mod handshake;
mod lanes;
pub mod session;

mod config;
mod connection;
mod end;
mod gate;
mod key;
mod meters;
mod publication;
mod serve;
mod timestamp;

#[cfg(test)]
mod tests;

pub use config::RtmpConfig;
pub use gate::{Admission, Departure, Gate, Order, Refusal};
pub use key::{Address, StreamKeyText};
pub use lanes::Lanes;
pub use meters::{ByReason, RtmpMeters};
pub use serve::{TlsConfig, serve};
