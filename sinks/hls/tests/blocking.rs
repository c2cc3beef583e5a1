//! What is held, until when, and what it costs (bis 6.2.5.2, 6.2.6).

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use records::Rendition;
use tokio::time::Instant;

use super::*;

const HOLD: Duration = Duration::from_secs(12);

/// Status, and how long it took.
async fn timed(origin: &Origin, fake: &Fake, url: &str) -> (u16, Duration) {
    let start = Instant::now();
    let status = get(origin, fake.stream, url).await.status();
    (status.as_u16(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn the_table_of_blocking_requests() {
    let (origin, mut fake) = live(3);
    origin.apply_all(fake.part());
    origin.apply_all(fake.part());
    let at_once = Duration::ZERO;
    for (query, expected) in [
        ("_HLS_part=0", (400, at_once)),
        ("_HLS_msn=0", (200, at_once)),
        ("_HLS_msn=2&_HLS_part=9", (200, at_once)),
        ("_HLS_msn=3&_HLS_part=1", (200, at_once)),
        // Past its parent's last part: part 0 of segment 3, which is there.
        ("_HLS_msn=2&_HLS_part=10", (200, at_once)),
        // The next ones, which don't come.
        ("_HLS_msn=3", (503, HOLD)),
        ("_HLS_msn=3&_HLS_part=2", (503, HOLD)),
        ("_HLS_msn=4", (503, HOLD)),
        ("_HLS_msn=5", (400, at_once)),
        // 15 parts of 0.2 s fit in three seconds.
        ("_HLS_msn=3&_HLS_part=16", (503, HOLD)),
        ("_HLS_msn=3&_HLS_part=17", (400, at_once)),
    ] {
        let got = timed(&origin, &fake, &format!("source/index.m3u8?{query}")).await;
        assert_eq!(got, expected, "{query}");
    }
    assert_eq!(origin.metrics().timeouts_total.load(Ordering::Relaxed), 4);
    origin.apply(fake.end());
    for query in ["_HLS_msn=3", "_HLS_msn=99", "_HLS_msn=4&_HLS_part=3"] {
        let got = timed(&origin, &fake, &format!("source/index.m3u8?{query}")).await;
        assert_eq!(got, (200, at_once), "{query} after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_request_shows_what_it_waited_for() {
    let (origin, mut fake) = live(2);
    let waiting = {
        let (origin, stream) = (origin.clone(), fake.stream);
        tokio::spawn(async move {
            playlist(&origin, stream, "source/index.m3u8?_HLS_msn=2&_HLS_part=1").await
        })
    };
    tokio::task::yield_now().await;
    assert_eq!(origin.metrics().waiting.load(Ordering::Relaxed), 1);
    origin.apply_all(fake.part());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    origin.apply_all(fake.part());
    let shown = waiting.await.unwrap();
    assert_eq!(shown.open.unwrap().parts.len(), 2);
    assert_eq!(origin.metrics().waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn hinted_parts_are_held_or_abandoned() {
    let (origin, mut fake) = live(2);
    let stream = fake.stream;
    let ask = |url: &'static str| {
        let origin = origin.clone();
        tokio::spawn(async move { get(&origin, stream, url).await })
    };
    let (first, beyond) = (ask("source/2.0.m4s"), ask("source/2.1.m4s"));
    assert_eq!(beyond.await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(!first.is_finished());
    origin.apply_all(fake.part());
    assert_eq!(first.await.unwrap().status(), StatusCode::OK);
    let abandoned = ask("source/2.1.m4s");
    tokio::task::yield_now().await;
    origin.apply_all(fake.close());
    assert_eq!(abandoned.await.unwrap().status(), StatusCode::NOT_FOUND);
    let ended = ask("source/3.0.m4s");
    tokio::task::yield_now().await;
    origin.apply(fake.end());
    assert_eq!(ended.await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_viewers_cost_one_rendering() {
    let (origin, mut fake) = live(4);
    let mut viewers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (origin, stream) = (origin.clone(), fake.stream);
        viewers.spawn(async move {
            let body = get(&origin, stream, "source/index.m3u8?_HLS_msn=4&_HLS_part=0").await;
            body.into_body().into_bytes()
        });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(origin.metrics().waiting.load(Ordering::Relaxed), 1000);
    origin.apply_all(fake.part());
    let bodies = viewers.join_all().await;
    assert!(bodies.iter().all(|body| body.as_ptr() == bodies[0].as_ptr()));
    assert_eq!(origin.metrics().renders_total.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rendered_unless_asked_for() {
    let (origin, mut fake) = live(20);
    origin.apply_all(fake.part());
    assert_eq!(origin.metrics().renders_total.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_half_ladder_is_waited_for() {
    let (origin, mut fake) = (origin(), Fake::new(&[Rendition::Audio, Rendition::Source]));
    origin.open(fake.stream, None);
    let tracks = fake.tracks();
    origin.apply(tracks[0].clone());
    let stream = fake.stream;
    let ask = |url: &'static str| {
        let origin = origin.clone();
        tokio::spawn(async move { text(&origin, stream, url).await })
    };
    let (ladder, source) = (ask("index.m3u8"), ask("source/index.m3u8"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!ladder.is_finished() && !source.is_finished());
    origin.apply(tracks[1].clone());
    assert!(ladder.await.unwrap().contains("avc1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!source.is_finished());
    origin.apply_all(fake.segment(10));
    assert!(source.await.unwrap().contains("0.m4s"));
    // A rung that never begins doesn't hold the others for ever.
    let mut media =
        fake.next_run_with(&[Rendition::Audio, Rendition::Source, Rendition::Rung(360)]);
    media.pop();
    origin.apply_all(media);
    let start = Instant::now();
    assert!(text(&origin, fake.stream, "index.m3u8").await.contains("source/index.m3u8"));
    assert_eq!(start.elapsed(), HlsConfig::default().ladder_wait);
}

#[tokio::test(start_paused = true)]
async fn nothing_published_is_unavailable_and_removal_frees_waiters() {
    let (origin, mut fake) = live(2);
    let silent = Fake::new(&[Rendition::Source]);
    origin.open(silent.stream, None);
    assert_eq!(get(&origin, silent.stream, "index.m3u8").await.status(), 503);
    assert_eq!(get(&origin, silent.stream, "source/index.m3u8").await.status(), 503);
    origin.apply_all(fake.part());
    let waiting = {
        let (origin, stream) = (origin.clone(), fake.stream);
        tokio::spawn(async move { get(&origin, stream, "source/index.m3u8?_HLS_msn=3").await })
    };
    tokio::task::yield_now().await;
    origin.remove(fake.stream);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(origin.metrics().hot_bytes.load(Ordering::Relaxed), 0);
    origin.apply_all(fake.part());
    assert!(origin.snapshot(fake.stream).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_is_forgotten() {
    let (origin, fake) = live(2);
    let headers = HeaderMap::new();
    let get = Method::GET;
    let query = Some("_HLS_msn=2");
    let request = origin.respond(fake.stream, "source/index.m3u8", query, &headers, &get);
    assert!(tokio::time::timeout(Duration::from_secs(1), request).await.is_err());
    assert_eq!(origin.metrics().waiting.load(Ordering::Relaxed), 0);
}
