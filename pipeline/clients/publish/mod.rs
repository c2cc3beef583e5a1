//! A real-time RTMP publisher: one clip, any number of copies.
//!
//! ```text
//! Clip (payloads shared) ──┬─► copy 0: paced by decode time ─► Session ─► rtmp://…/key0
//!                          ├─► copy 1 …
//! ```
//!
//! Enters: a [`Clip`] and where to send it. Leaves: a [`PublishReport`]. Held:
//! per copy, a connection and the batch that is due. Ends: with the clip, the
//! time limit, [`Stop`], or a server that refuses. Never done here: encoding.

mod clip;
mod copy;
mod flv;
mod fragments;
mod mp4;
mod session;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

pub use clip::{Clip, ClipError, Metadata, Tag, Track};
pub use url::{RtmpUrl, RtmpUrlError};

use crate::Stop;
use crate::net::Trust;

/// What to publish where, and for how long.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// `rtmp[s]://host[:port]/app/key`; `{n}` becomes the copy's number, from
    /// 0. With [`Self::keys`]: `rtmp[s]://host[:port]/app`, or `{key}` where
    /// the key goes.
    pub url: String,
    /// How many copies at once. At least 1.
    pub copies: usize,
    /// A key for each copy; fewer than copies means so many copies.
    pub keys: Vec<String>,
    /// Begin again at the end of the clip, timestamps rising.
    pub looping: bool,
    /// Ends the broadcast after so much wall time.
    pub duration: Option<Duration>,
    /// Media seconds per second: 1.0 is real time. Above 0.
    pub speed: f64,
    /// The copies' starts are spread over this time, so that their keyframes
    /// don't coincide.
    pub spread: Duration,
    /// Connect again, with growing pauses, after a lost connection; a copy
    /// that was refused from the start isn't tried again.
    pub reconnect: bool,
    /// Certificates that `rtmps` servers may show.
    pub trust: Trust,
}

impl PublishOptions {
    /// One copy in real time, once, to `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            copies: 1,
            keys: Vec::new(),
            looping: false,
            duration: None,
            speed: 1.0,
            spread: Duration::ZERO,
            reconnect: false,
            trust: Trust::Any,
        }
    }

    /// The address of each copy.
    ///
    /// # Errors
    /// The first that is no RTMP URL.
    pub fn targets(&self) -> Result<Vec<RtmpUrl>, RtmpUrlError> {
        if self.keys.is_empty() {
            return (0..self.copies.max(1))
                .map(|n| RtmpUrl::parse(&self.url.replace("{n}", &n.to_string())))
                .collect();
        }
        let with_key = |key: &String| {
            if self.url.contains("{key}") {
                self.url.replace("{key}", key)
            } else {
                format!("{}/{key}", self.url.trim_end_matches('/'))
            }
        };
        let wanted = if self.copies > 1 { self.copies } else { self.keys.len() };
        self.keys.iter().take(wanted).map(|key| RtmpUrl::parse(&with_key(key))).collect()
    }
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The address is malformed: the caller's fault.
    #[error(transparent)]
    Url(#[from] RtmpUrlError),
    /// No connection, or it broke; a retry may help.
    #[error("connection to the server failed: {0}")]
    Connection(#[from] io::Error),
    /// The server closed without a word; a retry may help.
    #[error("the server closed the connection")]
    Closed,
    /// The server said no, in its own words; a retry helps only if the reason
    /// goes away (a key in use).
    #[error("refused by the server: {code} ({description})")]
    Refused {
        /// For example `NetStream.Publish.BadName`.
        code: String,
        /// For people.
        description: String,
    },
    /// The server broke RTMP's rules.
    #[error("the server breaks the protocol: {0}")]
    Protocol(&'static str),
    /// The server broke the chunk layer's rules.
    #[error("the server breaks the protocol: {0}")]
    Chunk(#[from] sources::rtmp::chunk::ChunkError),
}

/// What one copy did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CopyReport {
    /// Its address, without the key.
    pub url: String,
    /// Video tags sent, headers not counted.
    pub video_tags: u64,
    /// Audio tags sent, headers not counted.
    pub audio_tags: u64,
    /// Bytes of tag bodies sent.
    pub bytes: u64,
    /// Media time sent, in milliseconds.
    pub media_ms: u64,
    /// How far behind its schedule it fell at worst, in milliseconds: the
    /// server (or this machine) was too slow.
    pub late_ms_max: u64,
    /// Connections after the first.
    pub reconnects: u32,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

/// What all copies did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PublishReport {
    /// One for each copy, by number.
    pub copies: Vec<CopyReport>,
}

impl PublishReport {
    /// Copies that ended early.
    pub fn failed(&self) -> impl Iterator<Item = &CopyReport> {
        self.copies.iter().filter(|copy| copy.error.is_some())
    }
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |get: fn(&CopyReport) -> u64| self.copies.iter().map(get).sum::<u64>();
        let late = self.copies.iter().map(|c| c.late_ms_max).max().unwrap_or(0);
        writeln!(f, "copies       {:>10}", self.copies.len())?;
        writeln!(f, "video tags   {:>10}", sum(|c| c.video_tags))?;
        writeln!(f, "audio tags   {:>10}", sum(|c| c.audio_tags))?;
        writeln!(f, "megabytes    {:>12.1}", sum(|c| c.bytes) as f64 / 1e6)?;
        writeln!(f, "reconnects   {:>10}", sum(|c| u64::from(c.reconnects)))?;
        writeln!(f, "late at most {late:>10} ms")?;
        for (number, copy) in self.copies.iter().enumerate() {
            if let Some(error) = &copy.error {
                writeln!(f, "copy {number} ended early: {error}")?;
            }
        }
        Ok(())
    }
}

/// Publishes `clip` in real time until it, the time limit or `stop` ends it.
///
/// # Errors
/// The first copy's error if no copy came to a regular end; otherwise failures
/// are in the report.
pub async fn publish(
    clip: Arc<Clip>,
    options: PublishOptions,
    stop: Stop,
) -> Result<PublishReport, PublishError> {
    let targets = options.targets()?;
    let options = Arc::new(options);
    let count = targets.len();
    let mut tasks = JoinSet::new();
    for (number, url) in targets.into_iter().enumerate() {
        let delay = options.spread.mul_f64(number as f64 / count as f64);
        let copy = copy::Copy {
            clip: Arc::clone(&clip),
            options: Arc::clone(&options),
            url,
            stop: stop.clone(),
        };
        tasks.spawn(async move { (number, copy.run(delay).await) });
    }
    let mut reports = vec![CopyReport::default(); count];
    let mut first_error = None;
    let mut any_regular = false;
    while let Some(joined) = tasks.join_next().await {
        let (number, (report, result)) =
            joined.map_err(|e| PublishError::Connection(io::Error::other(e)))?;
        reports[number] = report;
        match result {
            Ok(()) => any_regular = true,
            Err(error) => {
                reports[number].error = Some(error.to_string());
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if !any_regular => Err(error),
        _ => Ok(PublishReport { copies: reports }),
    }
}
