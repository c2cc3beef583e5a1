//! How playlists and media must be delivered (A 8.18, 10; bis B.1; browsers).

use http::{HeaderMap, StatusCode, header};

use super::{Findings, Violation};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A playlist without delivery directives.
    Playlist,
    /// A playlist with `_HLS_msn`.
    BlockingPlaylist,
    /// A segment or part.
    Media,
    /// An initialization section.
    Init,
}

/// Above so many bytes a playlist must come compressed; below, a packet is a
/// packet.
const GZIP_FROM_BYTES: usize = 1400;

/// Judges a response's headers. `target_duration` in seconds, if known yet;
/// `body_bytes` is the length of the body after decompression.
#[must_use]
pub fn response(
    resource: Resource,
    status: StatusCode,
    headers: &HeaderMap,
    target_duration: Option<u64>,
    body_bytes: usize,
) -> Vec<Violation> {
    let mut found = Findings::default();
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    found.check(
        !text(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_empty(),
        "CORS on every response",
        || format!("{resource:?} with status {status}"),
    );
    found.check(!status.is_redirection(), "A 10 no redirects", || status.to_string());
    let playlist = matches!(resource, Resource::Playlist | Resource::BlockingPlaylist);
    if status.is_success() {
        let content_type = text(header::CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let allowed: &[&str] = match resource {
            Resource::Playlist | Resource::BlockingPlaylist => &["application/vnd.apple.mpegurl"],
            Resource::Media => &["video/iso.segment", "audio/mp4", "video/mp2t"],
            Resource::Init => &["video/mp4", "audio/mp4"],
        };
        found.check(allowed.contains(&essence), "A 10 content types", || {
            format!("{resource:?} as {content_type:?}")
        });
        found.check(
            !playlist || body_bytes < GZIP_FROM_BYTES || text(header::CONTENT_ENCODING) == "gzip",
            "A 8.18 playlists are compressed",
            || format!("{body_bytes} bytes as they are"),
        );
    }
    if let Some(target) = target_duration {
        lifetime(resource, status, text(header::CACHE_CONTROL), target, &mut found);
    }
    found.0
}

/// How long caches may keep it (bis B.1).
fn lifetime(
    resource: Resource,
    status: StatusCode,
    cache_control: &str,
    target: u64,
    found: &mut Findings,
) {
    let max_age = cache_control
        .split(',')
        .filter_map(|d| d.trim().strip_prefix("max-age="))
        .find_map(|seconds| seconds.parse::<u64>().ok());
    // 0 also where nothing is said, which leaves it to the cache.
    let age = max_age.unwrap_or(0);
    let good = match (resource, status.is_success()) {
        (Resource::BlockingPlaylist, true) => (1..=6 * target).contains(&age),
        (Resource::BlockingPlaylist, false) => max_age.is_some() && age <= 4 * target,
        (Resource::Playlist, true) => max_age.is_some() && age <= target.div_ceil(2).max(1),
        (Resource::Media | Resource::Init, true) => age >= 6 * target,
        (_, false) => max_age.is_some() && age <= target,
    };
    found.check(good, "bis B.1 cache lifetimes", || {
        format!("{resource:?}, status {status}, target {target} s: {cache_control:?}")
    });
}
