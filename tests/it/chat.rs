//! Chat by the real binary: what is said reaches everybody in order, is durable when its
//! sender is told so, and is the same in the log, on sockets, in polls, in SQL and beside
//! the video.

mod abuse;
mod conformance;
mod faults;
mod gateway;
mod moderation;
mod page;
mod slow;
mod storms;
mod ways;
mod ws_client;

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::chat::Viewer;
use crate::support::eventually;
use crate::support::http::request;
use crate::support::people::Person;
use crate::support::scene::server_with;
use crate::support::server::{Server, Stream, TOKEN};

async fn server() -> Server {
    server_with(&[]).await
}

fn chat(stream: &Stream) -> String {
    format!("/api/streams/{}/chat", stream.id)
}

async fn post(server: &Server, person: &Person, stream: &Stream, said: Value) -> Value {
    let answer = person.call(server, Method::POST, &chat(stream), said).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

/// Says it until it is told that it is there, as clients have to; what it is told.
async fn told(server: &Server, person: &Person, stream: &Stream, said: &Value) -> Value {
    for _ in 0..4 {
        let answer = person.call(server, Method::POST, &chat(stream), said.clone()).await;
        match answer.status {
            StatusCode::CREATED => return answer.json(),
            StatusCode::SERVICE_UNAVAILABLE => println!("{}\n{}", answer.text(), server.output()),
            _ => panic!("{}", answer.text()),
        }
    }
    panic!("nobody hears {said}")
}

/// The same; its place in the room.
async fn heard(server: &Server, person: &Person, stream: &Stream, said: Value) -> u64 {
    told(server, person, stream, &said).await["seq"].as_u64().expect("a number")
}

/// The newest messages that the API has of a room, oldest first.
async fn history(server: &Server, stream: &Stream) -> Vec<Value> {
    let told = server.get(&format!("{}?limit=200", chat(stream))).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let mut messages = told.json()["messages"].as_array().expect("messages").clone();
    messages.reverse();
    messages
}

/// How many watch or chat, each once.
async fn viewers(server: &Server, stream: &Stream) -> Value {
    let told = server.get(&format!("/api/streams/{}/viewers", stream.id)).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    told.json()["viewers"].clone()
}

async fn sql(server: &Server, query: &str) -> Vec<Value> {
    let url = format!("{}/api/sql", server.http);
    let answer = request(Method::POST, &url, Some(TOKEN), Some(json!({ "sql": query }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["rows"].as_array().expect("rows").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_reaches_everybody_in_order() {
    let server = server().await;
    let stream = server.create("Talk").await;
    let (ann, bob) =
        (Person::new(&server, "ann", &[]).await, Person::new(&server, "bob", &[]).await);
    let mut sockets =
        [Viewer::join(&server, &stream.id).await, Viewer::join(&server, &stream.id).await];
    let [first, second] = &mut sockets;
    assert_eq!(first.welcome["recovered"], true);
    let you = first.hello(&ann).await;
    assert_eq!(
        (&you["type"], &you["name"], &you["moderates"]),
        (&json!("you"), &json!("ann"), &json!(false))
    );
    second.hello(&bob).await;

    first.say("hello :wave:", "a1").await;
    let accepted = first.answer().await;
    assert_eq!(
        (&accepted["type"], &accepted["client_id"], &accepted["seq"]),
        (&json!("accepted"), &json!("a1"), &json!(1)),
        "{accepted}"
    );
    second.say("hi ann", "b1").await;
    assert_eq!(second.answer().await["seq"], 2);
    let posted = post(&server, &ann, &stream, json!({ "message": "by post" })).await;
    assert_eq!(posted["seq"], 3);
    for viewer in &mut sockets {
        viewer.until(3).await;
        assert_eq!(viewer.texts(), ["hello :wave:", "hi ann", "by post"]);
    }
    let hello = &sockets[0].records[0];
    assert_eq!(hello["emotes"], json!([{ "start": 6, "end": 12, "id": "wave" }]));
    assert_eq!((&hello["name"], &hello["user_id"]), (&json!("ann"), &json!(ann.id)));
    assert!(hello.get("client_id").is_none(), "that is the sender's own: {hello}");

    // The same again, as after a lost answer.
    sockets[0].say("hello :wave:", "a1").await;
    let again = sockets[0].answer().await;
    assert_eq!((&again["seq"], &again["message_id"]), (&accepted["seq"], &accepted["message_id"]));
    assert_eq!(viewers(&server, &stream).await, 2);
    let metrics = server.get("/metrics").await.text();
    for line in ["millstream_chat_rooms 1", "millstream_chat_sockets 2", "millstream_chat_asking 0"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_kill() {
    let mut server = server().await;
    let stream = server.create("Durable").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let mut viewer = Viewer::join(&server, &stream.id).await;
    for n in 1..=5 {
        let said = json!({ "message": format!("number {n}"), "client_id": format!("c{n}") });
        assert_eq!(post(&server, &ann, &stream, said).await["seq"], n);
    }
    viewer.until(3).await;
    server.restart("KILL").await;

    let mut back = Viewer::rejoin(&server, &stream.id, &viewer.epoch(), 3).await;
    assert_eq!(back.welcome["recovered"], true, "{}", back.welcome);
    // Its session is as good as before, and a retry is known for what it is.
    let retry = json!({ "message": "number 5", "client_id": "c5" });
    assert_eq!(post(&server, &ann, &stream, retry).await["seq"], 5);
    assert_eq!(post(&server, &ann, &stream, json!({ "message": "number 6" })).await["seq"], 6);
    back.until(6).await;
    assert_eq!(back.texts(), ["number 4", "number 5", "number 6"]);

    let stranger = Viewer::rejoin(&server, &stream.id, "7", 3).await;
    assert_eq!(stranger.welcome["recovered"], false, "another life");
    let ahead = Viewer::rejoin(&server, &stream.id, &viewer.epoch(), 600).await;
    assert_eq!(ahead.welcome["recovered"], false, "nobody has what wasn't said");
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_12_rescales_panics_and_cuts_lose_and_double_nothing() {
    let server = server_with(&[("chat.user_per_minute", "120")]).await;
    let stream = server.create("Rescaled").await;
    let people: Vec<_> =
        join_all((0..8).map(async |n| Person::new(&server, &format!("talker{n}"), &[]).await))
            .await;
    let mut viewer = Viewer::join(&server, &stream.id).await;
    let epoch = viewer.epoch();
    let talk = join_all(people.iter().enumerate().map(async |(who, person)| {
        let mut said = Vec::new();
        for n in 0..40 {
            let body = json!({ "message": format!("{who}: {n}"), "client_id": format!("c{n}") });
            said.push(heard(&server, person, &stream, body).await);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        said
    }));
    let trouble = async {
        for workers in [2, 4, 1, 3] {
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.scale(workers).await;
            if workers == 4 {
                let fault = json!({ "stream_id": stream.id, "operator": "moderate" });
                let answer = server.admin(Method::POST, "/api/cluster/faults", Some(fault)).await;
                assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
            }
        }
    };
    // Cut and back, over and over.
    let read = async {
        for seq in [40, 80, 160, 320] {
            viewer.until(seq).await;
            let records = std::mem::take(&mut viewer.records);
            let last = records.last().expect("some")["seq"].as_u64().expect("seq");
            viewer = Viewer::rejoin(&server, &stream.id, &epoch, last).await;
            assert_eq!(viewer.welcome["recovered"], true);
            viewer.records = records;
        }
    };
    let (said, (), ()) = tokio::join!(talk, trouble, read);
    assert_eq!(server.cluster().await["unplanned_ends"], 1, "it did panic");
    let mut acknowledged: Vec<u64> = said.into_iter().flatten().collect();
    acknowledged.sort_unstable();
    assert!(acknowledged.iter().copied().eq(1..=320), "{acknowledged:?}");
    let seen: Vec<_> = viewer.records.iter().map(|record| record["seq"].as_u64()).collect();
    assert!(seen.iter().copied().eq((1..=320).map(Some)), "{seen:?}");
    // The lake has the same, once.
    let rows = eventually("messages in the lake", async || {
        let rows = sql(&server, "SELECT seq, message FROM chat_messages ORDER BY seq").await;
        (rows.len() >= 320).then_some(rows)
    })
    .await;
    let texts: Vec<_> = rows.iter().map(|row| row["message"].as_str()).collect();
    let shown: Vec<_> = viewer.records.iter().map(|record| record["message"].as_str()).collect();
    assert_eq!(texts, shown);
}
