//! How a media playlist may change (bis 6.2.1, 6.2.2).

use super::{Findings, ROUNDING, Violation};
use crate::playlist::{MediaPlaylist, Part, PlaylistType, Segment, SegmentHead};

const ONLY_APPEND: &str = "bis 6.2.1 what was listed doesn't change";

/// Judges a media playlist against an earlier answer for the same URL.
#[must_use]
pub fn mutation(previous: &MediaPlaylist, current: &MediaPlaylist) -> Vec<Violation> {
    let mut found = Findings::default();
    let (was, is) = (previous.media_sequence, current.media_sequence);
    found.check(is >= was, "bis 6.2.2 media sequence never falls", || format!("{was} → {is}"));
    let (before, now) = (previous.next_part(), current.next_part());
    found.check(
        now >= before,
        "bis 6.2.1 what was listed stays until it leaves at the head",
        || format!("the end went from {before:?} back to {now:?}"),
    );
    found.check(
        previous.target_duration == current.target_duration,
        "bis 4.4.3.1 the target duration never changes",
        || format!("{} → {}", previous.target_duration, current.target_duration),
    );
    found.check(
        previous.part_target == current.part_target || current.end_list,
        "bis 4.4.3.7 the part target never changes",
        || format!("{:?} → {:?}", previous.part_target, current.part_target),
    );
    found.check(
        previous.server_control == current.server_control || current.end_list,
        "bis 4.4.3.8 server control never changes",
        || format!("{:?} → {:?}", previous.server_control, current.server_control),
    );
    found.check(
        !previous.end_list || (current.end_list && before == now),
        "bis 6.2.1 nothing follows the end",
        || format!("{before:?} → {now:?}, ENDLIST {}", current.end_list),
    );
    if previous.playlist_type.is_some() {
        found.check(is == was, "bis 4.4.3.5 EVENT and VOD remove nothing", || {
            format!("{was} → {is}")
        });
    }
    if previous.playlist_type == Some(PlaylistType::Vod) {
        found.check(before == now, "bis 4.4.3.5 VOD never changes", String::new);
    }
    discontinuities(previous, current, &mut found);
    retained(previous, current, &mut found);
    found.0
}

/// DISCONTINUITY-SEQUENCE rises by the tags that left (bis 6.2.2).
fn discontinuities(previous: &MediaPlaylist, current: &MediaPlaylist, found: &mut Findings) {
    let (Some(was), Some(is)) = (previous.discontinuity_sequence, current.discontinuity_sequence)
    else {
        found.check(
            previous.discontinuity_sequence.is_none() || current.discontinuity_sequence.is_some(),
            "A 8.17 EXT-X-DISCONTINUITY-SEQUENCE where discontinuities can occur",
            || "it disappeared".into(),
        );
        return;
    };
    found.check(is >= was, "bis 6.2.2 discontinuity sequence never falls", || {
        format!("{was} → {is}")
    });
    if current.media_sequence > previous.next_msn() {
        // Too long between the two to know what was there.
        return;
    }
    let left = previous
        .heads()
        .filter(|head| head.msn < current.media_sequence && head.discontinuity)
        .count() as u64;
    found.check(
        is == was + left,
        "bis 6.2.2 discontinuity sequence rises by the tags removed",
        || format!("{was} → {is}, {left} removed"),
    );
}

/// Segments and parts in both are the same in both.
fn retained(previous: &MediaPlaylist, current: &MediaPlaylist, found: &mut Findings) {
    for old in &previous.segments {
        let index = old.head.msn.checked_sub(current.media_sequence);
        let Some(new) = index.and_then(|index| current.segments.get(index as usize)) else {
            continue;
        };
        found.check(same_segment(old, new), ONLY_APPEND, || {
            format!("segment {}: {} → {}", old.head.msn, old.uri, new.uri)
        });
        same_head(&old.head, &new.head, true, found);
    }
    if let Some(open) = &previous.open
        && let Some(new) = current.heads().find(|head| head.msn == open.msn)
    {
        same_head(open, new, new.msn < current.next_msn(), found);
    }
}

fn same_segment(old: &Segment, new: &Segment) -> bool {
    old.uri == new.uri && old.duration == new.duration && old.byte_range == new.byte_range
}

fn same_head(old: &SegmentHead, new: &SegmentHead, complete: bool, found: &mut Findings) {
    let msn = old.msn;
    found.check(old.discontinuity == new.discontinuity && old.map == new.map, ONLY_APPEND, || {
        format!("segment {msn}: its discontinuity or map")
    });
    found.check(old.gap <= new.gap, ONLY_APPEND, || format!("segment {msn}: a gap disappeared"));
    if let (Some(was), Some(is)) = (old.pdt_us, new.pdt_us) {
        // A date may move from the tag to the count when earlier segments leave.
        let moved = (was - is).abs();
        found.check(moved as f64 <= ROUNDING * 2e6, "bis 4.4.4.6 a segment's date stays", || {
            format!("segment {msn} moved by {moved} µs")
        });
    }
    // Old parts may go, all of a segment at once, once it is complete.
    if new.parts.is_empty() && complete {
        return;
    }
    let kept = |index: usize, part: &Part| new.parts.get(index) == Some(part);
    for (index, part) in old.parts.iter().enumerate() {
        found.check(kept(index, part), ONLY_APPEND, || {
            format!("segment {msn}: part {index} ({}) changed or went", part.uri)
        });
    }
}
