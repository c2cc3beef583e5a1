//! Accounts by the API of the real binary: the life of one, roles, floods, and
//! what nobody gets to see.

mod storms;
mod streams;
mod tokens;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, StatusCode, header};
use records::schema::TABLES;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::{Answer, request};
use crate::support::people::{PASSWORD, Person, text};
use crate::support::scene::server_with;
use crate::support::server::{Server, TOKEN};

/// A request by whoever has this token.
async fn call(
    server: &Server,
    token: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    request(method, &format!("{}{path}", server.http), token, body).await
}

fn said(name: &str) -> Value {
    json!({ "name": name, "email": format!("{name}@mail.example"), "password": PASSWORD })
}

async fn sign_up(server: &Server, said: Value) -> Answer {
    call(server, None, Method::POST, "/api/users", Some(said)).await
}

async fn log_in(server: &Server, login: &str, password: &str) -> Answer {
    let body = json!({ "login": login, "password": password });
    call(server, None, Method::POST, "/api/sessions", Some(body)).await
}

/// Somebody new, with these roles.
async fn person(server: &Server, name: &str, roles: &[&str]) -> Person {
    Person::new(server, name, roles).await
}

/// The operator gives somebody these roles and no others.
async fn give(server: &Server, id: &str, roles: &[&str]) {
    let path = format!("/api/users/{id}/roles");
    let given = server.admin(Method::PUT, &path, Some(json!({ "roles": roles }))).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text());
}

/// What the server says of whoever has this token.
async fn me(server: &Server, token: &str) -> Answer {
    call(server, Some(token), Method::GET, "/api/me", None).await
}

fn assert_is_no_session(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives() {
    let server = Server::start().await;
    let made = sign_up(&server, said("ann")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.headers[header::CACHE_CONTROL], "no-store");
    let ann = made.json();
    assert_eq!(
        (text(&ann, "name"), text(&ann, "email")),
        ("ann".into(), "ann@mail.example".into())
    );
    assert_eq!((&ann["roles"], &ann["disabled"]), (&json!(["viewer"]), &json!(false)));
    assert!(ann["created_at_us"].as_u64() > Some(1_700_000_000_000_000), "{ann}");
    assert!(ann.get("password").is_none(), "{ann}");

    let with = |field: &str, value: Value| {
        let mut said = said("bob");
        said[field] = value;
        said
    };
    for (said, status) in [
        (with("name", json!("ANN")), StatusCode::CONFLICT),
        (with("email", json!("Ann@Mail.Example")), StatusCode::CONFLICT),
        (with("name", json!("a b")), StatusCode::BAD_REQUEST),
        (with("name", json!("<script>alert(1)</script>")), StatusCode::BAD_REQUEST),
        (with("name", json!("admin")), StatusCode::BAD_REQUEST),
        (with("email", json!("nobody")), StatusCode::BAD_REQUEST),
        (with("password", json!("2short")), StatusCode::BAD_REQUEST),
        (with("password", json!(8_127_364_455_u64)), StatusCode::BAD_REQUEST),
        (with("password", json!("x".repeat(20_000))), StatusCode::BAD_REQUEST),
        (with("roles", json!(["admin"])), StatusCode::BAD_REQUEST),
        (json!({ "name": "bob" }), StatusCode::BAD_REQUEST),
    ] {
        let refused = sign_up(&server, said.clone()).await;
        assert_eq!(refused.status, status, "{said}: {}", refused.text());
        assert!(!refused.text().contains("8127364455"), "{}", refused.text());
    }

    let here = log_in(&server, "ANN", PASSWORD).await;
    assert_eq!(here.status, StatusCode::CREATED, "{}", here.text());
    assert_eq!(here.headers[header::CACHE_CONTROL], "no-store");
    let there = log_in(&server, "ann@MAIL.example", PASSWORD).await;
    let (here, there) = (here.json(), there.json());
    assert_eq!((&here["user"], &there["user"]), (&ann, &ann));
    assert!(here["expires_at_us"].as_u64() > ann["created_at_us"].as_u64());
    let (here, there) = (text(&here, "token"), text(&there, "token"));
    assert_eq!(me(&server, &here).await.json(), ann);
    assert_is_no_session(&call(&server, None, Method::GET, "/api/me", None).await);
    let operator = server.admin(Method::GET, "/api/me", None).await;
    assert_eq!(operator.status, StatusCode::FORBIDDEN, "the admin token is nobody's account");

    let change = async |token: &str, old: &str, new: &str| {
        let body = json!({ "old_password": old, "new_password": new });
        call(&server, Some(token), Method::PUT, "/api/me/password", Some(body)).await
    };
    let other = "another horse altogether";
    assert_eq!(change(&here, "a wrong horse", other).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(change(&here, PASSWORD, "ann").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(me(&server, &here).await.status, StatusCode::OK);
    let changed = change(&here, PASSWORD, other).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let renewed = text(&changed.json(), "token");
    for over in [&here, &there] {
        assert_is_no_session(&me(&server, over).await);
    }
    assert_eq!(me(&server, &renewed).await.json(), ann);
    assert_eq!(log_in(&server, "ann", PASSWORD).await.status, StatusCode::UNAUTHORIZED);

    let second = text(&log_in(&server, "ann", other).await.json(), "token");
    let out = call(&server, Some(&second), Method::DELETE, "/api/sessions", None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text());
    for over in [&renewed, &second] {
        assert_is_no_session(&me(&server, over).await);
    }
    let again = call(&server, Some(&second), Method::DELETE, "/api/sessions", None).await;
    assert_is_no_session(&again);

    let third = text(&log_in(&server, "ann", other).await.json(), "token");
    let path = format!("/api/users/{}/disabled", text(&ann, "user_id"));
    let out = server.admin(Method::PUT, &path, Some(json!({ "disabled": true }))).await;
    assert_eq!((out.status, &out.json()["disabled"]), (StatusCode::OK, &json!(true)));
    assert_is_no_session(&me(&server, &third).await);
    assert_eq!(log_in(&server, "ann", other).await.status, StatusCode::UNAUTHORIZED);
    server.admin(Method::PUT, &path, Some(json!({ "disabled": false }))).await;
    assert_eq!(log_in(&server, "ann", other).await.status, StatusCode::CREATED);
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("millstream_accounts 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_who_is_there() {
    let server = Server::start().await;
    let ann = person(&server, "ann", &[]).await;
    person(&server, "bob", &[]).await;
    let path = format!("/api/users/{}/disabled", ann.id);
    server.admin(Method::PUT, &path, Some(json!({ "disabled": true }))).await;
    let mut answers = Vec::new();
    for (login, password) in [
        ("bob", "an incorrect horse"),
        ("nobody", PASSWORD),
        ("nobody@mail.example", PASSWORD),
        ("ann", PASSWORD),
        ("", ""),
    ] {
        let answer = log_in(&server, login, password).await;
        let headers: BTreeMap<_, _> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != header::DATE)
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        answers.push((answer.status, answer.text(), headers));
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_log_ins_costs_others_nothing() {
    let plenty = ("accounts.failures_address", "1000000");
    let server = Server::with(&[("transcode.enabled", "false"), plenty]).await;
    let ann = person(&server, "ann", &[]).await;
    let is_over = AtomicBool::new(false);
    let storm = async {
        let guesses = join_all((0..60).map(|_| log_in(&server, "ann", "an incorrect horse"))).await;
        // More at once than may wait for their turn.
        let strangers = join_all((0..300).map(|n| {
            let server = &server;
            async move { log_in(server, &format!("stranger{n}"), "whatever it is").await }
        }));
        let strangers = strangers.await;
        is_over.store(true, Ordering::Relaxed);
        (guesses, strangers)
    };
    let others = async {
        let mut slowest = Duration::ZERO;
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(server.get("/healthz").await.status, StatusCode::OK);
            assert_eq!(me(&server, &ann.token).await.status, StatusCode::OK);
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        slowest
    };
    let ((guesses, strangers), slowest) = tokio::join!(storm, others);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let retry_after_s = |answer: &Answer| {
        let value = answer.headers[header::RETRY_AFTER].to_str().expect("text");
        value.parse::<u64>().expect("seconds")
    };
    let mut busy = 0;
    for answer in &strangers {
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(retry_after_s(answer), 1);
            busy += 1;
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
        }
    }
    assert!(busy > 0, "at most so many passwords wait");
    let slowed: Vec<_> =
        guesses.iter().filter(|a| a.status == StatusCode::TOO_MANY_REQUESTS).collect();
    assert!(slowed.len() >= 45, "{} of 60 guesses were slowed down", slowed.len());
    assert!(slowed.iter().all(|answer| retry_after_s(answer) >= 1));
    eventually("log-in of who knows the password", async || {
        (log_in(&server, "ann", PASSWORD).await.status == StatusCode::CREATED).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ups_of_one_address_are_slowed_down_or_closed() {
    let server = Server::with(&[("accounts.sign_ups_address", "2")]).await;
    let mut statuses = Vec::new();
    for name in ["ann", "bob", "eve", "joe"] {
        statuses.push(sign_up(&server, said(name)).await.status.as_u16());
    }
    assert_eq!(statuses, [201, 201, 201, 429]);

    let closed = Server::with(&[("accounts.sign_up", "false")]).await;
    assert_eq!(sign_up(&closed, said("ann")).await.status, StatusCode::FORBIDDEN);
    let made = closed.admin(Method::POST, "/api/users", Some(said("ann"))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let ann = text(&log_in(&closed, "ann", PASSWORD).await.json(), "token");
    let by_ann = call(&closed, Some(&ann), Method::POST, "/api/users", Some(said("bob"))).await;
    assert_eq!(by_ann.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_given_and_taken_at_once() {
    let server = Server::start().await;
    let ann = person(&server, "ann", &[]).await;
    let bob = person(&server, "bob", &[]).await;
    let eve = person(&server, "eve", &[]).await;
    let roles = async |token: &str, of: &str, roles: Value| {
        let path = format!("/api/users/{of}/roles");
        call(&server, Some(token), Method::PUT, &path, Some(json!({ "roles": roles }))).await
    };
    assert_eq!(roles(&ann.token, &ann.id, json!(["admin"])).await.status, StatusCode::FORBIDDEN);
    give(&server, &ann.id, &["admin"]).await;
    // The token is older than the role.
    let given = roles(&ann.token, &bob.id, json!(["streamer"])).await;
    assert_eq!(given.json()["roles"], json!(["viewer", "streamer"]), "{}", given.text());
    assert_eq!(roles(&ann.token, &bob.id, json!(["king"])).await.status, StatusCode::BAD_REQUEST);
    for nobody in ["01900000-0000-7000-8000-000000000000", "nonsense"] {
        assert_eq!(roles(TOKEN, nobody, json!([])).await.status, StatusCode::NOT_FOUND, "{nobody}");
    }

    let find = async |token: Option<&str>, login: &str| {
        call(&server, token, Method::GET, &format!("/api/users?login={login}"), None).await
    };
    assert_eq!(find(Some(ann.token.as_str()), "BOB").await.json()["user_id"], bob.id.as_str());
    assert_eq!(find(Some(TOKEN), "bob@mail.example").await.json()["user_id"], bob.id.as_str());
    assert_eq!(find(Some(ann.token.as_str()), "nobody").await.status, StatusCode::NOT_FOUND);
    assert_eq!(find(Some(bob.token.as_str()), "ann").await.status, StatusCode::FORBIDDEN);
    assert_is_no_session(&find(None, "ann").await);

    // An admin does what the admin token does.
    let scale = async |token: &str| {
        let body = Some(json!({ "workers": 1 }));
        call(&server, Some(token), Method::PUT, "/api/cluster/workers", body).await.status
    };
    assert_eq!(scale(&ann.token).await, StatusCode::OK);
    assert_eq!(scale(&bob.token).await, StatusCode::FORBIDDEN);

    let ask = async |token: &str| {
        let body = Some(json!({ "sql": "SELECT 1 AS one" }));
        call(&server, Some(token), Method::POST, "/api/sql", body).await.status
    };
    assert_eq!(ask(&eve.token).await, StatusCode::FORBIDDEN);
    give(&server, &eve.id, &["analyst"]).await;
    assert_eq!(ask(&eve.token).await, StatusCode::OK);
    give(&server, &eve.id, &[]).await;
    assert_eq!(ask(&eve.token).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&ann.token).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_has_moderators() {
    let server = Server::start().await;
    let ann = person(&server, "ann", &[]).await;
    let bob = person(&server, "bob", &["streamer"]).await;
    let eve = person(&server, "eve", &[]).await;
    let set = async |token: &str, method: Method, channel: &str, who: &str| {
        let path = format!("/api/channels/{channel}/moderators/{who}");
        call(&server, Some(token), method, &path, None).await.status
    };
    let moderates = format!("moderator:{}", bob.id);
    let is_moderator = async |of: &Person| {
        let roles = me(&server, &of.token).await.json()["roles"].clone();
        roles.as_array().expect("roles").iter().any(|role| *role == moderates)
    };
    assert_eq!(set(&eve.token, Method::PUT, &bob.id, "eve").await, StatusCode::FORBIDDEN);
    assert!(!is_moderator(&eve).await);
    assert_eq!(set(&bob.token, Method::PUT, &bob.id, "EVE").await, StatusCode::NO_CONTENT);
    assert!(is_moderator(&eve).await);
    // Who moderates doesn't make moderators.
    assert_eq!(set(&eve.token, Method::PUT, &bob.id, "ann").await, StatusCode::FORBIDDEN);
    assert_eq!(set(&bob.token, Method::PUT, &ann.id, "eve").await, StatusCode::FORBIDDEN);
    assert_eq!(set(TOKEN, Method::PUT, &bob.id, &ann.id).await, StatusCode::NO_CONTENT);
    assert!(is_moderator(&ann).await);
    for (channel, who) in [
        (bob.id.as_str(), "nobody"),
        (bob.id.as_str(), "eve@mail.example"),
        ("nonsense", "eve"),
        ("01900000-0000-7000-8000-000000000000", "eve"),
    ] {
        let status = set(TOKEN, Method::PUT, channel, who).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{channel} {who}");
    }
    assert_eq!(set(&bob.token, Method::DELETE, &bob.id, &eve.id).await, StatusCode::NO_CONTENT);
    assert_eq!(set(&bob.token, Method::DELETE, &bob.id, "eve").await, StatusCode::NO_CONTENT);
    assert!(!is_moderator(&eve).await && is_moderator(&ann).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_neither_logged_nor_in_the_lake() {
    let server = server_with(&[
        ("log.level", "trace"),
        ("lake.commit_busy", "200ms"),
        ("lake.commit_idle", "400ms"),
    ])
    .await;
    let mut said = said("ann");
    said["email"] = json!("ann.hidden@mail.example");
    sign_up(&server, said).await;
    let wrong = "an incorrect horse";
    log_in(&server, "ann.hidden@mail.example", wrong).await;
    let token = text(&log_in(&server, "ann", PASSWORD).await.json(), "token");
    let new = "another horse altogether";
    let body = json!({ "old_password": PASSWORD, "new_password": new });
    let changed = call(&server, Some(&token), Method::PUT, "/api/me/password", Some(body)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    // What is committed behind it in the same topic shows that the lake has passed it.
    server.create("seen").await;
    let sql = async |question: String| {
        let body = Some(json!({ "sql": question }));
        server.admin(Method::POST, "/api/sql", body).await
    };
    eventually("a commit", async || {
        (server.metric("millstream_lake_rows_total").await > 1.0).then_some(())
    })
    .await;
    let signature = |token: &str| token.rsplit('.').next().expect("three parts").to_owned();
    let renewed = text(&changed.json(), "token");
    let hidden = [
        PASSWORD.to_owned(),
        wrong.to_owned(),
        new.to_owned(),
        "ann.hidden".to_owned(),
        "argon2id".to_owned(),
        signature(&token),
        signature(&renewed),
    ];
    let shows = |text: &str| hidden.iter().find(|hidden| text.contains(hidden.as_str())).cloned();
    for table in TABLES {
        let rows = sql(format!("SELECT * FROM {}", table.name)).await;
        assert_eq!(rows.status, StatusCode::OK, "{}", rows.text());
        assert_eq!(shows(&rows.text()), None, "in the table {}", table.name);
    }
    assert!(sql("SELECT title FROM streams".into()).await.text().contains("seen"));
    assert_eq!(shows(&server.output()), None, "in the server's output");
    let data = server.stop("INT").await;
    let mut places = vec![data.path().join("lake")];
    let mut files = 0;
    while let Some(path) = places.pop() {
        if path.is_dir() {
            places.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            assert_eq!(shows(&String::from_utf8_lossy(&bytes)), None, "in {}", path.display());
            files += 1;
        }
    }
    assert!(files > 2, "the lake has files");
}
