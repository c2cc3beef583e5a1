//! The loops on real sockets; each test runs with `send` and with io_uring.

mod answers;
mod clients;
mod delivery;
mod ends;
mod slow;
mod support;
