//! Whatever comes, nothing panics and the rules of the direct path hold.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Play { ms: u64, gop: u64, video: bool, sound: bool },
    Jump(i64),
    Burst(u64),
    Idle(u64),
    Stop,
    Start,
    Avc(bool),
    Asc,
    Wild { video: bool, ms: i64 },
    Bytes { video: bool, data: Vec<u8> },
    Backward,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (40..4000u64, 1..150u64, any::<bool>(), any::<bool>())
            .prop_map(|(ms, gop, video, sound)| Step::Play { ms, gop, video, sound }),
        1 => (-10_000..10_000i64).prop_map(Step::Jump),
        1 => any::<i32>().prop_map(|by| Step::Jump(i64::from(by))),
        1 => (40..6000u64).prop_map(Step::Burst),
        2 => (500..9000u64).prop_map(Step::Idle),
        1 => Just(Step::Stop),
        2 => Just(Step::Start),
        1 => any::<bool>().prop_map(Step::Avc),
        1 => Just(Step::Asc),
        1 => (any::<bool>(), any::<i64>()).prop_map(|(video, ms)| Step::Wild { video, ms }),
        1 => (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(video, data)| Step::Bytes { video, data }),
        1 => Just(Step::Backward),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_direct_path_keeps_its_rules(steps in proptest::collection::vec(step(), 1..24)) {
        let mut feed = Feed::started();
        feed.configs();
        let (mut base, mut at) = (0i64, 0u64);
        for step in steps {
            match step {
                Step::Play { ms, gop, video, sound } => {
                    feed.tracks(base, at, ms, video.then_some(gop), sound);
                    at += ms;
                }
                Step::Jump(by) => base += by,
                Step::Burst(ms) => {
                    let now = feed.now_ms;
                    feed.play(base, at, ms, 25);
                    at += ms;
                    feed.now_ms = now;
                    // Arrival may also run backwards: the server's clock was set.
                }
                Step::Idle(ms) => feed.idle(ms),
                Step::Stop => feed.body(PacketBody::Stop),
                Step::Start => {
                    feed.start();
                    feed.configs();
                }
                Step::Avc(wide) => feed.avc(if wide { 80 } else { 40 }),
                Step::Asc => feed.asc(),
                Step::Wild { video: true, ms } => feed.picture(ms, true),
                Step::Wild { video: false, ms } => feed.block(ms),
                Step::Bytes { video: true, data } => feed.video(base + at as i64, data),
                Step::Bytes { video: false, data } => feed.audio(base + at as i64, data),
                Step::Backward => feed.now_ms = feed.now_ms.saturating_sub(1000),
            }
        }
        feed.body(PacketBody::End);
        feed.check();
    }

    #[test]
    fn garbage_never_panics(messages in proptest::collection::vec(
        (any::<bool>(), 0..8u8, proptest::collection::vec(any::<u8>(), 0..60), -5000..5000i64), 0..60)
    ) {
        let mut feed = Feed::started();
        let heads: [&[u8]; 8] =
            [b"\x17\x00\0\0\0", b"\x17\x01\0\0\0", b"\x90hvc1", b"\x90av01", b"\x91av01", b"\xaf\x00", b"\xaf\x01", b""];
        for (video, head, data, ms) in messages {
            feed.now_ms += 40;
            let data = [heads[usize::from(head)], &data].concat();
            if video { feed.video(ms, data) } else { feed.audio(ms, data) }
        }
        feed.check();
    }
}
