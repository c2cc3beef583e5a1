//! Storms of log-ins: whose address it is waits, and nobody else does.

use std::net::IpAddr;

use super::*;
use crate::support::feed::Feed;
use crate::support::http::post_from;
use crate::support::player::assert_clean;
use crate::support::scene::{self, begin, finish, seconds};

/// A log-in from 127.0.`net`.`host`.
async fn log_in_from(
    server: &Server,
    (net, host): (u8, u8),
    login: &str,
    password: &str,
) -> Answer {
    let url = format!("{}/api/sessions", server.http);
    let body = json!({ "login": login, "password": password });
    post_from(IpAddr::from([127, 0, net, host]), &url, body).await
}

fn has_retry_after(answer: &Answer) -> bool {
    let value = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse::<u64>().ok()).is_some_and(|wait_s| wait_s >= 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_from_one_address_waits_there_whoever_it_guesses_for() {
    let server = Server::start().await;
    person(&server, "ann", &[]).await;
    let is_in = AtomicBool::new(false);
    let storm = async {
        let mut all = Vec::new();
        while all.is_empty() || !is_in.load(Ordering::Relaxed) {
            // Each time another one, so that it isn't the account that is slowed down.
            let guesses = (all.len()..all.len() + 100).map(async |n| {
                log_in_from(&server, (7, 1), &format!("stranger{n}"), "whatever it is").await
            });
            all.extend(join_all(guesses).await);
        }
        all
    };
    let owner = async {
        let began = log_in_from(&server, (7, 2), "ann", PASSWORD).await;
        is_in.store(true, Ordering::Relaxed);
        began
    };
    let (guesses, began) = tokio::join!(storm, owner);
    assert_eq!(began.status, StatusCode::CREATED, "{}", began.text());
    let slowed = guesses.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.clone().all(has_retry_after), "when to try again is said");
    // Twenty are free; then some get through between waits that double.
    let tried = guesses.len() - slowed.count();
    assert!((20..40).contains(&tried), "{tried} of {} were tried", guesses.len());
    let tried = guesses.iter().filter(|answer| answer.status != StatusCode::TOO_MANY_REQUESTS);
    for answer in tried {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_everywhere_disturb_no_broadcast() {
    let server = scene::server().await;
    person(&server, "ann", &[]).await;
    let (_, mut publisher, player) = begin(&server, "Watched").await;
    let is_over = AtomicBool::new(false);
    let live = async {
        let (mut first_ms, mut rounds) = (0, 0);
        while rounds < 3 || !is_over.load(Ordering::Relaxed) {
            let feed = Feed { first_ms, length: seconds(2), ..Feed::default() };
            first_ms = feed.run(&mut publisher).await;
            rounds += 1;
        }
    };
    // More at once than are hashed and may wait for that, each from its own address.
    let storm = async {
        let (mut hashed, mut busy) = (0, 0);
        for net in 8..10 {
            let guesses = (1..=80).map(async |host| {
                let login = format!("stranger{net}-{host}");
                log_in_from(&server, (net, host), &login, "whatever it is").await
            });
            for answer in join_all(guesses).await {
                match answer.status {
                    StatusCode::UNAUTHORIZED => hashed += 1,
                    StatusCode::SERVICE_UNAVAILABLE => {
                        assert!(has_retry_after(&answer), "when to try again is said");
                        busy += 1;
                    }
                    _ => panic!("{}", answer.text()),
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (hashed, busy)
    };
    let owner = async {
        eventually("log-in of who knows the password", async || {
            let answer = log_in_from(&server, (7, 2), "ann", PASSWORD).await;
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text());
            (answer.status == StatusCode::CREATED).then_some(())
        })
        .await;
    };
    let others = async {
        while !is_over.load(Ordering::Relaxed) {
            let healthy = tokio::time::timeout(seconds(20), server.get("/healthz")).await;
            assert_eq!(healthy.expect("an answer").status, StatusCode::OK);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ((), (hashed, busy), (), ()) = tokio::join!(live, storm, owner, others);
    assert!(hashed > 0 && busy > 0, "{hashed} hashed, {busy} turned away: that was no storm");
    assert_clean(&finish(publisher, player).await);
}
