//! All integration tests: the real binary, and programs that we did not write.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod hostile;
mod tidy;
