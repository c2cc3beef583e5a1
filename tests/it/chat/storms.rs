//! Storms: thousands who come at once, and one who comes a thousand times.

use std::sync::atomic::{AtomicBool, Ordering};

use chat_load::{Options, Publish};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::*;
use crate::support::{allow_files, sockets_of};

/// Who comes in a storm.
const STORM: usize = 2000;

/// Viewers who are there before.
const EARLY: usize = 10;

/// Sockets of one user.
const SOCKETS: usize = 1000;

/// However busy the machine is.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_joins_lets_everybody_in_and_disturbs_nobody() {
    allow_files(3 * STORM as u64);
    let server = server_with(&[("chat.user_per_minute", "120")]).await;
    let stream = server.create("Storm").await;
    let (ann, bob) =
        (Person::new(&server, "ann", &[]).await, Person::new(&server, "bob", &[]).await);
    let open = sockets_of(server.pid());
    let mut early = join_all((0..EARLY).map(|_| Viewer::join(&server, &stream.id))).await;

    let (marks, mut marked) = mpsc::channel::<String>(256);
    let address = server.http.trim_start_matches("http://").parse().expect("an address");
    let options = Options {
        path: format!("{}/subscribe", chat(&stream)),
        viewers: STORM,
        threads: 2,
        opening_max: STORM,
        duration: Duration::from_secs(2),
        publish: Publish::Callback(Box::new(move |mark: &str| {
            marks.try_send(mark.to_owned()).expect("room for the few there are");
        })),
        rate: 15.0,
        ..Options::new(address)
    };
    let (is_in, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let storm = async {
        let report = tokio::task::spawn_blocking(move || chat_load::run(options)).await;
        is_over.store(true, Ordering::Relaxed);
        report.expect("no panic")
    };
    // What counts for those of the storm: said once all of them are in.
    let to_all = async {
        let mut said = 0_u64;
        while let Some(mark) = marked.recv().await {
            is_in.store(true, Ordering::Relaxed);
            post(&server, &ann, &stream, json!({ "message": mark })).await;
            said += 1;
        }
        is_in.store(true, Ordering::Relaxed);
        said
    };
    // What counts for those who were there: said while the others come.
    let meanwhile = async {
        let mut said = 0_u64;
        while !is_in.load(Ordering::Relaxed) && said < 100 {
            let posted = json!({ "message": format!("meanwhile {said}") });
            let seq = post(&server, &bob, &stream, posted).await["seq"].as_u64().expect("a number");
            join_all(early.iter_mut().map(async |viewer| viewer.until(seq).await)).await;
            said += 1;
            sleep(Duration::from_millis(50)).await;
        }
        said
    };
    let elsewhere = async {
        let mut answered = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            let healthy = timeout(SOON, server.get("/healthz")).await.expect("an answer");
            assert_eq!(healthy.status, StatusCode::OK);
            timeout(SOON, viewers(&server, &stream)).await.expect("an answer");
            answered += 1;
            sleep(Duration::from_millis(50)).await;
        }
        answered
    };
    let (report, to_all, meanwhile, answered) = tokio::join!(storm, to_all, meanwhile, elsewhere);
    let report = report.unwrap_or_else(|error| panic!("{error}\n{}", server.output()));
    assert_eq!((report.viewers, report.published), (STORM, to_all), "{report}");
    let findings = &report.findings;
    assert_eq!((findings.gaps, findings.repeated, report.lost), (0, 0, 0), "{report}");
    assert_eq!(findings.deliveries.iter().sum::<u64>(), STORM as u64 * to_all, "{report}");
    assert!(findings.turned_away == 0 && findings.closed.is_empty(), "{report}");
    assert!(findings.faults.is_empty(), "{report}");
    assert!(to_all > 20 && meanwhile > 0 && answered > 0, "{to_all} {meanwhile} {answered}");

    let all = history(&server, &stream).await;
    assert_eq!(all.len() as u64, to_all + meanwhile);
    for viewer in &mut early {
        viewer.until(to_all + meanwhile).await;
        assert_eq!(viewer.records, all);
    }
    let during: Vec<_> = (0..meanwhile).map(|n| format!("meanwhile {n}")).collect();
    let texts = early[0].texts().into_iter().filter(|text| text.starts_with("meanwhile"));
    assert!(texts.eq(during.iter().map(String::as_str)), "{:?}", early[0].texts());
    drop(early);
    eventually("end of all that came", async || {
        let left = server.metric("millstream_chat_sockets").await;
        (left == 0.0 && sockets_of(server.pid()) <= open).then_some(())
    })
    .await;
    assert_eq!(viewers(&server, &stream).await, 0);
    assert_eq!(server.metric("millstream_chat_behind_total").await, 0.0);
    assert_eq!(server.metric("millstream_chat_asking").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_on_a_thousand_sockets_is_one_user() {
    allow_files(3 * SOCKETS as u64);
    let server = server().await;
    let stream = server.create("Everywhere").await;
    let (ann, troll) =
        (Person::new(&server, "ann", &[]).await, Person::new(&server, "troll", &[]).await);
    let query = "?viewer=0190a5f0-7c3e-4a11-9d4b-000000000001";
    let mut sockets = Vec::new();
    while sockets.len() < SOCKETS {
        let more = join_all((0..250).map(|_| Viewer::come(&server, &stream.id, query))).await;
        sockets.extend(more.into_iter().map(|viewer| viewer.expect("it is let in")));
    }
    let told = join_all(sockets.iter_mut().map(async |viewer| viewer.hello(&troll).await)).await;
    assert!(told.iter().all(|you| you["name"] == "troll"), "{:?}", told[0]);
    assert_eq!(server.metric("millstream_chat_sockets").await, SOCKETS as f64);
    assert_eq!(viewers(&server, &stream).await, 1);

    let texts: Vec<_> = (1..=15).map(|n| format!("number {n}")).collect();
    for text in &texts {
        post(&server, &ann, &stream, json!({ "message": text })).await;
    }
    join_all(sockets.iter_mut().map(async |viewer| viewer.until(15).await)).await;
    for viewer in &sockets {
        assert_eq!(viewer.texts(), texts);
    }

    let acts = format!("{}/acts", chat(&stream));
    let act = async |kind: &str| {
        let act = json!({ "kind": kind, "user_id": troll.id });
        let done = server.admin(Method::POST, &acts, Some(act)).await;
        assert_eq!(done.status, StatusCode::CREATED, "{}", done.text());
    };
    act("ban").await;
    all_are_refused(&mut sockets, 403, "banned").await;
    act("unban").await;
    let out = troll.call(&server, Method::DELETE, "/api/sessions", Value::Null).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text());
    all_are_refused(&mut sockets, 401, "token").await;
    // To listen one needs no session.
    assert_eq!(post(&server, &ann, &stream, json!({ "message": "at last" })).await["seq"], 18);
    join_all(sockets.iter_mut().map(async |viewer| viewer.until(18).await)).await;
    let again = sockets[0].hello(&troll).await;
    assert_eq!((&again["type"], &again["status"]), (&json!("refused"), &json!(401)), "{again}");
    assert_eq!(history(&server, &stream).await.len(), 16, "nothing of it was said");
}

/// On each of the sockets something is said, and refused for this reason.
async fn all_are_refused(sockets: &mut [Viewer], status: u16, code: &str) {
    let said = sockets.iter_mut().enumerate().map(async |(n, viewer)| {
        let client_id = format!("{code} {n}");
        viewer.say(&format!("here I am, too: {n}"), &client_id).await;
        (viewer.answer().await, client_id)
    });
    for (answer, client_id) in join_all(said).await {
        assert_eq!(
            (&answer["type"], &answer["status"], &answer["code"], &answer["client_id"]),
            (&json!("refused"), &json!(status), &json!(code), &json!(client_id)),
            "{answer}"
        );
    }
}
