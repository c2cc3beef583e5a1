//! Connections, rooms and loops end with a word.

use chat::ws::{CloseCode, CloseReason};
use chat::{FlushConfig, Left, Start, UserTag};

use super::support::{Fixture, Heard, with_each_outlet};

fn closed(code: u16, text: &str) -> Heard {
    Heard::Close(code, text.to_owned())
}

#[test]
fn all_sockets_of_somebody_can_be_closed() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut theirs: Vec<_> = (0..4).map(|_| fixture.join(1)).collect();
        let mut other = fixture.join(2);
        let reason = CloseReason::new(CloseCode::POLICY, "banned for 600 s");
        fixture.flushers.kick(Some(&fixture.room), UserTag(1), &reason).unwrap();
        for viewer in &mut theirs {
            assert_eq!(viewer.rest(), [closed(1008, "banned for 600 s")]);
        }
        fixture.room.notice("others stay").unwrap();
        assert_eq!(other.text(), "others stay");
        fixture.handler.told(|told| {
            assert_eq!(told.left, vec![(1, Left::Ended(CloseCode::POLICY)); 4]);
        });
    });
}

#[test]
fn one_connection_can_be_closed_and_is_no_other_later() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&FlushConfig { loops: 1, ..config }, 1 << 16);
        let mut first = fixture.join(1);
        let id = fixture.handler.told(|told| told.ids[0].1);
        fixture.flushers.reply(id, "only you").unwrap();
        assert_eq!(first.text(), "only you");
        fixture.flushers.close(id, CloseReason::new(CloseCode(4000), "go")).unwrap();
        assert_eq!(first.rest(), [closed(4000, "go")]);
        drop(first);
        // The next one is kept where the first one was, and isn't taken for it.
        let mut second = fixture.join(2);
        fixture.flushers.reply(id, "too late").unwrap();
        fixture.flushers.close(id, CloseReason::new(CloseCode(4000), "too late")).unwrap();
        fixture.room.notice("for all").unwrap();
        assert_eq!(second.text(), "for all");
    });
}

#[test]
fn a_room_that_ends_lets_nobody_in() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut viewers: Vec<_> = (0..6).map(|user| fixture.join(user)).collect();
        fixture.room.publish(1, "the last word").unwrap();
        for viewer in &mut viewers {
            assert_eq!(viewer.text(), "the last word");
        }
        fixture.room.close(CloseReason::new(CloseCode::GOING_AWAY, "the stream is over"));
        for viewer in &mut viewers {
            assert_eq!(viewer.rest(), [closed(1001, "the stream is over")]);
        }
        let mut late = fixture.socket(9, Start::Live, &[], None);
        assert_eq!(late.rest(), [closed(1001, "the stream is over")]);
        assert_eq!(fixture.room.presence().viewers(), chat::Viewers::default());
    });
}

#[test]
fn a_stop_closes_everybody() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let viewers: Vec<_> = (0..20).map(|user| fixture.join(user)).collect();
        let readers: Vec<_> = viewers
            .into_iter()
            .map(|mut viewer| std::thread::spawn(move || viewer.rest()))
            .collect();
        fixture.flushers.stop(&CloseReason::new(CloseCode(1012), "back in 5 s"));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), [closed(1012, "back in 5 s")]);
        }
        let all = fixture.handler.told(|told| told.left.len());
        assert_eq!(all, 20, "each leaves once");
        assert_eq!(fixture.room.presence().viewers(), chat::Viewers::default());
    });
}

#[test]
fn sockets_that_break_are_let_go() {
    with_each_outlet(|config| {
        let fixture = Fixture::new(&config, 1 << 16);
        let mut stays = fixture.join(1);
        for user in 2..12 {
            let viewer = fixture.join(user);
            // A reset, not an orderly end.
            socket2::SockRef::from(&viewer.stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        }
        fixture.publish(1..=50, |seq| seq.to_string());
        for seq in 1..=50 {
            assert_eq!(stays.text(), seq.to_string());
        }
        fixture.handler.wait(|told| told.left.len() == 10);
        fixture.handler.told(|told| assert!(told.left.iter().all(|(_, why)| *why == Left::Gone)));
    });
}
