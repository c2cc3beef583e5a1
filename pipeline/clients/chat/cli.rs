//! `chat_load ADDRESS --viewers N`: loads a chat server whose messages carry marks.

use std::net::SocketAddr;
use std::time::Duration;

use chat_load::{Options, Publish, run};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Where the server listens.
    address: SocketAddr,
    #[arg(long, default_value_t = 1000)]
    viewers: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 256)]
    opening: usize,
    #[arg(long, default_value = "/")]
    path: String,
    /// At the end cuts all viewers, who come back by this path; {seq} is what they had.
    #[arg(long)]
    path_back: Option<String>,
    /// Messages a second that the first viewer says; 0: the server sends marks by itself.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// What the first viewer says; {} becomes the mark.
    #[arg(long, default_value = "{}")]
    template: String,
    /// Whose CPU time to take.
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> Result<(), chat_load::LoadError> {
    let arguments = Arguments::parse();
    let publish = match arguments.rate {
        0.0 => Publish::Elsewhere,
        _ => Publish::Viewer(arguments.template),
    };
    let report = run(Options {
        address: arguments.address,
        host: arguments.address.to_string(),
        path: arguments.path,
        path_back: arguments.path_back,
        headers: Vec::new(),
        viewers: arguments.viewers,
        threads: arguments.threads,
        opening_max: arguments.opening,
        duration: Duration::from_secs(arguments.seconds),
        publish,
        rate: arguments.rate,
        server_pid: arguments.pid,
    })?;
    print!("{report}");
    Ok(())
}
