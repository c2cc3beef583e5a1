//! The configuration: from text to one [`Config`] that was checked once.
//!
//! Enters: a TOML file, variables `MILLSTREAM_*`, flags. Leaves: a [`Config`],
//! or everything that is wrong, each with its place, the reason and the nearest
//! valid name. Held: nothing. Never done here: looking at the machine (whether
//! a port is free or a file exists is found out by whoever opens it).
//!
//! The rule for the environment: a key `section.some_name` is set by
//! `MILLSTREAM_SECTION_SOME_NAME`. Where sources disagree, a flag wins over the
//! environment, the environment over the file, the file over the default.
//!
//! To add a key: a row in `table.rs`, a field here, its line in
//! [`Config::build`], and `UPDATE_EXAMPLE=1 cargo test example_is_the_table`.

mod check;
mod example;
mod kind;
mod problem;
mod read;
mod sections;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use records::Rung;

use self::kind::Value;
use self::read::{Reader, Settings};

pub use self::example::example;
pub use self::problem::{ConfigError, Origin, Problem};
pub use self::read::{environment, variable};
pub use self::sections::{
    Accounts, Archive, Chat, Config, DataLog, Hls, Http, Lake, LogFormat, Logging, Pipeline, Rtmp,
    Secret, Sql, Stream, Tls, Transcode, Vod,
};

impl Config {
    /// Reads and checks everything: the file if there is one, the environment
    /// (from [`environment`]), and flags as `(key, value)` pairs such as
    /// `("http.listen", "127.0.0.1:8080")`.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if the file can't be read, else
    /// [`ConfigError::Problems`] with all that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let text = file.map(std::fs::read_to_string).transpose().map_err(|source| {
            ConfigError::Read { path: file.unwrap_or(Path::new("")).to_owned(), source }
        })?;
        let name = file.map(|path| path.display().to_string()).unwrap_or_default();
        let file = text.as_deref().map(|text| (name.as_str(), text));
        Self::parse(file, environment, flags)
    }

    /// The same from text: `file` is its name in messages and its content.
    ///
    /// # Errors
    /// [`ConfigError::Problems`] with all that is wrong.
    pub fn parse(
        file: Option<(&str, &str)>,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        reader.defaults();
        if let Some((name, text)) = file {
            reader.file(name, text);
        }
        reader.environment(environment);
        reader.flags(flags);
        let Reader { settings, mut problems } = reader;
        let get = Getter(&settings);
        match Self::build(&get) {
            // Relations too, so that one run shows all there is to mend.
            Ok(config) => {
                check::relations(&config, &settings, &mut problems);
                if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems(problems)) }
            }
            Err(undeclared) => {
                let reason = format!("{undeclared} is not declared in the table of keys");
                problems.push(Problem { origin: Origin::Default, reason });
                Err(ConfigError::Problems(problems))
            }
        }
    }

    /// The only place that knows which key fills which field.
    fn build(get: &Getter<'_>) -> Result<Self, &'static str> {
        Ok(Self {
            data_dir: get.text("data.dir")?.into(),
            data_log: DataLog {
                kafka: Some(get.text("data.log")?).filter(|text| text != "embedded"),
                options: log::KafkaOptions {
                    properties: get.properties("data.log_options")?,
                    replication: match get.integer("data.log_replication")? {
                        0 => None,
                        copies => Some(copies as u16),
                    },
                    retention: Some(get.duration("data.log_retention")?)
                        .filter(|retention| !retention.is_zero()),
                },
            },
            admin_token: get.optional("admin.token")?.map(Secret),
            accounts: Accounts {
                sign_up: get.bool("accounts.sign_up")?,
                users_max: get.integer("accounts.users_max")? as usize,
                session_life: get.duration("accounts.session_life")?,
                hashings: get.integer("accounts.hashings")? as usize,
                failures_account: get.integer("accounts.failures_account")? as u32,
                failures_address: get.integer("accounts.failures_address")? as u32,
                sign_ups_address: get.integer("accounts.sign_ups_address")? as u32,
                streams_max: get.integer("accounts.streams_max")? as usize,
                providers: get.properties("accounts.providers")?,
            },
            http: Http {
                listen: get.address("http.listen")?,
                public_url: get.optional("http.public_url")?,
                tls: get.tls("http.tls.listen", "http.tls.cert", "http.tls.key")?,
            },
            rtmp: Rtmp {
                listen: get.address("rtmp.listen")?,
                public_url: get.optional("rtmp.public_url")?,
                tls: get.tls("rtmp.tls.listen", "rtmp.tls.cert", "rtmp.tls.key")?,
                connections_max: get.integer("rtmp.connections_max")? as usize,
                handshake_timeout: get.duration("rtmp.handshake_timeout")?,
                publish_timeout: get.duration("rtmp.publish_timeout")?,
                idle_timeout: get.duration("rtmp.idle_timeout")?,
                budget_bytes: get.integer("rtmp.budget_bytes")? as usize,
                chunk_bytes_max: get.integer("rtmp.chunk_bytes_max")? as u32,
                message_bytes_max: get.integer("rtmp.message_bytes_max")? as usize,
                chunk_streams_max: get.integer("rtmp.chunk_streams_max")? as usize,
                unfinished_bytes_max: get.integer("rtmp.unfinished_bytes_max")? as usize,
                amf_depth_max: get.integer("rtmp.amf_depth_max")? as usize,
                amf_values_max: get.integer("rtmp.amf_values_max")? as usize,
            },
            pipeline: Pipeline {
                workers: get.integer("pipeline.workers")? as usize,
                lag_epochs_max: get.integer("pipeline.lag_epochs_max")?,
                retained_bytes_max: get.integer("pipeline.retained_bytes_max")? as usize,
                edge_bytes_max: get.integer("pipeline.edge_bytes_max")? as usize,
            },
            stream: Stream { reconnect_window: get.duration("stream.reconnect_window")? },
            transcode: Transcode {
                enabled: get.bool("transcode.enabled")?,
                ladder: get.ladder("transcode.ladder")?,
                preset: get.text("transcode.preset")?,
                encoder_threads: get.integer("transcode.encoder_threads")? as u32,
                decoder_threads: get.integer("transcode.decoder_threads")? as u32,
                queue_bytes_max: get.integer("transcode.queue_bytes_max")? as usize,
                queue_frames_max: get.integer("transcode.queue_frames_max")? as usize,
                raw_frames_max: get.integer("transcode.raw_frames_max")? as u32,
                lag_shed: get.duration("transcode.lag_shed")?,
                lag_restore: get.duration("transcode.lag_restore")?,
                restore_after: get.duration("transcode.restore_after")?,
            },
            hls: Hls {
                part_target: get.duration("hls.part_target")?,
                segment_target: get.duration("hls.segment_target")?,
                segment_max: get.duration("hls.segment_max")?,
                window_segments: get.integer("hls.window_segments")? as usize,
                dvr: get.duration("hls.dvr")?,
                hot_segments: get.integer("hls.hot_segments")? as usize,
                part_hold_back: get.number("hls.part_hold_back")?,
                ladder_wait: get.duration("hls.ladder_wait")?,
                keep: get.duration("hls.keep")?,
            },
            vod: Vod {
                enabled: get.bool("vod.enabled")?,
                keep: Some(get.duration("vod.keep")?).filter(|keep| !keep.is_zero()),
                thin_after: Some(get.duration("vod.thin_after")?).filter(|age| !age.is_zero()),
                thin_to: get.text("vod.thin_to")?,
                channel_bytes_max: Some(get.integer("vod.channel_bytes_max")?).filter(|n| *n > 0),
            },
            archive: Archive {
                store: get.optional("archive.store")?,
                options: get.properties("archive.store_options")?,
                spool_bytes_max: get.integer("archive.spool")?,
                local: get.duration("archive.local")?,
                uploads: get.integer("archive.uploads")? as usize,
                cold: get.optional("archive.cold")?,
                cold_options: get.properties("archive.cold_options")?,
                cold_after: get.duration("archive.cold_after")?,
                restored_for: get.duration("archive.restored_for")?,
            },
            lake: Lake {
                enabled: get.bool("lake.enabled")?,
                root: get.optional("lake.root")?,
                options: get.properties("lake.options")?,
                commit_busy: get.duration("lake.commit_busy")?,
                commit_idle: get.duration("lake.commit_idle")?,
            },
            sql: Sql {
                postgres: get.optional_address("sql.postgres")?,
                flight: get.optional_address("sql.flight")?,
                time_max: get.duration("sql.time_max")?,
                rows_max: get.integer("sql.rows_max")?,
                memory_bytes_max: get.integer("sql.memory_max")? as usize,
                spill_bytes_max: get.integer("sql.spill_max")?,
                at_once: get.integer("sql.at_once")? as usize,
            },
            chat: Chat {
                enabled: get.bool("chat.enabled")?,
                window: get.duration("chat.window")?,
                loops: get.integer("chat.loops")? as usize,
                sockets_max: get.integer("chat.sockets_max")?,
                ring_bytes: get.integer("chat.ring")? as usize,
                chars_max: get.integer("chat.chars_max")? as usize,
                user_per_minute: get.integer("chat.user_per_minute")? as u32,
                room_per_minute: get.integer("chat.room_per_minute")? as u32,
                server_per_minute: get.integer("chat.server_per_minute")? as u32,
                links: get.text("chat.links")?,
                look_alikes: get.bool("chat.look_alikes")?,
                blocked: get.optional("chat.blocked")?.map(Into::into),
                emotes: get.optional("chat.emotes")?.map(Into::into),
                echo: get.bool("chat.echo")?,
            },
            log: Logging {
                level: get.text("log.level")?,
                format: match get.text("log.format")?.as_str() {
                    "json" => LogFormat::Json,
                    _ => LogFormat::Text,
                },
            },
            faults: get.bool("debug.faults")?,
        })
    }
}

impl Default for Config {
    /// Every key at its default.
    #[expect(clippy::expect_used, reason = "a test shows that the table's defaults are valid")]
    fn default() -> Self {
        Self::parse(None, &[], &[]).expect("the defaults are valid")
    }
}

/// Typed access to the settings. An error names a key that the table lacks or
/// declares with another kind, which a test rules out.
struct Getter<'a>(&'a Settings);

type Got<T> = Result<T, &'static str>;

impl Getter<'_> {
    fn value<T>(&self, key: &'static str, take: impl FnOnce(&Value) -> Option<T>) -> Got<T> {
        self.0.get(key).and_then(|(value, _)| take(value)).ok_or(key)
    }

    fn bool(&self, key: &'static str) -> Got<bool> {
        self.value(key, |v| if let Value::Bool(on) = v { Some(*on) } else { None })
    }

    fn text(&self, key: &'static str) -> Got<String> {
        self.value(key, |v| if let Value::Text(text) = v { Some(text.clone()) } else { None })
    }

    /// A text of which the empty one means none.
    fn optional(&self, key: &'static str) -> Got<Option<String>> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    fn address(&self, key: &'static str) -> Got<SocketAddr> {
        self.optional_address(key)?.ok_or(key)
    }

    fn optional_address(&self, key: &'static str) -> Got<Option<SocketAddr>> {
        self.value(key, |v| if let Value::Address(address) = v { Some(*address) } else { None })
    }

    fn integer(&self, key: &'static str) -> Got<u64> {
        self.value(key, |v| if let Value::Integer(number) = v { Some(*number) } else { None })
    }

    fn number(&self, key: &'static str) -> Got<f64> {
        self.value(key, |v| if let Value::Number(number) = v { Some(*number) } else { None })
    }

    fn duration(&self, key: &'static str) -> Got<Duration> {
        self.value(key, |v| if let Value::Duration(duration) = v { Some(*duration) } else { None })
    }

    fn ladder(&self, key: &'static str) -> Got<Vec<Rung>> {
        self.value(key, |v| if let Value::Ladder(rungs) = v { Some(rungs.clone()) } else { None })
    }

    fn properties(&self, key: &'static str) -> Got<BTreeMap<String, String>> {
        self.value(key, |v| if let Value::Properties(map) = v { Some(map.clone()) } else { None })
    }

    fn tls(&self, listen: &'static str, cert: &'static str, key: &'static str) -> Got<Option<Tls>> {
        let (cert, key) = (PathBuf::from(self.text(cert)?), PathBuf::from(self.text(key)?));
        Ok(self.optional_address(listen)?.map(|listen| Tls { listen, cert, key }))
    }
}

/// The candidate most like `name`, if any is alike enough to be what was meant.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .map(|(_, candidate)| candidate)
}
