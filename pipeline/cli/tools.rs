//! `publish`, `watch`, `encoders`, `cert`: tools that need no server of ours.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clients::{Clip, PublishOptions, Stop, WatchOptions};

use super::client_runtime;

/// `millstream publish`.
#[derive(Args)]
pub struct Publish {
    /// An MP4 or FLV file with H.264, HEVC or AV1, and AAC or Opus.
    file: PathBuf,
    /// rtmp[s]://HOST[:PORT]/APP/KEY; an n in braces becomes the copy's number.
    url: String,
    /// How many copies at once.
    #[arg(long, default_value_t = 1)]
    copies: usize,
    /// A file with a stream key per line, one copy each; the URL then ends with the app.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Begin again at the end of the file.
    #[arg(long = "loop")]
    looping: bool,
    /// End after so many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Connect again after a lost connection.
    #[arg(long)]
    reconnect: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Publish {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let clip = Clip::open(&self.file).with_context(|| self.file.display().to_string())?;
        let mut options = PublishOptions::new(self.url);
        if let Some(path) = self.keys {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            options.keys = text.split_whitespace().map(str::to_owned).collect();
        }
        options.copies = self.copies;
        options.looping = self.looping;
        options.duration = self.seconds.map(Duration::from_secs);
        options.reconnect = self.reconnect;
        // Copies that begin at once would all send their keyframes at once.
        options.spread =
            Duration::from_secs(u64::from(self.copies > 1 || !options.keys.is_empty()) * 2);
        let report = client_runtime()?.block_on(async {
            clients::publish(Arc::new(clip), options, stop_on_interrupt()).await
        })?;
        print_report(&report, self.json)?;
        Ok(if report.failed().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// `millstream watch`.
#[derive(Args)]
pub struct Watch {
    /// A multivariant or media playlist.
    url: String,
    /// How many viewers at once.
    #[arg(long, default_value_t = 1)]
    viewers: usize,
    /// End after so many seconds; without, at the end of the broadcast.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Which variant: highest, lowest, all, or part of its address such as 480p.
    #[arg(long, value_name = "NAME", default_value = "highest")]
    rendition: String,
    /// Only measure: a thousand viewers cost little then.
    #[arg(long)]
    no_check: bool,
    /// Speak HTTP/2.
    #[arg(long)]
    http2: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut options = WatchOptions::new(self.url);
        options.viewers = self.viewers;
        options.duration = self.seconds.map(Duration::from_secs);
        // Every text names a choice.
        options.rendition = self.rendition.parse().unwrap_or_else(|never| match never {});
        options.check = !self.no_check;
        options.http2 = self.http2;
        // A thousand viewers who come at once would measure their own rush.
        options.spread = Duration::from_millis(self.viewers.saturating_sub(1) as u64)
            .min(Duration::from_secs(5));
        let report = client_runtime()?
            .block_on(async { clients::watch(options, stop_on_interrupt()).await })?;
        print_report(&report, self.json)?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A request to stop that Ctrl-C makes.
pub(super) fn stop_on_interrupt() -> Stop {
    let stop = Stop::new();
    let on_interrupt = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.stop();
        }
    });
    stop
}

pub(super) fn print_report(
    report: &(impl serde::Serialize + std::fmt::Display),
    json: bool,
) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// `millstream encoders`.
#[derive(Args)]
pub struct Encoders {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Encoders {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        print_report(&operators::transcode::inventory(), self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `millstream cert`.
#[derive(Args)]
pub struct Cert {
    /// Names and addresses that the certificate is for.
    #[arg(default_values = ["localhost", "127.0.0.1"])]
    names: Vec<String>,
    /// Where to write the certificate.
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    cert: PathBuf,
    /// Where to write its private key.
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    key: PathBuf,
}

impl Cert {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        crate::tls::self_signed(&self.names, &self.cert, &self.key)?;
        println!(
            "{} and {}: for trials only, since no browser trusts it by itself",
            self.cert.display(),
            self.key.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}
