//! Many at once, and what a crash leaves.

use std::fs;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_sign_ups_of_one_name_one_wins() {
    let place = Place::new();
    let accounts = place.open().await;
    let tasks: Vec<_> = (0..100u32)
        .map(|n| {
            let accounts = accounts.clone();
            // All of them look alike; no two are the same text.
            let name: String = "lIl1".chars().map(|c| if n % 2 == 0 { c } else { 'I' }).collect();
            let name = if n % 3 == 0 { name.to_uppercase() } else { name };
            let email = format!("u{n}@example.com");
            let said = SignUp { name, email, password: right() };
            tokio::spawn(async move { accounts.sign_up(said, from(n)).await })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(user) => won.push(user),
            Err(error) => assert!(matches!(error, AccountError::NameTaken), "{error}"),
        }
    }
    assert_eq!((won.len(), accounts.count()), (1, 1));
    drop(accounts);
    let accounts = place.open().await;
    assert_eq!(accounts.find(&won[0].name), Some(won[0].clone()));
    assert_eq!(accounts.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_sign_ups_of_one_address_one_wins() {
    let accounts = Place::new().open().await;
    let tasks: Vec<_> = (0..100u32)
        .map(|n| {
            let accounts = accounts.clone();
            let email = if n % 2 == 0 { "one@example.com" } else { "ONE@Example.COM" };
            let said = SignUp { name: format!("user{n}"), email: email.into(), password: right() };
            tokio::spawn(async move { accounts.sign_up(said, from(n)).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, AccountError::EmailTaken), "{error}"),
        }
    }
    assert_eq!((won, accounts.count()), (1, 1));
}

/// What a killed process leaves: its files, as they are while it runs.
#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let place = Place::new();
    let accounts = place.open().await;
    let mut tokens = Vec::new();
    for n in 0..20 {
        let name = format!("user{n}");
        accounts.sign_up(said(&name), from(n)).await.unwrap();
        tokens.push(accounts.log_in(&name, &right(), from(n)).await.unwrap().token);
    }
    accounts.rotate_keys().await.unwrap();
    let session = accounts.verify(&tokens[0]).unwrap();
    accounts.log_out_everywhere(&session).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    copy(place.dir.path(), left.path());
    // The first one is still there: it was not closed.
    let revived = place.open_at(left.path()).await;
    assert_eq!(revived.count(), 20);
    assert_eq!(revived.verify(&tokens[0]), Err(TokenError::Ended));
    for (n, token) in tokens.iter().enumerate().skip(1) {
        assert_eq!(revived.verify(token).unwrap().name, format!("user{n}"));
    }
    let error = revived.sign_up(said("USER7"), from(1)).await.unwrap_err();
    assert!(matches!(error, AccountError::NameTaken));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// A sign-up whose answer was lost may be in the log. The name must not end up with two.
#[tokio::test]
async fn a_lost_answer_never_gives_a_name_to_two() {
    let place = Place::new();
    let log = Lossy::open(place.dir.path());
    let accounts = place.open_on(Arc::clone(&log) as Arc<dyn Log>, place.dir.path()).await;
    let ann = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let token = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    log.loses_answers.store(true, Ordering::SeqCst);
    assert_eq!(accounts.sign_up(said("bob"), from(1)).await.unwrap_err().status(), 503);
    let session = accounts.verify(&token).unwrap();
    assert!(accounts.log_out_everywhere(&session).await.is_err());
    assert_eq!(accounts.count(), 1, "what isn't acknowledged isn't shown");
    assert!(accounts.verify(&token).is_ok());
    log.loses_answers.store(false, Ordering::SeqCst);
    let other = SignUp { email: "other@example.com".into(), ..said("BOB") };
    let bob = accounts.sign_up(other, from(2)).await.unwrap();
    drop(accounts);
    // A restart finds what was shown, and nobody else.
    let accounts = place.open_on(log, place.dir.path()).await;
    assert_eq!(accounts.count(), 2);
    assert_eq!(accounts.find("bob"), Some(bob));
    assert_eq!(accounts.find("ann"), Some(ann));
    assert_eq!(accounts.find("bob@example.com"), None);
    assert!(accounts.verify(&token).is_ok(), "the log-out wasn't, either");
}

/// Log-ins race with new passwords: no session of an old password outlives the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_in_never_outruns_a_new_password() {
    let place = Place::new();
    let accounts = place.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let mut password = right();
    for round in 0..20u32 {
        let issued = accounts.log_in("ann", &password, from(round)).await.unwrap();
        let session = accounts.verify(&issued.token).unwrap();
        let racing: Vec<_> = (0..4)
            .map(|n| {
                let (accounts, password) = (accounts.clone(), password.clone());
                tokio::spawn(async move {
                    accounts.log_in("ann", &password, from(1000 + round * 10 + n)).await
                })
            })
            .collect();
        let new = Password::new(format!("horse number {round}"));
        let kept = accounts.change_password(&session, &password, &new, from(round)).await.unwrap();
        for task in racing {
            // Some were too late, some too early, and a few may be told to wait.
            if let Ok(issued) = task.await.unwrap() {
                assert_eq!(accounts.verify(&issued.token), Err(TokenError::Ended));
            }
        }
        assert!(accounts.verify(&kept.token).is_ok());
        password = new;
        place.pass(Duration::from_secs(7200));
    }
}

/// The old password was right when it was looked at, and isn't any more.
#[tokio::test]
async fn a_log_in_waits_for_a_password_that_is_being_changed() {
    let place = Place::new();
    let log = Lossy::open(place.dir.path());
    let accounts = place.open_on(Arc::clone(&log) as Arc<dyn Log>, place.dir.path()).await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let issued = accounts.log_in("ann", &right(), from(1)).await.unwrap();
    let session = accounts.verify(&issued.token).unwrap();
    let gate = log.gate.lock().await;
    let came = log.came.load(Ordering::SeqCst);
    let changing = tokio::spawn({
        let accounts = accounts.clone();
        let new = Password::new("another horse altogether");
        async move { accounts.change_password(&session, &right(), &new, from(1)).await }
    });
    while log.came.load(Ordering::SeqCst) == came {
        tokio::task::yield_now().await;
    }
    let hashings = accounts.hashings_total();
    let racing = tokio::spawn({
        let accounts = accounts.clone();
        async move { accounts.log_in("ann", &right(), from(2)).await }
    });
    while accounts.hashings_total() == hashings {
        tokio::task::yield_now().await;
    }
    drop(gate);
    let error = racing.await.unwrap().unwrap_err();
    assert!(matches!(error, AccountError::Wrong), "{error}");
    assert!(accounts.verify(&changing.await.unwrap().unwrap().token).is_ok());
}

/// A storm of log-ins: memory and threads are bounded, and who waits too long is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_log_ins_is_bounded() {
    let mut place = Place::new();
    place.config.hash = HashConfig { memory_kib: 1024, passes: 2, at_once: 1, waiting_max: 4 };
    let accounts = place.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let tasks: Vec<_> = (0..200u32)
        .map(|n| {
            let accounts = accounts.clone();
            tokio::spawn(
                async move { accounts.log_in(&format!("user{n}"), &wrong(), from(n)).await },
            )
        })
        .collect();
    let mut busy = 0;
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error.status(), 401 | 503), "{error}");
        busy += u64::from(error.status() == 503);
        assert_eq!(error.retry_after_s().is_some(), error.status() == 503);
    }
    assert!(busy > 0, "more came than may wait");
    assert_eq!(accounts.hashings_total(), 1 + 200 - busy);
    accounts.log_in("ann", &right(), from(1)).await.unwrap();
}
