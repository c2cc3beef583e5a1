//! Where records come from: RTMP publishers.
//!
//! Enters: bytes from sockets. Leaves: [`records::Packet`]s into the intake
//! that the data plane reads. A source lives in the I/O plane: it may wait, and
//! it does wait, instead of queueing, when the data plane is behind.

pub mod rtmp;
