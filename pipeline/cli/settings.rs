//! What long-running commands share: where settings come from, log output, addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::config::{Config, LogFormat};

/// Where settings come from.
#[derive(Args)]
pub struct Settings {
    /// Configuration file (TOML); pipeline/config.example.toml explains every key.
    #[arg(long, value_name = "FILE", env = "MILLSTREAM_CONFIG")]
    config: Option<PathBuf>,
    /// Data directory (data.dir).
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where HTTP is served (http.listen).
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Where publishers connect (rtmp.listen).
    #[arg(long, value_name = "ADDR")]
    rtmp: Option<String>,
    /// Data-plane workers at the start (pipeline.workers).
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Any other key, as in the file: --set hls.dvr=10m.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The configuration that they come to.
    pub fn load(self) -> anyhow::Result<Config> {
        let mut flags = Vec::new();
        let named = [
            ("data.dir", self.data),
            ("http.listen", self.http),
            ("rtmp.listen", self.rtmp),
            ("pipeline.workers", self.workers),
        ];
        for (key, value) in named {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        }
        for pair in self.set {
            let (key, value) = pair
                .split_once('=')
                .with_context(|| format!("--set {pair}: expected KEY=VALUE"))?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        Ok(Config::load(self.config.as_deref(), &crate::config::environment(), &flags)?)
    }
}

/// Where a local client finds who listens at this address.
pub fn loopback(address: SocketAddr) -> IpAddr {
    if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() }
}

/// An address that can be typed into a browser.
pub fn shown(address: SocketAddr) -> String {
    SocketAddr::new(loopback(address), address.port()).to_string()
}

/// Tells what happens on the standard error output.
pub fn start_logging(config: &Config) {
    use tracing_subscriber::EnvFilter;
    // The store tells of its housekeeping at info; that is for its developers. Delta's
    // kernel prints every table it opens, and what fails there is an error of ours, as
    // are requests to a store that are sent again.
    let quiet = "fjall=warn,lsm_tree=warn,buoyant_kernel=off,deltalake_core=warn,datafusion=warn,\
                 object_store=warn";
    let directives = format!("{quiet},{}", config.log.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => subscriber.json().init(),
        LogFormat::Text => subscriber.with_target(false).init(),
    }
}
