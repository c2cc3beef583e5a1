//! A strict LL-HLS viewer, or a thousand of them.
//!
//! ```text
//! viewer ─► multivariant ─► variant(s) + audio ─► Follower for each playlist
//!                                                   │ blocking reload
//!                                                   │ hinted part, asked for ahead
//!                                                   └► rules · latency · playhead
//! ```
//!
//! Enters: the URL of a playlist. Leaves: a [`WatchReport`]. Held: per
//! playlist, what the last one said and one segment's parts. Ends: after its
//! time, at EXT-X-ENDLIST, with [`Stop`], or when the server is gone. Never
//! done here: decoding.

mod follower;
mod h1;
mod histogram;
pub mod http;
mod playhead;
mod report;
mod shared;

#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use self::follower::Follower;
use self::http::{FetchError, Http, resolve};
use self::report::Sum;
use self::shared::Shared;
use crate::Stop;
use crate::net::Trust;
use crate::playlist::{MultivariantPlaylist, ParseError, parse_multivariant};
use crate::rules;

pub use report::{Percentiles, WatchReport};

/// How long a request that isn't held may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Which variant a viewer plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenditionChoice {
    /// That of the highest bandwidth.
    Highest,
    /// That of the lowest bandwidth.
    Lowest,
    /// Those whose URI holds this text.
    Named(String),
    /// All at once, I-frames too: for checking.
    All,
}

impl FromStr for RenditionChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "highest" => Self::Highest,
            "lowest" => Self::Lowest,
            "all" => Self::All,
            name => Self::Named(name.to_owned()),
        })
    }
}

/// What to watch, how, and for how long.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// A multivariant or a media playlist.
    pub url: String,
    /// How many viewers at once. At least 1.
    pub viewers: usize,
    /// Watch for so long; none: until the end of the broadcast.
    pub duration: Option<Duration>,
    /// Which variant.
    pub rendition: RenditionChoice,
    /// Judge everything by [`rules`]. Without, only what measuring needs is
    /// looked at, so that many viewers cost little.
    pub check: bool,
    /// Ask for delta updates when the server offers them.
    pub delta: bool,
    /// The viewers' starts are spread over this time.
    pub spread: Duration,
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// Certificates that `https` servers may show.
    pub trust: Trust,
    /// How late things may be before a rule about time counts as broken.
    pub slack: Duration,
}

impl WatchOptions {
    /// One checking viewer of the highest variant, for ever.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            viewers: 1,
            duration: None,
            rendition: RenditionChoice::Highest,
            check: true,
            delta: true,
            spread: Duration::ZERO,
            http2: false,
            trust: Trust::Any,
            slack: Duration::from_millis(500),
        }
    }
}

/// Why nothing could be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// TLS can't be set up with what `trust` says: the caller's fault.
    #[error("unusable certificates: {0}")]
    Tls(#[from] rustls::Error),
    /// The first playlist can't be fetched.
    #[error("can't fetch {url}: {source}")]
    Fetch {
        /// What was asked for.
        url: String,
        /// Why it failed.
        source: FetchError,
    },
    /// The server answered with an error; 404 and 503 may pass.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The first playlist isn't one: the server's fault.
    #[error("{url} is no playlist: {source}")]
    Parse {
        /// What was asked for.
        url: String,
        /// Where it fails.
        source: ParseError,
    },
    /// No variant matches the choice: the caller's fault.
    #[error("no variant matches {0:?}")]
    NoVariant(RenditionChoice),
}

/// A media playlist to follow.
#[derive(Clone, Debug)]
struct Target {
    url: String,
    // CODECS of its variant.
    codecs: Option<Vec<String>>,
    i_frames: bool,
}

/// Watches until the time limit, the broadcast's end or `stop`.
///
/// # Errors
/// See [`WatchError`]; whatever goes wrong later is in the report.
pub async fn watch(options: WatchOptions, stop: Stop) -> Result<WatchReport, WatchError> {
    let began = Instant::now();
    let alpn: &[&[u8]] = if options.http2 { &[b"h2"] } else { &[b"http/1.1"] };
    let tls = options.trust.client_config(alpn)?;
    let mut sum = Sum::default();
    let unpacked = Arc::default();
    let scout = Http::with_tls(Arc::clone(&tls), options.http2, Arc::clone(&unpacked));
    let targets = Arc::new(find_targets(&scout, &options, &mut sum).await?);
    let viewers = options.viewers.max(1);
    let options = Arc::new(options);
    let shared = Arc::new(Shared::new(&targets));
    let mut tasks = JoinSet::new();
    for viewer in 0..viewers {
        let delay = options.spread.mul_f64(viewer as f64 / viewers as f64);
        let http = Http::with_tls(Arc::clone(&tls), options.http2, Arc::clone(&unpacked));
        for target in targets.iter() {
            let follower = Follower::new(
                target.clone(),
                http.clone(),
                Arc::clone(&options),
                Arc::clone(&shared),
            );
            let stop = stop.clone();
            let limit = options.duration;
            tasks.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(delay) => follower.run(limit, &stop).await,
                    () = stop.stopped() => report::Tally::default(),
                }
            });
        }
    }
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(tally) => sum.add(tally),
            Err(error) => sum.add(report::Tally {
                problems: vec![format!("a viewer failed: {error}")],
                ..report::Tally::default()
            }),
        }
    }
    if options.check {
        sum.violations(shared.across());
    }
    Ok(sum.finish(viewers, began.elapsed().as_secs_f64()))
}

/// Fetches the first playlist and picks what to follow.
async fn find_targets(
    http: &Http,
    options: &WatchOptions,
    sum: &mut Sum,
) -> Result<Vec<Target>, WatchError> {
    let url = options.url.clone();
    let fetched = http
        .get(&url, None, REQUEST_TIMEOUT)
        .await
        .map_err(|source| WatchError::Fetch { url: url.clone(), source })?;
    if !fetched.status.is_success() {
        return Err(WatchError::Status { url, status: fetched.status.as_u16() });
    }
    let text = String::from_utf8_lossy(&fetched.body);
    if text.contains("\n#EXTINF") || text.contains("\n#EXT-X-TARGETDURATION") {
        return Ok(vec![Target { url, codecs: None, i_frames: false }]);
    }
    let playlist = parse_multivariant(&text)
        .map_err(|source| WatchError::Parse { url: url.clone(), source })?;
    if options.check {
        sum.violations(rules::multivariant::multivariant(&playlist));
        let resource = rules::http::Resource::Playlist;
        let (status, headers) = (fetched.status, &fetched.headers);
        sum.violations(rules::http::response(resource, status, headers, None, text.len()));
    }
    let targets = choose(&playlist, &options.rendition, &url);
    if targets.is_empty() {
        return Err(WatchError::NoVariant(options.rendition.clone()));
    }
    Ok(targets)
}

fn choose(playlist: &MultivariantPlaylist, choice: &RenditionChoice, base: &str) -> Vec<Target> {
    let variants: Vec<_> = match choice {
        RenditionChoice::Highest => {
            playlist.playable().max_by_key(|v| v.bandwidth).into_iter().collect()
        }
        RenditionChoice::Lowest => {
            playlist.playable().min_by_key(|v| v.bandwidth).into_iter().collect()
        }
        RenditionChoice::Named(name) => {
            playlist.playable().filter(|v| v.uri.contains(name.as_str())).collect()
        }
        RenditionChoice::All => playlist.variants.iter().collect(),
    };
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |uri: &str, codecs: &[String], i_frames| {
        let url = resolve(base, uri);
        if !targets.iter().any(|t| t.url == url) {
            targets.push(Target { url, codecs: Some(codecs.to_vec()), i_frames });
        }
    };
    for variant in variants {
        add(&variant.uri, &variant.codecs, variant.i_frames);
        let group = playlist.media.iter().filter(|m| {
            m.kind == "AUDIO" && Some(&m.group) == variant.audio.as_ref() && !variant.i_frames
        });
        for uri in group.filter_map(|m| m.uri.as_deref()) {
            add(uri, &variant.codecs, false);
        }
    }
    targets
}
