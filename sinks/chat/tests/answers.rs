//! What viewers say is heard, and answered as the RFC wants it.

use std::time::Duration;

use chat::{FlushConfig, Left, Start};

use super::support::{Fixture, Heard, masked, with_each_outlet};

#[test]
fn texts_are_heard_however_they_come() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut early = masked(0x81, b"said with the request");
        let rest = early.split_off(9);
        let mut viewer = fixture.join_at(5, Start::Live, &early, None);
        std::io::Write::write_all(&mut viewer.stream, &rest).unwrap();
        viewer.send(0x01, b"in ");
        viewer.send(0x89, b"ping");
        viewer.send(0x80, "pieces: κόσμε".as_bytes());
        assert_eq!(viewer.next(), Heard::Pong(b"ping".to_vec()));
        fixture.handler.wait(|told| told.said.len() == 2);
        fixture.handler.told(|told| {
            assert_eq!(told.said[0], (5, "said with the request".to_owned()));
            assert_eq!(told.said[1], (5, "in pieces: κόσμε".to_owned()));
        });
        assert_eq!(viewer.close(), [Heard::Close(1000, String::new())]);
        fixture.handler.wait(|told| !told.left.is_empty());
        let closed = Left::Closed(Some(chat::ws::CloseCode::NORMAL));
        fixture.handler.told(|told| assert_eq!(told.left, [(5, closed)]));
    });
}

#[test]
fn a_close_without_a_code_is_answered_by_one() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut viewer = fixture.join(1);
        viewer.send(0x88, b"");
        assert_eq!(viewer.rest(), [Heard::Close(1005, String::new())]);
    });
}

#[test]
fn each_violation_has_its_code() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let too_long = masked(0x81, &vec![b'x'; 16 * 1024 + 1]);
        for (bytes, code) in [
            (masked(0xc1, b"reserved bit"), 1002),
            (masked(0x83, b"reserved opcode"), 1002),
            (b"\x81\x02no".to_vec(), 1002),
            (masked(0x80, b"continues nothing"), 1002),
            (masked(0x81, b"\xff"), 1007),
            (masked(0x88, b"\x03"), 1002),
            (masked(0x82, b"bytes"), 1003),
            (too_long, 1009),
        ] {
            let mut viewer = fixture.join(1);
            std::io::Write::write_all(&mut viewer.stream, &bytes).unwrap();
            // More may be on its way; the close frame must arrive all the same.
            viewer.say("and more");
            let rest = viewer.rest();
            assert!(matches!(rest[..], [Heard::Close(c, _)] if c == code), "{rest:?}, not {code}");
        }
        fixture.handler.told(|told| assert!(told.said.is_empty()));
    });
}

#[test]
fn one_who_floods_is_heard_in_turn_with_others() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&FlushConfig { loops: 1, ..config }, 1 << 16);
        let (mut flooder, mut other) = (fixture.join(1), fixture.join(2));
        let gate = fixture.handler.gate.lock();
        flooder.say("wait");
        // All of it is there before the loop goes on, and the other's word behind it.
        let flood = masked(0x81, b"x").repeat(5000);
        std::io::Write::write_all(&mut flooder.stream, &flood).unwrap();
        other.say("me too");
        fixture.publish(1..=1, |_| "news".to_owned());
        drop(gate);
        assert_eq!(other.text(), "news");
        fixture.handler.wait(|told| told.said.len() == 5002);
        fixture.handler.told(|told| {
            let heard = told.said.iter().position(|said| said.0 == 2).unwrap();
            assert!(heard < 5001, "before the last of the flood, not {heard}");
        });
    });
}

#[test]
fn a_panic_of_the_handler_ends_one_connection() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&FlushConfig { loops: 1, ..config }, 1 << 16);
        let (mut one, mut other) = (fixture.join(1), fixture.join(2));
        one.say("panic");
        assert!(matches!(one.rest()[..], [Heard::Close(1011, _)]));
        fixture.room.notice("the loop goes on").unwrap();
        assert_eq!(other.text(), "the loop goes on");
    });
}

#[test]
fn pings_are_sent_and_have_to_be_answered() {
    with_each_outlet(|config| {
        let (ping, pong) = (Duration::from_millis(300), Duration::from_millis(1500));
        let fixture = Fixture::new(&FlushConfig { ping, pong, ..config }, 1 << 16);
        let (mut lively, mut mute) = (fixture.join(1), fixture.join(2));
        let silence = std::thread::spawn(move || mute.rest());
        while !silence.is_finished() {
            assert_eq!(lively.next(), Heard::Ping(vec![]));
            lively.send(0x8a, b"");
        }
        let heard = silence.join().unwrap();
        let (last, pings) = heard.split_last().unwrap();
        assert!(matches!(last, Heard::Close(1001, _)), "{last:?}");
        assert!(!pings.is_empty() && pings.iter().all(|ping| *ping == Heard::Ping(vec![])));
        fixture.handler.wait(|told| told.left == [(2, Left::Silent)]);
    });
}

/// Where TLS is spoken somebody pumps between it and one end of a pair.
#[test]
fn a_pair_of_local_sockets_will_do() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 22);
        let mut viewer = fixture.local(1);
        fixture.publish(1..=2000, |seq| format!("{seq:0500}"));
        for seq in 1..=2000 {
            assert_eq!(viewer.text(), format!("{seq:0500}"));
        }
        viewer.say("echo heard");
        assert_eq!(viewer.text(), "heard");
    });
}
