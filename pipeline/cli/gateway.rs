//! `gateway`.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::settings::{Settings, server_runtime, shown, start_logging};
use crate::config::Config;
use crate::gateway::Gateway;

/// `millstream gateway`: of the settings it uses `http`, `chat`, `log` and `admin.token`,
/// which is the origin's; without it, the one in the data directory is used.
#[derive(Args)]
pub struct GatewayCommand {
    /// The server whose chat it is: http[s]://HOST[:PORT].
    #[arg(long, value_name = "URL", env = "MILLSTREAM_ORIGIN")]
    origin: String,
    #[command(flatten)]
    settings: Settings,
}

impl GatewayCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.settings.load()?;
        start_logging(&config);
        server_runtime()?.block_on(run(config, &self.origin))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn run(config: Config, origin: &str) -> anyhow::Result<()> {
    let gateway = Gateway::start(&config, origin).await?;
    println!("millstream {} gateway", env!("CARGO_PKG_VERSION"));
    println!("  chat     http://{}/", shown(gateway.at));
    if let Some(https) = gateway.https {
        println!("           https://{}/", shown(https));
    }
    println!("  origin   {origin}");
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    gateway.stop().await;
    Ok(())
}
