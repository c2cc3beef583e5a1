//! The parser on what is well-formed, what isn't, and anything at all.

use proptest::prelude::*;

use super::*;

#[test]
fn reads_every_tag() {
    let playlist = parse_media(
        "#EXTM3U\r\n#EXT-X-VERSION:9\r\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n\
         #EXT-X-PART-INF:PART-TARGET=1.0\n#EXT-X-SOMETHING-NEW:1\n# a comment\n\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-MAP:URI=\"i.mp4\",BYTERANGE=\"700@0\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:02:03.500+01:00\n#EXT-X-BITRATE:800\n\
         #EXT-X-BYTERANGE:100@700\n#EXTINF:4.000,a title\nall.mp4\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:3.5,\ngap.mp4\n\
         #EXT-X-PART:DURATION=1.0,URI=\"p.mp4\",INDEPENDENT=YES,BYTERANGE=\"5@6\"\n\
         #EXT-X-PART:DURATION=0.9,URI=\"q.mp4\",GAP=YES\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"r.mp4\",BYTERANGE-START=10\n\
         #EXT-X-RENDITION-REPORT:URI=\"a.m3u8\",LAST-MSN=9,LAST-PART=1\n",
    )
    .unwrap();
    let [first, second] = &playlist.segments[..] else { panic!("{playlist:?}") };
    assert_eq!((first.head.msn, second.head.msn), (7, 8));
    assert_eq!(first.byte_range, Some(ByteRange { length: 100, offset: Some(700) }));
    assert_eq!(first.head.pdt_us.map(format_date).unwrap(), "2026-11-21T00:02:03.500Z");
    assert_eq!(first.head.unknown, ["#EXT-X-BITRATE:800"]);
    assert_eq!(first.title, "a title");
    assert!(second.head.gap && second.head.discontinuity && second.head.pdt_us.is_none());
    assert_eq!((first.head.discontinuity_sequence, second.head.discontinuity_sequence), (3, 4));
    let open = playlist.open.as_ref().unwrap();
    assert_eq!((open.msn, open.parts.len()), (9, 2));
    assert_eq!(open.map.as_ref().unwrap().uri, "i.mp4");
    assert!(open.parts[0].independent && open.parts[1].gap);
    assert_eq!(playlist.next_part(), (9, 2));
    assert_eq!(playlist.hinted_part().unwrap().start, 10);
    assert_eq!(playlist.unknown, ["#EXT-X-SOMETHING-NEW:1"]);
}

#[test]
fn refuses_what_breaks_the_grammar() {
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    for (line, tail) in [
        (3, "#EXT-X-TARGETDURATION:2\n"),
        (3, "uri.ts\n"),
        (3, "#EXTINF:2.0\nuri.ts\n"),
        (3, "#EXTINF:-2.0,\nuri.ts\n"),
        (3, "#EXTINF:2e1,\nuri.ts\n"),
        (3, "#EXTINF:2.0,\n"),
        (4, "#EXTINF:2.0,\n#EXTINF:2.0,\nuri.ts\n"),
        (3, "#EXT-X-MAP:URI=i.mp4\n"),
        (3, "#EXT-X-MAP:BYTERANGE=\"1@2\"\n"),
        (3, "#EXT-X-MAP:URI=\"i.mp4\",\n"),
        (3, "#EXT-X-MAP:URI=\"i.mp4\",URI=\"j.mp4\"\n"),
        (3, "#EXT-X-MAP:URI=\"i.mp4\n"),
        (3, "#EXT-X-PART:DURATION=1,URI=\"p\"\n"),
        (3, "#EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:02:03\n"),
        (3, "#EXT-X-PROGRAM-DATE-TIME:yesterday\n"),
        (3, "#EXT-X-STREAM-INF:BANDWIDTH=1\n"),
        (5, "#EXTINF:2.0,\na.ts\n#EXT-X-MEDIA-SEQUENCE:3\n"),
        (3, "#EXT-X-PLAYLIST-TYPE:LIVE\n"),
        (3, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=MAYBE\n"),
        (3, "#EXT-X-PRELOAD-HINT:TYPE=KEY,URI=\"k\"\n"),
        (3, "#EXT-X-SKIP:\n"),
    ] {
        let error = parse_media(&format!("{head}{tail}")).expect_err(tail);
        assert_eq!(error.line, line, "{tail}: {error}");
    }
    assert!(parse_media("\u{feff}#EXTM3U\n").is_err());
    assert!(parse_media("#EXTM3U\n").is_err());
    assert!(parse_multivariant("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n").is_err());
    assert!(parse_multivariant("#EXTM3U\nuri.m3u8\n").is_err());
    assert!(parse_multivariant("#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"a\"\nuri.m3u8\n").is_err());
    assert!(parse_multivariant("#EXTM3U\n#EXTINF:1,\na.ts\n").is_err());
}

#[test]
fn dates_round_trip() {
    for text in ["1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", "2026-11-21T02:00:00.123Z"]
    {
        assert_eq!(format_date(parse_date(text).unwrap()), text);
    }
    assert_eq!(parse_date("1970-01-01T01:00:00+0100"), Some(0));
    assert_eq!(parse_date("2000-01-01T00:00:00Z"), Some(946_684_800_000_000));
    assert_eq!(parse_date("2000-13-01T00:00:00Z"), None);
}

proptest! {
    #[test]
    fn never_panics(lines in proptest::collection::vec("(#EXT-X-(PART|MAP|SKIP|BYTERANGE|PROGRAM-DATE-TIME|MEDIA-SEQUENCE|STREAM-INF):|#EXTINF:|#EXT)?[A-Z0-9@=,.\":TZ+é-]{0,24}", 0..12)) {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{}", lines.join("\n"));
        let _ = parse_media(&text);
        let _ = parse_multivariant(&text);
    }
}
