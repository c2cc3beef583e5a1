//! What follows what: replays, renditions that go, restarts, any history at all.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::super::checker::attribute;
use super::super::fake::TIMESCALE;
use super::*;

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
