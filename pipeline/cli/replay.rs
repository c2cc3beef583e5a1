//! `replay`: a recording, published once more.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use clients::{Clip, PublishOptions};
use records::StreamId;
use sinks::archive::ArchiveReader;
use sinks::hls::vod::{Library, VodError, Wanted};

use super::client_runtime;
use super::tools::{print_report, stop_on_interrupt};
use crate::config::{Config, environment};
use crate::settings;

/// Most of a recording that is replayed at once: all of it is held in memory.
const BYTES_MAX: u64 = 2 << 30;

/// `millstream replay`. Reads what a server stored, beside it or without it.
#[derive(Args)]
pub struct Replay {
    /// The server's data directory (data.dir).
    data: PathBuf,
    /// Which broadcast: the stream's id, as in SQL and in the page's address.
    #[arg(long, value_name = "ID")]
    stream: StreamId,
    /// rtmp[s]://HOST[:PORT]/APP/KEY.
    url: String,
    /// Begin so many seconds into the recording.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    from: f64,
    /// End so many seconds into the recording.
    #[arg(long, value_name = "SECONDS")]
    to: Option<f64>,
    /// Begin again at the end.
    #[arg(long = "loop")]
    looping: bool,
    /// The server's configuration, which names the archive's store if there is one.
    #[arg(long, value_name = "FILE", env = "MILLSTREAM_CONFIG")]
    config: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let data = self.data.display().to_string();
        ensure!(self.data.is_dir(), "{data} is no directory; it is where a server keeps its data");
        let flags = [("data.dir".to_owned(), data)];
        let config = Config::load(self.config.as_deref(), &environment(), &flags)?;
        let report = client_runtime()?.block_on(async {
            let library = Library::new(Arc::new(ArchiveReader::open(settings::archive(&config)?)));
            let clip = Clip::parse(&self.read(&library).await?)?;
            let mut options = PublishOptions::new(self.url.clone());
            options.looping = self.looping;
            let report = clients::publish(Arc::new(clip), options, stop_on_interrupt()).await?;
            anyhow::Ok(report)
        })?;
        print_report(&report, self.json)?;
        Ok(if report.failed().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The recording as one MP4 file, as its download is.
    async fn read(&self, library: &Library) -> anyhow::Result<Vec<u8>> {
        let us = |seconds: f64| (seconds * 1e6) as i64;
        let piece_us = match self.to {
            None if self.from == 0.0 => None,
            to => Some((us(self.from), to.map_or(i64::MAX, us))),
        };
        ensure!(piece_us.is_none_or(|(from, to)| 0 <= from && from < to), "--to is before --from");
        let wanted = Wanted { stream: self.stream, piece_us };
        match library.look(self.stream).await {
            Err(VodError::Missing) => bail!(
                "no recording of {} in {}: `millstream sql --named broadcasts` lists them",
                self.stream,
                self.data.display()
            ),
            Ok(0) => bail!(
                "the recording lies in the cold store; open its page, and replay it once it plays"
            ),
            found => found.context("reading the recording")?,
        };
        let download = library.download(wanted).await.context("reading the recording")?;
        ensure!(
            download.len <= BYTES_MAX,
            "{} MB are more than fit; replay a piece with --from and --to",
            download.len >> 20
        );
        let mut file = Vec::with_capacity(usize::try_from(download.len)?);
        file.extend_from_slice(&download.head);
        for piece in &download.pieces {
            for bytes in library.piece(piece).await.context("reading a segment")? {
                file.extend_from_slice(&bytes);
            }
        }
        Ok(file)
    }
}
