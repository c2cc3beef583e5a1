//! Who may speak, how often, and who may stop them.

use super::*;

#[test]
fn limits_are_by_user_and_by_room() {
    let mut fixture = Fixture::new(RulesConfig { room_per_minute: 30, ..RulesConfig::default() });
    for n in 0..20 {
        fixture.accepted(person(1), &format!("message {n}"), START_US + n * S / 2);
    }
    let refusal = fixture.refused(person(1), "one more", START_US + 10 * S);
    assert_eq!(
        (refusal.code(), refusal.status(), refusal.retry_after_s()),
        ("user_limit", 429, Some(50))
    );
    for n in 0..10 {
        fixture.accepted(person(2), &format!("message {n}"), START_US + 10 * S);
    }
    let refusal = fixture.refused(person(3), "one more", START_US + 10 * S);
    assert_eq!((refusal.code(), refusal.status()), ("room_limit", 429));
    let wait = refusal.retry_after_s().unwrap();
    assert!((50..=51).contains(&wait), "{wait}");
    fixture.accepted(person(1), "one more", START_US + 61 * S);
}

#[test]
fn the_servers_limit_is_of_all_rooms() {
    let server = ServerLimit::new(10);
    let mut rooms = [room(RulesConfig::default()), room(RulesConfig::default())];
    let mut accepted = 0;
    for n in 0..30u128 {
        let message_id = MessageId(Uuid::from_u128(n));
        let said = Said { message_id, from: person(n), text: "hi".into(), client_id: None };
        match rooms[n as usize % 2].push(said, START_US, &server) {
            Verdict::Accepted(_) => accepted += 1,
            Verdict::Refused(refusal) => {
                assert_eq!((refusal.code(), refusal.status()), ("server_limit", 429))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 10);
    assert_eq!(rooms[0].next_seq() + rooms[1].next_seq(), 12);
}

/// A lost acknowledgement: the same message again is the same message.
#[test]
fn a_retry_is_told_what_the_first_one_was() {
    let mut fixture = Fixture::new(RulesConfig { retries_max: 3, ..RulesConfig::default() });
    let Verdict::Accepted(first) = fixture.say_as(person(1), "hello", Some("c1"), START_US) else {
        panic!("refused");
    };
    let receipt = Receipt { message_id: first.message_id, seq: 1, sent_at_us: START_US };
    for later in [0, 1, 299] {
        let again = fixture.say_as(person(1), "hello", Some("c1"), START_US + later * S);
        assert_eq!(again, Verdict::Known(receipt));
    }
    // Also after a crash.
    let mut rebuilt = Fixture::new(RulesConfig { retries_max: 3, ..RulesConfig::default() });
    rebuilt.room.replay(&fixture.records[0]).unwrap();
    assert_eq!(
        rebuilt.say_as(person(1), "hello", Some("c1"), START_US + S),
        Verdict::Known(receipt)
    );
    // Another's name for a message is another's; after five minutes it is forgotten.
    assert!(matches!(
        fixture.say_as(person(2), "hello", Some("c1"), START_US),
        Verdict::Accepted(_)
    ));
    let later = START_US + 300 * S;
    assert!(matches!(fixture.say_as(person(1), "hello", Some("c1"), later), Verdict::Accepted(_)));
    // What was refused is judged anew: nothing was done.
    let long = "x".repeat(501);
    assert!(matches!(fixture.say_as(person(3), &long, Some("c2"), later), Verdict::Refused(_)));
    assert!(matches!(fixture.say_as(person(3), "short", Some("c2"), later), Verdict::Accepted(_)));
    let id = "x".repeat(65);
    assert_eq!(
        fixture.say_as(person(3), "x", Some(&id), later),
        Verdict::Refused(Refusal::ClientId)
    );
    // No more than so many: the oldest of those three goes.
    for n in 10..12 {
        fixture.say_as(person(n), "hi", Some("c"), later + S);
    }
    assert!(matches!(
        fixture.say_as(person(1), "HELLO", Some("c1"), later + 31 * S),
        Verdict::Accepted(_)
    ));
    assert!(matches!(
        fixture.say_as(person(11), "hi", Some("c"), later + 31 * S),
        Verdict::Known(_)
    ));
}

#[test]
fn modes_are_for_viewers() {
    let mut fixture = Fixture::new(RulesConfig::default());
    let set = |fixture: &mut Fixture, mode: Mode, now| {
        fixture.act(moderator(), Act::Mode { mode }, now).unwrap();
    };
    set(&mut fixture, Mode { slow_s: Some(120), ..Mode::default() }, START_US);
    fixture.accepted(person(1), "one", START_US);
    let refusal = fixture.refused(person(1), "two", START_US + 100 * S);
    assert_eq!(
        (refusal.code(), refusal.status(), refusal.retry_after_s()),
        ("slow", 429, Some(20))
    );
    fixture.accepted(person(1), "two", START_US + 120 * S);
    fixture.accepted(moderator(), "one", START_US + 120 * S);
    fixture.accepted(moderator(), "two", START_US + 120 * S);

    let now = START_US + 1000 * S;
    set(&mut fixture, Mode { followers_s: Some(600), ..Mode::default() }, now);
    let mut follower = person(2);
    assert_eq!(fixture.refused(follower.clone(), "hi", now), Refusal::FollowersOnly(600));
    follower.relation.follows_since_us = Some(now - 599 * S);
    assert_eq!(fixture.refused(follower.clone(), "hi", now).status(), 403);
    fixture.accepted(follower, "hi", now + S);
    set(&mut fixture, Mode { subscribers: true, ..Mode::default() }, now);
    let mut subscriber = person(3);
    let refusal = fixture.refused(subscriber.clone(), "hi", now);
    assert_eq!((refusal.code(), refusal.status()), ("subscribers_only", 403));
    subscriber.relation.subscribes = true;
    fixture.accepted(subscriber, "hi", now);
    fixture.accepted(with(4, Standing::Streamer), "hi", now);

    for mode in [
        Mode { slow_s: Some(0), ..Mode::default() },
        Mode { slow_s: Some(301), ..Mode::default() },
        Mode { followers_s: Some(u32::MAX), ..Mode::default() },
    ] {
        let error = fixture.act(moderator(), Act::Mode { mode }, now).unwrap_err();
        assert_eq!(error.status(), 400);
    }
    assert!(fixture.room.mode().subscribers);
}

#[test]
fn bans_hold_at_once_and_time_outs_end() {
    let mut fixture = Fixture::new(RulesConfig::default());
    fixture.accepted(person(1), "hi", START_US);
    fixture.act(moderator(), Act::Ban { user_id: user(1) }, START_US).unwrap();
    assert_eq!(fixture.refused(person(1), "hey", START_US), Refusal::Banned);
    assert!(fixture.room.is_banned(user(1), START_US + 1_000_000 * S));
    let until_us = START_US + 60 * S;
    fixture.act(moderator(), Act::TimeOut { user_id: user(2), until_us }, START_US).unwrap();
    let refusal = fixture.refused(person(2), "hi", START_US + 10 * S);
    assert_eq!(
        (refusal.code(), refusal.status(), refusal.retry_after_s()),
        ("timed_out", 403, Some(50))
    );
    fixture.accepted(person(2), "hi", until_us);
    fixture.act(moderator(), Act::Unban { user_id: user(1) }, until_us).unwrap();
    fixture.accepted(person(1), "back", until_us);
    // A time-out replaces a ban, and the other way round.
    fixture.act(moderator(), Act::Ban { user_id: user(3) }, until_us).unwrap();
    let later = until_us + 60 * S;
    fixture.act(moderator(), Act::TimeOut { user_id: user(3), until_us: later }, until_us).unwrap();
    assert!(!fixture.room.is_banned(user(3), later));
    for until_us in [0, until_us, until_us + 400 * 86_400 * S] {
        let act = Act::TimeOut { user_id: user(4), until_us };
        assert_eq!(fixture.act(moderator(), act, later).unwrap_err().status(), 400);
    }
    // The next broadcast's room knows them.
    fixture.act(moderator(), Act::Ban { user_id: user(5) }, later).unwrap();
    let next = fixture.room.succeed(StreamId(Uuid::from_u128(2)));
    assert!(next.is_banned(user(5), later) && next.next_seq() == 1);
}

#[test]
fn nobody_stops_their_equals() {
    use Standing::{Admin, Moderator, Streamer, Viewer};
    let mut fixture = Fixture::new(RulesConfig::default());
    for (by, target, is_allowed) in [
        (Viewer, Viewer, false),
        (Moderator, Viewer, true),
        (Moderator, Moderator, false),
        (Moderator, Streamer, false),
        (Streamer, Moderator, true),
        (Streamer, Streamer, false),
        (Streamer, Admin, false),
        (Admin, Streamer, true),
        (Admin, Admin, false),
    ] {
        let act = Act::Ban { user_id: user(7) };
        let done = fixture.act_on(with(8, by), act, target, START_US);
        assert_eq!(done.is_ok(), is_allowed, "{by:?} {target:?}");
        if let Err(refusal) = done {
            assert_eq!(refusal.status(), 403);
        }
    }
    for act in [
        Act::Clear,
        Act::Unpin,
        Act::Mode { mode: Mode::default() },
        Act::Unban { user_id: user(7) },
    ] {
        assert_eq!(fixture.act(person(1), act, START_US), Err(Refusal::NotAllowed));
    }
}

#[test]
fn messages_are_deleted_cleared_and_pinned() {
    let mut fixture = Fixture::new(RulesConfig::default());
    let first = fixture.accepted(person(1), "one", START_US);
    let second = fixture.accepted(person(1), "two", START_US);
    let pinned = fixture.act(moderator(), Act::Pin { seq: first.seq }, START_US).unwrap();
    assert_eq!((pinned.seq, fixture.room.pinned()), (3, Some(1)));
    fixture.act(moderator(), Act::Delete { seq: second.seq }, START_US).unwrap();
    assert_eq!(fixture.room.pinned(), Some(1));
    fixture.act(moderator(), Act::Delete { seq: first.seq }, START_US).unwrap();
    assert_eq!(fixture.room.pinned(), None, "what is deleted isn't shown above");
    for seq in [0, 6, u64::MAX] {
        let error = fixture.act(moderator(), Act::Delete { seq }, START_US).unwrap_err();
        assert_eq!(error.status(), 404);
    }
    fixture.act(moderator(), Act::Pin { seq: 2 }, START_US).unwrap();
    fixture.act(moderator(), Act::Clear, START_US).unwrap();
    assert_eq!((fixture.room.pinned(), fixture.room.next_seq()), (None, 8));
}

#[test]
fn moderators_are_bounded_too() {
    let config = RulesConfig { acts_per_minute: 5, bans_max: 3, ..RulesConfig::default() };
    let mut fixture = Fixture::new(config);
    let mut now = START_US;
    for n in 0..5 {
        fixture.act(moderator(), Act::Unpin, now + n).unwrap();
    }
    let refusal = fixture.act(moderator(), Act::Unpin, now + 9).unwrap_err();
    assert_eq!((refusal.status(), refusal.retry_after_s().is_some()), (429, true));
    now += 61 * S;
    let until_us = now + 120 * S;
    for n in 0..3 {
        fixture.act(moderator(), Act::TimeOut { user_id: user(n), until_us }, now).unwrap();
    }
    let fourth = Act::Ban { user_id: user(4) };
    let refusal = fixture.act(moderator(), fourth.clone(), now).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyBans(3));
    fixture.act(moderator(), Act::Ban { user_id: user(1) }, now).unwrap();
    // Those that are over make room.
    fixture.act(moderator(), fourth, until_us).unwrap();
    assert!(fixture.room.is_banned(user(4), until_us) && fixture.room.is_banned(user(1), until_us));
    assert!(!fixture.room.is_banned(user(0), until_us));
}

#[test]
fn time_that_goes_back_counts_as_now() {
    let mut fixture = Fixture::new(RulesConfig::default());
    fixture.accepted(person(1), "one", START_US);
    let second = fixture.accepted(person(2), "two", START_US - 10 * S);
    assert_eq!(second.sent_at_us, START_US);
    let act = fixture.act(moderator(), Act::Clear, 0).unwrap();
    assert_eq!(act.sent_at_us, START_US);
}

#[test]
fn the_quiet_are_forgotten() {
    let mut fixture = Fixture::new(RulesConfig::default());
    for n in 0..1000 {
        fixture.accepted(person(n), "hi", START_US);
    }
    let busy = fixture.room.weight();
    fixture.accepted(person(1), "hi", START_US + 301 * S);
    assert!(fixture.room.weight() < busy / 10, "{busy} {}", fixture.room.weight());
}

#[test]
fn a_replay_has_no_gap_and_no_stranger() {
    let mut fixture = Fixture::new(RulesConfig::default());
    for n in 0..5 {
        fixture.accepted(person(n), "hi", START_US);
    }
    let mut rebuilt = room(RulesConfig::default());
    // The log's beginning is gone.
    assert_eq!(rebuilt.replay(&fixture.records[1]), Ok(true));
    assert_eq!(rebuilt.next_seq(), 3);
    assert_eq!(rebuilt.replay(&fixture.records[1]), Ok(false));
    assert_eq!(rebuilt.replay(&fixture.records[0]), Ok(false));
    let error = rebuilt.replay(&fixture.records[3]).unwrap_err();
    assert_eq!(error, ReplayError::Gap { stream_id: stream(), expected: 3, found: 4 });
    let mut other = Room::new(
        StreamId(Uuid::from_u128(9)),
        Arc::new(Rules::compile(RulesConfig::default()).unwrap()),
    );
    assert!(matches!(other.replay(&fixture.records[0]), Err(ReplayError::OtherRoom { .. })));
    assert!(
        Room::from_bytes(b"{}", Arc::new(Rules::compile(RulesConfig::default()).unwrap())).is_err()
    );
}
