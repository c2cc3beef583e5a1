//! `sql`: questions to the lake, with or without a server.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use queries::{ArrowDecoder, Format, Limits, Options, Session, Writer, named};
use serde_json::json;
use store::{Root, reason};

use super::client::Server;
use super::client_runtime;
use crate::http::ARROW;

/// What is shown when nothing is asked.
const CONTENTS: &str = "SELECT 'table' AS kind, table_name AS name, comment FROM meta.tables \
     UNION ALL SELECT 'query', query_name, comment FROM meta.queries ORDER BY kind DESC, name";

/// `millstream sql`.
#[derive(Args)]
pub struct Sql {
    /// One SELECT, EXPLAIN, SHOW or DESCRIBE; without, the tables and named queries are listed.
    statement: Option<String>,
    /// Ask a query that comes with Millstream, by its name.
    #[arg(long, value_name = "NAME", conflicts_with = "statement")]
    named: Option<String>,
    /// Read the lake in this directory, or in an object store by URL (s3://bucket/prefix, with its
    /// options in AWS_*, AZURE_* or GOOGLE_*), without a server: what was committed, not yet the last seconds.
    #[arg(long, value_name = "PATH")]
    lake: Option<String>,
    /// table, csv, json, parquet or arrow.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Write to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Where the answer goes.
struct Answer {
    format: Format,
    // None: it begins with the first batch.
    writer: Option<Writer<Box<dyn Write + Send>>>,
    out: Option<Box<dyn Write + Send>>,
}

impl Sql {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.format.is_text() && self.output.is_none() && std::io::stdout().is_terminal() {
            bail!("this format isn't for eyes; add --output FILE");
        }
        let statement = match (&self.statement, &self.named) {
            (Some(statement), _) => statement.as_str(),
            (None, Some(name)) => named::find(name)
                .with_context(|| format!("no query is named {name}; `millstream sql` lists them"))?
                .sql(),
            (None, None) => CONTENTS,
        };
        client_runtime()?.block_on(async {
            match &self.lake {
                Some(lake) => self.ask_lake(lake, statement).await,
                None => self.ask_server(statement).await,
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn ask_lake(&self, lake: &str, statement: &str) -> anyhow::Result<()> {
        // From the environment: others can read a command line.
        let lake = Root::parse(lake, &BTreeMap::new())?;
        // A typing error isn't an empty lake.
        match lake.folder() {
            Some(folder) if !folder.is_dir() => {
                bail!("{lake} is no directory; a server keeps its lake in DATA/lake")
            }
            Some(_) => {}
            None => match lake.is_there().await {
                Ok(true) => {}
                Ok(false) => bail!("there is nothing in {lake}; lake.root says where it is"),
                Err(error) => bail!("{lake} can't be read: {}", reason(&error)),
            },
        }
        let spill = std::env::temp_dir().join(format!("millstream-sql-{}", std::process::id()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            // Whoever waits can press Ctrl-C, and nobody else is waiting.
            time: Duration::from_secs(24 * 3600),
            memory_bytes: 1 << 30,
            spill_bytes: 64 << 30,
            rows: u64::MAX,
            at_once: 1,
            threads: cores,
        };
        let options = Options { lake, spill: spill.clone(), limits, tail: None };
        let answered = self.ask_session(Session::open(options)?, statement).await;
        // Not there if nothing needed it.
        let _ = std::fs::remove_dir_all(spill);
        answered
    }

    async fn ask_session(&self, session: Session, statement: &str) -> anyhow::Result<()> {
        let mut rows = session.query(statement, self.server.url()).await?;
        let mut answer = self.answer()?;
        answer.begin(&rows.schema())?;
        while let Some(batch) = rows.next().await {
            answer.write(&batch?)?;
        }
        answer.finish()
    }

    async fn ask_server(&self, statement: &str) -> anyhow::Result<()> {
        let body = json!({ "sql": statement });
        let response = self.server.send(Method::POST, "/api/sql", ARROW, Some(&body)).await?;
        let mut body = response.into_body();
        let mut decoder = ArrowDecoder::default();
        let mut answer = self.answer()?;
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the server broke the answer off")?;
            let piece = frame.into_data().unwrap_or_else(|_| Bytes::new());
            let batches = decoder.push(piece)?;
            if let Some(schema) = decoder.schema() {
                answer.begin(&schema)?;
            }
            for batch in batches {
                answer.write(&batch)?;
            }
        }
        decoder.finish().context("the server broke the answer off")?;
        answer.finish()
    }

    fn answer(&self) -> anyhow::Result<Answer> {
        let out: Box<dyn Write + Send> = match &self.output {
            Some(path) => Box::new(BufWriter::new(
                std::fs::File::create(path).with_context(|| path.display().to_string())?,
            )),
            None => Box::new(BufWriter::new(std::io::stdout())),
        };
        Ok(Answer { format: self.format, writer: None, out: Some(out) })
    }
}

impl Answer {
    fn begin(&mut self, schema: &queries::SchemaRef) -> anyhow::Result<()> {
        if let Some(out) = self.out.take() {
            self.writer = Some(self.format.begin(schema, out)?);
        }
        Ok(())
    }

    fn write(&mut self, batch: &queries::RecordBatch) -> anyhow::Result<()> {
        match &mut self.writer {
            Some(writer) => Ok(writer.write(batch)?),
            None => bail!("the server sent rows before their columns"),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self.writer {
            Some(writer) => Ok(writer.finish()?.flush()?),
            None => bail!("the server sent no answer"),
        }
    }
}
