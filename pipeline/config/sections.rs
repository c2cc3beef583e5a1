//! The configuration as plain structs, one per section. What each value means
//! and why it is bounded is in `table.rs` and so in `config.example.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use records::Rung;

/// The checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Log, segments and keys.
    pub data_dir: PathBuf,
    /// Where the log is.
    pub data_log: DataLog,
    /// None: made at the first start, see [`crate::keys::admin_token`].
    pub admin_token: Option<Secret>,
    /// Who has a name here.
    pub accounts: Accounts,
    /// Viewers and the API.
    pub http: Http,
    /// Publishers.
    pub rtmp: Rtmp,
    /// The dataflow.
    pub pipeline: Pipeline,
    /// The life of a broadcast.
    pub stream: Stream,
    /// The ladder.
    pub transcode: Transcode,
    /// What viewers get.
    pub hls: Hls,
    /// Recordings.
    pub vod: Vod,
    /// Segments beyond this machine's disk.
    pub archive: Archive,
    /// What analysts get.
    pub lake: Lake,
    /// Further ways to ask it.
    pub sql: Sql,
    /// What viewers say.
    pub chat: Chat,
    /// What the server says.
    pub log: Logging,
    /// Whether panics may be injected.
    pub faults: bool,
}

/// Where catalog, announcements and events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLog {
    /// A Kafka cluster's URL. None: embedded, in the data directory.
    pub kafka: Option<String>,
    /// For Kafka only.
    pub options: log::KafkaOptions,
}

/// `[accounts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Whether strangers may make accounts.
    pub sign_up: bool,
    /// Accounts at most.
    pub users_max: usize,
    /// How long a session lasts.
    pub session_life: Duration,
    /// Passwords hashed at once.
    pub hashings: usize,
    /// Failed log-ins without a wait, for one account.
    pub failures_account: u32,
    /// The same from one address.
    pub failures_address: u32,
    /// Sign-ups without a wait, from one address.
    pub sign_ups_address: u32,
    /// Streams of one streamer that never went live.
    pub streams_max: usize,
    /// Identity providers by issuer; see [`crate::providers::parse`].
    pub providers: BTreeMap<String, String>,
}

/// `[archive]`
#[derive(Clone, PartialEq, Eq)]
pub struct Archive {
    /// The store's URL. None: segments stay in the data directory.
    pub store: Option<String>,
    /// Its options; some are secrets.
    pub options: BTreeMap<String, String>,
    /// Bytes that may wait for it.
    pub spool_bytes_max: u64,
    /// How long a finished broadcast stays on disk once it is in the store.
    pub local: Duration,
    /// Uploads at a time.
    pub uploads: usize,
    /// The cold store's URL. None: there is none.
    pub cold: Option<String>,
    /// Its options; some are secrets.
    pub cold_options: BTreeMap<String, String>,
    /// How long after its end a broadcast goes there.
    pub cold_after: Duration,
    /// How long after its last viewer one that came back stays.
    pub restored_for: Duration,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, options, spool_bytes_max, local, uploads, .. } = self;
        let Self { cold, cold_options, cold_after, restored_for, .. } = self;
        f.debug_struct("Archive")
            .field("store", store)
            .field("options", &options.keys())
            .field("spool_bytes_max", spool_bytes_max)
            .field("local", local)
            .field("uploads", uploads)
            .field("cold", cold)
            .field("cold_options", &cold_options.keys())
            .field("cold_after", cold_after)
            .field("restored_for", restored_for)
            .finish()
    }
}

/// The lake's tables.
#[derive(Clone, PartialEq, Eq)]
pub struct Lake {
    /// Whether they are written.
    pub enabled: bool,
    /// Their folder, or a store's URL. None: `lake` in the data directory.
    pub root: Option<String>,
    /// The store's options; some are secrets.
    pub options: BTreeMap<String, String>,
    /// Pause between commits while much is going on.
    pub commit_busy: Duration,
    /// How long a row waits for its commit while little is.
    pub commit_idle: Duration,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { enabled, root, options, commit_busy, commit_idle } = self;
        f.debug_struct("Lake")
            .field("enabled", enabled)
            .field("root", root)
            .field("options", &options.keys())
            .field("commit_busy", commit_busy)
            .field("commit_idle", commit_idle)
            .finish()
    }
}

/// `[sql]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    /// PostgreSQL's wire protocol. None: nowhere.
    pub postgres: Option<SocketAddr>,
    /// Arrow Flight SQL. None: nowhere.
    pub flight: Option<SocketAddr>,
    /// Of a query, waiting for its place included.
    pub time_max: Duration,
    /// Of one answer.
    pub rows_max: u64,
    /// Memory of a query's sorts, joins and groups, in bytes.
    pub memory_bytes_max: usize,
    /// Temporary files of a query, in bytes.
    pub spill_bytes_max: u64,
    /// Queries that run at once.
    pub at_once: usize,
}

/// `[chat]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Whether there is one.
    pub enabled: bool,
    /// How long messages may be gathered.
    pub window: Duration,
    /// Threads that write. 0: one per core.
    pub loops: usize,
    /// Viewers on sockets.
    pub sockets_max: u64,
    /// What a room holds, in bytes.
    pub ring_bytes: usize,
    /// Longest message.
    pub chars_max: usize,
    /// Messages of a user in a room, per minute.
    pub user_per_minute: u32,
    /// Of a room.
    pub room_per_minute: u32,
    /// Of all rooms.
    pub server_per_minute: u32,
    /// allow, refuse, or domains.
    pub links: String,
    /// Whether words that mix alphabets are refused.
    pub look_alikes: bool,
    /// A file of what may not be said.
    pub blocked: Option<PathBuf>,
    /// A folder of pictures.
    pub emotes: Option<PathBuf>,
    /// Whether there is an echo for suites of tests.
    pub echo: bool,
}

/// A text that no log, error or debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A TLS listener beside a plain one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Plain HTTP.
    pub listen: SocketAddr,
    /// Without a trailing slash; None: from each request's Host.
    pub public_url: Option<String>,
    /// HTTPS.
    pub tls: Option<Tls>,
}

/// `[rtmp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtmp {
    /// Plain RTMP.
    pub listen: SocketAddr,
    /// Without a trailing slash; None: the HTTP host with this port.
    pub public_url: Option<String>,
    /// RTMPS.
    pub tls: Option<Tls>,
    /// Connections at once.
    pub connections_max: usize,
    /// TLS and RTMP handshake.
    pub handshake_timeout: Duration,
    /// Handshake to publish.
    pub publish_timeout: Duration,
    /// Silence that ends a connection.
    pub idle_timeout: Duration,
    /// Bytes that a stream may have waiting for the dataflow.
    pub budget_bytes: usize,
    /// Largest chunk size.
    pub chunk_bytes_max: u32,
    /// Longest message.
    pub message_bytes_max: usize,
    /// Chunk streams per connection.
    pub chunk_streams_max: usize,
    /// Unfinished messages of a connection together.
    pub unfinished_bytes_max: usize,
    /// AMF objects in each other.
    pub amf_depth_max: usize,
    /// AMF values per message.
    pub amf_values_max: usize,
}

/// `[pipeline]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Worker threads of the first generation, `1..=64`.
    pub workers: usize,
    /// Epochs of 100 ms that the dataflow's end may be behind.
    pub lag_epochs_max: u64,
    /// Bytes per stream kept for replay.
    pub retained_bytes_max: usize,
    /// Budget of each edge out of the dataflow.
    pub edge_bytes_max: usize,
}

/// `[stream]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// How long a dropped publisher may take to come back.
    pub reconnect_window: Duration,
}

/// `[transcode]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcode {
    /// Whether there is a ladder.
    pub enabled: bool,
    /// Highest first, heights even and unique.
    pub ladder: Vec<Rung>,
    /// x264's speed.
    pub preset: String,
    /// 0: by picture size.
    pub encoder_threads: u32,
    /// Of each software decoder.
    pub decoder_threads: u32,
    /// Bytes of pictures that may wait for a decoder.
    pub queue_bytes_max: usize,
    /// The same in pictures.
    pub queue_frames_max: usize,
    /// Decoded pictures that may wait for each encoder.
    pub raw_frames_max: u32,
    /// Lag from which rungs are dropped.
    pub lag_shed: Duration,
    /// Lag below which the stream is calm; less than `lag_shed`.
    pub lag_restore: Duration,
    /// Calm time before a rung comes back.
    pub restore_after: Duration,
}

/// `[hls]`
#[derive(Clone, Debug, PartialEq)]
pub struct Hls {
    /// Length of a part; less than `segment_target`.
    pub part_target: Duration,
    /// Length of a segment.
    pub segment_target: Duration,
    /// Longest segment: whole seconds, at least `segment_target`.
    pub segment_max: Duration,
    /// Segments listed at least.
    pub window_segments: usize,
    /// How far back viewers may seek.
    pub dvr: Duration,
    /// Segments per rendition in memory.
    pub hot_segments: usize,
    /// In parts, at least 3.
    pub part_hold_back: f64,
    /// Wait for the whole ladder.
    pub ladder_wait: Duration,
    /// How long a broadcast can be watched once it is over.
    pub keep: Duration,
}

/// `[vod]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vod {
    /// Whether broadcasts are recorded.
    pub enabled: bool,
    /// How long videos are kept; None: until somebody deletes them.
    pub keep: Option<Duration>,
    /// How long they keep all renditions; None: as long.
    pub thin_after: Option<Duration>,
    /// What they keep then, as a text.
    pub thin_to: String,
    /// Bytes that a channel's recordings may have; None: any.
    pub channel_bytes_max: Option<u64>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Directives for `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
