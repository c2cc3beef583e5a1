//! The loops on real sockets; each test runs with `send` and with io_uring.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is how a test fails")]

mod answers;
mod clients;
mod delivery;
mod ends;
mod slow;
mod support;
