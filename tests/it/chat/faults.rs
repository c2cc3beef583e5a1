//! The log fails, or is away: whoever talks is told so, and what anybody was told is kept.

use super::*;
use crate::support::tansu::Tansu;

fn said(n: u64) -> Value {
    json!({ "message": format!("number {n}"), "client_id": format!("c{n}") })
}

/// A room, before its log fails.
struct Talk {
    stream: Stream,
    ann: Person,
    bob: Person,
    reader: Viewer,
    /// Bob's.
    talker: Viewer,
}

/// Four messages posted by ann and one that bob said on a socket, each accepted.
async fn five_said(server: &Server, title: &str) -> Talk {
    let stream = server.create(title).await;
    let (ann, bob) = (Person::new(server, "ann", &[]).await, Person::new(server, "bob", &[]).await);
    let reader = Viewer::join(server, &stream.id).await;
    let mut talker = Viewer::join(server, &stream.id).await;
    talker.hello(&bob).await;
    for n in 1..=4 {
        assert_eq!(post(server, &ann, &stream, said(n)).await["seq"], n);
    }
    talker.say("number 5", "c5").await;
    assert_eq!(talker.answer().await["seq"], 5);
    talker.until(5).await;
    Talk { stream, ann, bob, reader, talker }
}

/// One can't say it now, and is told when to try again.
async fn assert_busy(server: &Server, person: &Person, stream: &Stream, said: Value) {
    let answer = person.call(server, Method::POST, &chat(stream), said).await;
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("busy")),
        "{told}"
    );
    assert!(answer.headers.contains_key("retry-after"), "{told}");
}

/// The same on a socket.
async fn assert_refused_as_busy(viewer: &mut Viewer, message: &str, client_id: &str) {
    viewer.say(message, client_id).await;
    let told = viewer.answer().await;
    assert_eq!(
        (&told["type"], &told["status"], &told["code"], &told["client_id"]),
        (&json!("refused"), &json!(503), &json!("busy"), &json!(client_id)),
        "{told}"
    );
}

/// Somebody who comes to the room now and asks for all of it is given what the API has, the
/// numbers from 1 on, and these texts in any order, each once.
async fn assert_is_whole(server: &Server, stream: &Stream, epoch: &str, texts: &[String]) {
    let mut whole = Viewer::rejoin(server, &stream.id, epoch, 0).await;
    assert_eq!(whole.welcome["recovered"], true, "{}", whole.welcome);
    whole.until(texts.len() as u64).await;
    assert_eq!(whole.records, history(server, stream).await);
    let mut shown = whole.texts();
    shown.sort_unstable();
    let mut expected: Vec<_> = texts.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_takes_nothing_that_was_acknowledged() {
    let mut server = server().await;
    let Talk { stream, ann, bob, mut reader, mut talker } = five_said(&server, "Full").await;

    server.limit_files(Some(0));
    // Also when it is said again: its room knows it by then, and no disk has it.
    for _ in 0..3 {
        for n in 6..=8 {
            assert_busy(&server, &ann, &stream, said(n)).await;
        }
        assert_refused_as_busy(&mut talker, "number 9", "c9").await;
    }
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().contains("check the disk's space"), "{}", ready.text());
    assert_eq!(server.get("/healthz").await.status, StatusCode::OK);
    // Viewers are still there, and nobody was shown what isn't kept.
    for viewer in [&mut reader, &mut talker] {
        viewer.until(5).await;
        assert_eq!(viewer.hello(&ann).await["type"], "you");
        assert_eq!(viewer.seq(), 5);
    }
    assert_eq!(reader.records, history(&server, &stream).await);

    // There is room, and the operator does as /readyz says.
    server.limit_files(None);
    assert!(server.restart("INT").await, "it ends in order:\n{}", server.output());
    let mut back = Viewer::rejoin(&server, &stream.id, &reader.epoch(), 5).await;
    assert_eq!(back.welcome["recovered"], true, "{}", back.welcome);
    for n in 6..=8 {
        assert_eq!(heard(&server, &ann, &stream, said(n)).await, n);
    }
    assert_eq!(heard(&server, &bob, &stream, said(9)).await, 9);
    // What was acknowledged before is what it was.
    assert_eq!(heard(&server, &ann, &stream, said(4)).await, 4);
    back.until(9).await;
    let texts: Vec<_> = (1..=9).map(|n| format!("number {n}")).collect();
    assert_eq!(back.texts(), texts[5..]);
    assert_is_whole(&server, &stream, &back.epoch(), &texts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_chat_while_the_broker_is_away() {
    let mut broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    let url = broker.url("chat");
    let mut server = server_with(&[("data.log", url.as_str())]).await;
    let Talk { stream, ann, bob, mut reader, mut talker } = five_said(&server, "On Kafka").await;

    broker.kill();
    let talk = join_all((6..=8).map(|n| assert_busy(&server, &ann, &stream, said(n))));
    let read = async {
        reader.until(5).await;
        assert_eq!(reader.hello(&ann).await["type"], "you", "it goes on");
        let known = history(&server, &stream).await;
        assert_eq!(reader.records, known, "nobody was shown what isn't kept");
        assert_eq!(server.get("/healthz").await.status, StatusCode::OK);
    };
    tokio::join!(talk, assert_refused_as_busy(&mut talker, "number 9", "c9"), read);
    assert_eq!((reader.seq(), talker.seq()), (5, 5));

    let broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    let broker = broker.await.expect("the broker again");
    // Whatever waited comes now, once, and so does what is said again.
    let mut seqs = join_all((6..=8).map(|n| heard(&server, &ann, &stream, said(n)))).await;
    seqs.push(heard(&server, &bob, &stream, said(9)).await);
    seqs.sort_unstable();
    assert_eq!(seqs, [6, 7, 8, 9]);
    assert_eq!(heard(&server, &ann, &stream, said(10)).await, 10);
    reader.until(10).await;
    talker.until(10).await;
    assert_eq!(reader.records, talker.records);
    let texts: Vec<_> = (1..=10).map(|n| format!("number {n}")).collect();
    assert_is_whole(&server, &stream, &reader.epoch(), &texts).await;
    // So does the log have it.
    server.restart("KILL").await;
    assert_is_whole(&server, &stream, &reader.epoch(), &texts).await;
    drop(broker);
}
