//! `chat-load`: thousands of viewers in a chat, some of whom speak, and what they saw.
//!
//! Enters: where the chat is, and how much to load it with. Leaves: a report. Held: a file
//! per viewer. Never here: how viewers are opened and looked at, which is the library's.

mod people;
mod shown;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_load::{Dialect, Options, People, Publish, Report};
use clap::Args;

use self::target::{Room, Target};
use super::client_runtime;

/// `millstream chat-load`.
#[derive(Args)]
pub struct ChatLoad {
    /// http://HOST:PORT: the one stream that is live there. With a stream's id in its path, such
    /// as a watch page's address: that one. ws://HOST:PORT/PATH: another server's room, in which
    /// what one says is told to all.
    url: String,
    /// How many viewers, those who speak included. A process may open only so many files (ulimit -Hn)
    /// and no more viewers; several can load one room, one with a rate, the others without.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    viewers: usize,
    /// Messages a second, of all senders together. 0: only listen, also to what other processes'
    /// senders say.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    rate: f64,
    /// How long to measure once all are in.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Threads that viewers are spread over; senders have one of their own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Handshakes at a time.
    #[arg(long, value_name = "N", default_value_t = 256)]
    opening: usize,
    /// A user's token, of a log-in; may be given several times.
    #[arg(long = "token", value_name = "TOKEN", env = "MILLSTREAM_TOKEN", hide_env_values = true)]
    tokens: Vec<String>,
    /// A file with a user's token per line.
    #[arg(long = "tokens", value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// Make so many accounts to speak by, called load-…; they stay, and nobody can log in to them
    /// again. One may say 20 messages a minute unless the server says otherwise
    /// (chat.user_per_minute); what it refuses is shown, and isn't lost.
    #[arg(long, value_name = "N", default_value_t = 0)]
    sign_up: usize,
    /// Sockets that speak, each for its users in turn. 0: one for each user, if there are as many
    /// viewers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    senders: usize,
    /// Messages of a user until the next has their turn on its socket. 0: no end.
    #[arg(long, value_name = "N", default_value_t = 0)]
    each: u64,
    /// Say as much as the server answers, instead of a rate.
    #[arg(long, conflicts_with = "rate")]
    flood: bool,
    /// Messages that each sender has unanswered in a flood.
    #[arg(long, value_name = "N", default_value_t = 64)]
    in_flight: usize,
    /// Bytes that each message is filled up to.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bytes: usize,
    /// At the end cut all but the senders at once; they come back with what they have.
    #[arg(long)]
    back: bool,
    /// A process of the server on this machine, to report its CPU time and memory; may be given
    /// several times.
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// Once all are in, say so on standard error, and measure from the next line of standard
    /// input on: for processes that measure at the same time.
    #[arg(long)]
    wait: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl ChatLoad {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let report = client_runtime()?.block_on(self.load())?;
        if self.json {
            println!("{}", shown::json(&report));
        } else {
            print!("{report}");
        }
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn load(&self) -> anyhow::Result<Report> {
        ensure!(
            self.viewers > usize::from(self.back),
            "--viewers {}: nobody would see anything",
            self.viewers
        );
        ensure!(
            self.senders + usize::from(self.back) <= self.viewers,
            "--senders {}: they are among the viewers, of whom there are {}{}",
            self.senders,
            self.viewers,
            if self.back { ", and somebody else must be there to come back" } else { "" }
        );
        ensure!(self.bytes <= 60_000, "--bytes {}: a message holds 60000 at most", self.bytes);
        ensure!(self.rate.is_finite() && self.rate >= 0.0, "--rate {}: not a rate", self.rate);
        let target = Target::find(&self.url).await?;
        let options = self.options(&target, self.publish(&target).await?)?;
        tokio::spawn(interrupt(Arc::clone(&options.stop)));
        let (wait, viewers) = (self.wait, self.viewers);
        let all_are_in = move |took: Duration| {
            if wait {
                wait_for_a_line(viewers, took);
            }
        };
        let run = tokio::task::spawn_blocking(move || chat_load::run_when(options, all_are_in));
        Ok(run.await??)
    }

    fn options(&self, target: &Target, publish: Publish) -> anyhow::Result<Options> {
        let mut options = Options::new(target.address);
        match &target.room {
            Room::Ours(stream) => {
                let path = format!("/api/streams/{stream}/chat/subscribe?viewer={{uuid}}");
                options.dialect = Dialect::Millstream;
                options.path_back =
                    self.back.then(|| format!("{path}&epoch={{epoch}}&seq={{seq}}"));
                options.path = path;
            }
            Room::Others(path) => {
                ensure!(
                    !self.back,
                    "--back: how one comes back is known of Millstream's rooms only"
                );
                options.path.clone_from(path);
            }
        }
        options.host.clone_from(&target.host);
        options.viewers = self.viewers;
        options.threads = self.threads;
        options.opening_max = self.opening;
        options.duration = Duration::from_secs(self.seconds);
        options.publish = publish;
        options.rate = self.rate;
        options.text_bytes = self.bytes;
        options.server_pids.clone_from(&self.pids);
        Ok(options)
    }

    async fn publish(&self, target: &Target) -> anyhow::Result<Publish> {
        if self.rate == 0.0 && !self.flood {
            ensure!(self.sign_up == 0, "--sign-up with --rate 0: nobody would say anything");
            return Ok(Publish::Elsewhere);
        }
        if let Room::Others(_) = target.room {
            ensure!(
                !self.flood && self.sign_up == 0,
                "--flood and --sign-up: accounts and answers are known of Millstream's rooms only"
            );
            return Ok(Publish::Viewer("{}".to_owned()));
        }
        let mut tokens = self.tokens.clone();
        if let Some(path) = &self.tokens_file {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            tokens.extend(text.split_whitespace().map(str::to_owned));
        }
        let is_token = |token: &String| {
            !token.is_empty()
                && token.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
        };
        ensure!(tokens.iter().all(is_token), "what --token or --tokens gives is no token");
        tokens.extend(people::sign_up(&target.base(), self.sign_up).await?);
        ensure!(
            !tokens.is_empty(),
            "somebody has to speak: --sign-up 10 makes accounts for that, --token (or \
             MILLSTREAM_TOKEN) and --tokens name some, and --rate 0 only listens"
        );
        let sockets = match self.senders {
            // With --back somebody is there to be cut.
            0 => tokens.len().min(self.viewers - usize::from(self.back)).max(1),
            senders => senders,
        };
        let in_flight = self.flood.then_some(self.in_flight);
        Ok(Publish::People(People { tokens, sockets, each: self.each, in_flight }))
    }
}

fn wait_for_a_line(viewers: usize, took: Duration) {
    eprintln!("{viewers} viewers are in after {:.2} s", took.as_secs_f64());
    // The end of the input begins it as well.
    let _end = std::io::stdin().read_line(&mut String::new());
}

/// Ctrl-C ends the measuring; once more, everything.
async fn interrupt(stop: Arc<AtomicBool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.swap(true, Ordering::AcqRel) {
            std::process::exit(130);
        }
    }
}
