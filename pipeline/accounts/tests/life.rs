//! Accounts from the first day on.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn who_signs_up_can_log_in_also_after_a_restart() {
    let place = Place::new();
    let made = {
        let accounts = place.open().await;
        let made = accounts.sign_up(said("Ann"), from(1)).await.unwrap();
        assert_eq!((made.name.as_str(), made.roles.len()), ("Ann", 1));
        assert_eq!(made.created_at_us, START_US);
        made
    };
    let accounts = place.open().await;
    for login in ["Ann", "ANN", "ann@example.com", "ANN@EXAMPLE.com"] {
        let issued = accounts.log_in(login, &right(), from(1)).await.unwrap();
        assert_eq!(issued.user, made, "{login}");
        let session = accounts.verify(&issued.token).unwrap();
        assert_eq!((session.user_id, session.name.as_str()), (made.user_id, "Ann"));
        assert_eq!(session.expires_at_us, issued.expires_at_us);
        assert!(accounts.is_valid(&session));
    }
    assert_eq!(accounts.get(made.user_id), Some(made.clone()));
    assert_eq!(accounts.find("aNN"), Some(made));
    assert_eq!(accounts.find("bob"), None);
}

#[tokio::test]
async fn what_is_said_wrongly_is_refused() {
    let accounts = Place::new().open().await;
    let with = |name: &str, email: &str, password: &str| SignUp {
        name: name.into(),
        email: email.into(),
        password: Password::new(password),
    };
    for (said, status) in [
        (with("a b", "a@example.com", PASSWORD), 400),
        (with("ann", "example.com", PASSWORD), 400),
        (with("ann", "a@example.com", "short"), 400),
        (with("annabella", "a@example.com", "AnnaBella"), 400),
        (with("admin", "a@example.com", PASSWORD), 400),
        (with("ann", "a@example.com", PASSWORD), 200),
        (with("Ann", "b@example.com", PASSWORD), 409),
        (with("\u{0430}nn", "b@example.com", PASSWORD), 400),
        (with("bob", "A@Example.com", PASSWORD), 409),
    ] {
        let text = format!("{said:?}");
        let got = accounts.sign_up(said, from(1)).await;
        assert_eq!(
            got.as_ref().map_or_else(AccountError::status, |_| 200),
            status,
            "{text} {got:?}"
        );
    }
    assert_eq!(accounts.count(), 1);
}

/// The same answer after the same work, so that nobody learns who is here.
#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_alike() {
    let place = Place::new();
    let accounts = place.open().await;
    let ann = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let bob = accounts.sign_up(said("bob"), from(1)).await.unwrap();
    accounts.set_disabled(Caller::Operator, bob.user_id, true).await.unwrap();
    let endless = "x".repeat(1 << 20);
    let mut answers = BTreeSet::new();
    for (at, (login, password)) in [
        ("ann", wrong()),
        ("nobody", right()),
        ("", right()),
        (endless.as_str(), right()),
        ("nobody@example.com", right()),
        ("bob", right()),
        ("ann", Password::new(endless.as_str())),
    ]
    .into_iter()
    .enumerate()
    {
        let before = accounts.hashings_total();
        let error = accounts.log_in(login, &password, from(at as u32)).await.unwrap_err();
        assert_eq!(accounts.hashings_total() - before, 1, "{at}");
        answers.insert((error.to_string(), error.status(), error.retry_after_s()));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers.first().unwrap().1, 401);
    // The throttle treats them alike as well.
    for login in ["carol", "ann"] {
        let mut slowed_after = 0;
        while accounts.log_in(login, &wrong(), from(50 + slowed_after)).await.unwrap_err().status()
            == 401
        {
            slowed_after += 1;
        }
        let failed_before = if login == "ann" { 2 } else { 0 };
        assert_eq!(slowed_after + failed_before, 6, "{login}");
    }
    assert!(accounts.get(ann.user_id).is_some());
}

#[tokio::test]
async fn guessing_gets_slower_and_costs_no_hashing() {
    let place = Place::new();
    let accounts = place.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    for n in 0..6 {
        let error = accounts.log_in("ann", &wrong(), from(n)).await.unwrap_err();
        assert_eq!(error.status(), 401);
    }
    let before = accounts.hashings_total();
    let error = accounts.log_in("ann", &right(), from(7)).await.unwrap_err();
    assert_eq!((error.status(), error.retry_after_s()), (429, Some(1)));
    assert_eq!(accounts.hashings_total(), before);
    place.pass(Duration::from_secs(1));
    accounts.log_in("ann", &wrong(), from(8)).await.unwrap_err();
    let error = accounts.log_in("ann", &right(), from(9)).await.unwrap_err();
    assert_eq!(error.retry_after_s(), Some(2), "it doubles");
    place.pass(Duration::from_secs(2));
    accounts.log_in("ann", &right(), from(10)).await.unwrap();
    // Who knows the password starts anew.
    for n in 0..5 {
        assert_eq!(accounts.log_in("ann", &wrong(), from(20 + n)).await.unwrap_err().status(), 401);
    }
    accounts.log_in("ann", &right(), from(30)).await.unwrap();
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let place = Place::new();
    let accounts = place.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let here = accounts.log_in("ann", &right(), from(1)).await.unwrap();
    let there = accounts.log_in("ann", &right(), from(2)).await.unwrap();
    let session = accounts.verify(&here.token).unwrap();
    let new = Password::new("another horse altogether");
    let error = accounts.change_password(&session, &wrong(), &new, from(1)).await.unwrap_err();
    assert_eq!(error.status(), 401);
    let error = accounts.change_password(&session, &right(), &Password::new("ann"), from(1)).await;
    assert_eq!(error.unwrap_err().status(), 400);
    assert!(accounts.is_valid(&session));
    let renewed = accounts.change_password(&session, &right(), &new, from(1)).await.unwrap();
    // All in the same microsecond.
    assert!(accounts.verify(&renewed.token).is_ok());
    for over in [&here, &there] {
        assert_eq!(accounts.verify(&over.token), Err(TokenError::Ended));
    }
    assert!(!accounts.is_valid(&session));
    assert_eq!(accounts.log_in("ann", &right(), from(3)).await.unwrap_err().status(), 401);
    accounts.log_in("ann", &new, from(3)).await.unwrap();
}

#[tokio::test]
async fn log_out_everywhere_is_for_good_and_divides_a_microsecond() {
    let place = Place::new();
    let (old, new) = {
        let accounts = place.open().await;
        accounts.sign_up(said("ann"), from(1)).await.unwrap();
        let old = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
        let session = accounts.verify(&old).unwrap();
        accounts.log_out_everywhere(&session).await.unwrap();
        let new = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
        let error = accounts.log_out_everywhere(&session).await.unwrap_err();
        assert_eq!(error.status(), 401, "a session that is over ends no others");
        (old, new)
    };
    let accounts = place.open().await;
    assert_eq!(accounts.verify(&old), Err(TokenError::Ended));
    assert!(accounts.verify(&new).is_ok());
}

#[tokio::test]
async fn the_disabled_are_out_at_once() {
    let place = Place::new();
    let accounts = place.open().await;
    let ann = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let token = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    let session = accounts.verify(&token).unwrap();
    accounts.set_disabled(Caller::Operator, ann.user_id, true).await.unwrap();
    assert_eq!(accounts.verify(&token), Err(TokenError::Ended));
    assert!(!accounts.is_valid(&session));
    accounts.set_disabled(Caller::Operator, ann.user_id, false).await.unwrap();
    assert_eq!(accounts.verify(&token), Err(TokenError::Ended), "it doesn't come back");
    accounts.log_in("ann", &right(), from(2)).await.unwrap();
}

#[tokio::test]
async fn roles_are_given_by_those_who_may() {
    let place = Place::new();
    let accounts = place.open().await;
    let mut sessions = Vec::new();
    for name in ["ann", "bob", "eve"] {
        accounts.sign_up(said(name), from(1)).await.unwrap();
        let issued = accounts.log_in(name, &right(), from(1)).await.unwrap();
        sessions.push(accounts.verify(&issued.token).unwrap());
    }
    let [ann, bob, eve] = &sessions[..] else { unreachable!() };
    let roles = |roles: &[Role]| roles.iter().copied().collect::<BTreeSet<_>>();
    let by_eve = accounts.set_roles(Caller::User(eve), eve.user_id, roles(&[Role::Admin])).await;
    assert_eq!(by_eve.unwrap_err().status(), 403);
    accounts.set_roles(Caller::Operator, ann.user_id, roles(&[Role::Admin])).await.unwrap();
    // At once, for sessions that were there before.
    accounts.set_roles(Caller::User(ann), bob.user_id, roles(&[Role::Streamer])).await.unwrap();
    let channel = bob.user_id;
    let moderator = accounts.set_moderator(Caller::User(bob), channel, eve.user_id, true).await;
    assert_eq!(moderator.unwrap().roles, roles(&[Role::Viewer, Role::Moderator(channel)]));
    let by_eve = accounts.set_moderator(Caller::User(eve), channel, ann.user_id, true).await;
    assert_eq!(by_eve.unwrap_err().status(), 403);
    let token = accounts.log_in("eve", &right(), from(1)).await.unwrap().token;
    let session = accounts.verify(&token).unwrap();
    assert!(session.may_moderate(channel) && !session.may_moderate(ann.user_id));
    assert!(!session.has(Role::Streamer));
    accounts.set_moderator(Caller::User(bob), channel, eve.user_id, false).await.unwrap();
    assert!(
        !accounts.verify(&token).unwrap().may_moderate(channel),
        "the token is older than that"
    );
    let many = (0..=ROLES_MAX as u64).map(|n| Role::Moderator(UserId::at(START_US + n * S)));
    let many = accounts.set_roles(Caller::Operator, eve.user_id, many.collect()).await;
    assert_eq!(many.unwrap_err().status(), 400);
    let unknown = accounts.set_roles(Caller::Operator, UserId::at(1), BTreeSet::new()).await;
    assert_eq!(unknown.unwrap_err().status(), 404);
    // What was given is there after a restart.
    drop(accounts);
    let accounts = place.open().await;
    assert!(accounts.get(bob.user_id).unwrap().roles.contains(&Role::Streamer));
}

/// A token with as many roles as may be still fits into a request's header.
#[tokio::test]
async fn the_largest_token_is_accepted() {
    let accounts = Place::new().open().await;
    let ann = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let many = (0..ROLES_MAX as u64).map(|n| Role::Moderator(UserId::at(START_US + n * S)));
    accounts.set_roles(Caller::Operator, ann.user_id, many.collect()).await.unwrap();
    let token = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    assert!(token.len() < TOKEN_BYTES_MAX, "{}", token.len());
    assert_eq!(accounts.verify(&token).unwrap().roles.len(), ROLES_MAX + 1);
}

#[tokio::test]
async fn dearer_hashing_reaches_those_who_log_in() {
    let mut place = Place::new();
    place.open().await.sign_up(said("ann"), from(1)).await.unwrap();
    place.config.hash.passes = 2;
    let accounts = place.open().await;
    accounts.log_in("ann", &wrong(), from(1)).await.unwrap_err();
    assert_eq!(accounts.hashings_total(), 1);
    accounts.log_in("ann", &right(), from(1)).await.unwrap();
    assert_eq!(accounts.hashings_total(), 3, "verified and hashed anew");
    accounts.log_in("ann", &right(), from(1)).await.unwrap();
    assert_eq!(accounts.hashings_total(), 4);
}

#[tokio::test]
async fn nothing_secret_is_printed_or_lies_in_the_log_in_the_clear() {
    let place = Place::new();
    let log = Arc::new(Embedded::open(place.dir.path()).unwrap());
    let accounts = place.open_on(Arc::clone(&log) as Arc<dyn Log>, place.dir.path()).await;
    let user = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let issued = accounts.log_in("ann", &right(), from(1)).await.unwrap();
    let session = accounts.verify(&issued.token).unwrap();
    let error = accounts.log_in("ann", &wrong(), from(1)).await.unwrap_err();
    let printed =
        format!("{accounts:?} {user:?} {issued:?} {session:?} {error:?} {:?}", said("ann"));
    let secret = issued.token.rsplit('.').next().unwrap();
    for hidden in ["horse", "@example.com", secret, "argon2"] {
        assert!(!printed.contains(hidden), "{hidden} in {printed}");
    }
    let stored = log.latest(Topic::Catalog).await.unwrap();
    let value = String::from_utf8(stored[0].value.as_ref().unwrap().to_vec()).unwrap();
    assert!(value.contains("$argon2id$") && !value.contains("horse"));
    assert_eq!(stored[0].key, format!("user/{}", user.user_id));
    // A broken entry is named, and not quoted.
    let broken = NewRecord::new(0, "user/x", r#"{"user_id":"$argon2id$secret"}"#);
    log.append(Topic::Catalog, broken).await.unwrap();
    let clock = Clock::system();
    let config = place.config.clone();
    let error = Accounts::open(log, place.dir.path(), config, clock, None).await.unwrap_err();
    assert!(
        error.to_string().contains("user/x") && !error.to_string().contains("secret"),
        "{error}"
    );
}
