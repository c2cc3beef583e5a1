//! What all renditions of a broadcast must agree on.

use super::{Findings, Violation};
use crate::playlist::MediaPlaylist;

/// How far dates of the same segment may differ. Sound has a grid of its own
/// (up to 46 ms), and where a publisher sends it ahead of the picture, what was
/// sent before the keyframe is in the segment before. More would be another
/// segment; whether the clock is the same is what [`clocks`] judges.
const DATE_TOLERANCE_US: i64 = 200_000;

/// Judges media playlists of one broadcast against the first of them. They
/// need not be of the same instant: segments are compared by number.
#[must_use]
pub fn renditions(playlists: &[(&str, &MediaPlaylist)]) -> Vec<Violation> {
    let mut found = Findings::default();
    let Some(((first_name, first), others)) = playlists.split_first() else {
        return found.0;
    };
    for (name, other) in others {
        let pair = format!("{first_name} and {name}");
        found.check(
            first.target_duration == other.target_duration,
            "bis 6.2.4 the same target duration in all renditions",
            || format!("{pair}: {} and {}", first.target_duration, other.target_duration),
        );
        let low_latency = first.has_parts() == other.has_parts();
        found.check(
            !low_latency || first.server_control == other.server_control,
            "bis 4.4.3.8 the same server control in all renditions",
            || format!("{pair}: {:?} and {:?}", first.server_control, other.server_control),
        );
        for head in other.heads() {
            let Some(same) = first.heads().find(|h| h.msn == head.msn) else {
                continue;
            };
            if let (Some(a), Some(b)) = (same.pdt_us, head.pdt_us) {
                found.check(
                    (a - b).abs() <= DATE_TOLERANCE_US,
                    "bis 6.2.4 the same dates in all renditions",
                    || format!("{pair}: segment {} differs by {} µs", head.msn, (a - b).abs()),
                );
            }
            // The first listed segment's tag may have been dropped with the one before.
            let listed = head.msn > first.media_sequence.max(other.media_sequence);
            found.check(
                !listed || same.discontinuity == head.discontinuity,
                "bis 6.2.4 discontinuities at the same instant in all renditions",
                || format!("{pair}: segment {}", head.msn),
            );
            found.check(
                same.discontinuity_sequence == head.discontinuity_sequence
                    || first.discontinuity_sequence.is_none()
                    || other.discontinuity_sequence.is_none(),
                "bis 6.2.4 the same discontinuity sequence in all renditions",
                || format!("{pair}: segment {}", head.msn),
            );
        }
    }
    found.0
}

/// How far renditions' maps from media time to date may differ: by a frame,
/// since where a publisher left a gap the date is that of the decode time.
const CLOCK_TOLERANCE_US: i64 = 50_000;

/// Judges two renditions' maps from media time to date within one discontinuity
/// sequence number: each is the date of a segment less its media time, in
/// microseconds, with the name of its playlist.
#[must_use]
pub fn clocks(first: (&str, i64), other: (&str, i64)) -> Option<Violation> {
    let apart = (first.1 - other.1).abs();
    (apart > CLOCK_TOLERANCE_US).then(|| Violation {
        rule: "bis 4.4.4.6 dates mean the same media time in all renditions",
        detail: format!("{} and {}: {apart} µs apart", first.0, other.0),
    })
}

/// Judges the rendition reports of a playlist at `url`, where `others` are the
/// other playlists of the multivariant playlist (absolute URLs) and `resolve`
/// makes a report's URI absolute (bis 4.4.5.4).
#[must_use]
pub fn reports(
    playlist: &MediaPlaylist,
    others: &[String],
    resolve: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let mut found = Findings::default();
    if playlist.end_list || !playlist.has_parts() {
        return found.0;
    }
    let (next_msn, next_part) = playlist.next_part();
    let (last_msn, last_part) = match next_part {
        0 => (next_msn.saturating_sub(1), None),
        parts => (next_msn, Some(parts - 1)),
    };
    let reported: Vec<(String, _)> =
        playlist.rendition_reports.iter().map(|r| (resolve(&r.uri), r)).collect();
    for other in others {
        found.check(
            reported.iter().any(|(uri, _)| uri == other),
            "bis 4.4.5.4 a report for each other rendition",
            || format!("none for {other}"),
        );
    }
    for (uri, report) in &reported {
        found.check(
            report.last_msn.is_some() && report.last_part.is_some(),
            "bis 4.4.5.4 reports say LAST-MSN and LAST-PART",
            || uri.clone(),
        );
        let (Some(msn), Some(part)) = (report.last_msn, report.last_part) else {
            continue;
        };
        let in_step = match last_part {
            Some(own) if msn == last_msn => part.abs_diff(own) <= 1,
            _ => msn.abs_diff(last_msn) <= 1,
        };
        found.check(in_step, "bis 6.2.4 renditions in step within one part", || {
            format!("{uri} is at {msn}/{part}, this one at {last_msn}/{last_part:?}")
        });
    }
    found.0
}
