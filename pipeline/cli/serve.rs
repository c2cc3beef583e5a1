//! `serve` and `config check`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use clients::{Clip, PublishOptions, Stop};
use tokio::signal::unix::{SignalKind, signal};

use super::settings::{Settings, loopback, server_runtime, shown, start_logging};
use crate::config::Config;
use crate::server::Server;

/// `millstream serve`. Flags win over the environment, which wins over the file.
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Publish this file in a loop through our own RTMP port, and print the page to open.
    #[arg(long, value_name = "FILE")]
    demo: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.settings.load()?;
        start_logging(&config);
        // The data plane has threads of its own; these move bytes.
        server_runtime()?.block_on(serve(config, self.demo))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve(config: Config, demo: Option<PathBuf>) -> anyhow::Result<()> {
    let server = Server::start(&config).await?;
    println!("millstream {}", env!("CARGO_PKG_VERSION"));
    println!("  pages    http://{}/", shown(server.at.http));
    if let Some(https) = server.at.https {
        println!("           https://{}/", shown(https));
    }
    println!("  publish  rtmp://{}/live", shown(server.at.rtmp));
    if let Some(rtmps) = server.at.rtmps {
        println!("           rtmps://{}/live", shown(rtmps));
    }
    if let Some(postgres) = server.at.postgres {
        println!("  sql      postgres://{}/millstream", shown(postgres));
    }
    if let Some(flight) = server.at.flight {
        let scheme = if config.http.tls.is_some() { "grpc+tls" } else { "grpc" };
        println!("  flight   {scheme}://{}", shown(flight));
    }
    println!("  data     {}", config.data_dir.display());
    if config.admin_token.is_none() {
        println!("  token    in {}", config.data_dir.join(crate::keys::ADMIN_TOKEN_FILE).display());
    }
    let stop_demo = Stop::new();
    if let Some(file) = demo {
        start_demo(&server, &file, stop_demo.clone()).await?;
    }

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    println!("stopping; once more to stop at once");
    stop_demo.stop();
    tokio::select! {
        () = server.stop() => {}
        _ = tokio::signal::ctrl_c() => println!("stopped at once; streams resume at the next start"),
    }
    Ok(())
}

/// Makes a stream and publishes `file` to it, as any publisher would.
async fn start_demo(server: &Server, file: &PathBuf, stop: Stop) -> anyhow::Result<()> {
    let clip = Arc::new(Clip::open(file).with_context(|| file.display().to_string())?);
    let catalog = server.app().registry.catalog();
    let (entry, key) = catalog.create("Big Buck Bunny, over and over", "Demo").await?;
    let address = std::net::SocketAddr::new(loopback(server.at.rtmp), server.at.rtmp.port());
    let mut options = PublishOptions::new(format!("rtmp://{address}/live/{}", key.expose()));
    options.looping = true;
    options.reconnect = true;
    tokio::spawn(async move {
        if let Err(error) = clients::publish(clip, options, stop).await {
            tracing::error!(%error, "the demo's publisher failed");
        }
    });
    println!();
    println!("  Open     http://{}/watch/{}", shown(server.at.http), entry.stream_id);
    Ok(())
}

/// `millstream config`.
#[derive(Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: ConfigSubcommand,
}

#[derive(Subcommand)]
enum ConfigSubcommand {
    /// Validate a configuration: file, environment and flags together.
    Check(Settings),
}

impl ConfigCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let ConfigSubcommand::Check(settings) = self.command;
        settings.load()?;
        println!("the configuration is valid");
        Ok(ExitCode::SUCCESS)
    }
}
