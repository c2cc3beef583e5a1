//! How a reload is asked for: delivery directives (bis 6.2.5).
//!
//! Enters: a playlist, what is wanted next. Leaves: whether the server may hold
//! the request, and its URL. Nothing is held. Never done here: choosing what is wanted.

use crate::playlist::MediaPlaylist;
use crate::rules::Requested;

/// Whether the next reload may be held by the server.
pub(super) fn blocks(playlist: &MediaPlaylist) -> bool {
    !playlist.end_list && playlist.server_control.as_ref().is_some_and(|c| c.can_block_reload)
}

/// Adds delivery directives in the order that caches want (bis 6.2.5: sorted by name).
pub(super) fn with_directives(url: &str, requested: Requested) -> String {
    let mut directives = Vec::new();
    if let Some(msn) = requested.msn {
        directives.push(format!("_HLS_msn={msn}"));
    }
    if let Some(part) = requested.part {
        directives.push(format!("_HLS_part={part}"));
    }
    if requested.skip {
        directives.push("_HLS_skip=YES".into());
    }
    if directives.is_empty() {
        return url.to_owned();
    }
    let joiner = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joiner}{}", directives.join("&"))
}
