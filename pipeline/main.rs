//! The `millstream` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use millstream::cli::Cli;

// Parts and packets are allocated on one thread and freed on another, all day:
// the system allocator holds on to that memory, this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("millstream: {error:#}");
            ExitCode::FAILURE
        }
    }
}
