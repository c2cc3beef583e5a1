//! What comes out when all goes well.

use records::{Codec, FrameBody, Kind, Rendition, Rung, Sample};

use super::fixture::{Clip, Fixture, decode, patient, pts};
use crate::transcode::{TranscodeConfig, thumbnail};

const R360: Rendition = Rendition::Rung(360);
const R160: Rendition = Rendition::Rung(160);

fn small_ladder() -> TranscodeConfig {
    let rung = |height, bitrate_kbps| Rung { height, bitrate_kbps };
    TranscodeConfig { ladder: vec![rung(160, 250), rung(360, 500)], ..patient() }
}

#[test]
fn every_picture_of_the_sample_clip_comes_out_of_every_rung() {
    let clip = Clip::sample_clip();
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, true);
    let cuts = f.publish(&clip, 0);
    f.offer(FrameBody::Pause);
    f.drained(0, &[R360, R160]);
    for (rendition, width, height) in [(R360, 640, 360), (R160, 284, 160)] {
        let rung = f.of(0, rendition);
        assert_eq!(rung.times(), clip.times(), "{rendition}");
        assert_eq!(rung.keyframes(), cuts, "{rendition}");
        assert!(rung.gaps.is_empty());
        assert!(rung.samples.is_sorted_by(|a, b| a.dts < b.dts));
        let init = rung.init.clone().unwrap();
        assert_eq!((init.timescale, init.sample_ticks), (12_800, 512));
        assert_eq!(init.config[0], 1, "an avcC");
        assert!(matches!(init.kind, Kind::Video { width: w, height: h, .. }
            if (i32::from(w), i32::from(h)) == (width, height)));
        assert_eq!(decode(&rung), (clip.samples.len(), width, height));
    }
    // The source's samples, with the rungs announced.
    let sources = f.forwarded.iter().filter(|f| matches!(f.body, FrameBody::Sample(_))).count();
    assert_eq!(sources, clip.samples.len());
    let FrameBody::Run(run) = &f.forwarded[0].body else { panic!() };
    assert_eq!(run.rungs.iter().map(|r| r.height).collect::<Vec<_>>(), [360, 160]);
    assert_eq!(f.events.lock().len(), 0);
}

#[test]
fn b_frames_are_put_in_order() {
    let clip = Clip::encode(
        320,
        200,
        50,
        "x264enc speed-preset=veryfast bframes=3 b-adapt=false key-int-max=25",
    );
    assert!(clip.samples.iter().any(|s| s.cts > 1024), "has B-frames");
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, true);
    let cuts = f.publish(&clip, 0);
    f.offer(FrameBody::Pause);
    f.drained(0, &[R160]);
    assert_eq!(f.of(0, R160).times(), clip.times());
    assert_eq!(f.of(0, R160).keyframes(), cuts);
}

#[test]
fn a_new_resolution_is_a_new_run() {
    let (one, two) = (Clip::make(320, 200, 30, 10), Clip::make(200, 320, 20, 10));
    let mut f = Fixture::new(small_ladder());
    f.run(&one, 0, true);
    f.publish(&one, 0);
    f.offer(FrameBody::Pause);
    let shift = 30 * 512;
    f.run(&two, shift, true);
    let cuts = f.publish(&two, shift);
    f.offer(FrameBody::Pause);
    f.offer(FrameBody::End);
    f.drained(1, &[R160]);
    assert_eq!(f.of(0, R160).samples.len(), 30);
    assert_eq!(f.of(1, R160).keyframes(), cuts);
    assert_eq!(decode(&f.of(0, R160)), (30, 256, 160));
    assert_eq!(decode(&f.of(1, R160)), (20, 100, 160));
    // The intake is closed after End.
    f.read_until(|f| {
        let frame = f.forwarded[0].clone();
        f.intake.writer(f.stream).push_now(frame).is_err()
    });
}

#[test]
fn a_source_with_unusable_keyframes_is_reencoded_from_within() {
    // One keyframe, then the run begins in the middle and cuts every 10 pictures.
    let clip = Clip::make(320, 200, 60, 600);
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, true);
    f.cut(0, 12_800);
    let (before, after) = clip.samples.split_at(25);
    before.iter().for_each(|s| f.offer(FrameBody::Sample(s.clone())));
    f.offer(FrameBody::Pause);
    let start = pts(&after[0]);
    f.run(&clip, start, false);
    let mut cuts = Vec::new();
    for (index, sample) in after.iter().enumerate() {
        if index % 10 == 0 {
            cuts.push(pts(sample));
            f.cut(pts(sample), 12_800);
        }
        f.offer(FrameBody::Sample(sample.clone()));
    }
    f.offer(FrameBody::Pause);
    f.drained(1, &[Rendition::Source, R160]);
    for rendition in [Rendition::Source, R160] {
        let rung = f.of(1, rendition);
        assert_eq!(rung.times(), after.iter().map(pts).collect::<Vec<_>>(), "{rendition}");
        assert_eq!(rung.keyframes(), cuts, "{rendition}");
    }
    assert_eq!(decode(&f.of(1, Rendition::Source)), (35, 320, 200));
    let passed = f.forwarded.iter().filter(|f| matches!(f.body, FrameBody::Sample(_))).count();
    assert_eq!(passed, 25, "only the first run's are passed through");
}

#[test]
fn cuts_in_another_timescale_and_between_pictures() {
    let clip = Clip::make(320, 200, 40, 600);
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, false);
    for (index, sample) in clip.samples.iter().enumerate() {
        // 400 ms in milliseconds: exactly picture 10; 801 ms: the one after it, 21.
        match index {
            0 => drop(f.cut(0, 1000)),
            10 => drop(f.cut(400, 1000)),
            20 => drop(f.cut(801, 1000)),
            _ => {}
        }
        f.offer(FrameBody::Sample(sample.clone()));
    }
    f.offer(FrameBody::Pause);
    f.drained(0, &[Rendition::Source, R160]);
    assert_eq!(f.of(0, R160).keyframes(), [0, 10 * 512, 21 * 512]);
}

#[test]
fn hevc_and_av1_get_a_rung_of_their_own_size() {
    let encoders = [
        (
            "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 ! h265parse ! \
          video/x-h265,stream-format=hvc1,alignment=au",
            Codec::Hevc,
        ),
        (
            "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=10 ! \
          av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu",
            Codec::Av1,
        ),
    ];
    for (encoder, codec) in encoders {
        let clip = Clip::run(
            &format!(
                "videotestsrc num-buffers=20 pattern=ball ! \
                 video/x-raw,format=I420,width=284,height=160,framerate=25/1 ! {encoder} ! \
                 appsink name=out sync=false"
            ),
            codec,
        );
        let mut f = Fixture::new(small_ladder());
        f.run(&clip, 0, true);
        let cuts = f.publish(&clip, 0);
        f.offer(FrameBody::Pause);
        f.drained(0, &[R160]);
        assert_eq!(f.of(0, R160).times(), clip.times(), "{codec:?}");
        assert_eq!(f.of(0, R160).keyframes(), cuts, "{codec:?}");
        assert_eq!(decode(&f.of(0, R160)), (20, 284, 160), "{codec:?}");
        let still = thumbnail(&clip.init, &clip.samples[0].data, 100).unwrap();
        assert_eq!(still[..2], [0xff, 0xd8], "{codec:?}");
    }
}

#[test]
fn a_replay_encodes_nothing_twice() {
    let clip = Clip::make(320, 200, 30, 10);
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, true);
    f.publish(&clip, 0);
    let first: Vec<_> = std::mem::take(&mut f.forwarded);
    // The run's frames again, from the middle, as a new generation would send them.
    f.pool.rewound();
    let mut again = Vec::new();
    for frame in &first[10..] {
        f.pool.offer(frame.clone(), &mut again);
    }
    assert_eq!(again.len(), first.len() - 10);
    f.offer(FrameBody::Pause);
    f.drained(0, &[R160]);
    assert_eq!(f.of(0, R160).times(), clip.times());
}

#[test]
fn without_a_rung_nothing_is_made() {
    let clip = Clip::make(64, 64, 5, 5);
    for config in [small_ladder(), TranscodeConfig { enabled: false, ..small_ladder() }] {
        let disabled = !config.enabled;
        let mut f = Fixture::new(config);
        f.run(&clip, 0, !disabled);
        f.publish(&clip, 0);
        f.offer(FrameBody::Pause);
        f.offer(FrameBody::End);
        let FrameBody::Run(run) = &f.forwarded[0].body else { panic!() };
        assert!(run.passthrough && run.rungs.is_empty());
        assert_eq!(f.forwarded.len(), 5 + 4);
        assert!(f.pool.snapshot().is_empty());
        assert_eq!(f.intake.unread_bytes(), 0);
    }
}

#[test]
fn sound_passes_by() {
    let clip = Clip::make(320, 200, 5, 5);
    let mut f = Fixture::new(small_ladder());
    f.run(&clip, 0, false);
    let audio = Sample { rendition: Rendition::Audio, ..clip.samples[0].clone() };
    f.offer(FrameBody::Sample(audio));
    assert_eq!(f.forwarded.len(), 2);
    f.pool.forget(f.stream);
}

#[test]
fn a_still_is_a_jpeg_of_that_width() {
    let clip = Clip::sample_clip();
    let still = thumbnail(&clip.init, &clip.samples[0].data, 320).unwrap();
    assert_eq!(still[..2], [0xff, 0xd8]);
    assert!(still.len() > 1000);
    let broken = thumbnail(&clip.init, &[0, 0, 0, 4, 1, 2, 3, 4], 320);
    assert!(broken.is_err());
    assert!(thumbnail(&clip.init, &[], 320).is_err());
}
