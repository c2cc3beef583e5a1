//! Everybody gets everything, in order, once.

use std::time::Duration;

use chat::{FlushConfig, Start};
use proptest::prelude::*;

use super::support::{Fixture, Heard, with_each_outlet};

#[test]
fn everybody_gets_everything_in_order() {
    with_each_outlet(|config| {
        for window in [Duration::ZERO, Duration::from_millis(50)] {
            let config = FlushConfig { window, ..config.clone() };
            let fixture = Fixture::new(&config, 1 << 20);
            let mut viewers: Vec<_> = (0..40).map(|user| fixture.join(user)).collect();
            fixture.publish(1..=1000, |seq| format!("message {seq}"));
            for viewer in &mut viewers {
                for seq in 1..=1000 {
                    assert_eq!(viewer.text(), format!("message {seq}"));
                }
            }
        }
    });
}

#[test]
fn rooms_are_apart() {
    with_each_outlet(|config| {
        let mut fixture = Fixture::new(&config, 1 << 16);
        let mut here = fixture.join(1);
        let other = chat::Room::new("other", 8, 0, 1 << 16);
        let first = std::mem::replace(&mut fixture.room, other);
        let mut there = fixture.join(2);
        for seq in 1..=100 {
            first.publish(seq, &format!("here {seq}")).unwrap();
            fixture.room.publish(seq, &format!("there {seq}")).unwrap();
        }
        for seq in 1..=100 {
            assert_eq!(here.text(), format!("here {seq}"));
            assert_eq!(there.text(), format!("there {seq}"));
        }
    });
}

#[test]
fn who_comes_back_gets_what_was_missed_and_no_more() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        fixture.publish(1..=100, |seq| format!("message {seq}"));
        let start = Start::After { epoch: 7, seq: 40 };
        let mut viewer = fixture.join_at(1, start, &[], None);
        assert_eq!(viewer.greeting, "hello 7 40 true");
        fixture.publish(101..=120, |seq| format!("message {seq}"));
        for seq in 41..=120 {
            assert_eq!(viewer.text(), format!("message {seq}"));
        }
    });
}

#[test]
fn what_cannot_be_recovered_is_said() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 4096);
        fixture.publish(1..=100, |seq| format!("{seq:0100}"));
        for start in [
            Start::After { epoch: 7, seq: 2 },
            Start::After { epoch: 6, seq: 99 },
            Start::After { epoch: 7, seq: 101 },
        ] {
            let mut viewer = fixture.join_at(1, start, &[], None);
            assert_eq!(viewer.greeting, "hello 7 100 false");
            fixture.room.notice("from here on").unwrap();
            assert_eq!(viewer.text(), "from here on");
        }
    });
}

/// Recovery of more than is written at once, across the ring's end.
#[test]
fn a_long_recovery_goes_on_while_news_come() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 20);
        fixture.publish(1..=4000, |seq| format!("{seq:0300}"));
        let held = 4000 - ((1 << 20) / 320) as u64;
        let start = Start::After { epoch: 7, seq: held };
        let mut viewer = fixture.join_at(1, start, &[], Some(4096));
        fixture.publish(4001..=4010, |seq| format!("{seq:0300}"));
        for seq in held + 1..=4010 {
            assert_eq!(viewer.text(), format!("{seq:0300}"));
        }
    });
}

#[test]
fn joins_come_through_while_a_room_is_hot() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&FlushConfig { window: Duration::ZERO, ..config }, 1 << 22);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seq = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && seq < 20_000 {
                    seq += 1;
                    fixture.room.publish(seq, &format!("{seq:0100}")).unwrap();
                    std::thread::yield_now();
                }
            });
            let viewers: Vec<_> = (0..200).map(|user| fixture.join(user)).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            for mut viewer in viewers {
                let first: u64 = viewer.greeting.split(' ').nth(2).unwrap().parse().unwrap();
                for heard in viewer.close() {
                    let Heard::Text(text) = heard else { break };
                    let seq: u64 = text.parse().unwrap();
                    assert!(seq > first, "nothing from before the join");
                }
            }
        });
    });
}

#[test]
fn presence_follows() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut viewers: Vec<_> = [1, 1, 2].map(|user| fixture.join(user)).into();
        let seen = fixture.room.presence().viewers();
        assert_eq!((seen.sockets, seen.users), (3, 2));
        viewers.remove(0).close();
        drop(viewers.remove(1));
        fixture.handler.wait(|told| told.left.len() == 2);
        // The count is lowered just after the handler is told.
        drop(viewers);
        fixture.handler.wait(|told| told.left.len() == 3);
        drop(fixture.flushers);
        assert_eq!(fixture.room.presence().viewers(), chat::Viewers::default());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Connections that break anywhere, again and again: by epoch and number each viewer goes
    /// on where it was, though what was on its way is lost with the connection.
    #[test]
    fn who_is_cut_comes_back_without_a_gap(
        cuts in prop::collection::vec(prop::collection::vec(0usize..120, 1..8), 1..12),
    ) {
        with_each_outlet(|config| {
            let fixture = Fixture::new(&config, 1 << 22);
            std::thread::scope(|scope| {
                for (user, cuts) in cuts.iter().enumerate() {
                    let fixture = &fixture;
                    scope.spawn(move || {
                        let mut last = 0;
                        for reads in cuts.iter().copied().chain([usize::MAX]) {
                            let start = Start::After { epoch: 7, seq: last };
                            let mut viewer = fixture.join_at(user as u128, start, &[], None);
                            assert!(viewer.greeting.ends_with(" true"), "{}", viewer.greeting);
                            for _ in (last + 1..=1000).take(reads) {
                                assert_eq!(viewer.text(), format!("message {}", last + 1));
                                last += 1;
                            }
                        }
                        assert_eq!(last, 1000);
                    });
                }
                scope.spawn(|| {
                    for seq in 1..=1000 {
                        fixture.publish(seq..=seq, |seq| format!("message {seq}"));
                        std::thread::yield_now();
                    }
                });
            });
        });
    }

    /// Viewers with any buffers and any appetite, who come and go: each gets one unbroken
    /// run of messages from where it joined.
    #[test]
    fn no_gap_no_duplicate(
        viewers in prop::collection::vec((1usize..3000, 16_384usize..65_536, 0usize..400), 1..12),
        lens in prop::collection::vec(0usize..2000, 1..50),
    ) {
        with_each_outlet(|config| {
            let fixture = Fixture::new(&config, 1 << 22);
            let text = |seq: u64| format!("{seq} {}", "x".repeat(lens[seq as usize % lens.len()]));
            std::thread::scope(|scope| {
                for (user, (gulp, rcvbuf, stays)) in viewers.iter().copied().enumerate() {
                    let (fixture, text) = (&fixture, &text);
                    scope.spawn(move || {
                        let mut viewer = fixture.join_at(user as u128, Start::Live, &[], Some(rcvbuf));
                        viewer.gulp = gulp;
                        let first: u64 = viewer.greeting.split(' ').nth(2).unwrap().parse().unwrap();
                        // The later ones come when all is said.
                        for seq in (first + 1..=400).take(stays) {
                            assert_eq!(viewer.text(), text(seq));
                        }
                    });
                }
                scope.spawn(|| fixture.publish(1..=400, text));
            });
            fixture.handler.wait(|told| told.left.len() == viewers.len());
        });
    }
}
