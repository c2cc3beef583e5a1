//! PROTOCOLS §4 and the rules of the timeline, one test per row.

use super::*;

#[test]
fn a_plain_stream_has_cuts_on_keyframes_and_exact_times() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 7000, 25);
    feed.body(PacketBody::Stop);
    feed.body(PacketBody::End);
    feed.check();
    assert_eq!(feed.cut_ms(false), [0, 2000, 4000, 6000]);
    let run = feed.runs()[0];
    assert!(run.passthrough && run.rungs.is_empty());
    assert_eq!(run.start_wall_us, WALL);
    let video = run.video.as_ref().unwrap();
    assert_eq!((video.timescale, video.sample_ticks), (90_000, 3600));
    assert_eq!(video.kind, Kind::Video { width: 1280, height: 720, fps: Some((25, 1)) });
    assert!(feed.samples(Rendition::Source).iter().zip(0..).all(|(s, n)| s.dts == n * 3600));
    assert!(feed.samples(Rendition::Audio).iter().zip(0..).all(|(s, n)| s.dts == n * 1024));
    assert_eq!((feed.samples(Rendition::Source).len(), feed.dropped()), (175, 0));
    assert_eq!(feed.pauses(), 1);
    let health = feed.health();
    assert_eq!((health[2].fps, health[2].keyframe_interval_ms), (25.0, Some(1000)));
    assert!(health[2].av_drift_ms.unwrap().abs() < 50);
}

#[test]
fn order_is_run_cut_samples_checkpoint() {
    let mut feed = Feed::started();
    feed.configs();
    feed.picture(0, true);
    let names: Vec<_> = feed.frames().map(|frame| format!("{:?}", frame.body)).collect();
    let starts = ["Run(", "Cut(", "Sample(", "Checkpoint("];
    assert!(
        names.len() == 4 && names.iter().zip(starts).all(|(name, start)| name.starts_with(start))
    );
}

#[test]
fn b_frames_begin_at_the_first_picture_shown() {
    let mut feed = Feed::started();
    feed.configs();
    for (n, cts) in [80, 200, 80, 0, 40].into_iter().cycle().take(60).enumerate() {
        feed.shown(n as i64 * 40, cts, n % 50 == 0);
        feed.now_ms += 40;
    }
    feed.check();
    let run = feed.runs()[0];
    let first = feed.samples(Rendition::Source)[0].clone();
    assert_eq!((first.dts, i64::from(first.cts)), (0, 7200));
    assert_eq!(run.start.ticks, 7200);
    assert_eq!(feed.cut_ms(false), [80, 2080]);
}

#[test]
fn audio_only_and_video_only() {
    let mut feed = Feed::started();
    feed.asc();
    feed.tracks(0, 0, 6000, None, true);
    feed.check();
    assert!(feed.runs()[0].video.is_none());
    let cuts = feed.cut_ms(false);
    assert!(cuts.len() == 3 && (2000..2022).contains(&cuts[1]), "{cuts:?}");

    let mut feed = Feed::started();
    feed.avc(80);
    feed.tracks(0, 0, 5000, Some(50), false);
    feed.check();
    assert!(feed.runs()[0].audio.is_none());
    assert_eq!(feed.cut_ms(false), [0, 2000, 4000]);
    assert_eq!(feed.samples(Rendition::Source).len(), 125);
}

#[test]
fn metadata_shortens_the_wait_for_a_track() {
    let mut feed = Feed::started();
    let data = b"\x02\x00\x0aonMetaData\x03\x00\x0cvideocodecid\x00\x40\x1c\0\0\0\0\0\0\0\0\x09";
    feed.body(PacketBody::Data { timestamp_ms: 0, data: Bytes::from_static(data) });
    feed.avc(80);
    feed.picture(0, true);
    assert_eq!(feed.runs().len(), 1);
}

#[test]
fn a_late_track_joins_by_a_discontinuity() {
    let mut feed = Feed::started();
    feed.avc(80);
    feed.tracks(0, 0, 4000, Some(25), false);
    feed.asc();
    feed.play(0, 4000, 4000, 25);
    feed.check();
    let runs = feed.runs();
    assert_eq!(runs.len(), 2);
    assert!(runs[0].audio.is_none() && runs[1].audio.is_some());
    // In step with the source: no time is lost.
    assert_eq!(runs[1].start.as_micros(), 5_000_000);

    let mut feed = Feed::started();
    feed.asc();
    feed.tracks(0, 0, 3000, None, true);
    feed.avc(80);
    feed.play(0, 3000, 3000, 25);
    feed.check();
    assert!(feed.runs()[1].video.is_some());
}

#[test]
fn a_picture_that_stalls_leaves_the_sound_going() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 4000, 25);
    feed.tracks(0, 4000, 12_000, None, true);
    feed.play(0, 16_000, 4000, 25);
    feed.check();
    assert_eq!(feed.runs().len(), 1);
    let cuts = feed.cut_ms(false);
    assert!(cuts.windows(2).all(|pair| pair[1] - pair[0] <= 4000), "{cuts:?}");
    assert!(cuts.contains(&16_000), "{cuts:?}");
    // The picture's gap begins where it stopped, in the middle of a segment, and
    // ends with the segment after that: together no longer than a segment may be.
    let gap_ends = cuts.iter().filter(|cut| **cut > 4000).nth(1);
    assert!(gap_ends.is_some_and(|end| *end <= 4000 + 4000), "{cuts:?}");
}

#[test]
fn a_stream_that_starts_without_a_keyframe_waits_for_one() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 40, 2000, 25);
    feed.check();
    let first = feed.samples(Rendition::Source)[0];
    assert!(first.keyframe);
    assert_eq!(feed.runs()[0].start.ticks, 0);
    assert!(feed.dropped() >= 24);
    let sound = feed.samples(Rendition::Audio)[0].dts;
    assert!((0..1024).contains(&sound), "{sound}");
}

#[test]
fn rare_keyframes_are_re_encoded() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 25_000, 250);
    feed.check();
    let runs = feed.runs();
    assert_eq!(runs.iter().map(|run| run.passthrough).collect::<Vec<_>>(), [true, false]);
    let cuts = feed.cut_ms(false);
    assert_eq!(cuts[0], 0);
    assert!((3900..=4080).contains(&cuts[1]), "{cuts:?}");
    assert!(
        cuts[1..].windows(2).all(|pair| pair[1] - pair[0] == 2000 || pair[0] == cuts[1]),
        "{cuts:?}"
    );
    assert_eq!(feed.samples(Rendition::Source).len(), 625);

    let mut feed = Feed::new(DemuxConfig { can_encode: vec![], ..DemuxConfig::default() });
    feed.start();
    feed.configs();
    feed.play(0, 0, 25_000, 250);
    feed.check();
    assert_eq!(feed.runs().len(), 1);
    assert_eq!(feed.cut_ms(false), [0, 10_000, 20_000]);
}

#[test]
fn keyframes_every_four_seconds_are_still_passed_through() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 13_000, 100);
    feed.check();
    assert_eq!(feed.cut_ms(false), [0, 4000, 8000, 12_000]);
    assert_eq!(feed.runs().len(), 1);
}

#[test]
fn jumps_of_both_tracks_become_one_discontinuity() {
    for base in [3_600_000, -1_000_000, 17_000_000_000] {
        let mut feed = Feed::started();
        feed.configs();
        feed.play(1_000_000, 0, 5000, 25);
        feed.play(1_000_000 + base, 5000, 5000, 25);
        feed.check();
        let runs = feed.runs();
        assert_eq!(runs.len(), 2, "{base}");
        let start = runs[1].start.as_micros();
        assert!((5_000_000..5_100_000).contains(&start), "{start}");
        assert_eq!(feed.health().iter().map(|health| health.discontinuities).sum::<u32>(), 1);
        assert!(feed.samples(Rendition::Source).len() > 245);
    }
}

#[test]
fn one_wild_timestamp_costs_one_message() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 3000, 25);
    feed.block(9_000_000);
    feed.play(0, 3000, 3000, 25);
    feed.check();
    assert_eq!((feed.runs().len(), feed.dropped()), (1, 1));
}

#[test]
fn one_track_that_jumps_alone_is_joined_by_arrival() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 4000, 25);
    for n in 0..100u64 {
        feed.now_ms = 4000 + n * 40;
        feed.picture(4000 + n as i64 * 40, n % 25 == 0);
        feed.block(500_000 + n as i64 * 40);
    }
    feed.check();
    assert_eq!(feed.runs().len(), 2);
    let last = feed.samples(Rendition::Audio).last().unwrap().dts;
    let picture = feed.samples(Rendition::Source).last().unwrap().dts;
    assert!((last / 48 - picture / 90).abs() < 100, "{last} {picture}");
}

#[test]
fn timestamps_of_four_hours_and_fifty_days_are_nothing_special() {
    for base in [(1 << 24) - 2000, (1i64 << 32) - 2000] {
        let mut feed = Feed::started();
        feed.configs();
        feed.play(base, 0, 5000, 25);
        feed.check();
        assert_eq!(feed.runs().len(), 1);
        assert_eq!(feed.cut_ms(false), [0, 2000, 4000]);
    }
}

#[test]
fn another_resolution_is_another_run_at_once() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 4000, 25);
    feed.configs();
    feed.play(0, 4000, 1000, 25);
    feed.avc(40);
    feed.play(0, 5000, 4000, 25);
    feed.check();
    let runs = feed.runs();
    assert_eq!(runs.len(), 2, "the same configuration again is no change");
    let kind = runs[1].video.as_ref().unwrap().kind;
    assert!(matches!(kind, Kind::Video { width: 640, .. }));
    assert!((5_000_000..5_030_000).contains(&runs[1].start.as_micros()));
}

#[test]
fn guessed_decode_times_are_put_in_order() {
    let mut feed = Feed::started();
    feed.configs();
    for (n, ms) in [0, 40, 120, 80, 80, 200, 160, 280].into_iter().enumerate() {
        feed.now_ms += 40;
        feed.picture(ms, n == 0);
    }
    feed.check();
    assert_eq!(feed.samples(Rendition::Source).len(), 8);
}

#[test]
fn damaged_messages_are_dropped_and_counted() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 2000, 25);
    let bad: [&[u8]; 7] = [
        &[],
        &[0x17],
        &[0x27, 1, 0, 0],
        &[0x27, 1, 0, 0, 0],
        &[0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1],
        &[0x22, 0, 0],
        &[0x17, 0, 0, 0, 0, 1, 2],
    ];
    for data in bad {
        feed.video(2000, Bytes::from_static(data));
        feed.audio(2000, Bytes::from_static(&[]));
    }
    feed.play(0, 2000, 2000, 25);
    feed.check();
    assert_eq!((feed.runs().len(), feed.dropped()), (1, 14));
}

#[test]
fn a_reconnect_goes_on_with_gaps_that_tile() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 5000, 25);
    feed.body(PacketBody::Stop);
    feed.idle(7000);
    feed.start();
    feed.configs();
    feed.play(777_000, 0, 3000, 25);
    feed.check();
    let runs = feed.runs();
    assert_eq!(runs.len(), 2);
    let gaps = feed.cut_ms(true);
    assert_eq!(gaps.len(), 4, "{gaps:?}");
    assert!(gaps.windows(2).all(|pair| pair[1] - pair[0] == 2000));
    let start = runs[1].start.as_micros() / 1000;
    assert!((12_000..12_050).contains(&start) && start - gaps[3] <= 2000);
    assert_eq!(runs[1].start_wall_us, runs[0].start_wall_us + runs[1].start.as_micros() as u64);
}

#[test]
fn a_silent_publisher_leaves_gaps_and_comes_back() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 3000, 25);
    feed.idle(8000);
    assert_eq!(feed.pauses(), 1);
    feed.play(0, 3000, 3000, 25);
    feed.check();
    assert_eq!(feed.runs().len(), 2);
    assert!(feed.cut_ms(true).len() >= 3);
    // The backlog of a stopped process arrives at once: no jump, only late.
    assert_eq!(feed.health().iter().map(|health| health.discontinuities).sum::<u32>(), 0);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 5000, 25);
    let resume = feed.demuxer.resume().unwrap();
    assert_eq!((resume.next_msn, resume.next_run, resume.origin_wall_us), (3, 1, WALL));
    let mut next = Feed::resumed(DemuxConfig::default(), Some(resume));
    next.now_ms = 65_000;
    next.start();
    next.configs();
    next.play(0, 0, 3000, 25);
    next.check();
    let gaps: Vec<_> = next.cuts().into_iter().filter(|cut| cut.gap).collect();
    assert!((1..=4).contains(&gaps.len()), "{gaps:?}");
    assert_eq!((gaps[0].msn, next.runs()[0].number), (3, 1));
    assert!((65_000_000..65_200_000).contains(&next.runs()[0].start.as_micros()));
}

#[test]
fn a_wall_clock_that_is_set_moves_no_media_time() {
    let mut feed = Feed::started();
    feed.configs();
    feed.play(0, 0, 3000, 25);
    feed.now_ms += 7_200_000;
    feed.play(0, 3000, 3000, 25);
    feed.check();
    assert_eq!(feed.runs().len(), 1);
    assert!(feed.cut_ms(true).is_empty());
}

#[test]
fn injected_faults_trip_here_or_pass() {
    let site = |operator: &str| FaultSite {
        operator: operator.into(),
        times_left: Arc::new(AtomicU32::new(1)),
    };
    let mut feed = Feed::started();
    feed.body(PacketBody::Fault(site("segment")));
    assert!(feed.frames().any(|frame| matches!(frame.body, FrameBody::Fault(_))));
    let tripped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        feed.body(PacketBody::Fault(site("demux")));
    }));
    assert!(tripped.is_err());
}

#[test]
fn enhanced_opus_and_av1() {
    let mut feed = Feed::started();
    // av1C with a sequence header OBU, 1280x720: as SVT-AV1 writes it.
    let av1c = [
        0x81, 0x05, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x21,
        0x95, 0x90,
    ];
    feed.video(0, [b"\x90av01".as_slice(), &av1c].concat());
    feed.video(0, b"\x91av01\x12\x00\x0a\x01\x00".to_vec());
    feed.audio(0, b"\x91Opus\xfc\x01\x02".to_vec());
    feed.audio(20, b"\x91Opus\xfc\x01\x02".to_vec());
    feed.check();
    let run = feed.runs()[0];
    let video = run.video.as_ref().unwrap();
    assert_eq!(video.codec, Codec::Av1);
    let Kind::Video { width, height, .. } = video.kind else { panic!("no picture") };
    assert_eq!((width, height), (1280, 720));
    assert_eq!(&feed.samples(Rendition::Source)[0].data[..], b"\x0a\x01\x00");
    let audio = run.audio.as_ref().unwrap();
    assert_eq!((audio.codec, audio.timescale, audio.sample_ticks), (Codec::Opus, 48_000, 960));
    assert_eq!(feed.samples(Rendition::Audio)[1].dts, 960);
}
