//! What can be said of one media playlist alone.

use super::{Findings, ROUNDING, Violation};
use crate::playlist::{HintType, MediaPlaylist, Segment, ServerControl};

/// Judges a media playlist by itself.
#[must_use]
pub fn single(playlist: &MediaPlaylist) -> Vec<Violation> {
    let mut found = Findings::default();
    versions(playlist, &mut found);
    durations(playlist, &mut found);
    parts(playlist, &mut found);
    dates(playlist, &mut found);
    if !playlist.i_frames_only {
        hints(playlist, &mut found);
        control(playlist, &mut found);
    }
    if playlist.media_sequence > 0 && !playlist.end_list && playlist.skip.is_none() {
        let target = playlist.target_duration as f64;
        let seconds: f64 = playlist.segments.iter().map(|s| s.duration).sum();
        found.check(
            seconds + ROUNDING >= 3.0 * target,
            "bis 6.2.2 window of at least three target durations",
            || format!("{seconds:.3} s at a target duration of {target} s"),
        );
        found.check(playlist.segments.len() >= 6, "A 8.11 window of at least six segments", || {
            format!("{} segments", playlist.segments.len())
        });
    }
    found.0
}

fn versions(playlist: &MediaPlaylist, found: &mut Findings) {
    let (version, needed) = (playlist.version, playlist.version_needed);
    found.check(version >= needed, "bis 8 version as high as the tags need", || {
        format!("version {version}, {needed} needed")
    });
    // 9 is what a server that can skip writes also when it doesn't.
    found.check(version <= needed.max(9), "bis 8 version no higher than needed", || {
        format!("version {version}, {needed} needed")
    });
}

fn durations(playlist: &MediaPlaylist, found: &mut Findings) {
    for Segment { head, duration, uri, .. } in &playlist.segments {
        found.check(
            duration.round() as u64 <= playlist.target_duration,
            "bis 4.4.3.1 EXTINF rounds to at most the target duration",
            || format!("{uri}: {duration} s, target {} s", playlist.target_duration),
        );
        if let (false, Some(_)) = (head.parts.is_empty(), playlist.part_target) {
            let sum: f64 = head.parts.iter().map(|p| p.duration).sum();
            // Every part's decimals may be rounded on their own.
            let tolerance = ROUNDING * (head.parts.len() + 1) as f64;
            found.check(
                (sum - duration).abs() <= tolerance,
                "bis 4.4.4.9 parts last as long as their segment",
                || format!("{uri}: parts {sum:.5} s, EXTINF {duration} s"),
            );
        }
        let media = uri.split('?').next().unwrap_or(uri);
        let needs_map = [".mp4", ".m4s", ".m4v", ".m4a", ".cmfv", ".cmfa"];
        found.check(
            head.map.is_some() || !needs_map.iter().any(|end| media.ends_with(end)),
            "bis 3.1.2 fragmented MP4 has an EXT-X-MAP",
            || uri.clone(),
        );
    }
}

fn parts(playlist: &MediaPlaylist, found: &mut Findings) {
    let Some(target) = playlist.part_target else {
        return;
    };
    for head in playlist.heads() {
        let complete = head.msn < playlist.next_msn();
        for (index, part) in head.parts.iter().enumerate() {
            let name = || format!("{}: {} s, part target {target} s", part.uri, part.duration);
            found.check(
                part.duration <= target + ROUNDING,
                "bis 4.4.4.9 part no longer than the part target",
                name,
            );
            let next = head.parts.get(index + 1);
            // Of the open segment's last part nobody knows yet whether it ends it.
            let exempt = part.independent
                || part.gap
                || next.is_none_or(|next| next.gap)
                || (!complete && next.is_none());
            found.check(
                exempt || part.duration + ROUNDING >= 0.85 * target,
                "bis 4.4.4.9 part no shorter than 85 % of the part target",
                name,
            );
        }
    }
    // Seconds from a segment's end to the playlist's end.
    let mut age = playlist.open.iter().flat_map(|o| &o.parts).map(|p| p.duration).sum::<f64>();
    let limit = 3.0 * playlist.target_duration as f64;
    for segment in playlist.segments.iter().rev() {
        found.check(
            segment.head.parts.is_empty() || age <= limit + ROUNDING,
            "bis 6.2.2 part tags only within three target durations of the end",
            || format!("{}: ends {age:.3} s before the end", segment.uri),
        );
        age += segment.duration;
    }
}

fn dates(playlist: &MediaPlaylist, found: &mut Findings) {
    let mut first = true;
    let mut expected: Option<i64> = None;
    for (head, duration) in playlist
        .segments
        .iter()
        .map(|s| (&s.head, s.duration))
        .chain(playlist.open.iter().map(|head| (head, 0.0)))
    {
        let live = !playlist.end_list && playlist.playlist_type.is_none();
        found.check(
            !(live && first && playlist.skip.is_none()) || head.pdt_tag_us.is_some(),
            "A 8.4 live playlists begin with a date",
            || format!("segment {}", head.msn),
        );
        found.check(
            !head.discontinuity || head.pdt_tag_us.is_some(),
            "bis 6.2.1 a date after each discontinuity",
            || format!("segment {}", head.msn),
        );
        if let (Some(tag), Some(expected), false) = (head.pdt_tag_us, expected, head.discontinuity)
        {
            // Dates have milliseconds; durations add up their rounding.
            let off = tag - expected;
            found.check(off.abs() <= 3_000, "bis 4.4.4.6 dates go on as durations say", || {
                format!("segment {} is off by {off} µs", head.msn)
            });
        }
        expected = head.pdt_us.map(|us| us + (duration * 1e6).round() as i64);
        first = false;
    }
    let discontinuous = playlist.heads().any(|head| head.discontinuity);
    found.check(
        !discontinuous || playlist.discontinuity_sequence.is_some() || playlist.end_list,
        "A 8.17 EXT-X-DISCONTINUITY-SEQUENCE where discontinuities can occur",
        String::new,
    );
}

fn hints(playlist: &MediaPlaylist, found: &mut Findings) {
    let hinted = playlist.hinted_part();
    found.check(
        hinted.is_some() || playlist.end_list || !playlist.has_parts(),
        "bis 4.4.5.3 a preload hint wherever there are parts",
        String::new,
    );
    found.check(
        playlist.preload_hints.is_empty() || !playlist.end_list,
        "bis 4.4.5.3 no preload hint after the end",
        String::new,
    );
    for kind in [HintType::Part, HintType::Map] {
        let count = playlist.preload_hints.iter().filter(|h| h.kind == kind).count();
        found.check(count <= 1, "bis 4.4.5.3 one preload hint of each type", || {
            format!("{count} of {kind:?}")
        });
    }
    if let Some(hint) = hinted.filter(|hint| hint.start == 0) {
        found.check(
            !playlist.parts().any(|p| p.part.uri == hint.uri && p.part.byte_range.is_none()),
            "bis 4.4.5.3 the hint is for a part that isn't there yet",
            || hint.uri.clone(),
        );
    }
}

fn control(playlist: &MediaPlaylist, found: &mut Findings) {
    let target = playlist.target_duration as f64;
    let default = ServerControl::default();
    let control = playlist.server_control.as_ref().unwrap_or(&default);
    if let Some(part_target) = playlist.part_target {
        let hold = control.part_hold_back.unwrap_or(0.0);
        found.check(
            hold + ROUNDING >= 3.0 * part_target,
            "bis 4.4.3.8 PART-HOLD-BACK of at least three part targets",
            || format!("{hold} s at a part target of {part_target} s"),
        );
        found.check(
            control.can_block_reload || playlist.end_list,
            "A 14.3 CAN-BLOCK-RELOAD where there are parts",
            String::new,
        );
    }
    for (value, times, rule) in [
        (control.hold_back, 3.0, "bis 4.4.3.8 HOLD-BACK of at least three target durations"),
        (
            control.can_skip_until,
            6.0,
            "bis 4.4.3.8 CAN-SKIP-UNTIL of at least six target durations",
        ),
    ] {
        if let Some(value) = value {
            found.check(value + ROUNDING >= times * target, rule, || {
                format!("{value} s at a target duration of {target} s")
            });
        }
    }
}
