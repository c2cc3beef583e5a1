//! What holds whatever comes.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Say { by: u8, text: u8, client: Option<u8>, standing: u8 },
    Act { kind: u8, on: u8, by: u8 },
    HandOver,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let say = (0u8..6, 0u8..12, prop::option::of(0u8..8), 0u8..12)
        .prop_map(|(by, text, client, standing)| Step::Say { by, text, client, standing });
    let act = (0u8..9, 0u8..6, 0u8..3).prop_map(|(kind, on, by)| Step::Act { kind, on, by });
    let step = prop_oneof![12 => say, 3 => act, 1 => Just(Step::HandOver)];
    // Mostly bursts; now and then minutes, and time that goes back.
    let time = prop_oneof![8 => 0u64..2 * S, 2 => 0u64..40 * S, 1 => 0u64..400 * S];
    (step, time)
}

fn text(n: u8) -> String {
    match n {
        0 => String::new(),
        1 => "a blocked spam word".into(),
        2 => "see evil.com".into(),
        3 => "x".repeat(501),
        4 => "wave :wave: ü".into(),
        n => format!("message number {}", (b'a' + n) as char),
    }
}

fn config() -> RulesConfig {
    RulesConfig {
        user_per_minute: 4,
        room_per_minute: 12,
        acts_per_minute: 6,
        bans_max: 3,
        blocked_words: vec!["spam".into()],
        links: LinkPolicy::Refuse,
        emotes: vec![("wave".into(), "e1".into())],
        ..RulesConfig::default()
    }
}

fn run(fixture: &mut Fixture, step: &Step, now_us: u64) -> String {
    match step {
        Step::Say { by, text: n, client, standing } => {
            let standing = match standing {
                0 => Standing::Moderator,
                1 => Standing::Streamer,
                _ => Standing::Viewer,
            };
            let client = client.map(|n| format!("c{n}"));
            let from = with(u128::from(*by), standing);
            format!("{:?}", fixture.say_as(from, &text(*n), client.as_deref(), now_us))
        }
        Step::Act { kind, on, by } => {
            let user_id = user(u128::from(*on));
            let act = match kind {
                0 => Act::Ban { user_id },
                1 | 2 => Act::TimeOut { user_id, until_us: now_us + u64::from(*on) * 10 * S },
                3 => Act::Unban { user_id },
                4 => Act::Delete { seq: u64::from(*on) },
                5 => Act::Pin { seq: u64::from(*on) },
                6 => Act::Clear,
                7 => {
                    Act::Mode { mode: Mode { slow_s: Some(u16::from(*on) * 7), ..Mode::default() } }
                }
                _ => Act::Mode { mode: Mode { subscribers: *on == 0, ..Mode::default() } },
            };
            let by = with(50, if *by == 0 { Standing::Viewer } else { Standing::Moderator });
            format!("{:?}", fixture.act(by, act, now_us))
        }
        Step::HandOver => String::new(),
    }
}

/// No minute has more than `limit` of these times, which rise.
fn within(times: &[u64], limit: u32) -> bool {
    let mut from = 0;
    times.iter().enumerate().all(|(at, time)| {
        while times[from] + 60 * S <= *time {
            from += 1;
        }
        at - from < limit as usize
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rooms_keep_their_promises(steps in prop::collection::vec(step(), 1..120)) {
        let mut moved = Fixture::new(config());
        let mut stayed = Fixture::new(config());
        let rules = Arc::new(Rules::compile(config()).unwrap());
        let mut rebuilt = Room::new(stream(), Arc::clone(&rules));
        let mut now_us = START_US;
        for (step, time) in &steps {
            now_us += time;
            if matches!(step, Step::HandOver) {
                // To another process, as bytes.
                let bytes = moved.room.to_bytes().unwrap();
                moved.room = Room::from_bytes(&bytes, Arc::clone(&rules)).unwrap();
            }
            // Now and then a clock is behind.
            let told_us = if time % 7 == 0 { now_us.saturating_sub(3 * S) } else { now_us };
            let (one, other) = (run(&mut moved, step, told_us), run(&mut stayed, step, told_us));
            prop_assert_eq!(one, other, "handing over changes nothing");
        }
        prop_assert_eq!(&moved.room.state, &stayed.room.state);

        // The records have every number once, in order, and time never falls.
        let records = &moved.records;
        let mut last_us = 0;
        for (at, record) in records.iter().enumerate() {
            prop_assert_eq!(record.seq(), at as u64 + 1);
            prop_assert!(record.sent_at_us() >= last_us);
            last_us = record.sent_at_us();
        }

        // A room made of them is the room that made them, through the log's bytes.
        for record in records {
            let record = ChatRecord::decode(&record.encode().unwrap()).unwrap();
            prop_assert_eq!(rebuilt.replay(&record), Ok(true));
            prop_assert_eq!(rebuilt.replay(&record), Ok(false), "twice does nothing");
        }
        if !records.is_empty() {
            prop_assert_eq!(&rebuilt.state, &moved.room.state);
        }

        // No minute has more than the limits, and nothing that was refused is there.
        let (mut by_user, mut all, mut acts) = (HashMap::<_, Vec<u64>>::new(), vec![], vec![]);
        let (mut banned, mut named) = (HashMap::new(), HashMap::new());
        for record in records {
            match record {
                ChatRecord::Message(message) => {
                    let at = message.sent_at_us;
                    by_user.entry(message.user_id).or_default().push(at);
                    all.push(at);
                    if let Some(client_id) = &message.client_id {
                        let before = named.insert((message.user_id, client_id), at);
                        let is_retry = before.is_some_and(|before| at < before + 300 * S);
                        prop_assert!(!is_retry, "a retry of a known message");
                    }
                    prop_assert!(!message.text.contains("spam") && !message.text.is_empty());
                    prop_assert!(message.text.chars().count() <= 500);
                    let until: Option<&Option<u64>> = banned.get(&message.user_id);
                    let is_banned = until.is_some_and(|until| until.is_none_or(|u| u > at));
                    prop_assert!(!is_banned || message.badges.contains(&Badge::Streamer));
                }
                ChatRecord::Act(act) => {
                    acts.push(act.sent_at_us);
                    match &act.act {
                        Act::Ban { user_id } => {
                            banned.insert(*user_id, None);
                        }
                        Act::TimeOut { user_id, until_us } => {
                            banned.insert(*user_id, Some(*until_us));
                        }
                        Act::Unban { user_id } => {
                            banned.remove(user_id);
                        }
                        _ => {}
                    }
                }
            }
        }
        prop_assert!(by_user.values().all(|times| within(times, 4)));
        prop_assert!(within(&all, 12) && within(&acts, 6));
    }

    /// A room is as good as its worst message: any text at all.
    #[test]
    fn any_text_is_judged(texts in prop::collection::vec(any::<String>(), 1..20)) {
        let mut fixture = Fixture::new(config());
        for (n, text) in texts.iter().enumerate() {
            let verdict = fixture.say(person(n as u128), text, START_US + n as u64 * 60 * S);
            if let Verdict::Refused(refusal) = verdict {
                prop_assert!([400, 403, 429].contains(&refusal.status()));
                prop_assert_eq!(refusal.retry_after_s().is_some(), refusal.status() == 429);
            }
        }
    }
}
