//! What to do, and why it wasn't done.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What the server's texts are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Any: who is answered a ping is in the room. Order is looked at by the marks' numbers,
    /// so only one may publish.
    #[default]
    Marks,
    /// Millstream's: a welcome, then records that have a number each, `seq`. Order is looked
    /// at by those, so any may publish, and what the server refuses leaves no gap.
    Millstream,
}

/// Who sends the marked messages.
pub enum Publish {
    /// Somebody else does (with [`Mark`](crate::Mark)s); all runs' marks count.
    Elsewhere,
    /// This is called with each marked text.
    Callback(Box<dyn FnMut(&str) + Send>),
    /// The first viewer says it; `{}` in the template is the marked text.
    Viewer(String),
    /// These do, on the first viewers' sockets; for [`Dialect::Millstream`].
    People(People),
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "Elsewhere",
            Self::Callback(_) => "Callback",
            Self::Viewer(_) => "Viewer",
            Self::People(_) => "People",
        })
    }
}

/// Users of a Millstream server. `Debug` is left out: tokens are secrets.
#[derive(Clone, Default)]
pub struct People {
    /// A session's token of each.
    pub tokens: Vec<String>,
    /// Sockets that they speak on; no more than there are people or viewers.
    pub sockets: usize,
    /// Messages of one user on a socket until the next has their turn on it: servers bound
    /// what one may say in a minute. 0: no end.
    pub each: u64,
    /// Each socket has so many messages unanswered, always, whatever the rate: how fast can
    /// the server be? None: they speak at [`Options::rate`].
    pub in_flight: Option<usize>,
}

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// Where the server listens. On IPv4 loopback, viewers come from 127.0.1.x.
    pub address: SocketAddr,
    /// The request's `Host`.
    pub host: String,
    /// Path and query of the WebSocket. `{viewer}` becomes the viewer's number, from 0, and
    /// `{uuid}` an identifier that no other viewer has, of other processes neither.
    pub path: String,
    /// At the end all but those who speak are cut at once and come back by this path, in
    /// which `{epoch}` and `{seq}` become what they had; for [`Dialect::Millstream`].
    pub path_back: Option<String>,
    /// More header lines, without line ends.
    pub headers: Vec<String>,
    /// What the server's texts are like.
    pub dialect: Dialect,
    /// How many viewers; the process must be allowed so many files.
    pub viewers: usize,
    /// Threads they are spread over; those who speak have one of their own.
    pub threads: usize,
    /// Handshakes at a time, of all threads.
    pub opening_max: usize,
    /// How long to measure once all are there.
    pub duration: Duration,
    /// Who publishes.
    pub publish: Publish,
    /// Messages a second that are published here.
    pub rate: f64,
    /// Bytes that a marked text is filled up to, with words. 0: the mark alone.
    pub text_bytes: usize,
    /// How long viewers may take for what is still on its way at the end.
    pub patience: Duration,
    /// Processes of the server, whose CPU time and memory are added up.
    pub server_pids: Vec<u32>,
    /// Set: the measuring ends now, with its report.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// One viewer who listens for ten seconds.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.to_string(),
            path: "/".to_owned(),
            path_back: None,
            headers: Vec::new(),
            dialect: Dialect::default(),
            viewers: 1,
            threads: 1,
            opening_max: 256,
            duration: Duration::from_secs(10),
            publish: Publish::Elsewhere,
            rate: 0.0,
            text_bytes: 0,
            patience: Duration::from_secs(10),
            server_pids: Vec::new(),
            stop: Arc::default(),
        }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system's.
    #[error("viewers can't be opened: {0}")]
    Io(#[from] io::Error),
    /// The caller's: more viewers than files.
    #[error(
        "{viewers} viewers don't fit into one process: of the {allowed} files it may open, {fit} \
         are left for them; raise the limit (ulimit -Hn), or spread them over several \
         processes, of which one publishes"
    )]
    Files {
        /// Wanted.
        viewers: usize,
        /// How many would fit.
        fit: u64,
        /// The limit.
        allowed: u64,
    },
    /// The server's.
    #[error("only {open} of {viewers} viewers were let in within {seconds} s{}", because(.told))]
    NotOpen {
        /// Let in.
        open: usize,
        /// Wanted.
        viewers: usize,
        /// Waited.
        seconds: u64,
        /// What the first who was turned away was told.
        told: Option<String>,
    },
    /// The caller's, while viewers joined.
    #[error("stopped before all viewers were let in")]
    Stopped,
    /// Ours.
    #[error("a thread of viewers panicked")]
    Panic,
}

fn because(told: &Option<String>) -> String {
    told.as_ref().map(|told| format!("; one was told: {told}")).unwrap_or_default()
}
