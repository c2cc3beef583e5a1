//! All integration tests: the real binary, and programs that we did not write.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod api;
mod archive;
mod chat;
mod cli;
mod cluster;
mod corpus;
mod flight;
mod hostile;
mod interop;
mod kafka;
mod lake;
mod media;
mod once;
mod pains;
mod postgres;
mod soak;
mod sql;
mod tidy;
mod tiers;
mod vod;
