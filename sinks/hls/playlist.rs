//! The text of a media playlist: full, delta, and I-frames only.
//!
//! Pure functions of a track and its siblings' positions. Tags come in the
//! order that clients of every age accept; each line that a rule asks for
//! cites it.

use std::fmt::Write;

use records::Rendition;

use super::track::{Open, PartMeta, Seg, Track};

/// What is the same in all playlists of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Controls {
    pub(super) target_duration_s: u32,
    /// Three times the longest PART-TARGET at least, microseconds.
    pub(super) part_hold_back_us: i64,
}

/// Where another rendition is.
pub(super) struct Report {
    pub(super) rendition: Rendition,
    pub(super) msn: u64,
    pub(super) part: u32,
}

/// Which text is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Full,
    Delta,
    IFrames,
    IFramesDelta,
}

/// A complete segment's own lines, with the place where its parts go in.
pub(super) struct Lines {
    text: Box<str>,
    head: usize,
}

/// Renders one playlist.
pub(super) fn render(
    track: &Track,
    form: Form,
    controls: &Controls,
    reports: &[Report],
    ended: bool,
) -> String {
    let iframes = matches!(form, Form::IFrames | Form::IFramesDelta);
    let skipped = match form {
        Form::Delta | Form::IFramesDelta if !ended => skippable(track, controls),
        _ => 0,
    };
    let td = controls.target_duration_s;
    let listed = track.listed().len();
    let mut out = String::with_capacity(512 + listed * 160 + 64 * 60);
    // Delta updates need 9, EXT-X-MAP needs 6 (5 with I-FRAMES-ONLY); bis 8.
    let version = if skipped > 0 { 9 } else { 6 };
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{td}\n");
    // Also once it is over: parts are still listed, and they require PART-HOLD-BACK (bis 4.4.3.8).
    let _ = write!(out, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}", td * 6);
    let _ = write!(out, ",HOLD-BACK={},PART-HOLD-BACK=", td * 3);
    seconds(&mut out, controls.part_hold_back_us);
    out.push('\n');
    if iframes {
        out.push_str("#EXT-X-I-FRAMES-ONLY\n");
    } else {
        out.push_str("#EXT-X-PART-INF:PART-TARGET=");
        seconds(&mut out, track.part_target_us);
        out.push('\n');
    }
    head_sequences(&mut out, track);
    if skipped > 0 {
        let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let parts_from = parts_from(track, controls);
    for (index, seg) in track.listed().enumerate().skip(skipped) {
        // The first segment carries its map even if it isn't the first of its run.
        if index == 0 && !seg.map_is_new {
            map(&mut out, seg.map);
        }
        if iframes {
            iframe_lines(&mut out, seg);
            continue;
        }
        let lines = seg.lines.get_or_init(|| segment_lines(seg));
        out.push_str(&lines.text[..lines.head]);
        if index >= parts_from {
            part_lines(&mut out, seg.meta.msn, &seg.parts);
        }
        out.push_str(&lines.text[lines.head..]);
    }
    if ended {
        out.push_str("#EXT-X-ENDLIST\n");
        return out;
    }
    if !iframes {
        if let Some(open) = &track.open {
            open_lines(&mut out, track, open);
        }
        preload_hint(&mut out, track);
    }
    for report in reports {
        let file = if iframes { "iframes" } else { "index" };
        let Report { rendition, msn, part } = report;
        let _ = write!(
            out,
            "#EXT-X-RENDITION-REPORT:URI=\"../{rendition}/{file}.m3u8\",LAST-MSN={msn}"
        );
        if !iframes {
            let _ = write!(out, ",LAST-PART={part}");
        }
        out.push('\n');
    }
    out
}

/// Complete segments that keep their PART tags, unless PART-HOLD-BACK needs more.
const WITH_PARTS: usize = 2;

/// The first listed segment whose PART tags are still there. Parts are of use
/// at the live edge only and are most of a playlist's text, so they go as soon
/// as low-latency players have their place well behind them (bis 6.2.1: "no
/// longer at the live edge"), and after three target durations at the latest
/// (bis 6.2.2). Strict parsers count those in segments: three with the open one.
fn parts_from(track: &Track, controls: &Controls) -> usize {
    let edge_us = track.edge_us();
    let oldest_us = edge_us - i64::from(controls.target_duration_s) * 3_000_000;
    let needed_us = edge_us - 2 * controls.part_hold_back_us;
    let listed = track.listed().len();
    let keeps = |(index, seg): &(usize, &Seg)| {
        let is_recent = index + WITH_PARTS >= listed || seg.meta.end_us > needed_us;
        is_recent && seg.meta.end_us > oldest_us
    };
    track.listed().enumerate().find(keeps).map_or(listed, |(index, _)| index)
}

/// Segments that a delta update may leave out: those that end before the skip
/// boundary of six target durations (bis 4.4.5.2, 6.2.5.1).
fn skippable(track: &Track, controls: &Controls) -> usize {
    let boundary_us = track.edge_us() - i64::from(controls.target_duration_s) * 6_000_000;
    track.listed().take_while(|seg| seg.meta.end_us <= boundary_us).count()
}

/// MEDIA-SEQUENCE and DISCONTINUITY-SEQUENCE. A segment's discontinuity
/// sequence number is its run's, so the first segment's own tags are taken off.
fn head_sequences(out: &mut String, track: &Track) {
    let first = track.listed().next().map(|s| (s.meta.msn, s.meta.run, s.discontinuities));
    let open = track.open.as_ref().map(|o| (o.msn, o.run, 0));
    let coming = track.inits.back().map(|init| (0, init.run, 0));
    let (msn, run, tags) = first.or(open).or(coming).unwrap_or((0, 0, 0));
    let _ = write!(
        out,
        "#EXT-X-MEDIA-SEQUENCE:{msn}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
        run.saturating_sub(tags)
    );
}

fn map(out: &mut String, run: Option<u64>) {
    if let Some(run) = run {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"init-{run}.mp4\"");
    }
}

/// DISCONTINUITY and MAP before the first segment of a run, then its date:
/// all before the first PART (bis 4.4.4.3, 4.4.4.6).
pub(super) fn begin(out: &mut String, discontinuities: u64, new_map: Option<u64>, wall_us: u64) {
    for _ in 0..discontinuities {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    map(out, new_map);
    out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
    date_time(out, wall_us);
    out.push('\n');
}

fn begin_segment(out: &mut String, seg: &Seg) {
    let new_map = seg.map.filter(|_| seg.map_is_new);
    begin(out, seg.discontinuities, new_map, seg.meta.wall_us);
}

fn segment_lines(seg: &Seg) -> Lines {
    let mut text = String::with_capacity(128);
    begin_segment(&mut text, seg);
    let head = text.len();
    if seg.meta.gap {
        text.push_str("#EXT-X-GAP\n");
    }
    extinf(&mut text, seg);
    Lines { text: text.into_boxed_str(), head }
}

/// One entry for each segment, its first picture: so the media sequence
/// numbers are the segments', and never fall.
fn iframe_lines(out: &mut String, seg: &Seg) {
    begin_segment(out, seg);
    match seg.meta.iframe_bytes {
        Some(bytes) if !seg.meta.gap => {
            let _ = writeln!(out, "#EXT-X-BYTERANGE:{bytes}@0");
        }
        _ => out.push_str("#EXT-X-GAP\n"),
    }
    extinf(out, seg);
}

fn extinf(out: &mut String, seg: &Seg) {
    out.push_str("#EXTINF:");
    seconds(out, seg.meta.end_us - seg.meta.start_us);
    let _ = writeln!(out, ",\n{}.m4s", seg.meta.msn);
}

fn part_lines(out: &mut String, msn: u64, parts: &[PartMeta]) {
    for (index, part) in parts.iter().enumerate() {
        out.push_str("#EXT-X-PART:DURATION=");
        seconds(out, i64::from(part.duration_us));
        let _ = write!(out, ",URI=\"{msn}.{index}.m4s\"");
        if part.independent {
            out.push_str(",INDEPENDENT=YES");
        }
        if part.len == 0 {
            out.push_str(",GAP=YES");
        }
        out.push('\n');
    }
}

fn open_lines(out: &mut String, track: &Track, open: &Open) {
    let last = track.segments.back();
    let discontinuities = last.map_or(0, |last| open.run.saturating_sub(last.meta.run));
    let (map, is_new) = track.map_for(open.run);
    begin(out, discontinuities, map.filter(|_| is_new), open.wall_us);
    part_lines(out, open.msn, &open.parts);
}

/// The part that comes next, and its map if that is new (bis 4.4.5.3).
fn preload_hint(out: &mut String, track: &Track) {
    let (msn, part) = next_part(track);
    let listed_run = match (&track.open, track.segments.back()) {
        (Some(open), _) => Some(open.run),
        (None, last) => last.map(|seg| seg.meta.run),
    };
    if let (Some(run), Some(init)) = (listed_run, track.inits.back())
        && init.run > run
    {
        let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-{}.mp4\"", init.run);
    }
    let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{msn}.{part}.m4s\"");
}

/// The part that is hinted at: the next of the open segment, or the first of the next.
pub(super) fn next_part(track: &Track) -> (u64, u32) {
    match &track.open {
        Some(open) => (open.msn, open.parts.len() as u32),
        None => (track.next_msn().unwrap_or(0), 0),
    }
}

/// Exact decimal seconds; whole ones without a fraction.
pub(super) fn seconds(out: &mut String, us: i64) {
    let us = us.max(0);
    let (whole, mut fraction) = (us / 1_000_000, us % 1_000_000);
    let _ = write!(out, "{whole}");
    let mut digits = 6;
    while digits > 1 && fraction % 10 == 0 {
        fraction /= 10;
        digits -= 1;
    }
    // One decimal at least: some clients take a value without as an integer type.
    let _ = write!(out, ".{fraction:0digits$}");
}

/// ISO 8601 in UTC with milliseconds (A 8.4).
fn date_time(out: &mut String, wall_us: u64) {
    let ms = wall_us / 1000;
    let (days, ms_of_day) = ((ms / 86_400_000) as i64, ms % 86_400_000);
    // Days since 1970 to a civil date: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        // Expected values from `date -u -d @…`.
        for (wall_s, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_225_507, "2026-11-21T01:45:07.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = String::new();
            date_time(&mut out, wall_s * 1_000_000 + 999);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn seconds_are_exact() {
        for (us, text) in
            [(0, "0.0"), (2_000_000, "2.0"), (213_334, "0.213334"), (40_000, "0.04"), (-1, "0.0")]
        {
            let mut out = String::new();
            seconds(&mut out, us);
            assert_eq!(out, text);
        }
    }
}
