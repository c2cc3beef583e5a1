//! The command line: one file per family of commands.

mod chat_load;
mod client;
mod cluster;
mod gateway;
mod replay;
mod serve;
mod settings;
mod sql;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Live streaming of your own: RTMP in, low-latency HLS out.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Run the front of a server's chat: sockets for rooms that one process can't hold.
    Gateway(gateway::GatewayCommand),
    /// Publish a file over RTMP in real time, once or many times at once.
    Publish(tools::Publish),
    /// Publish a recording of a server once more.
    Replay(replay::Replay),
    /// Play a low-latency HLS stream, check every rule and report latency; also a load generator.
    Watch(tools::Watch),
    /// Load a chat with thousands of viewers; reports latency, order, losses and the server's cost.
    ChatLoad(chat_load::ChatLoad),
    /// Change the number of data-plane workers of a running server; 0 stops the data plane.
    Scale(cluster::Scale),
    /// Show what the data plane of a running server is doing.
    Cluster(cluster::Cluster),
    /// List what is live on a running server.
    Streams(cluster::Streams),
    /// Ask SQL of everything that was ever shown, on a running server or in a lake's directory.
    Sql(sql::Sql),
    /// Say which encoders this machine has and which would be used.
    Encoders(tools::Encoders),
    /// Work with the configuration file.
    Config(serve::ConfigCommand),
    /// Make a self-signed certificate for trials.
    Cert(tools::Cert),
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(command) => command.run(),
            Command::Gateway(command) => command.run(),
            Command::Publish(command) => command.run(),
            Command::Replay(command) => command.run(),
            Command::Watch(command) => command.run(),
            Command::ChatLoad(command) => command.run(),
            Command::Scale(command) => command.run(),
            Command::Cluster(command) => command.run(),
            Command::Streams(command) => command.run(),
            Command::Sql(command) => command.run(),
            Command::Encoders(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Cert(command) => command.run(),
        }
    }
}

/// A small runtime for commands that are clients.
fn client_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
