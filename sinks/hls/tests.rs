//! Playlists over time, as a client sees them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use proptest::prelude::*;
use records::{Media, MediaBody, Pieces, Rendition, StreamId};

use super::checker::{Playlist, attribute};
use super::fake::{Fake, TIMESCALE};
use super::*;

const LADDER: [Rendition; 3] = [Rendition::Audio, Rendition::Source, Rendition::Rung(360)];

pub(super) fn origin() -> Origin {
    Origin::new(HlsConfig::default(), Arc::new(NoCold))
}

pub(super) async fn get(origin: &Origin, stream: StreamId, url: &str) -> Response<HlsBody> {
    let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
    origin.respond(stream, path, query, &HeaderMap::new(), &Method::GET).await
}

pub(super) async fn text(origin: &Origin, stream: StreamId, url: &str) -> String {
    let response = get(origin, stream, url).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}: {:?}", response.body());
    String::from_utf8(response.into_body().into_bytes().to_vec()).unwrap()
}

pub(super) async fn playlist(origin: &Origin, stream: StreamId, url: &str) -> Playlist {
    Playlist::parse(&text(origin, stream, url).await)
}

/// An origin with a stream of `segments` complete segments of 2 s.
pub(super) fn live(segments: usize) -> (Origin, Fake) {
    let (origin, mut fake) = (origin(), Fake::new(&LADDER));
    origin.open(fake.stream, None);
    origin.apply_all(fake.tracks());
    for _ in 0..segments {
        origin.apply_all(fake.segment(10));
    }
    (origin, fake)
}

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
async fn media_is_the_parts_bytes_joined_once() {
    let (origin, mut fake) = live(1);
    let records = fake.segment(3);
    let parts: Vec<Bytes> = records
        .iter()
        .filter_map(|m| match &m.body {
            MediaBody::Part(part) if part.rendition == Rendition::Source => {
                Some(part.bytes.to_bytes())
            }
            _ => None,
        })
        .collect();
    origin.apply_all(records);
    let segment = get(&origin, fake.stream, "source/1.m4s").await;
    assert_eq!(segment.headers()[header::CONTENT_TYPE], "video/iso.segment");
    assert_eq!(segment.headers()[header::CACHE_CONTROL], "max-age=24, immutable");
    let HlsBody::Chunks { chunks, .. } = segment.into_body() else { panic!() };
    assert_eq!(chunks, parts);
    let part = get(&origin, fake.stream, "source/1.2.m4s").await.into_body().into_bytes();
    assert_eq!(part.as_ptr(), chunks[2].as_ptr(), "shared, not copied");
    let init = get(&origin, fake.stream, "360p/init-0.mp4").await;
    assert_eq!(init.headers()[header::CONTENT_TYPE], "video/mp4");
    assert_eq!(init.into_body().into_bytes(), "init 360p 0");
    let (track, key) = origin.latest_keyframe(fake.stream).unwrap();
    assert_eq!((&key[..], track), (&b"key 360p 1.0"[..], Fake::init(Rendition::Rung(360))));
}

#[tokio::test(start_paused = true)]
async fn iframe_playlists_name_ranges_that_hold_a_picture() {
    let (origin, fake) = live(4);
    let iframes = playlist(&origin, fake.stream, "source/iframes.m3u8").await;
    assert_eq!(iframes.entries.len(), 4);
    let range = iframes.entries[2].byterange.clone().unwrap();
    let bytes: u64 = range.strip_suffix("@0").unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    headers
        .insert(header::RANGE, HeaderValue::from_str(&format!("bytes=0-{}", bytes - 1)).unwrap());
    let response = origin.respond(fake.stream, "source/2.m4s", None, &headers, &Method::GET).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let body = response.into_body().into_bytes();
    assert!(body.ends_with(b"key source 2.0") && &body[4..8] == b"moof");
    headers.insert(header::RANGE, HeaderValue::from_static("bytes=99999-"));
    let response = origin.respond(fake.stream, "source/2.m4s", None, &headers, &Method::GET).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(get(&origin, fake.stream, "audio/iframes.m3u8").await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn every_response_has_cors_and_its_cache_lifetime() {
    let (origin, fake) = live(2);
    for (url, status, cache) in [
        ("index.m3u8", 200, "max-age=2"),
        ("source/index.m3u8", 200, "max-age=2"),
        ("source/index.m3u8?_HLS_msn=1", 200, "max-age=24"),
        ("source/index.m3u8?_HLS_part=1", 400, "max-age=16"),
        ("source/index.m3u8?_HLS_msn=99", 400, "max-age=16"),
        ("240p/index.m3u8", 404, "max-age=4"),
        ("source/99.m4s", 404, "max-age=4"),
        ("source/nonsense", 404, "max-age=4"),
        ("source/init-0.mp4", 200, "max-age=24, immutable"),
    ] {
        let response = get(&origin, fake.stream, url).await;
        assert_eq!(response.status(), status, "{url}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], cache, "{url}");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(response.headers().contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS));
        if status >= 400 {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
        let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
        let none = HeaderMap::new();
        let head = origin.respond(fake.stream, path, query, &none, &Method::HEAD).await;
        assert!(head.body().is_empty());
        assert_eq!(
            head.headers()[header::CONTENT_LENGTH],
            response.headers()[header::CONTENT_LENGTH]
        );
    }
    let unknown = get(&origin, StreamId::generate(), "index.m3u8").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let none = HeaderMap::new();
    let put = origin.respond(fake.stream, "index.m3u8", None, &none, &Method::PUT).await;
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn gzip_is_the_same_text_and_made_once() {
    use std::io::Read;
    let (origin, fake) = live(8);
    let plain = text(&origin, fake.stream, "source/index.m3u8").await;
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
    for _ in 0..3 {
        let response =
            origin.respond(fake.stream, "source/index.m3u8", None, &headers, &Method::GET).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
        let body = response.into_body().into_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain);
    }
    assert_eq!(origin.metrics().gzips_total.load(Ordering::Relaxed), 1);
    assert_eq!(origin.metrics().renders_total.load(Ordering::Relaxed), 1);
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

use super::checker::Entry;

/// Storage in a map.
#[derive(Default)]
pub(super) struct MapCold(Mutex<HashMap<Object, Bytes>>);

impl MapCold {
    pub(super) fn store(&self, records: &[Media]) {
        for media in records {
            let stream = media.stream;
            let mut map = self.0.lock().unwrap();
            match &media.body {
                MediaBody::Segment(s) if !s.gap => {
                    let object = Object::Segment { stream, rendition: s.rendition, msn: s.msn };
                    map.insert(
                        object,
                        s.chunks.iter().flat_map(Pieces::iter).flatten().copied().collect(),
                    );
                }
                MediaBody::Track(t) => {
                    let object = Object::Init { stream, rendition: t.rendition, run: t.run };
                    map.insert(object, t.header.clone());
                }
                _ => {}
            }
        }
    }
}

impl Cold for MapCold {
    fn holds(&self, object: Object) -> bool {
        self.0.lock().unwrap().contains_key(&object)
    }

    fn read(&self, object: Object) -> ColdRead<'_> {
        let found = self.0.lock().unwrap().get(&object).cloned();
        Box::pin(async move { found.ok_or(ColdError::Missing) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_changes_nothing() {
    let (origin, mut fake) = (origin(), Fake::new(&LADDER));
    origin.open(fake.stream, None);
    let mut records = fake.tracks();
    for _ in 0..3 {
        records.extend(fake.segment(5));
    }
    records.extend(fake.next_run());
    records.extend(fake.segment(5));
    records.extend(fake.part());
    origin.apply_all(records.clone());
    let before = text(&origin, fake.stream, "source/index.m3u8").await;
    let hot = origin.snapshot(fake.stream).unwrap().tracks[1].hot_bytes;
    for from in [0, 10, 30, records.len() - 2] {
        records[from..].iter().cloned().for_each(|media| origin.apply(media));
        assert_eq!(text(&origin, fake.stream, "source/index.m3u8").await, before);
    }
    assert_eq!(origin.snapshot(fake.stream).unwrap().tracks[1].hot_bytes, hot);
    assert_eq!(origin.metrics().renders_total.load(Ordering::Relaxed), 1);
    origin.apply_all(fake.part());
    assert_ne!(text(&origin, fake.stream, "source/index.m3u8").await, before);
}

#[tokio::test(start_paused = true)]
async fn a_rendition_that_goes_and_comes_back_has_gaps() {
    let (origin, mut fake) = live(3);
    origin.apply_all(fake.next_run_with(&[Rendition::Source]));
    (0..2).for_each(|_| origin.apply_all(fake.segment(10)));
    let ladder = text(&origin, fake.stream, "index.m3u8").await;
    assert!(!ladder.contains("audio") && !ladder.contains("360p"), "{ladder}");
    let audio = playlist(&origin, fake.stream, "audio/index.m3u8").await;
    assert_eq!(
        audio.entries.iter().map(|e| e.gap).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
    origin.apply_all(fake.next_run_with(&LADDER));
    let hinted = playlist(&origin, fake.stream, "audio/index.m3u8").await;
    assert!(hinted.hints[0].contains("TYPE=MAP,URI=\"init-2.mp4\""), "{:?}", hinted.hints);
    origin.apply_all(fake.segment(10));
    let back = playlist(&origin, fake.stream, "audio/index.m3u8").await;
    back.check_follows(&audio);
    let source = playlist(&origin, fake.stream, "source/index.m3u8").await;
    let discontinuities =
        |p: &Playlist| p.entries.iter().map(|e| e.discontinuities).collect::<Vec<_>>();
    assert_eq!(discontinuities(&back), discontinuities(&source));
    assert_eq!(back.entries[5].map.as_deref(), Some("init-2.mp4"));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_numbers_go_on() {
    let (mut tracks, mut fake) = (Vec::new(), Fake::new(&LADDER));
    for rendition in LADDER {
        let segments = (40..50u64).map(|msn| SegmentMeta {
            msn,
            run: 3,
            start_us: msn as i64 * 2_000_000,
            end_us: msn as i64 * 2_000_000 + 2_000_000,
            wall_us: 1_795_000_000_000_000 + msn * 2_000_000,
            bytes: 5,
            gap: false,
            iframe_bytes: Some(3),
        });
        tracks.push(RestoredTrack {
            rendition,
            part_target_us: 200_000,
            inits: vec![(3, Shape::of(&Fake::init(rendition)))],
            segments: segments.collect(),
        });
    }
    let end = records::MediaTime::new(100_000_000, 1_000_000);
    let resume = Resume { next_msn: 50, next_run: 4, end, origin_wall_us: 1_795_000_000_000_000 };
    let cold = Arc::new(MapCold::default());
    let object = Object::Segment { stream: fake.stream, rendition: Rendition::Source, msn: 45 };
    cold.0.lock().unwrap().insert(object, Bytes::from_static(b"moofs"));
    let origin = Origin::new(HlsConfig::default(), cold);
    origin.open(
        fake.stream,
        Some(RestoredStream { tracks, skipped: Vec::new(), ended: false, resume }),
    );
    let before = playlist(&origin, fake.stream, "source/index.m3u8").await;
    assert_eq!((before.media_sequence, before.discontinuity_sequence), (40, 3));
    assert_eq!(before.hints.len(), 1);
    assert!(text(&origin, fake.stream, "index.m3u8").await.contains("avc1.64001f,mp4a.40.2"));
    assert_eq!(get(&origin, fake.stream, "source/45.m4s").await.into_body().into_bytes(), "moofs");
    fake.resume(resume);
    origin.apply_all(fake.tracks());
    (0..3).for_each(|_| origin.apply_all(fake.segment(10)));
    let after = playlist(&origin, fake.stream, "source/index.m3u8").await;
    after.check_follows(&before);
    assert_eq!(after.entries[10].discontinuities, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Part,
    Close,
    Run,
    Gap(i64),
    Replay(usize),
}

/// What happens, and whether a client looks afterwards.
fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let step = prop_oneof![
        20 => Just(Step::Part),
        5 => Just(Step::Close),
        1 => Just(Step::Run),
        1 => (1i64..4).prop_map(|s| Step::Gap(s * i64::from(TIMESCALE))),
        1 => (1usize..200).prop_map(Step::Replay),
    ];
    prop::collection::vec((step, prop::bool::weighted(0.3)), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Any history, looked at any time: every text is valid and may follow the one before.
    #[test]
    fn any_history_gives_playlists_that_follow_each_other(
        steps in steps(),
        part_ticks in 3000i64..20_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(history(steps, part_ticks));
    }
}

async fn history(steps: Vec<(Step, bool)>, part_ticks: i64) {
    let (origin, mut fake) = (origin(), Fake::new(&LADDER));
    fake.part_ticks = part_ticks;
    origin.open(fake.stream, None);
    let mut all = fake.tracks();
    origin.apply_all(all.clone());
    let mut seen: BTreeMap<String, Playlist> = BTreeMap::new();
    let mut open = 0;
    let mut closed = 0;
    let mut looked_at = 0;
    for (step, look) in steps {
        // Never longer than the target duration.
        let full = open > 0 && (open + 1) * part_ticks > 4 * i64::from(TIMESCALE);
        let new = match step {
            Step::Part if !full => {
                open += 1;
                fake.part()
            }
            Step::Gap(ticks) if open == 0 => {
                closed += 1;
                fake.gap(ticks)
            }
            Step::Run if open == 0 => fake.next_run(),
            Step::Replay(back) => {
                let from = all.len().saturating_sub(back);
                origin.apply_all(all[from..].to_vec());
                continue;
            }
            _ if open > 0 => {
                open = 0;
                closed += 1;
                fake.close()
            }
            _ => continue,
        };
        all.extend(new.clone());
        origin.apply_all(new);
        if !look || closed == 0 {
            continue;
        }
        let mut controls = Vec::new();
        for rendition in LADDER {
            for kind in ["index", "iframes"] {
                if kind == "iframes" && !rendition.is_video() {
                    continue;
                }
                let url = format!("{rendition}/{kind}.m3u8");
                let now = playlist(&origin, fake.stream, &url).await;
                if let Some(before) = seen.get(&url) {
                    now.check_follows(before);
                }
                if now.media_sequence > 0 {
                    assert!(now.entries.len() >= 6 && now.window_us() >= 12_000_000);
                }
                // All that is listed, or was a moment ago, can be fetched.
                let recent = fake.now - looked_at < 10 * i64::from(TIMESCALE);
                let old = seen.get(&url).filter(|_| recent).map_or(&[][..], |p| &p.entries);
                for entry in now.entries.iter().chain(old).filter(|e| !e.gap) {
                    let url = format!("{rendition}/{}", entry.uri);
                    assert_eq!(get(&origin, fake.stream, &url).await.status(), 200, "{url}");
                    for part in &entry.parts {
                        let url = format!("{rendition}/{}", attribute(part, "URI").unwrap());
                        assert_eq!(get(&origin, fake.stream, &url).await.status(), 200, "{url}");
                    }
                }
                controls.push(now.control.clone());
                seen.insert(url, now);
            }
        }
        looked_at = fake.now;
        controls.dedup();
        assert_eq!(controls.len(), 1);
    }
    origin.apply(fake.end());
    let last = playlist(&origin, fake.stream, "source/index.m3u8").await;
    assert!(last.ended);
    if let Some(before) = seen.get("source/index.m3u8") {
        last.check_follows(before);
    }
}
