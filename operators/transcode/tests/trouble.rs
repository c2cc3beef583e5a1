//! What comes out when it doesn't.

use std::time::{Duration, Instant};

use bytes::Bytes;
use records::{FrameBody, Rendition, Rung, Sample};

use super::fixture::{Clip, Fixture, patient};
use crate::transcode::{EventKind, TranscodeConfig};

const R240: Rendition = Rendition::Rung(240);
const R160: Rendition = Rendition::Rung(160);

fn two_rungs() -> TranscodeConfig {
    let rung = |height, bitrate_kbps| Rung { height, bitrate_kbps };
    TranscodeConfig { ladder: vec![rung(240, 400), rung(160, 250)], ..patient() }
}

/// A rung that takes an hour per picture.
const HANGS: Option<(u16, u64)> = Some((240, 3_600_000_000));

/// Publishes a clip again and again, one each `pace`, until there is an event
/// like `awaited`; how often. Time passes on purpose: an encoder is slow or
/// not by the publisher's clock.
fn publish_until(
    f: &mut Fixture,
    clip: &Clip,
    pace: Duration,
    awaited: impl Fn(&EventKind) -> bool,
) -> i64 {
    let ticks = clip.samples.len() as i64 * 512;
    let by = Instant::now() + Duration::from_secs(20);
    let mut times = 0;
    while !f.events.lock().iter().any(&awaited) {
        assert!(Instant::now() < by, "{:?}", f.events.lock());
        let begin = Instant::now();
        f.publish(clip, times * ticks);
        times += 1;
        std::thread::sleep(pace.saturating_sub(begin.elapsed()));
    }
    times
}

#[test]
fn a_slow_rung_is_shed_first_and_comes_back() {
    const GOP: i64 = 5 * 512;
    let clip = Clip::make(426, 320, 5, 5);
    let config = TranscodeConfig {
        lag_shed_ms: 400,
        lag_restore_ms: 300,
        restore_after_ms: 200,
        ..two_rungs()
    };
    // The upper rung takes 12 ms per picture, published every 8 ms.
    let mut f = Fixture::slowed(config, Some((240, 12_000)));
    f.run(&clip, 0, true);
    let restored = EventKind::Restored { rendition: R240 };
    let segments = publish_until(&mut f, &clip, Duration::from_millis(40), |e| *e == restored);
    assert!(f.pool.snapshot()[0].rungs.iter().any(|r| r.frames_out > 0));
    f.offer(FrameBody::Pause);
    f.drained(0, &[R240, R160]);
    let events = f.events.lock().clone();
    let first = events.first();
    assert!(matches!(first, Some(EventKind::Shed { rendition: R240, .. })), "{events:?}");
    assert!(f.of(0, R240).gaps.len() > f.of(0, R160).gaps.len());
    // Every segment is either there, whole and from its keyframe on, or a gap.
    for rendition in [R240, R160] {
        let rung = f.of(0, rendition);
        let there: Vec<i64> = rung.keyframes().iter().map(|at| at / GOP).collect();
        let gaps = rung.gaps.iter().map(|msn| *msn as i64);
        let mut all: Vec<i64> = there.iter().copied().chain(gaps).collect();
        all.sort_unstable();
        assert_eq!(all, (0..segments).collect::<Vec<_>>(), "{rendition}");
        assert_eq!(rung.samples.len(), there.len() * 5, "{rendition}");
    }
}

#[test]
fn a_full_queue_skips_to_a_keyframe() {
    let clip = Clip::make(320, 256, 5, 5);
    let config = TranscodeConfig { queue_frames_max: 8, ..two_rungs() };
    // Takes 2 ms per picture, published every millisecond.
    let mut f = Fixture::slowed(config, Some((160, 2000)));
    f.run(&clip, 0, true);
    let segments = publish_until(
        &mut f,
        &clip,
        Duration::from_millis(5),
        |e| matches!(e, EventKind::Skipped { pictures } if *pictures > 0),
    );
    f.offer(FrameBody::Pause);
    f.drained(0, &[R160]);
    let events = f.events.lock().clone();
    assert!(events.contains(&EventKind::Skipping), "{events:?}");
    let rung = f.of(0, R160);
    let begun: Vec<u64> = rung.keyframes().iter().map(|at| *at as u64 / (5 * 512)).collect();
    let mut all: Vec<u64> = begun.iter().chain(&rung.gaps).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..segments.unsigned_abs()).collect::<Vec<_>>());
    let snapshot = f.pool.snapshot();
    assert!(snapshot.is_empty(), "no run is being encoded any more");
}

#[test]
fn corrupt_samples_cost_their_own_segment() {
    let clip = Clip::make(320, 256, 40, 10);
    let mut f = Fixture::new(two_rungs());
    f.run(&clip, 0, true);
    let mut broken = clip.clone();
    for sample in &mut broken.samples[10..20] {
        let noise: Vec<u8> = (0..sample.data.len()).map(|i| (i * 37) as u8).collect();
        sample.data = noise.into();
    }
    broken.samples[35].data = Bytes::from_static(b"\xff");
    broken.samples[36].data = Bytes::new();
    f.publish(&broken, 0);
    f.offer(FrameBody::Pause);
    f.drained(0, &[R160]);
    let rung = f.of(0, R160);
    let keyframes = rung.keyframes();
    for segment in [0, 2, 3] {
        assert!(keyframes.contains(&(segment * 10 * 512)), "{segment}: {keyframes:?}");
    }
    let begun = keyframes.contains(&(10 * 512));
    assert!(begun || rung.gaps == [1], "{:?}", rung.gaps);
}

#[test]
fn a_source_that_never_decodes_ends_in_gaps() {
    let clip = Clip::make(320, 256, 120, 10);
    let mut f = Fixture::new(TranscodeConfig { restart_ms_min: 0, ..two_rungs() });
    f.run(&clip, 0, true);
    let noise = Bytes::from(vec![0x55; 300]);
    let rest = clip.samples.iter().map(|s| Sample { data: noise.clone(), ..s.clone() }).collect();
    let broken = Clip { samples: rest, ..clip };
    f.publish(&broken, 0);
    f.offer(FrameBody::Pause);
    f.drained(0, &[R160, R240]);
    assert_eq!(f.of(0, R160).gaps, (0..12).collect::<Vec<_>>());
    assert!(f.of(0, R160).samples.is_empty());
}

#[test]
fn an_encoder_that_hangs_is_drained_by_the_deadline() {
    let clip = Clip::make(320, 256, 30, 10);
    let config = TranscodeConfig { drain_ms_max: 300, ..two_rungs() };
    let mut f = Fixture::slowed(config, HANGS);
    f.run(&clip, 0, true);
    f.publish(&clip, 0);
    f.offer(FrameBody::Pause);
    let begin = Instant::now();
    f.drained(0, &[R160, R240]);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let timed_out = EventKind::DrainTimedOut { rendition: R240 };
    assert!(f.events.lock().contains(&timed_out));
    // The next run is not held up by it.
    let next = Clip::make(320, 160, 10, 10);
    f.run(&next, 30 * 512, true);
    f.offer(FrameBody::Pause);
    f.offer(FrameBody::End);
}

#[test]
fn one_stream_does_not_wait_for_another() {
    let clip = Clip::make(320, 256, 30, 10);
    let mut f = Fixture::slowed(two_rungs(), HANGS);
    f.run(&clip, 0, true);
    f.publish(&clip, 0);
    // A second stream in the same pool, without the slow rung.
    let small = Clip::make(256, 200, 30, 10);
    f.stream = records::StreamId::generate();
    f.run(&small, 0, true);
    f.publish(&small, 0);
    f.offer(FrameBody::Pause);
    f.drained(1, &[R160]);
    assert_eq!(f.of(1, R160).times(), small.times());
    assert!(f.of(0, R240).samples.is_empty(), "the first one is waiting still");
}

#[test]
fn forgetting_a_stream_ends_it() {
    let clip = Clip::make(320, 256, 30, 10);
    let mut f = Fixture::new(two_rungs());
    f.run(&clip, 0, true);
    f.publish(&clip, 0);
    f.pool.forget(f.stream);
    f.drained(0, &[R160, R240]);
    assert!(f.pool.snapshot().is_empty());
}
