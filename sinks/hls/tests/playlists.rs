//! What playlists say (bis 4.4, A 4).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::checker::{Entry, attribute};
use super::*;

#[tokio::test(start_paused = true)]
async fn playlists_read_as_the_rules_say() {
    let (origin, mut fake) = live(3);
    origin.apply_all(fake.part());
    let media = text(&origin, fake.stream, "source/index.m3u8").await;
    // The whole text once, so that a person can judge it.
    let head = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24,HOLD-BACK=12,PART-HOLD-BACK=0.6
#EXT-X-PART-INF:PART-TARGET=0.2
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:40.000Z
#EXTINF:2.0,
0.m4s
";
    assert!(media.starts_with(head), "{media}");
    let tail = "#EXT-X-PART:DURATION=0.2,URI=\"2.9.m4s\"
#EXTINF:2.0,
2.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:46.000Z
#EXT-X-PART:DURATION=0.2,URI=\"3.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"3.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=3,LAST-PART=0
#EXT-X-RENDITION-REPORT:URI=\"../360p/index.m3u8\",LAST-MSN=3,LAST-PART=0
";
    assert!(media.ends_with(tail), "{media}");
    let ladder = text(&origin, fake.stream, "index.m3u8").await;
    for line in [
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",LANGUAGE=\"und\",DEFAULT=YES,\
         AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/index.m3u8\"",
        "source/index.m3u8",
        "360p/index.m3u8",
        "audio/index.m3u8",
    ] {
        assert!(ladder.lines().any(|l| l == line), "{line} in {ladder}");
    }
    for variant in ladder.lines().filter(|l| l.starts_with("#EXT-X-STREAM-INF:")) {
        let list = variant.split_once(':').unwrap().1;
        let codecs = attribute(list, "CODECS").unwrap();
        assert!(["avc1.64001f,mp4a.40.2", "mp4a.40.2"].contains(&&*codecs), "{variant}");
        assert_eq!(attribute(list, "CLOSED-CAPTIONS").as_deref(), Some("NONE"));
        assert_eq!(attribute(list, "AUDIO").as_deref(), Some("audio"));
        // 10 parts of about 250 bytes in 2 s.
        let peak: u64 = attribute(list, "BANDWIDTH").unwrap().parse().unwrap();
        assert!((9_000..25_000).contains(&peak), "{variant}");
        let is_video = codecs.starts_with("avc1");
        assert_eq!(attribute(list, "FRAME-RATE"), is_video.then(|| "25.000".to_owned()));
    }
    let iframes = ladder.lines().filter(|l| l.starts_with("#EXT-X-I-FRAME-STREAM-INF:"));
    assert_eq!(iframes.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delta_update_rebuilds_the_whole() {
    let config = HlsConfig { dvr: Duration::from_secs(120), ..HlsConfig::default() };
    let cold = Arc::new(MapCold::default());
    let (origin, mut fake) = (Origin::new(config, cold.clone()), Fake::new(&LADDER));
    origin.open(fake.stream, None);
    origin.apply_all(fake.tracks());
    for n in 0..40 {
        if n == 20 {
            origin.apply_all(fake.next_run());
        }
        let records = fake.segment(10);
        cold.store(&records);
        origin.apply_all(records);
    }
    for kind in ["index", "iframes"] {
        let full = playlist(&origin, fake.stream, &format!("source/{kind}.m3u8")).await;
        let delta =
            playlist(&origin, fake.stream, &format!("source/{kind}.m3u8?_HLS_skip=YES")).await;
        // 80 s less the 24 s before the skip boundary.
        assert_eq!((full.entries.len(), delta.skipped), (40, 28));
        assert_eq!(delta.discontinuity_sequence, full.discontinuity_sequence);
        let mut rebuilt = full.entries[..28].to_vec();
        let map = full.entries[28].map.clone();
        rebuilt
            .extend(delta.entries.iter().cloned().map(|entry| Entry { map: map.clone(), ..entry }));
        assert_eq!(rebuilt, full.entries);
        assert_eq!(delta.hints, full.hints);
    }
    // Old segments, and parts of not so old ones, come from storage.
    let last = fake.msn - 1;
    for msn in [0, last - 8, last] {
        let whole = get(&origin, fake.stream, &format!("source/{msn}.m4s")).await;
        assert!(whole.into_body().into_bytes().starts_with(b"\0\0\0\x0cmoof"));
    }
    let part = get(&origin, fake.stream, &format!("360p/{}.3.m4s", last - 8)).await;
    let part = part.into_body().into_bytes();
    let name = format!("key 360p {}.3", last - 8);
    assert_eq!(&part[20..20 + name.len()], name.as_bytes());
    assert!(origin.metrics().cold_reads_total.load(Ordering::Relaxed) >= 3);
    let snapshot = origin.snapshot(fake.stream).unwrap();
    let hot: u64 = snapshot.tracks.iter().map(|t| t.hot_bytes).sum();
    assert_eq!(hot, origin.metrics().hot_bytes.load(Ordering::Relaxed));
    assert!(hot < 3 * 6 * 3000, "{hot}");
}
