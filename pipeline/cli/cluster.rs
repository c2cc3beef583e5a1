//! `scale`, `cluster`, `streams`: what a running server is doing.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::Server;
use super::client_runtime;

/// `millstream scale`.
#[derive(Args)]
pub struct Scale {
    /// How many workers, 0 to 64.
    workers: usize,
    #[command(flatten)]
    server: Server,
}

#[derive(Deserialize)]
struct Rescaled {
    generation: u64,
    workers: usize,
    pause_ms: f64,
}

impl Scale {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let body = json!({ "workers": self.workers });
        let done: Rescaled = client_runtime()?.block_on(self.server.call(
            Method::PUT,
            "/api/cluster/workers",
            Some(&body),
        ))?;
        println!(
            "generation {} with {} workers, after a pause of {:.1} ms",
            done.generation, done.workers, done.pause_ms
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// `millstream cluster`.
#[derive(Args)]
pub struct Cluster {
    /// Print once instead of refreshing every second (also when the output isn't a terminal).
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Deserialize)]
struct ClusterReport {
    generation: u64,
    workers: usize,
    unplanned_ends: u64,
    epoch: u64,
    operators: Vec<Operator>,
    queues: Vec<Queue>,
}

#[derive(Deserialize)]
struct Operator {
    operator: String,
    worker: usize,
    records_in: u64,
    records_out: u64,
    busy_us: u64,
    frontier_lag_epochs: Option<u64>,
    oldest_capability: Option<u64>,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    bytes: usize,
    records_total: u64,
}

/// The order in which records pass the operators.
const ORDER: [&str; 7] = ["source", "demux", "health", "transcode", "segment", "hls", "archive"];

impl Cluster {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let is_live = !self.once && std::io::stdout().is_terminal();
        client_runtime()?.block_on(async {
            let mut previous: Option<ClusterReport> = None;
            loop {
                let report = self.server.call(Method::GET, "/api/cluster", None).await?;
                if is_live {
                    print!("\x1b[2J\x1b[H");
                }
                print!("{}", table(&report, previous.as_ref()));
                if !is_live {
                    return Ok(ExitCode::SUCCESS);
                }
                previous = Some(report);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }
}

fn table(report: &ClusterReport, previous: Option<&ClusterReport>) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let mut rows: Vec<_> = report.operators.iter().collect();
    rows.sort_by_key(|row| (ORDER.iter().position(|o| *o == row.operator), row.worker));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "generation {}   workers {}   unplanned ends {}   epoch {}\n",
        report.generation, report.workers, report.unplanned_ends, report.epoch
    );
    let _ = writeln!(
        text,
        "{:<10} {:>6} {:>14} {:>14} {:>7} {:>12} {:>16}",
        "operator", "worker", "records in", "records out", "busy", "lag epochs", "oldest epoch"
    );
    for row in rows {
        let busy = previous.and_then(|p| busy_share(p, report.epoch, row));
        let shown = |value: Option<u64>| value.map_or("-".into(), |v| v.to_string());
        let _ = writeln!(
            text,
            "{:<10} {:>6} {:>14} {:>14} {:>7} {:>12} {:>16}",
            row.operator,
            row.worker,
            row.records_in,
            row.records_out,
            busy.map_or("-".into(), |b| format!("{:.1}%", b * 100.0)),
            shown(row.frontier_lag_epochs),
            shown(row.oldest_capability)
        );
    }
    let _ = writeln!(text, "\n{:<10} {:>14} {:>14}", "queue", "bytes", "records");
    for queue in &report.queues {
        let _ =
            writeln!(text, "{:<10} {:>14} {:>14}", queue.name, queue.bytes, queue.records_total);
    }
    text
}

/// The share of the time since `previous` that the operator was busy.
fn busy_share(previous: &ClusterReport, epoch: u64, row: &Operator) -> Option<f64> {
    let before =
        previous.operators.iter().find(|o| o.operator == row.operator && o.worker == row.worker)?;
    let elapsed_us = epoch.checked_sub(previous.epoch).filter(|e| *e > 0)? as f64 * 100_000.0;
    Some(row.busy_us.saturating_sub(before.busy_us) as f64 / elapsed_us)
}

/// `millstream streams`.
#[derive(Args)]
pub struct Streams {
    #[command(flatten)]
    server: Server,
}

#[derive(Deserialize)]
struct List {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    stream_id: String,
    title: String,
    state: String,
    renditions: Vec<String>,
}

impl Streams {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let list: List =
            client_runtime()?.block_on(self.server.call(Method::GET, "/api/streams", None))?;
        println!("{:<36}  {:<16} {:<30} renditions", "stream", "state", "title");
        for stream in list.streams {
            let renditions = stream.renditions.join(" ");
            println!(
                "{:<36}  {:<16} {:<30} {renditions}",
                stream.stream_id, stream.state, stream.title
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
