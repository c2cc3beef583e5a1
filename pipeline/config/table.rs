//! Every key: its kind, bounds, default, and what to know before changing it.
//!
//! The one place where keys are declared. `config.example.toml` is this table
//! as text, and a test keeps it so.

use std::time::Duration;

use super::kind::Kind;

/// One key.
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default in TOML.
    pub default: &'static str,
    /// What it does, why it is as it is, and what follows from changing it.
    pub doc: &'static str,
}

/// A section's name and what it is about.
pub const SECTIONS: &[(&str, &str)] = &[
    ("data", "What is kept on disk."),
    ("admin", "Who may create, change and end streams."),
    ("accounts", "Who has a name here: viewers who chat, streamers, moderators, analysts."),
    ("http", "Pages, playlists, segments and the API."),
    ("http.tls", "The same over HTTPS, on a port of its own."),
    ("rtmp", "Publishers: OBS, ffmpeg, hardware encoders."),
    ("rtmp.tls", "The same over RTMPS, on a port of its own."),
    ("pipeline", "The dataflow between publishers and viewers."),
    ("stream", "The life of a broadcast."),
    ("transcode", "Smaller pictures beside the published one."),
    ("hls", "What viewers get."),
    ("vod", "Recordings of finished broadcasts."),
    ("archive", "Segments of broadcasts, beyond this machine's disk."),
    ("lake", "What analysts get: tables of everything that happened."),
    ("sql", "How else than by the API they ask SQL of it."),
    ("chat", "What viewers say."),
    ("log", "What the server says about itself, on standard error."),
    ("debug", "For tests only."),
];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
const fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// All of them, in the order of the example.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("data.dir", Kind::Text, r#""data""#,
        "Directory for the log, segments and keys, made if it is missing; relative to where the server starts. One server at a time may use it. Streams and their keys live here: back it up, and keep it private."),

    key("data.log", Kind::Text, r#""embedded""#,
        "Where catalog, announcements and events are kept. embedded: in data.dir, nothing to install. kafka://host:port,host:port/prefix: a Kafka cluster, whose topics are called prefix.catalog and so on, are made if they are missing, and may be read by others. While its brokers are away what is live goes on, changes wait, and /readyz says why."),
    key("data.log_options", Kind::Properties, "{}",
        "librdkafka's properties for a Kafka log, for TLS and SASL above all: security.protocol, ssl.ca.location, sasl.mechanism, sasl.username, sasl.password. Those that durability and order rest on (acks, idempotence, time-outs of messages) are refused. In the environment: security.protocol=sasl_ssl;sasl.username=bob."),
    key("data.log_replication", Kind::Integer(0, 32), "0",
        "Copies of each partition of the Kafka topics that are made. 0: the cluster's default. Set min.insync.replicas in the cluster, or an acknowledgement may rest on one copy."),
    key("data.log_retention", Kind::Duration(s(0), s(3650 * 86_400)), r#""0s""#,
        "How long the Kafka topics that are made keep records, the catalog excepted. 0s: for ever. Never shorter than this server may be off: what is older is gone for the lake."),

    key("admin.token", Kind::Secret, r#""""#,
        "Bearer token for the API calls that change something, at least 16 characters. Empty: one is made at the first start and kept in the data directory as admin-token. Better given as MILLSTREAM_ADMIN_TOKEN than in a file that others can read."),

    key("accounts.sign_up", Kind::Bool, "true",
        "Whether strangers may make accounts for themselves. false: only admins and whoever holds the admin token make them; who comes from an identity provider still gets one."),
    key("accounts.users_max", Kind::Integer(1, 100_000_000), "1000000",
        "Accounts that this server takes; one more is refused. Each costs some 600 bytes of memory, so this bounds what strangers can use up."),
    key("accounts.session_life", Kind::Duration(s(60), s(365 * 86_400)), r#""7d""#,
        "How long a session lasts from its log-in; nothing prolongs it. Longer spares people log-ins, shorter bounds what a stolen token is worth. A new password and logging out everywhere end all sessions of a user at once."),
    key("accounts.hashings", Kind::Integer(1, 64), "2",
        "Passwords that are hashed at once, each on a thread of its own behind everything live, for tens of milliseconds and with 19 MiB. 64 more log-ins may wait; further ones are told to come back. More lets a rush through sooner and takes more memory."),
    key("accounts.failures_account", Kind::Integer(1, 1_000_000), "5",
        "Failed log-ins for one account without a wait, whoever tries. After them it doubles from 1 s to 5 minutes; an hour without any, and they are forgotten. Sessions that exist go on."),
    key("accounts.failures_address", Kind::Integer(1, 1_000_000), "20",
        "The same for all accounts from one address (of IPv6: one /64), up to 15 minutes. The address is that of whoever connects: behind a proxy everybody has one, so raise it there."),
    key("accounts.sign_ups_address", Kind::Integer(1, 1_000_000), "10",
        "Sign-ups from one address without a wait, which doubles from 30 s to an hour after them. Behind a proxy everybody has one address, as above."),
    key("accounts.streams_max", Kind::Integer(1, 1_000_000), "20",
        "Streams of one streamer that never went live; one more is refused. The key of a finished broadcast begins the next by itself, so few need more than one."),
    key("accounts.providers", Kind::Properties, "{}",
        "Identity providers whose tokens are accepted beside ours (RS256, ES256 or EdDSA). The name is the issuer, exactly as in the tokens' iss; the text is our client id there (their aud), a blank, and the URL of its keys (JWKS), as in \"https://id.example.com\" = \"our-client-id https://id.example.com/jwks\". https with a certificate that this machine trusts (SSL_CERT_FILE names others), or http on this machine. Whoever comes for the first time gets an account. In the environment: https://id.example.com=our-client-id https://id.example.com/jwks."),

    key("http.listen", Kind::Address, r#""0.0.0.0:8080""#,
        "Where HTTP/1.1 and HTTP/2 (prior knowledge) are served. 0.0.0.0 is every IPv4 interface, [::] every interface; 127.0.0.1 if a proxy on this machine stands in front."),
    key("http.public_url", Kind::OptionalUrl(&["http", "https"]), r#""""#,
        "How viewers reach this server, for the links that the API returns. Empty: taken from each request's Host header, which is right unless a proxy changes it."),
    key("http.tls.listen", Kind::OptionalAddress, r#""""#,
        "Where HTTPS is served. Empty: nowhere. Browsers speak HTTP/2 only over TLS, and low latency wants it: one connection instead of six."),
    key("http.tls.cert", Kind::Text, r#""""#,
        "Certificate chain in PEM, the server's own first. Re-read within seconds when the file changes, so a renewal needs no restart; `millstream cert` makes a self-signed one for trials."),
    key("http.tls.key", Kind::Text, r#""""#,
        "Its private key in PEM. Re-read together with the certificate."),

    key("rtmp.listen", Kind::Address, r#""0.0.0.0:1935""#,
        "Where publishers connect. 1935 is what every encoder assumes."),
    key("rtmp.public_url", Kind::OptionalUrl(&["rtmp", "rtmps"]), r#""""#,
        "How publishers reach this server, for the ingest_url that the API returns. Empty: the host of the HTTP links with the port of rtmp.listen."),
    key("rtmp.connections_max", Kind::Integer(1, 1_000_000), "4096",
        "Connections at once; one more is closed on arrival. Each may hold up to rtmp.unfinished_bytes_max and rtmp.budget_bytes, so this bounds the memory that strangers can use up."),
    key("rtmp.handshake_timeout", Kind::Duration(ms(100), s(60)), r#""5s""#,
        "TLS and RTMP handshake together. A slower connection is closed: clients that connect and say nothing must not add up."),
    key("rtmp.publish_timeout", Kind::Duration(ms(100), s(300)), r#""10s""#,
        "From the handshake to a publish with a valid key. Shorter may cut off people who type; longer lets strangers hold connections."),
    key("rtmp.idle_timeout", Kind::Duration(s(1), s(600)), r#""10s""#,
        "A publisher that sends nothing for so long is taken for gone, and its stream waits for a reconnect. Shorter frees a stream sooner from a half-open connection; longer survives worse networks."),
    key("rtmp.budget_bytes", Kind::Size(64 * KIB, GIB), r#""8MiB""#,
        "Bytes that one stream may have waiting for the dataflow. A publisher beyond it isn't read, so TCP slows its encoder. Must hold at least one message."),
    key("rtmp.chunk_bytes_max", Kind::Size(128, 16 * MIB - 1), "\"16777215B\"",
        "Largest chunk size that a publisher may set; the default is the protocol's largest message. Costs no memory by itself: only messages are held."),
    key("rtmp.message_bytes_max", Kind::Size(64 * KIB, 16 * MIB - 1), r#""8MiB""#,
        "Longest message, which is one picture. A publisher with a longer one is refused."),
    key("rtmp.chunk_streams_max", Kind::Integer(4, 65_597), "64",
        "Chunk streams that one connection may use. Encoders use a handful; the protocol allows 65,597, each costing memory for ever."),
    key("rtmp.unfinished_bytes_max", Kind::Size(64 * KIB, GIB), r#""12MiB""#,
        "Announced lengths of one connection's unfinished messages together. Must be at least rtmp.message_bytes_max; twice that lets sound and picture interleave in the worst case."),
    key("rtmp.amf_depth_max", Kind::Integer(2, 64), "16",
        "Objects inside objects in commands and metadata; encoders nest two or three."),
    key("rtmp.amf_values_max", Kind::Integer(64, 1_000_000), "4096",
        "Values in one command or metadata message, all levels together."),
    key("rtmp.tls.listen", Kind::OptionalAddress, r#""""#,
        "Where RTMPS publishers connect; 443 or 1936 are usual. Empty: nowhere. Plain RTMP sends the stream key readable to anyone on the way."),
    key("rtmp.tls.cert", Kind::Text, r#""""#,
        "Certificate chain in PEM, re-read when it changes. May be the same file as http.tls.cert."),
    key("rtmp.tls.key", Kind::Text, r#""""#,
        "Its private key in PEM, re-read together with the certificate."),

    key("pipeline.workers", Kind::Integer(1, 64), "1",
        "Worker threads of the dataflow at the start; `millstream scale N` changes it while running. More than there are cores only adds latency. Encoders have threads of their own."),
    key("pipeline.lag_epochs_max", Kind::Integer(2, 600), "20",
        "How far the end of the dataflow may be behind its beginning, in epochs of 100 ms, before sources pause. Larger rides out longer hiccups and holds more in memory."),
    key("pipeline.retained_bytes_max", Kind::Size(MIB, 4 * GIB), r#""32MiB""#,
        "Bytes per stream that are kept for replay until their segment is finished, should a worker fail. A stream that needs more resumes later, with a discontinuity. Should hold hls.segment_max of the highest bitrate: 32MiB is 6 s at 44 Mbit/s."),
    key("pipeline.edge_bytes_max", Kind::Size(MIB, 16 * GIB), r#""64MiB""#,
        "Bytes that may wait between the dataflow and each consumer (viewers' window, archive, encoders), all streams together. Beyond it sources pause."),

    key("stream.reconnect_window", Kind::Duration(s(0), s(3600)), r#""30s""#,
        "How long a stream waits for its publisher after the connection dropped. Coming back in time continues the same broadcast behind a discontinuity; after it the broadcast is over and viewers see the end. 0s ends it at once."),

    key("transcode.enabled", Kind::Bool, "true",
        "Whether to encode the ladder. false: viewers get only what was published, and CPU is needed for delivery alone."),
    key("transcode.ladder", Kind::Ladder, concat!(
        "[\n",
        "    { height = 1080, bitrate_kbps = 6000 },\n",
        "    { height = 720, bitrate_kbps = 3000 },\n",
        "    { height = 480, bitrate_kbps = 1400 },\n",
        "    { height = 360, bitrate_kbps = 800 },\n",
        "    { height = 160, bitrate_kbps = 250 },\n",
        "]"),
        "Rungs below the published picture, at most 8, each with an even height from 64 to 4320 of its own and a bitrate from 32 to 200000 kbit/s that falls with the height. A rung is used only for sources higher than it; the published picture itself and an audio-only rendition always exist. Every rung costs CPU for every stream. In the environment: 720:3000,480:1400."),
    key("transcode.preset", Kind::Choice(&["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]), r#""veryfast""#,
        "x264's speed. Slower looks better at the same bitrate and costs CPU. Hardware encoders ignore it."),
    key("transcode.encoder_threads", Kind::Integer(0, 16), "0",
        "Threads of each software encoder. 0 chooses by picture size: 1 up to 720p. More shortens latency and costs total CPU and some quality."),
    key("transcode.decoder_threads", Kind::Integer(1, 16), "2",
        "Threads of each software decoder; one decoder feeds all rungs of a stream."),
    key("transcode.queue_bytes_max", Kind::Size(MIB, GIB), r#""16MiB""#,
        "Published pictures of one stream that may wait for the decoder. Beyond it pictures are skipped up to the next keyframe, so an overloaded machine costs smoothness and not memory."),
    key("transcode.queue_frames_max", Kind::Integer(10, 10_000), "600",
        "The same counted in pictures, since small ones would never reach the bytes."),
    key("transcode.raw_frames_max", Kind::Integer(1, 32), "4",
        "Decoded pictures that may wait for each encoder. They are uncompressed, 3 MB each at 1080p."),
    key("transcode.lag_shed", Kind::Duration(ms(100), s(60)), r#""1s""#,
        "Delay of a stream's ladder behind its publisher from which the highest rung is dropped at the next segment, and so on down to audio only. Lower sheds sooner and keeps latency; higher rides out peaks."),
    key("transcode.lag_restore", Kind::Duration(ms(10), s(60)), r#""400ms""#,
        "Delay below which a stream counts as calm again. Less than transcode.lag_shed, so that rungs don't flap."),
    key("transcode.restore_after", Kind::Duration(s(1), s(3600)), r#""10s""#,
        "How long a stream must have been calm before a dropped rung comes back; doubles each time that coming back was too much."),

    key("hls.part_target", Kind::Duration(ms(50), s(2)), r#""200ms""#,
        "Length of a low-latency part. A player is at least three parts behind, so this sets the latency; each part is a request per viewer, so halving it doubles those."),
    key("hls.segment_target", Kind::Duration(ms(500), s(30)), r#""2s""#,
        "Length of a segment, cut at the first keyframe from here on. Set the encoder's keyframe interval to the same or a divisor. Longer means fewer files and slower joining for plain HLS players."),
    key("hls.segment_max", Kind::Duration(s(1), s(60)), r#""6s""#,
        "Longest segment, in whole seconds: the declared EXT-X-TARGETDURATION, which can never change during a stream (RFC 8216bis 4.4.3.1). A published picture whose keyframes are farther apart than this is re-encoded; 6s passes most encoders' settings through (OBS's automatic keyframe interval is 250 pictures: set it to 2 s). Plain players stay three times this behind."),
    key("hls.window_segments", Kind::Integer(6, 1000), "15",
        "Segments that a playlist lists at least (never under 6 or three target durations). More lets a slow player fall back further and makes playlists longer."),
    key("hls.dvr", Kind::Duration(s(0), s(7 * 86_400)), r#""0s""#,
        "How far back viewers may seek while it is live. Older segments come from disk. 0s: no further than hls.window_segments."),
    key("hls.hot_segments", Kind::Integer(1, 1000), "6",
        "Segments of each rendition that stay in memory after they are on disk. Viewers near the live edge never touch the disk; 6 segments of 2 s at 2.6 Mbit/s are 4 MB."),
    key("hls.part_hold_back", Kind::Number(3.0, 20.0), "3.0",
        "How far behind the end low-latency players should stay, in parts. Less than 3 is forbidden (Apple's authoring rules 14.3); more means fewer stalls on poor networks and more latency."),
    key("hls.ladder_wait", Kind::Duration(s(0), s(60)), r#""5s""#,
        "How long the first viewers wait for every rung to begin, so that nobody gets half a ladder."),
    key("hls.keep", Kind::Duration(s(0), s(3650 * 86_400)), r#""1d""#,
        "How long a finished broadcast can still be watched at its own address. Where broadcasts are not recorded (vod.enabled = false), segments are deleted at this age too, also during a broadcast. A 3 Mbit/s stream takes 1.35 GB an hour, its ladder beside it."),

    key("vod.enabled", Kind::Bool, "true",
        "Whether every broadcast becomes a video when it ends. Its segments then stay on disk, whatever hls.keep says: mind the disk, or set vod.keep. false: nothing outlives hls.keep; videos that are there stay."),
    key("vod.keep", Kind::Duration(s(0), s(36_500 * 86_400)), r#""0s""#,
        "How long videos are kept after their broadcast; a clip counts from when it was made, and keeps what it plays. 0s: until somebody deletes them."),

    key("vod.thin_after", Kind::Duration(s(0), s(36_500 * 86_400)), r#""0s""#,
        "How long after their broadcast recordings keep all their renditions; then vod.thin_to says which ones stay, and the others are deleted for good, wherever they lie. Never before hls.keep is over. A rendition that alone has the picture of some moment stays. 0s: all stay."),
    key("vod.thin_to", Kind::Text, r#""source""#,
        "What stays then, beside the sound. source: the published picture, and no rung. A height such as 720p: what is at most so high; the published picture goes as well if it is higher and a rung is there. The last picture never goes."),
    key("vod.channel_bytes_max", Kind::Size(0, 1024 * 1024 * GIB), r#""0B""#,
        "Bytes that the recordings of one channel may have, which is all that was published with one key. Beyond it the oldest are deleted, never the newest. Clips aren't counted, and keep the files that they play. 0B: no bound."),

    key("archive.store", Kind::Text, r#""""#,
        "Object store that recorded broadcasts go up to: s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder. Empty: they stay in data.dir. data.dir/media then is the way there and keeps what is new. While the store is slow or away, what is live goes on and segments wait on disk; /readyz and /metrics say so."),
    key("archive.store_options", Kind::Properties, "{}",
        "Options of the store, by the names that the object_store crate has for them: endpoint, region, allow_http, access_key_id, secret_access_key, virtual_hosted_style_request, unsigned_payload, account_name, service_account, timeout. What is missing is taken from AWS_*, AZURE_* and GOOGLE_* variables, where keys are better kept. In the environment: endpoint=https://s3.example.org;region=eu-1."),
    key("archive.spool", Kind::Size(MIB, 1024 * 1024 * GIB), r#""20GiB""#,
        "Bytes of segments that may wait for the store. Beyond it the oldest of the smallest rungs are given up, larger rungs, the published picture and the sound last; never what live playlists list. 20GiB holds 17 hours of one stream at 2.6 Mbit/s. Needs that much free space on disk."),
    key("archive.local", Kind::Duration(s(0), s(36_500 * 86_400)), r#""1d""#,
        "How long a finished broadcast stays on disk once all of it is in the store; never less than hls.keep. Videos play from the store after that: longer spares it requests, shorter spares the disk."),
    key("archive.uploads", Kind::Integer(1, 256), "8",
        "Uploads at a time, one of each rendition of a stream; each holds a segment in memory. More catches up faster after the store was away. A store that asks for less gets less."),

    key("archive.cold", Kind::Text, r#""""#,
        "Object store for recordings that are hardly watched any more, by a URL as for archive.store; without that they go there from the disk. Who opens one waits until it is copied back. It must answer reads at once: what has to be ordered first, as from Glacier, isn't. Empty: there is none. Once something is there, keep it set."),
    key("archive.cold_options", Kind::Properties, "{}",
        "Its options, as archive.store_options."),
    key("archive.cold_after", Kind::Duration(s(0), s(36_500 * 86_400)), r#""30d""#,
        "How long after its end a broadcast goes there, once nobody watches it; never before archive.local and hls.keep are over."),
    key("archive.restored_for", Kind::Duration(s(1), s(36_500 * 86_400)), r#""1d""#,
        "How long after its last viewer a recording that was copied back stays; the copy in archive.cold is kept all the while. Longer spares copying, shorter spares room."),

    key("lake.enabled", Kind::Bool, "true",
        "Whether the log is written to Delta tables as well. false: nothing can be asked by SQL; the log still has it all, and the tables catch up once this is true again."),
    key("lake.root", Kind::Text, r#""""#,
        "Where the tables lie, each a Delta table that other programs may read at any time: a folder, or an object store by URL as in archive.store. Empty: lake in data.dir. It belongs to one log: moving it is fine, mixing is refused. A store has to put objects only if they are absent (If-None-Match), as S3, Azure and Google do. While it is slow or away, what is live goes on and commits wait; /readyz and /metrics say so. Each commit takes six requests: with a store, a longer lake.commit_busy costs less."),
    key("lake.options", Kind::Properties, "{}",
        "Options of that store, as in archive.store_options. What is missing is taken from AWS_*, AZURE_* and GOOGLE_* variables, where keys are better kept."),
    key("lake.commit_busy", Kind::Duration(ms(200), s(600)), r#""1s""#,
        "Pause between the commits of a table while much is going on. Each commit is at least one file: longer makes fewer and larger ones, shorter shows rows sooner to programs that open the tables themselves. SQL by the server sees rows before they are committed."),
    key("lake.commit_idle", Kind::Duration(ms(200), s(3600)), r#""5s""#,
        "How long a row waits for its commit at most while little is going on. At least lake.commit_busy."),

    key("sql.postgres", Kind::OptionalAddress, r#""""#,
        "Where psql, drivers and tools for PostgreSQL connect, by any user's name with the admin token or an analyst's token as password; 5432 is what they assume. Empty: nowhere. Answers only: nothing can be written. With http.tls.cert the connection may be encrypted (most clients do so by themselves); without, the token crosses the network readable, so keep to 127.0.0.1."),
    key("sql.flight", Kind::OptionalAddress, r#""""#,
        "Where clients of Arrow Flight SQL connect (ADBC, and Arrow's JDBC and ODBC drivers), by the admin token or an analyst's as bearer or as password; answers come as Arrow. 32010 is what examples use. Empty: nowhere. Answers only: nothing can be written. With http.tls.cert it is encrypted and nothing else (grpc+tls://); without, the token crosses the network readable, so keep to 127.0.0.1."),

    key("sql.time_max", Kind::Duration(ms(100), s(86_400)), r#""1m""#,
        "How long a query may take, from being asked to its last row fetched, waiting for a place included. Queries run on threads of their own, behind everything live."),
    key("sql.rows_max", Kind::Integer(1, 1_000_000_000), "1000000",
        "Rows of one answer. More is an error, not a part of them."),
    key("sql.memory_max", Kind::Size(16 * MIB, 1024 * GIB), r#""256MiB""#,
        "Memory for the sorts, joins and groups of one query; beyond it they go to temporary files in data.dir where they can."),
    key("sql.spill_max", Kind::Size(MIB, 1024 * GIB), r#""4GiB""#,
        "Temporary files of one query. They go with the query."),
    key("sql.at_once", Kind::Integer(1, 64), "4",
        "Queries at once; more wait within their sql.time_max. Together they use at most as many times sql.memory_max."),

    key("chat.enabled", Kind::Bool, "true",
        "Whether broadcasts have a chat. false: its requests are answered 404, and pages show none."),
    key("chat.window", Kind::Duration(s(0), s(2)), r#""200ms""#,
        "How long messages of a busy room may be gathered for each viewer: one write then carries all of them, and writes are what chat costs. Quiet rooms don't wait. 0s: each message is written at once, which takes several times the CPU in large rooms."),
    key("chat.loops", Kind::Integer(0, 256), "0",
        "Threads that write to viewers. 0: one per core."),
    key("chat.sockets_max", Kind::Integer(1, 10_000_000), "15000",
        "Viewers on sockets, in all rooms together; further ones are told to poll, which they do. Each takes an open file, over TLS three: keep some thousand below the system's limit for one process (ulimit -n)."),
    key("chat.ring", Kind::Size(64 * KIB, GIB), r#""1MiB""#,
        "What each room holds in memory at most, for viewers who come back and for those who scroll up; older messages come from the lake. Only busy rooms use all of it."),
    key("chat.chars_max", Kind::Integer(1, 500), "500",
        "Longest message, in characters."),
    key("chat.user_per_minute", Kind::Integer(1, 120), "20",
        "Messages of one user in one room, in any minute. Beyond: 429, with when to try again."),
    key("chat.room_per_minute", Kind::Integer(1, 10_000_000), "10000",
        "Messages of one room, in any minute."),
    key("chat.server_per_minute", Kind::Integer(1, 4_000_000_000), "1000000",
        "Messages of all rooms together, in any minute."),
    key("chat.links", Kind::Text, r#""allow""#,
        "Which links messages may hold: allow, refuse, or domains separated by commas, with all that is below them."),
    key("chat.look_alikes", Kind::Bool, "true",
        "Whether words are refused that mix alphabets in order to look like Latin, by which blocked words and names are got round."),
    key("chat.blocked", Kind::Text, r#""""#,
        "A file of what messages may not say, one a line: a word, with * for any letters; or a regular expression between slashes (/like this/). Case, accents and look-alike letters don't count. Lines that begin with # are for people."),
    key("chat.emotes", Kind::Text, r#""""#,
        "A folder of pictures (png, gif, webp, avif; up to 256 KiB each): hello.png is shown for :hello:. A few of Unicode's are there without."),
    key("chat.echo", Kind::Bool, "false",
        "Whether the WebSocket /api/chat/echo sends back what it is told, as suites that check the protocol want it (make autobahn). It takes messages of 64 MiB, from anybody: never where strangers come."),

    key("log.level", Kind::Text, r#""info""#,
        "error, warn, info, debug or trace, also by module: info,sources=debug. info says what changed (streams, publishers, generations), warn what someone should look at, debug what a developer needs. Keys and tokens appear at no level."),
    key("log.format", Kind::Choice(&["text", "json"]), r#""text""#,
        "text for people, json for collectors: one object a line."),

    key("debug.faults", Kind::Bool, "false",
        "Whether the API may inject panics into operators and end the process within the lake's commits, which the tests and benchmarks do. Never where strangers hold the admin token."),
];

/// The key called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
