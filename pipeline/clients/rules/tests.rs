//! Each rule in a playlist that keeps it and in one that breaks it.

use super::*;
use crate::playlist::{parse_media, parse_multivariant};

/// Six segments of four parts, the last three still with their tags, and an
/// open one: breaks no rule.
pub(crate) fn good() -> String {
    let mut text = String::from(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=1.5\n\
         #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:10\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"init.mp4\"\n",
    );
    for msn in 10..=16 {
        text += &format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{:02}.000Z\n", 2 * (msn - 10));
        let parts = match msn {
            10..13 => 0,
            16 => 2,
            _ => 4,
        };
        for part in 0..parts {
            let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
            text += &format!("#EXT-X-PART:DURATION=0.5,URI=\"p{msn}.{part}.m4s\"{independent}\n");
        }
        if msn < 16 {
            text += &format!("#EXTINF:2.0,\ns{msn}.m4s\n");
        }
    }
    text + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p16.2.m4s\"\n\
            #EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=16,LAST-PART=1\n"
}

fn rules_of(violations: &[Violation]) -> Vec<&'static str> {
    let mut rules: Vec<&str> = violations.iter().map(|v| v.rule).collect();
    rules.dedup();
    rules
}

/// `good` with `from` replaced, which must be there.
fn spoiled(from: &str, to: &str) -> MediaPlaylist {
    let text = good();
    assert!(text.contains(from), "{from}");
    parse_media(&text.replacen(from, to, 1)).unwrap()
}

fn same() -> MediaPlaylist {
    parse_media(&good()).unwrap()
}

#[test]
fn a_good_playlist_breaks_nothing() {
    assert_eq!(single(&same()), []);
    assert_eq!(mutation(&same(), &same()), []);
}

#[test]
fn each_rule_of_one_playlist_fires() {
    let gone = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p16.2.m4s\"\n";
    for (rule, from, to) in [
        ("bis 8 version as high as the tags need", "VERSION:9", "VERSION:3"),
        ("bis 8 version no higher than needed", "VERSION:9", "VERSION:12"),
        ("bis 4.4.3.1 EXTINF rounds to at most the target duration", "EXTINF:2.0", "EXTINF:2.6"),
        (
            "bis 4.4.4.9 parts last as long as their segment",
            "URI=\"p14.3.m4s\"\n#EXTINF:2.0",
            "URI=\"p14.3.m4s\"\n#EXTINF:1.9",
        ),
        ("bis 3.1.2 fragmented MP4 has an EXT-X-MAP", "#EXT-X-MAP:URI=\"init.mp4\"\n", ""),
        (
            "bis 4.4.4.9 part no longer than the part target",
            "DURATION=0.5,URI=\"p16.0",
            "DURATION=0.51,URI=\"p16.0",
        ),
        (
            "bis 4.4.4.9 part no shorter than 85 % of the part target",
            "DURATION=0.5,URI=\"p14.1",
            "DURATION=0.42,URI=\"p14.1",
        ),
        (
            "bis 6.2.2 part tags only within three target durations of the end",
            "#EXTINF:2.0,\ns12",
            "#EXT-X-PART:DURATION=0.5,URI=\"p12.0.m4s\"\n#EXTINF:2.0,\ns12",
        ),
        (
            "A 8.4 live playlists begin with a date",
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n",
            "",
        ),
        (
            "bis 6.2.1 a date after each discontinuity",
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z",
            "#EXT-X-DISCONTINUITY",
        ),
        ("bis 4.4.4.6 dates go on as durations say", "00:00:04.000Z", "00:00:04.100Z"),
        (
            "A 8.17 EXT-X-DISCONTINUITY-SEQUENCE where discontinuities can occur",
            "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP",
            "#EXT-X-DISCONTINUITY\n#EXT-X-MAP",
        ),
        ("bis 4.4.5.3 a preload hint wherever there are parts", gone, ""),
        ("bis 4.4.5.3 no preload hint after the end", gone, &format!("{gone}#EXT-X-ENDLIST\n")),
        ("bis 4.4.5.3 one preload hint of each type", gone, &format!("{gone}{gone}")),
        ("bis 4.4.5.3 the hint is for a part that isn't there yet", "URI=\"p16.2", "URI=\"p16.1"),
        (
            "bis 4.4.3.8 PART-HOLD-BACK of at least three part targets",
            "PART-HOLD-BACK=1.5",
            "PART-HOLD-BACK=1.0",
        ),
        ("A 14.3 CAN-BLOCK-RELOAD where there are parts", "CAN-BLOCK-RELOAD=YES,", ""),
        (
            "bis 4.4.3.8 HOLD-BACK of at least three target durations",
            "HOLD-BACK=6.0",
            "HOLD-BACK=5.0",
        ),
        (
            "bis 4.4.3.8 CAN-SKIP-UNTIL of at least six target durations",
            "CAN-SKIP-UNTIL=12.0",
            "CAN-SKIP-UNTIL=11.0",
        ),
        ("A 8.11 window of at least six segments", "#EXTINF:2.0,\ns10.m4s\n", ""),
        (
            "bis 6.2.2 window of at least three target durations",
            "TARGETDURATION:2",
            "TARGETDURATION:5",
        ),
    ] {
        let found = single(&spoiled(from, to));
        assert!(rules_of(&found).contains(&rule), "{rule}: {found:?}");
    }
}

#[test]
fn exempt_parts_may_be_short() {
    for (from, to) in [
        ("0.5,URI=\"p14.0", "0.1,URI=\"p14.0"),
        ("0.5,URI=\"p14.3", "0.1,URI=\"p14.3"),
        ("0.5,URI=\"p16.1", "0.1,URI=\"p16.1"),
    ] {
        let found = single(&spoiled(from, to));
        assert!(!rules_of(&found).iter().any(|rule| rule.contains("85 %")), "{found:?}");
    }
}

#[test]
fn each_rule_of_change_fires() {
    const ONLY_APPEND: &str = "bis 6.2.1 what was listed doesn't change";
    for (rule, from, to) in [
        ("bis 6.2.2 media sequence never falls", "SEQUENCE:10", "SEQUENCE:9"),
        ("bis 4.4.3.1 the target duration never changes", "DURATION:2", "DURATION:3"),
        ("bis 4.4.3.7 the part target never changes", "TARGET=0.5", "TARGET=0.6"),
        ("bis 4.4.3.8 server control never changes", "PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.6"),
        (
            "bis 6.2.2 discontinuity sequence never falls",
            "CONTINUITY-SEQUENCE:1\n",
            "CONTINUITY-SEQUENCE:0\n",
        ),
        (
            "bis 6.2.2 discontinuity sequence rises by the tags removed",
            "CONTINUITY-SEQUENCE:1\n",
            "CONTINUITY-SEQUENCE:2\n",
        ),
        (
            "A 8.17 EXT-X-DISCONTINUITY-SEQUENCE where discontinuities can occur",
            "#EXT-X-DISCONTINUITY-SEQUENCE:1\n",
            "",
        ),
        (ONLY_APPEND, "s12.m4s", "t12.m4s"),
        (ONLY_APPEND, "#EXTINF:2.0,\ns11", "#EXTINF:1.9,\ns11"),
        (ONLY_APPEND, "p14.1", "q14.1"),
        (ONLY_APPEND, "0.5,URI=\"p16.0", "0.49,URI=\"p16.0"),
        (ONLY_APPEND, "init.mp4", "other.mp4"),
        ("bis 4.4.4.6 a segment's date stays", "00:00:06.000", "00:00:06.500"),
        (
            "bis 6.2.1 what was listed stays until it leaves at the head",
            "#EXT-X-PART:DURATION=0.5,URI=\"p16.1.m4s\"\n",
            "",
        ),
    ] {
        let found = mutation(&same(), &spoiled(from, to));
        assert!(rules_of(&found).contains(&rule), "{rule}: {found:?}");
    }
    let ended = parse_media(&(good() + "#EXT-X-ENDLIST\n")).unwrap();
    assert_eq!(mutation(&same(), &ended), []);
    assert_eq!(rules_of(&mutation(&ended, &same())), ["bis 6.2.1 nothing follows the end"]);
    let event = spoiled("#EXT-X-MEDIA", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA");
    let later = spoiled("SEQUENCE:10", "SEQUENCE:11");
    assert!(
        rules_of(&mutation(&event, &later)).contains(&"bis 4.4.3.5 EVENT and VOD remove nothing")
    );
    let vod = spoiled("#EXT-X-MEDIA", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA");
    assert!(rules_of(&mutation(&vod, &later)).contains(&"bis 4.4.3.5 VOD never changes"));
}

#[test]
fn a_window_may_slide_and_drop_part_tags() {
    let mut text = good().replace("SEQUENCE:10", "SEQUENCE:11");
    let gone = "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:2.0,\ns10.m4s\n";
    assert!(text.contains(gone));
    text = text.replace(gone, "");
    for part in 0..4 {
        let line = text.lines().find(|l| l.contains(&format!("p13.{part}"))).unwrap().to_owned();
        text = text.replace(&format!("{line}\n"), "");
    }
    let text = text
        .replace("#EXT-X-PRELOAD", "#EXT-X-PART:DURATION=0.5,URI=\"p16.2.m4s\"\n#EXT-X-PRELOAD");
    assert_eq!(mutation(&same(), &parse_media(&text).unwrap()), []);
}

#[test]
fn blocking_cadence_and_deltas() {
    let mut checker = Checker::new(Duration::from_millis(100));
    let asked = |msn, part| Requested { msn: Some(msn), part: Some(part), skip: false };
    let step = Duration::from_millis(500);
    assert_eq!(checker.observe(None, &same(), asked(16, 1), step), []);
    let late = checker.observe(None, &same(), asked(16, 2), step);
    assert_eq!(rules_of(&late), ["bis 6.2.5.2 a blocking reload holds what was asked for"]);

    let more = spoiled(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p16.2.m4s\"",
        "#EXT-X-PART:DURATION=0.5,URI=\"p16.2.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p16.3.m4s\"",
    );
    assert_eq!(checker.observe(Some(&same()), &more, asked(16, 2), step), []);
    let mut checker = Checker::new(Duration::from_millis(100));
    checker.observe(None, &same(), Requested::default(), Duration::ZERO);
    let slow = checker.observe(Some(&same()), &more, asked(16, 2), Duration::from_secs(1));
    assert_eq!(rules_of(&slow), ["bis 6.2.1 next part within one part target"]);

    let skipping = |count: usize| {
        let text = good();
        let cut = text.find(&format!("s{}.m4s\n", 9 + count)).unwrap() + 8;
        let head = text.find("#EXT-X-MAP").unwrap();
        let text =
            format!("{}#EXT-X-SKIP:SKIPPED-SEGMENTS={count}\n{}", &text[..head], &text[cut..]);
        parse_media(&text).unwrap()
    };
    let update = skipping(2);
    assert_eq!(update.next_part(), same().next_part());
    let whole = update.clone().with_skipped(&same()).unwrap();
    assert_eq!(whole.segments, same().segments);
    assert_eq!(whole.open, same().open);
    assert!(update.clone().with_skipped(&update).is_err());
    let asked = Requested { skip: true, ..Requested::default() };
    let too_much = rules_of(&delta(&update, asked));
    assert_eq!(too_much, ["bis 4.4.5.2 skips only what is older than the skip boundary"]);
    assert!(
        rules_of(&delta(&update, Requested::default()))
            .contains(&"bis 6.2.5.1 skips only when asked")
    );
    let mut kept = skipping(2);
    kept.server_control.as_mut().unwrap().can_skip_until = Some(9.0);
    assert_eq!(delta(&kept, asked), []);
}

#[test]
fn renditions_agree() {
    let video = same();
    assert_eq!(across::renditions(&[("video", &video), ("audio", &same())]), []);
    for (rule, from, to) in [
        ("bis 6.2.4 the same target duration in all renditions", "DURATION:2", "DURATION:3"),
        ("bis 4.4.3.8 the same server control in all renditions", "CAN-SKIP-UNTIL=12.0,", ""),
        ("bis 6.2.4 the same dates in all renditions", "00:00:04.000", "00:00:04.250"),
        (
            "bis 6.2.4 discontinuities at the same instant in all renditions",
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04",
            "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04",
        ),
        (
            "bis 6.2.4 the same discontinuity sequence in all renditions",
            "CONTINUITY-SEQUENCE:1",
            "CONTINUITY-SEQUENCE:2",
        ),
    ] {
        let other = spoiled(from, to);
        let found = across::renditions(&[("video", &video), ("audio", &other)]);
        assert!(rules_of(&found).contains(&rule), "{rule}: {found:?}");
    }
    let others = ["audio.m3u8".to_owned()];
    let reports = |playlist: &MediaPlaylist, others: &[String]| {
        rules_of(&across::reports(playlist, others, str::to_owned))
    };
    assert!(reports(&video, &others).is_empty());
    assert_eq!(
        reports(&video, &["720p.m3u8".into()]),
        ["bis 4.4.5.4 a report for each other rendition"]
    );
    assert_eq!(
        reports(&spoiled(",LAST-PART=1", ""), &others),
        ["bis 4.4.5.4 reports say LAST-MSN and LAST-PART"]
    );
    for behind in ["LAST-MSN=14,LAST-PART=1", "LAST-MSN=16,LAST-PART=3"] {
        let found = reports(&spoiled("LAST-MSN=16,LAST-PART=1", behind), &others);
        assert_eq!(found, ["bis 6.2.4 renditions in step within one part"]);
    }
}

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n\
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Sound\",DEFAULT=YES,LANGUAGE=\"und\",CHANNELS=\"2\",URI=\"audio.m3u8\"\n\
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,CODECS=\"avc1.64001f,mp4a.40.2\",\
RESOLUTION=1280x720,FRAME-RATE=25.000,AUDIO=\"a\",CLOSED-CAPTIONS=NONE\nsource.m3u8\n\
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=300000,AVERAGE-BANDWIDTH=250000,CODECS=\"avc1.64001f\",RESOLUTION=1280x720,URI=\"i.m3u8\"\n";

#[test]
fn renditions_have_one_clock() {
    assert_eq!(across::clocks(("video", 5_000_000), ("audio", 5_040_000)), None);
    assert!(across::clocks(("video", 5_000_000), ("audio", 4_900_000)).is_some());
}

#[test]
fn multivariant_playlists_say_everything() {
    let judge = |text: &str| multivariant::multivariant(&parse_multivariant(text).unwrap());
    assert_eq!(judge(MULTIVARIANT), []);
    for (rule, from, to) in [
        (
            "A 9.11 INDEPENDENT-SEGMENTS in the multivariant playlist",
            "#EXT-X-INDEPENDENT-SEGMENTS\n",
            "",
        ),
        ("A 9 AVERAGE-BANDWIDTH on every variant", "AVERAGE-BANDWIDTH=2500000,", ""),
        ("bis 4.4.6.2 average no higher than peak bandwidth", "=2500000", "=3500000"),
        ("A 9 CODECS on every variant", "CODECS=\"avc1.64001f,mp4a.40.2\",", ""),
        ("A 9 RESOLUTION on every variant with pictures", "RESOLUTION=1280x720,F", "F"),
        ("A 9 FRAME-RATE on every variant with pictures", "FRAME-RATE=25.000,", ""),
        ("A 4.3 CLOSED-CAPTIONS on every variant", ",CLOSED-CAPTIONS=NONE", ""),
        ("bis 4.4.6.2.1 the named audio group exists", "AUDIO=\"a\",", "AUDIO=\"b\","),
        ("bis 4.4.6.2 CODECS names the audio group's codec too", ",mp4a.40.2", ""),
        ("A 8.9 LANGUAGE on audio renditions", "LANGUAGE=\"und\",", ""),
        ("A 8.9 CHANNELS on audio renditions", "CHANNELS=\"2\",", ""),
        ("A 6 I-frame playlists exist", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-SOMETHING"),
    ] {
        assert!(MULTIVARIANT.contains(from), "{from}");
        let found = judge(&MULTIVARIANT.replacen(from, to, 1));
        assert!(rules_of(&found).contains(&rule), "{rule}: {found:?}");
    }
}

#[test]
fn headers_are_judged() {
    use super::http::{Resource, response};
    use ::http::{HeaderMap, StatusCode};

    let headers = |cache: &str, kind: &str, cors: bool, gzip: bool| {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", cache.parse().unwrap());
        headers.insert("content-type", kind.parse().unwrap());
        if cors {
            headers.insert("access-control-allow-origin", "*".parse().unwrap());
        }
        if gzip {
            headers.insert("content-encoding", "gzip".parse().unwrap());
        }
        headers
    };
    let playlist = "application/vnd.apple.mpegurl";
    let judge = |resource, status: u16, headers: &HeaderMap, length| {
        let status = StatusCode::from_u16(status).unwrap();
        rules_of(&response(resource, status, headers, Some(2), length))
    };
    use Resource::*;
    for (resource, status, cache, kind) in [
        (Playlist, 200, "max-age=1", playlist),
        (BlockingPlaylist, 200, "public, max-age=12", playlist),
        (BlockingPlaylist, 400, "max-age=8", "text/plain"),
        (Media, 200, "max-age=12, immutable", "video/iso.segment"),
        (Init, 200, "max-age=3600", "video/mp4"),
        (Media, 404, "max-age=2", "text/plain"),
    ] {
        assert!(judge(resource, status, &headers(cache, kind, true, true), 5000).is_empty());
        let cors = judge(resource, status, &headers(cache, kind, false, true), 5000);
        assert_eq!(cors, ["CORS on every response"]);
    }
    for (resource, status, cache, kind) in [
        (Playlist, 200, "max-age=2", playlist),
        (BlockingPlaylist, 200, "no-cache", playlist),
        (BlockingPlaylist, 400, "max-age=9", "text/plain"),
        (Media, 200, "max-age=11", "video/iso.segment"),
        (Media, 404, "max-age=3", "text/plain"),
    ] {
        let found = judge(resource, status, &headers(cache, kind, true, true), 5000);
        assert_eq!(found, ["bis B.1 cache lifetimes"], "{resource:?} {cache}");
    }
    let plain = headers("max-age=1", playlist, true, false);
    assert_eq!(judge(Playlist, 200, &plain, 5000), ["A 8.18 playlists are compressed"]);
    assert!(judge(Playlist, 200, &plain, 500).is_empty());
    let text = headers("max-age=12", "text/plain", true, true);
    assert_eq!(judge(Media, 200, &text, 10), ["A 10 content types"]);
    assert!(
        judge(Media, 302, &headers("max-age=1", "a/b", true, true), 0)
            .contains(&"A 10 no redirects")
    );
}
