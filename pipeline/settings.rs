//! The configuration, as each part wants it.
//!
//! One place knows both sides: the parts don't know the file's keys, and the
//! file doesn't know the parts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use accounts::{AccountsConfig, Backoff, Fetch, HashConfig, Role, ThrottleConfig};
use lake::LakeConfig;
use operators::demux::DemuxConfig;
use operators::segment::SegmentConfig;
use operators::transcode::{TranscodeConfig, inventory};
use queries::Entrance;
use records::Codec;
use runtime::IntakeLimits;
use sinks::archive::{ArchiveConfig, Keep, SpoolConfig, Store};
use sinks::hls::HlsConfig;
use sources::rtmp::RtmpConfig;
use sources::rtmp::amf::AmfLimits;
use sources::rtmp::chunk::ChunkLimits;
use store::{Place, Root, StoreError, Tries};

use crate::config::Config;
use crate::dataflow::PlaneConfig;
use crate::http::App;
use crate::keys;
use crate::providers::{self, KeyFetcher, ProviderProblem};
use crate::server::StartError;
use crate::tls::Certificate;
use crate::urls::Urls;
use crate::videos::{Cold, ParseThinToError, RecorderConfig, Thin, TierConfig};

/// Health records that may wait: small, and lost to nobody but a graph.
pub const HEALTH_EDGE_BYTES: usize = 4 << 20;

/// What may wait of what is said, for each room: some ten thousand messages.
pub const SAID: IntakeLimits =
    IntakeLimits { unread_bytes_max: 8 << 20, retained_bytes_max: 16 << 20 };

/// The folder of segment files below the data directory.
const MEDIA_FOLDER: &str = "media";

/// The folder of the Delta tables below the data directory.
const LAKE_FOLDER: &str = "lake";
/// The folder of queries' temporary files below the data directory.
const SPILL_FOLDER: &str = "spill";

/// Bytes that may wait for each consumer of the data plane.
#[must_use]
pub fn edge_bytes(config: &Config) -> usize {
    config.pipeline.edge_bytes_max
}

/// What publishers may have waiting.
#[must_use]
pub fn packets(config: &Config) -> IntakeLimits {
    IntakeLimits {
        unread_bytes_max: config.rtmp.budget_bytes,
        retained_bytes_max: config.pipeline.retained_bytes_max,
    }
}

/// What encoders may have waiting.
#[must_use]
pub fn encoded(config: &Config) -> IntakeLimits {
    IntakeLimits {
        unread_bytes_max: config.rtmp.budget_bytes,
        retained_bytes_max: config.pipeline.retained_bytes_max,
    }
}

/// Accounts.
///
/// # Errors
/// An identity provider that can't be used as it is written down.
pub fn accounts(config: &Config) -> Result<AccountsConfig, StartError> {
    let given = &config.accounts;
    let usual = AccountsConfig::default();
    let providers = given.providers.iter().map(|(issuer, text)| providers::parse(issuer, text));
    let providers = providers
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem: ProviderProblem| StartError::Config(problem.to_string()))?;
    let throttle = ThrottleConfig {
        account: Backoff { free: given.failures_account, ..usual.throttle.account },
        address: Backoff { free: given.failures_address, ..usual.throttle.address },
        sign_up: Backoff { free: given.sign_ups_address, ..usual.throttle.sign_up },
        ..usual.throttle
    };
    Ok(AccountsConfig {
        session_life: given.session_life,
        users_max: given.users_max,
        hash: HashConfig { at_once: given.hashings, ..usual.hash },
        throttle,
        providers,
        ..usual
    })
}

/// How identity providers are asked; None: there are none.
///
/// # Errors
/// The TLS library can't be used.
pub fn key_fetcher(config: &Config) -> Result<Option<Arc<dyn Fetch>>, StartError> {
    if config.accounts.providers.is_empty() {
        return Ok(None);
    }
    let fetcher = KeyFetcher::new().map_err(|error| StartError::Config(error.to_string()))?;
    Ok(Some(Arc::new(fetcher)))
}

/// Questions to the lake.
///
/// # Errors
/// The root can't be used.
pub fn queries(config: &Config) -> Result<queries::Options, StartError> {
    Ok(queries::Options {
        lake: lake_root(config)?,
        spill: config.data_dir.join(SPILL_FOLDER),
        limits: queries::Limits {
            time: config.sql.time_max,
            memory_bytes: config.sql.memory_bytes_max,
            spill_bytes: config.sql.spill_bytes_max,
            rows: config.sql.rows_max,
            at_once: config.sql.at_once,
            ..queries::Limits::default()
        },
        tail: None,
    })
}

/// Who may ask SQL, and by which certificate; `http` is where pages are served,
/// to which links lead unless there is a public address.
///
/// # Errors
/// A certificate that can't be used.
pub fn entrance(
    config: &Config,
    app: &App,
    http: SocketAddr,
    protocol: &[u8],
) -> Result<Entrance, StartError> {
    // HTTP's certificate: one name, one server.
    let tls = match &config.http.tls {
        Some(tls) => Some(Certificate::load(&tls.cert, &tls.key, &[protocol])?.watch()),
        None => None,
    };
    let (token, accounts) = (app.admin_token.clone(), app.accounts.clone());
    let is_analyst =
        move |token: &str| accounts.verify(token).is_ok_and(|session| session.has(Role::Analyst));
    let admits =
        Arc::new(move |password: &str| keys::matches(&token, password) || is_analyst(password));
    let local = match http.ip() {
        any if any.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, http.port())),
        _ => http,
    };
    let base_url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{local}"));
    Ok(Entrance { admits, base_url, tls })
}

/// The operators.
#[must_use]
pub fn plane(config: &Config) -> PlaneConfig {
    let demux = DemuxConfig {
        segment_target: config.hls.segment_target,
        segment_max: config.hls.segment_max,
        can_encode: can_encode(config),
        ..DemuxConfig::default()
    };
    let segment = SegmentConfig { part_target: config.hls.part_target, ..SegmentConfig::default() };
    PlaneConfig {
        demux: Arc::new(demux),
        segment: Arc::new(segment),
        lag_epochs_max: config.pipeline.lag_epochs_max,
    }
}

/// Pictures that this machine can make anew; none without encoders.
fn can_encode(config: &Config) -> Vec<Codec> {
    if !config.transcode.enabled {
        return Vec::new();
    }
    let inventory = inventory();
    let all = [Codec::H264, Codec::Hevc, Codec::Av1];
    all.into_iter().filter(|codec| inventory.can_transcode(*codec)).collect()
}

/// The encoders.
#[must_use]
pub fn transcode(config: &Config) -> TranscodeConfig {
    let given = &config.transcode;
    TranscodeConfig {
        enabled: given.enabled,
        ladder: given.ladder.clone(),
        preset: given.preset.clone(),
        encoder_threads: given.encoder_threads,
        decoder_threads: given.decoder_threads,
        queue_bytes_max: given.queue_bytes_max,
        queue_frames_max: given.queue_frames_max,
        raw_frames_max: given.raw_frames_max,
        lag_shed_ms: millis(given.lag_shed),
        lag_restore_ms: millis(given.lag_restore),
        restore_after_ms: millis(given.restore_after),
        ..TranscodeConfig::default()
    }
}

/// The viewers' window.
///
/// # Errors
/// A combination that breaks a rule of HLS.
pub fn hls(config: &Config) -> Result<HlsConfig, StartError> {
    let given = &config.hls;
    let hls = HlsConfig {
        target_duration_s: target_duration_s(config),
        window_segments: given.window_segments,
        dvr: given.dvr,
        hot_segments: given.hot_segments,
        part_target: given.part_target,
        part_hold_back: given.part_hold_back,
        ladder_wait: given.ladder_wait,
    };
    hls.validate().map_err(|error| StartError::Config(error.to_string()))?;
    Ok(hls)
}

/// EXT-X-TARGETDURATION: the longest segment, rounded (bis 4.4.3.1).
fn target_duration_s(config: &Config) -> u32 {
    config.hls.segment_max.as_secs_f64().round() as u32
}

/// How much of a stream's past is shown again after a restart.
#[must_use]
pub fn restored_window(config: &Config) -> Duration {
    let listed =
        config.hls.segment_max * u32::try_from(config.hls.window_segments).unwrap_or(u32::MAX);
    config.hls.dvr.max(listed)
}

/// Segment files, and the store that they go up to.
///
/// # Errors
/// The store can't be used as configured.
pub fn archive(config: &Config) -> Result<ArchiveConfig, StartError> {
    let keep = match config.vod.enabled {
        // Recordings need them; whoever deletes those deletes their segments.
        true => Keep::Forever,
        false => Keep::For(config.hls.keep.max(restored_window(config) * 3)),
    };
    let local = ArchiveConfig::new(config.data_dir.join(MEDIA_FOLDER), keep);
    let given = &config.archive;
    let Some(url) = &given.store else { return Ok(local) };
    let place = Place::open(url, &given.options, Tries::One).map_err(refused)?;
    let spool = SpoolConfig {
        store: Store::new(place),
        bytes_max: given.spool_bytes_max,
        uploads: given.uploads,
        window: hls(config)?.retention(),
        listed_for: config.hls.keep,
    };
    Ok(ArchiveConfig { spool: Some(spool), ..local })
}

/// Recordings.
#[must_use]
pub fn recorder(config: &Config) -> RecorderConfig {
    RecorderConfig {
        enabled: config.vod.enabled,
        keep: config.vod.keep,
        local: stays(config),
        channel_bytes_max: config.vod.channel_bytes_max,
    }
}

/// How long a finished broadcast stays on disk. What is listed at its own address is
/// looked for there at a restart.
fn stays(config: &Config) -> Duration {
    config.archive.local.max(config.hls.keep)
}

/// Old recordings.
///
/// # Errors
/// The cold store can't be used as configured.
pub fn tiers(config: &Config) -> Result<TierConfig, StartError> {
    let (given, vod) = (&config.archive, &config.vod);
    let to = vod
        .thin_to
        .parse()
        .map_err(|error: ParseThinToError| StartError::Config(error.to_string()))?;
    let thin = vod.thin_after.map(|after| Thin { after: after.max(config.hls.keep), to });
    let cold = match &given.cold {
        Some(url) => {
            let place = Place::open(url, &given.cold_options, Tries::One).map_err(refused)?;
            let store = Store::new(place);
            // Without a store nothing leaves the disk by archive.local.
            let stays = if given.store.is_some() { stays(config) } else { config.hls.keep };
            let after = given.cold_after.max(stays);
            Some(Cold { store, after, restored_for: given.restored_for })
        }
        None => None,
    };
    Ok(TierConfig { thin, cold })
}

/// The lake; None if it is switched off.
///
/// # Errors
/// The root can't be used.
pub fn lake(config: &Config) -> Result<Option<LakeConfig>, StartError> {
    let given = &config.lake;
    if !given.enabled {
        return Ok(None);
    }
    let (commit_busy, commit_idle) = (given.commit_busy, given.commit_idle);
    Ok(Some(LakeConfig { commit_busy, commit_idle, ..LakeConfig::new(lake_root(config)?) }))
}

/// A client of its own for each caller, since each has threads of its own.
fn lake_root(config: &Config) -> Result<Root, StartError> {
    let root = match &config.lake.root {
        Some(root) => Root::parse(root, &config.lake.options),
        None => Root::at(&config.data_dir.join(LAKE_FOLDER)),
    };
    root.map_err(refused)
}

fn refused(error: StoreError) -> StartError {
    StartError::Config(error.to_string())
}

/// Publishers' connections.
#[must_use]
pub fn rtmp(config: &Config) -> RtmpConfig {
    let given = &config.rtmp;
    RtmpConfig {
        handshake_timeout: given.handshake_timeout,
        publish_timeout: given.publish_timeout,
        idle_timeout: given.idle_timeout,
        connections_max: given.connections_max,
        chunk: ChunkLimits {
            chunk_bytes_max: given.chunk_bytes_max,
            message_bytes_max: given.message_bytes_max,
            chunk_streams_max: given.chunk_streams_max,
            unfinished_bytes_max: given.unfinished_bytes_max,
        },
        amf: AmfLimits { depth_max: given.amf_depth_max, values_max: given.amf_values_max },
        ..RtmpConfig::default()
    }
}

/// The addresses that the API hands out.
#[must_use]
pub fn urls(config: &Config, rtmp_port: u16) -> Urls {
    Urls::new(config.http.public_url.clone(), config.rtmp.public_url.clone(), rtmp_port)
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
