//! What may be said.

use super::*;

#[test]
fn a_message_is_kept_with_all_that_belongs_to_it() {
    let config =
        RulesConfig { emotes: vec![("wave".into(), "e1".into())], ..RulesConfig::default() };
    let mut fixture = Fixture::new(config);
    let mut from = with(1, Standing::Moderator);
    from.relation.subscribes = true;
    let message = fixture.accepted(from, " hi :wave:\n", START_US);
    assert_eq!(
        (message.seq, message.text.as_str(), message.name.as_str()),
        (1, "hi :wave:", "user1")
    );
    assert_eq!(message.emotes, [EmoteRange { start: 3, end: 9, id: "e1".into() }]);
    assert_eq!(message.badges, [Badge::Moderator, Badge::Subscriber]);
    assert_eq!((message.sent_at_us, message.user_id), (START_US, user(1)));
    let record = ChatRecord::Message(message);
    assert_eq!(ChatRecord::decode(&record.encode().unwrap()), Ok(record));
    // Script is text.
    let script = "<script>alert(1)</script>";
    assert_eq!(fixture.accepted(person(2), script, START_US).text, script);
}

#[test]
fn refusals_say_what_the_api_answers() {
    let config = RulesConfig {
        blocked_words: vec!["spam".into()],
        blocked_patterns: vec![r"\d{16}".into()],
        links: LinkPolicy::Only(vec!["Example.com".into()]),
        ..RulesConfig::default()
    };
    let mut fixture = Fixture::new(config);
    for (text, code, status) in [
        ("", "empty", 400),
        (" \u{200b} ", "empty", 400),
        (&"x".repeat(501), "too_long", 400),
        (&format!("x{}", "\u{301}".repeat(20)), "marks", 400),
        ("buy ЅРАM now", "look_alike", 400),
        ("buy sp4m now", "word", 400),
        ("my card is 1234567812345678", "word", 400),
        ("go to evil.com", "link", 400),
    ] {
        let refusal = fixture.refused(person(1), text, START_US);
        assert_eq!(
            (refusal.code(), refusal.status(), refusal.retry_after_s()),
            (code, status, None),
            "{text}"
        );
    }
    fixture.accepted(person(1), "go to www.example.com/x", START_US);
    // The channel's people may link, and may not say everything either.
    fixture.accepted(moderator(), "go to evil.com", START_US);
    assert_eq!(fixture.refused(moderator(), "spam", START_US), Refusal::Word);
    assert!(!Refusal::Word.to_string().contains("spam"));
    assert_eq!(fixture.room.next_seq(), 3, "what was refused has no number");
}

#[test]
fn the_same_again_is_refused_for_a_while_however_it_is_written() {
    let mut fixture = Fixture::new(RulesConfig::default());
    fixture.accepted(person(1), "Free nitro here!", START_US);
    for again in ["Free nitro here!", "FREE  NITRO HERE", "f r e e nitro here", "Frée nitro here…"]
    {
        let refusal = fixture.refused(person(1), again, START_US + 10 * S);
        assert_eq!((refusal.status(), refusal.retry_after_s()), (429, Some(20)), "{again}");
    }
    // Others may say it, and so may they, later or with something between.
    fixture.accepted(person(2), "Free nitro here!", START_US + 10 * S);
    fixture.accepted(person(1), "something else", START_US + 11 * S);
    assert_eq!(fixture.refused(person(1), "free nitro here", START_US + 12 * S).code(), "repeated");
    fixture.accepted(person(1), "free nitro here", START_US + 30 * S);
    fixture.accepted(moderator(), "rules are below", START_US + 31 * S);
    fixture.accepted(moderator(), "rules are below", START_US + 31 * S);
}

#[test]
fn settings_that_cant_be_used_are_named() {
    let compile = |change: fn(&mut RulesConfig)| {
        let mut config = RulesConfig::default();
        change(&mut config);
        Rules::compile(config).map(drop).unwrap_err().to_string()
    };
    for (error, named) in [
        (compile(|c| c.chars_max = 501), "chars_max"),
        (compile(|c| c.chars_max = 0), "chars_max"),
        (compile(|c| c.user_per_minute = 0), "user_per_minute"),
        (compile(|c| c.room_per_minute = 100_000_000), "room_per_minute"),
        (compile(|c| c.acts_per_minute = 0), "acts_per_minute"),
        (compile(|c| c.repeat = Duration::from_secs(301)), "repeat"),
        (compile(|c| c.retry = Duration::from_secs(3601)), "retry"),
        (compile(|c| c.retries_max = 1_000_001), "retries_max"),
        (compile(|c| c.bans_max = 1_000_001), "bans_max"),
        (compile(|c| c.links = LinkPolicy::Only(vec!["localhost".into()])), "localhost"),
        (compile(|c| c.links = LinkPolicy::Only(vec!["http://x.com".into()])), "http://x.com"),
        (compile(|c| c.blocked_words = vec!["!".into()]), "!"),
        (compile(|c| c.blocked_patterns = vec!["(a{999}){999}".into()]), "(a{999}){999}"),
        (compile(|c| c.emotes = vec![("a b".into(), "x".into())]), "a b"),
    ] {
        assert!(error.contains(named), "{error}");
    }
}
