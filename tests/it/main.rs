//! All integration tests: the real binary, and programs that we did not write.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod cli;
mod cluster;
mod corpus;
mod hostile;
mod interop;
mod media;
mod pains;
mod soak;
mod tidy;
mod vod;
