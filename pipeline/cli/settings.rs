//! What long-running commands share: settings, the system's limits, log output, addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

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

/// What servers run on, in a process that bears the system's limits.
///
/// # Errors
/// The system has no threads or handlers left.
pub fn server_runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread().thread_name("io").enable_all().build()?;
    let entered = runtime.enter();
    // Where files may grow only so far (ulimit -f), a write beyond that fails as on a full disk,
    // and doesn't end the process. The handler stays when this is dropped.
    let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    // Each viewer takes a file, and the soft limit is low for the sake of programs that use
    // select(2). Where it can't be raised, who comes too many is turned away.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _as_it_was = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    drop(entered);
    Ok(runtime)
}
