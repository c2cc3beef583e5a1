//! Rooms over several processes: viewers of gateways see, say and are counted as others.

use http::{Method, StatusCode};
use serde_json::json;

use super::{chat, post, server};
use crate::support::chat::Viewer;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::people::Person;
use crate::support::server::{Server, Stream};

async fn counted(server: &Server, stream: &Stream, viewers: u64) {
    let path = format!("/api/streams/{}/viewers", stream.id);
    eventually(&format!("count of {viewers} viewers"), async || {
        let said = server.get(&path).await.json()["viewers"].as_u64();
        (said == Some(viewers)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_gateways_are_in_the_same_room() {
    let server = server().await;
    let stream = server.create("Many doors").await;
    let (ann, bob) =
        (Person::new(&server, "ann", &[]).await, Person::new(&server, "bob", &[]).await);
    // Said before any gateway heard of the room.
    for n in 1..=3 {
        post(&server, &ann, &stream, json!({ "message": format!("early {n}") })).await;
    }
    let (east, west) = (Gateway::before(&server).await, Gateway::before(&server).await);
    let tab = "?viewer=00000000-0000-7000-8000-00000000000a";
    let mut first = east.join(&stream.id, "").await;
    assert_eq!(first.welcome["seq"], 3, "{}", first.welcome);
    let mut second = west.join(&stream.id, tab).await;
    // The same person elsewhere, by another door, counts once.
    let _again = east.join(&stream.id, tab).await;
    let mut third = Viewer::join(&server, &stream.id).await;
    counted(&server, &stream, 3).await;

    first.say("who am I?", "a0").await;
    let refused = first.answer().await;
    assert_eq!((&refused["status"], &refused["client_id"]), (&json!(401), &json!("a0")));
    let you = first.hello(&ann).await;
    assert_eq!((&you["type"], &you["name"]), (&json!("you"), &json!("ann")), "{you}");
    first.say("from the east", "a1").await;
    let accepted = first.answer().await;
    assert_eq!(
        (&accepted["type"], &accepted["client_id"], &accepted["seq"]),
        (&json!("accepted"), &json!("a1"), &json!(4)),
        "{accepted}"
    );
    // A retry is known for what it is, by whichever door.
    second.hello(&ann).await;
    second.say("from the east", "a1").await;
    assert_eq!(second.answer().await["message_id"], accepted["message_id"]);
    third.hello(&bob).await;
    third.say("from the middle", "b1").await;
    assert_eq!(third.answer().await["seq"], 5);

    // Acts are obeyed at once, and newcomers at gateways are told the mode.
    let acts = format!("{}/acts", chat(&stream));
    for act in [
        json!({ "kind": "mode", "mode": { "slow_s": 2 } }),
        json!({ "kind": "pin", "seq": 4 }),
        json!({ "kind": "ban", "user_id": ann.id }),
    ] {
        let answer = server.admin(Method::POST, &acts, Some(act)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    }
    for viewer in [&mut first, &mut second, &mut third] {
        viewer.until(8).await;
        assert_eq!(viewer.texts(), ["from the east", "from the middle"]);
        assert_eq!(viewer.records[4]["act"]["user_id"], ann.id);
    }
    first.say("am I still here?", "a2").await;
    let refused = first.answer().await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(403), &json!("banned")));
    let newcomer = west.join(&stream.id, "").await;
    assert_eq!(newcomer.welcome["mode"]["slow_s"], 2, "{}", newcomer.welcome);
    assert_eq!(newcomer.welcome["pinned"]["message"], "from the east");
    // What was said before a gateway opened the room it has all the same.
    let mut back =
        Viewer::at(&west.http, &stream.id, &format!("?epoch={}&seq=1", newcomer.epoch()))
            .await
            .expect("let in");
    assert_eq!(back.welcome["recovered"], true);
    back.until(8).await;
    assert_eq!(back.texts()[..2], ["early 2", "early 3"]);

    let metrics = west.get("/metrics").await.text();
    for line in
        ["millstream_chat_rooms 1", "millstream_gateway_links 1", "millstream_chat_sockets 3"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert_eq!(west.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(west.get("/api/streams").await.status, StatusCode::NOT_FOUND);
    // A gateway that dies takes its viewers with it, in the count too.
    counted(&server, &stream, 5).await;
    west.signal("KILL");
    counted(&server, &stream, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_outlive_their_origin_and_viewers_their_gateway() {
    let mut server = server().await;
    let stream = server.create("Away").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let (east, west) = (Gateway::before(&server).await, Gateway::before(&server).await);
    let mut viewer = east.join(&stream.id, "").await;
    let mut writer = west.join(&stream.id, "").await;
    writer.hello(&ann).await;
    writer.say("before", "c1").await;
    assert_eq!(writer.answer().await["seq"], 1);
    viewer.until(1).await;

    server.restart("KILL").await;
    assert_eq!(post(&server, &ann, &stream, json!({ "message": "after" })).await["seq"], 2);
    // Neither socket was touched.
    viewer.until(2).await;
    writer.until(2).await;
    let mut answer = json!({ "status": 503 });
    while answer["status"] == 503 {
        writer.say("and on", "c3").await;
        answer = writer.answer().await;
    }
    assert_eq!(answer["seq"], 3, "{answer}");
    viewer.until(3).await;

    // Politely: everybody is sent away, and comes back by another door.
    let (epoch, seq) = (viewer.epoch(), viewer.seq());
    east.signal("TERM");
    assert_eq!(viewer.closed().await, 1001);
    assert_eq!(post(&server, &ann, &stream, json!({ "message": "meanwhile" })).await["seq"], 4);
    let mut viewer = west.join(&stream.id, &format!("?epoch={epoch}&seq={seq}")).await;
    assert_eq!(viewer.welcome["recovered"], true, "{}", viewer.welcome);
    viewer.until(4).await;
    assert_eq!(viewer.texts(), ["meanwhile"]);

    let gone = server.admin(Method::DELETE, &format!("/api/streams/{}", stream.id), None).await;
    assert!(gone.status.is_success(), "{}", gone.text());
    assert_eq!(viewer.closed().await, 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_say_what_is_wrong() {
    let server = server().await;
    let stream = server.create("Doors").await;
    let east = Gateway::before(&server).await;
    let path = |id: &str| format!("/api/streams/{id}/chat/subscribe");
    assert_eq!(
        east.get(&path(&stream.id)).await.status,
        StatusCode::UPGRADE_REQUIRED,
        "no upgrade"
    );
    let nobodys = "00000000-0000-7000-8000-000000000001";
    let unknown = Viewer::at(&east.http, nobodys, "").await;
    assert!(unknown.err().expect("refused").to_string().contains("404"));
    // A stranger can't make itself one, nor can it speak for others.
    let stranger = Viewer::come(&server, &stream.id, "?gateway=true").await;
    assert!(stranger.err().expect("refused").to_string().contains("403"));
    let mut viewer = Viewer::join(&server, &stream.id).await;
    let crowd = json!({ "type": "crowd", "entered": [nobodys], "left": [] }).to_string();
    viewer.send(&crowd).await;
    assert_eq!(viewer.answer().await["status"], 403);
    counted(&server, &stream, 1).await;

    let full = Gateway::with(&server, crate::support::server::TOKEN, &["chat.sockets_max=1"]).await;
    let _only = full.join(&stream.id, "").await;
    let second = Viewer::at(&full.http, &stream.id, "").await;
    assert!(second.err().expect("refused").to_string().contains("503"));
    let wrong = Gateway::with(&server, "not the token at all", &[]).await;
    let refused = Viewer::at(&wrong.http, &stream.id, "").await;
    assert!(refused.err().expect("refused").to_string().contains("503"));
    assert_eq!(wrong.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
