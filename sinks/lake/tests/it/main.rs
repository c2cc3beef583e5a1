//! The lake on a real log and real files, by its public interface.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod kill;
mod lost;
mod remote;
mod schema;
mod support;
mod tables;
