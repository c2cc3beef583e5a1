//! Where records come from: RTMP publishers, and what viewers say.
//!
//! Enters: bytes from sockets. Leaves: [`records::Packet`]s into the intake
//! that the data plane reads, and viewers' texts, understood. A source lives in the I/O plane: it may wait, and
//! it does wait, instead of queueing, when the data plane is behind.

pub mod chat;
pub mod rtmp;
