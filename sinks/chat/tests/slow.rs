//! Viewers who don't read, or slowly: told, never skipped, and nobody else's trouble.

use chat::{FlushConfig, Left, Start};

use super::support::{Fixture, Heard, with_each_outlet};

/// What a viewer with buffers of 4 KiB leaves to the ring.
const TINY: Option<usize> = Some(4096);

fn is_text(heard: &&Heard) -> bool {
    matches!(heard, Heard::Text(_))
}

#[test]
fn who_falls_off_the_ring_is_told_what_to_come_back_with() {
    with_each_outlet(|config| {
        let config = FlushConfig { unsent_bytes_max: 4096, ..config };
        let fixture = Fixture::new(&config, 1 << 16);
        let mut slow = fixture.join_at(1, Start::Live, &[], TINY);
        let mut quick = fixture.join(2);
        let text = |seq: u64| format!("{seq} {}", "x".repeat(500));
        let mut seq = 0;
        while fixture.flushers.totals().behind == 0 {
            seq += 1;
            fixture.room.publish(seq, &text(seq)).unwrap();
            // The quick one sets the pace: it never has more than one message before it.
            assert_eq!(quick.text(), text(seq));
        }
        let rest = slow.rest();
        let Some(Heard::Close(4008, why)) = rest.last() else { panic!("{:?}", rest.last()) };
        let got = rest.iter().filter(is_text).count() as u64;
        assert_eq!(*why, format!(r#"{{"reason":"behind","epoch":7,"seq":{got}}}"#));
        for (heard, number) in rest[..rest.len() - 1].iter().zip(1..) {
            assert_eq!(*heard, Heard::Text(text(number)), "an unbroken run up to the end");
        }
        fixture.handler.wait(|told| told.left == [(1, Left::Behind)]);
        let again = fixture.join_at(1, Start::After { epoch: 7, seq: got }, &[], None);
        assert_eq!(again.greeting, format!("hello 7 {seq} false"));
    });
}

#[test]
fn who_reads_late_but_in_time_gets_all() {
    with_each_outlet(|config| {
        let config = FlushConfig { unsent_bytes_max: 4096, ..config };
        let fixture = Fixture::new(&config, 1 << 20);
        let mut slow = fixture.join_at(1, Start::Live, &[], TINY);
        slow.gulp = 777;
        fixture.publish(1..=500, |seq| format!("{seq} {}", "y".repeat(1500)));
        for seq in 1..=500 {
            assert_eq!(slow.text(), format!("{seq} {}", "y".repeat(1500)));
        }
        assert!(fixture.flushers.totals().blocked > 0, "the socket was full at times");
    });
}

#[test]
fn a_full_socket_is_left_alone_until_there_is_room() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&FlushConfig { loops: 1, ..config }, 1 << 22);
        // Between local sockets short frames fit whole or not at all.
        let mut full = fixture.local(1);
        let mut other = fixture.join(2);
        let mut seq = 0;
        while fixture.flushers.totals().blocked == 0 {
            seq += 1;
            fixture.room.publish(seq, "short").unwrap();
            assert_eq!(other.text(), "short");
        }
        // It says more than is heard in one turn, so the loop comes back to it.
        full.say(&"x".repeat(6000));
        fixture.handler.wait(|told| told.said.len() == 1);
        let before = fixture.flushers.totals().blocked;
        for turn in 0..50 {
            // An answer takes a turn.
            other.say(&format!("echo {turn}"));
            assert_eq!(other.text(), turn.to_string());
        }
        let tries = fixture.flushers.totals().blocked - before;
        assert!(tries < 5, "{tries} tries in fifty turns");
        for _ in 0..seq {
            assert_eq!(full.text(), "short");
        }
    });
}

/// Replies and pongs to a viewer whose socket is full come between frames, in their order.
#[test]
fn replies_find_their_place_between_frames() {
    with_each_outlet(|config| {
        let config = FlushConfig { unsent_bytes_max: 4096, ..config };
        let fixture = Fixture::new(&config, 1 << 20);
        let mut slow = fixture.join_at(1, Start::Live, &[], TINY);
        for seq in 1..=300 {
            fixture.room.publish(seq, &format!("{seq} {}", "z".repeat(1000))).unwrap();
            slow.say(&format!("echo reply {seq}"));
        }
        slow.send(0x89, b"still there?");
        fixture.handler.wait(|told| told.said.len() == 300);
        let (mut messages, mut replies, mut pongs) = (0, 0, 0);
        while messages < 300 || replies < 300 || pongs < 1 {
            match slow.next() {
                Heard::Text(text) if text.starts_with("reply ") => {
                    replies += 1;
                    assert_eq!(text, format!("reply {replies}"));
                }
                Heard::Text(text) => {
                    messages += 1;
                    assert_eq!(text, format!("{messages} {}", "z".repeat(1000)));
                }
                Heard::Pong(payload) => {
                    assert_eq!(payload, b"still there?");
                    pongs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn unread_replies_are_bounded() {
    with_each_outlet(|config| {
        let config = FlushConfig { unsent_bytes_max: 4096, pending_bytes_max: 10_000, ..config };
        let fixture = Fixture::new(&config, 1 << 16);
        let _slow = fixture.join_at(1, Start::Live, &[], TINY);
        let id = fixture.handler.told(|told| told.ids[0].1);
        while fixture.handler.told(|told| told.left.is_empty()) {
            // Full is the inbox's bound; the loop is working on it.
            let _full = fixture.flushers.reply(id, &"r".repeat(1000));
            std::thread::yield_now();
        }
        fixture.handler.wait(|told| told.left == [(1, Left::Behind)]);
    });
}
