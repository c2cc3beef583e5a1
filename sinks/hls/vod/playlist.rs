//! The playlists of a recording: like those of a broadcast, without what only
//! those who wait for more need.
//!
//! Enters: a recording or a cut of one. Leaves: text, the same for the same
//! recording. Held: nothing. Never done here: anything that isn't in the recording.

use std::fmt::Write;

use super::recording::{Moment, RecordedTrack, Recording, Stored};
use crate::hls::multivariant::{self, Entry};
use crate::hls::playlist::{begin, seconds};

/// The ladder, with the place to begin at if that isn't the first segment's
/// start. None: there is nothing in it.
pub(super) fn multivariant(recording: &Recording, begin_at_us: i64) -> Option<String> {
    let half_us = i64::from(recording.target_duration_s()) * 500_000;
    let entries = recording.tracks.iter().filter_map(|track| {
        Some(Entry {
            rendition: track.rendition,
            shape: track.shape()?,
            rate: track.rate(half_us),
            iframe_rate: track.iframe_rate(half_us),
        })
    });
    let mut text = multivariant::ladder(entries.collect())?;
    if begin_at_us > 0 {
        let at = text.find("\n#EXT-X-INDEPENDENT-SEGMENTS\n").map_or(text.len(), |at| at + 1);
        let mut start = String::from("#EXT-X-START:TIME-OFFSET=");
        seconds(&mut start, begin_at_us);
        start.push_str(",PRECISE=YES\n");
        text.insert_str(at, &start);
    }
    Some(text)
}

/// A media playlist, or that of I-frames.
pub(super) fn media(recording: &Recording, track: &RecordedTrack, iframes: bool) -> String {
    let mut out = String::with_capacity(256 + recording.moments.len() * 110);
    let target_s = recording.target_duration_s();
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target_s}\n");
    out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:0\n");
    if iframes {
        out.push_str("#EXT-X-I-FRAMES-ONLY\n");
    }
    let mut map = None;
    let mut ended_us = None;
    // Gaps need a map too (bis 3.1.2): their run's, or before the first one any.
    let first = recording.moments.iter().zip(&track.stored).find(|(_, stored)| stored.is_some());
    let first_run = first.map(|(moment, _)| moment.run);
    for (moment, stored) in recording.moments.iter().zip(&track.stored) {
        let is_known = stored.is_some() || track.inits.iter().any(|(run, _)| *run == moment.run);
        let run = if is_known { Some(moment.run) } else { first_run.filter(|_| map.is_none()) };
        let run = run.filter(|run| map != Some(*run));
        map = run.or(map);
        if moment.discontinuity {
            ended_us = None;
        }
        entry(&mut out, moment, stored.as_ref(), run, iframes, ended_us);
        ended_us = Some(stored.map_or(moment.end_us, |stored| stored.end_us));
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

fn entry(
    out: &mut String,
    moment: &Moment,
    stored: Option<&Stored>,
    new_map: Option<u64>,
    iframes: bool,
    ended_us: Option<i64>,
) {
    // A gap begins where the segment before it ended, which may be a frame
    // beside where the other renditions' begin.
    let start_us = stored.map_or(ended_us.unwrap_or(moment.start_us), |stored| stored.start_us);
    let end_us = stored.map_or(moment.end_us, |stored| stored.end_us);
    let wall_us = moment.wall_us.saturating_add_signed(start_us - moment.start_us);
    begin(out, u64::from(moment.discontinuity), new_map, wall_us);
    let picture = stored.and_then(|stored| stored.iframe_bytes);
    match (stored, picture) {
        (Some(_), Some(bytes)) if iframes => {
            let _ = writeln!(out, "#EXT-X-BYTERANGE:{bytes}@0");
        }
        (Some(_), _) if !iframes => {}
        _ => out.push_str("#EXT-X-GAP\n"),
    }
    out.push_str("#EXTINF:");
    seconds(out, end_us - start_us);
    let _ = writeln!(out, ",\n{}.m4s", moment.msn);
}

#[cfg(test)]
mod tests {
    use super::super::recording::tests::recording;
    use super::*;

    #[test]
    fn playlists_read_as_the_rules_say() {
        let recording = recording();
        let (clip, _) = recording.cut(3_000_000, 5_000_000).unwrap();
        // The whole text once, so that a person can judge it.
        let text = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:1
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:45:10.000Z
#EXTINF:1.0,
3.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"init-1.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:45:41.000Z
#EXTINF:1.0,
34.m4s
#EXT-X-ENDLIST
";
        assert_eq!(media(&clip, &clip.tracks[1], false), text);
    }

    #[test]
    fn what_one_rendition_lost_is_a_gap_in_it_alone() {
        let recording = recording();
        let audio = media(&recording, &recording.tracks[0], false);
        assert_eq!(audio.matches("#EXT-X-GAP\n#EXTINF:1.0,\n37.m4s").count(), 1, "{audio}");
        let source = media(&recording, &recording.tracks[1], false);
        assert!(!source.contains("GAP"));
        let iframes = media(&recording, &recording.tracks[1], true);
        assert!(iframes.contains("#EXT-X-I-FRAMES-ONLY\n"));
        assert_eq!(iframes.matches("#EXT-X-BYTERANGE:100@0\n#EXTINF").count(), 10);
    }

    #[test]
    fn a_gap_at_the_beginning_has_a_map_too() {
        let mut recording = recording();
        let track = &mut recording.tracks[1];
        track.stored[..2].fill(None);
        let begin = "#EXT-X-MAP:URI=\"init-0.mp4\"\n#EXT-X-PROGRAM-DATE-TIME";
        let list = media(&recording, &recording.tracks[1], false);
        assert_eq!(list.find("#EXT-X-MAP"), list.find(begin), "{list}");
        assert!(list.find(begin) < list.find("#EXT-X-GAP") && list.matches("GAP").count() == 2);
        // Even if its own run has none here.
        let track = &mut recording.tracks[1];
        let behind = recording.moments.iter().position(|moment| moment.run == 1).unwrap();
        track.stored[..behind].fill(None);
        track.inits.retain(|(run, _)| *run == 1);
        let list = media(&recording, &recording.tracks[1], false);
        assert_eq!(list.matches("#EXT-X-MAP:URI=\"init-1.mp4\"").count(), 1, "{list}");
        assert!(list.find("#EXT-X-MAP") < list.find("#EXT-X-GAP"), "{list}");
    }

    #[test]
    fn a_clip_says_where_it_begins() {
        let recording = recording();
        let whole = multivariant(&recording, 0).unwrap();
        assert!(!whole.contains("EXT-X-START"));
        let clip = multivariant(&recording, 500_000).unwrap();
        let line = "\n#EXT-X-START:TIME-OFFSET=0.5,PRECISE=YES\n#EXT-X-INDEPENDENT-SEGMENTS\n";
        assert!(clip.contains(line), "{clip}");
        for line in ["source/index.m3u8", "audio/index.m3u8"] {
            assert!(whole.lines().any(|l| l == line), "{line} in {whole}");
        }
        assert!(whole.contains("URI=\"source/iframes.m3u8\""));
    }
}
