//! What values must be to each other.

use std::time::Duration;

use store::{Place, Root, StoreError, Tries};

use super::kind::{show_duration, show_size};
use super::problem::{Origin, Problem};
use super::read::Settings;
use super::sections::{Config, Tls};
use crate::providers;
use crate::videos::ThinTo;

/// Adds a problem for each relation that doesn't hold, at the place of the
/// first of the keys involved that somebody set.
pub fn relations(config: &Config, settings: &Settings, problems: &mut Vec<Problem>) {
    let mut require = |holds: bool, keys: &[&str], reason: String| {
        if !holds {
            let origins = keys.iter().filter_map(|key| settings.get(key).map(|(_, origin)| origin));
            let set = origins.clone().find(|origin| **origin != Origin::Default);
            let origin = set.or(origins.clone().next()).cloned().unwrap_or(Origin::Default);
            problems.push(Problem { origin, reason });
        }
    };

    let log = &config.data_log;
    if let Some(url) = &log.kafka
        && let Err(error) = log::Kafka::check(url, &log.options)
    {
        let key = match error {
            log::Error::LogOption { .. } => "data.log_options",
            _ => "data.log",
        };
        require(false, &[key], format!("{key}: {error}"));
    }

    for (issuer, text) in &config.accounts.providers {
        if let Err(problem) = providers::parse(issuer, text) {
            require(false, &["accounts.providers"], format!("accounts.providers: {problem}"));
        }
    }

    let archive = &config.archive;
    for (url, key, options, options_key) in [
        (&archive.store, "archive.store", &archive.options, "archive.store_options"),
        (&archive.cold, "archive.cold", &archive.cold_options, "archive.cold_options"),
    ] {
        if let Some(url) = url
            && let Err(error) = Place::open(url, options, Tries::One)
        {
            let key = if is_of_options(&error) { options_key } else { key };
            require(false, &[key], format!("{key}: {error}"));
        }
    }
    let place = |url: &Option<String>| url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
    let media = config.data_dir.join("media");
    let is_media = |url: String| url.strip_prefix("file://").is_some_and(|at| media == *at);
    require(
        archive.cold.is_none()
            || place(&archive.cold) != place(&archive.store)
                && !place(&archive.cold).is_some_and(is_media),
        &["archive.cold"],
        "archive.cold is where recordings are already: give it a place of its own".into(),
    );
    if let Err(error) = config.vod.thin_to.parse::<ThinTo>() {
        require(false, &["vod.thin_to"], format!("vod.thin_to: {error}"));
    }

    let lake = &config.lake;
    require(
        lake.commit_busy <= lake.commit_idle,
        &["lake.commit_busy", "lake.commit_idle"],
        "lake.commit_idle is shorter than lake.commit_busy".into(),
    );
    // The default's path is no text; any other folder has no options either.
    let root = lake.root.as_deref().unwrap_or("lake");
    if let Err(error) = Root::parse(root, &lake.options) {
        let key = if is_of_options(&error) { "lake.options" } else { "lake.root" };
        require(false, &[key], format!("{key}: {error}"));
    }

    let hls = &config.hls;
    require(
        hls.part_target < hls.segment_target,
        &["hls.part_target", "hls.segment_target"],
        format!(
            "hls.part_target ({}) must be less than hls.segment_target ({}): a segment is made of parts",
            show_duration(hls.part_target),
            show_duration(hls.segment_target)
        ),
    );
    require(
        hls.segment_target <= hls.segment_max,
        &["hls.segment_target", "hls.segment_max"],
        format!(
            "hls.segment_target ({}) must be at most hls.segment_max ({})",
            show_duration(hls.segment_target),
            show_duration(hls.segment_max)
        ),
    );
    require(
        hls.segment_max.subsec_nanos() == 0,
        &["hls.segment_max"],
        format!(
            "hls.segment_max ({}) must be in whole seconds, as EXT-X-TARGETDURATION is",
            show_duration(hls.segment_max)
        ),
    );

    let rtmp = &config.rtmp;
    require(
        rtmp.message_bytes_max <= rtmp.unfinished_bytes_max,
        &["rtmp.unfinished_bytes_max", "rtmp.message_bytes_max"],
        format!(
            "rtmp.unfinished_bytes_max ({}) must be at least rtmp.message_bytes_max ({}), \
             or the longest message could never arrive",
            show_size(rtmp.unfinished_bytes_max as u64),
            show_size(rtmp.message_bytes_max as u64)
        ),
    );

    let transcode = &config.transcode;
    require(
        transcode.lag_restore < transcode.lag_shed,
        &["transcode.lag_restore", "transcode.lag_shed"],
        format!(
            "transcode.lag_restore ({}) must be less than transcode.lag_shed ({}), \
             or rungs would come and go",
            show_duration(transcode.lag_restore),
            show_duration(transcode.lag_shed)
        ),
    );

    let ports = [
        ("http.listen", Some(config.http.listen)),
        ("http.tls.listen", config.http.tls.as_ref().map(|tls| tls.listen)),
        ("rtmp.listen", Some(rtmp.listen)),
        ("rtmp.tls.listen", rtmp.tls.as_ref().map(|tls| tls.listen)),
    ];
    for (n, (one, address)) in ports.iter().enumerate() {
        for (other, taken) in &ports[..n] {
            // Port 0 is a free port of the system's choice.
            let clash =
                address.is_some() && address == taken && address.is_some_and(|a| a.port() != 0);
            require(
                !clash,
                &[one, other],
                format!("{one} and {other} are the same address: each needs a port of its own"),
            );
        }
    }
    let tls = [
        ("http.tls.listen", "http.tls.cert", "http.tls.key", &config.http.tls),
        ("rtmp.tls.listen", "rtmp.tls.cert", "rtmp.tls.key", &rtmp.tls),
    ];
    for (listen, cert, key, tls) in tls {
        let Some(Tls { cert: cert_path, key: key_path, .. }) = tls else { continue };
        for (name, path) in [(cert, cert_path), (key, key_path)] {
            require(
                !path.as_os_str().is_empty(),
                &[listen],
                format!(
                    "{listen} needs {name}; `millstream cert` makes a self-signed pair for trials"
                ),
            );
        }
    }

    require(
        config.admin_token.as_ref().is_none_or(|token| token.0.len() >= 16),
        &["admin.token"],
        "admin.token is shorter than 16 characters, which can be guessed; leave it empty to have one made"
            .into(),
    );
    require(
        !config.data_dir.as_os_str().is_empty(),
        &["data.dir"],
        "data.dir is empty; name a directory such as data".into(),
    );
    require(
        hls.dvr.is_zero() || hls.dvr >= 3 * hls.segment_max.max(Duration::from_secs(1)),
        &["hls.dvr"],
        format!(
            "hls.dvr ({}) must be 0s or at least three times hls.segment_max ({})",
            show_duration(hls.dvr),
            show_duration(hls.segment_max)
        ),
    );
}

/// Whether the store's options are what is wrong, not its URL.
fn is_of_options(error: &StoreError) -> bool {
    matches!(error, StoreError::Option { .. } | StoreError::Options(_))
}
