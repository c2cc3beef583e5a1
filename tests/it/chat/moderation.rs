//! Who may say what: roles, bans, modes, limits.

use tokio::process::Command;
use tokio::time::timeout;

use super::*;
use crate::support::server::binary;

/// However busy the machine is.
const SOON: Duration = Duration::from_secs(20);

async fn act(server: &Server, person: &Person, stream: &Stream, act: Value) -> StatusCode {
    let path = format!("{}/acts", chat(stream));
    person.call(server, Method::POST, &path, act).await.status
}

async fn refused(server: &Server, person: &Person, stream: &Stream, message: &str) -> (u16, Value) {
    let answer =
        person.call(server, Method::POST, &chat(stream), json!({ "message": message })).await;
    let told = answer.json();
    assert!(!answer.status.is_success(), "{told}");
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        assert!(answer.headers.contains_key("retry-after"), "{told}");
    }
    (answer.status.as_u16(), told["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn moderators_keep_order_and_are_obeyed_at_once() {
    let server = server().await;
    let [owner, helper, troll] = [("sam", &["streamer"][..]), ("mod1", &[]), ("troll", &[])];
    let owner = Person::new(&server, owner.0, owner.1).await;
    let helper = Person::new(&server, helper.0, helper.1).await;
    let troll = Person::new(&server, troll.0, troll.1).await;
    let made = json!({ "title": "Mine", "category": "tests" });
    let made = owner.call(&server, Method::POST, "/api/streams", made).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let id = made.json()["stream_id"].as_str().expect("an id").to_owned();
    let stream = Stream { id, ..server.create("Another").await };
    let path = format!("/api/channels/{}/moderators/{}", owner.id, helper.id);
    let named = owner.call(&server, Method::PUT, &path, Value::Null).await;
    assert_eq!(named.status, StatusCode::NO_CONTENT, "{}", named.text());

    let mut socket = Viewer::join(&server, &stream.id).await;
    socket.hello(&troll).await;
    socket.say("first!", "t1").await;
    assert_eq!(socket.answer().await["seq"], 1);
    let mut helping = Viewer::join(&server, &stream.id).await;
    assert_eq!(helping.hello(&helper).await["moderates"], true);

    let delete = json!({ "kind": "delete", "seq": 1 });
    assert_eq!(act(&server, &troll, &stream, delete.clone()).await, StatusCode::FORBIDDEN);
    assert_eq!(act(&server, &helper, &stream, delete).await, StatusCode::CREATED);
    let ban = |who: &Person| json!({ "kind": "ban", "user_id": who.id });
    assert_eq!(act(&server, &helper, &stream, ban(&owner)).await, StatusCode::FORBIDDEN);
    assert_eq!(act(&server, &helper, &stream, ban(&troll)).await, StatusCode::CREATED);
    socket.until(3).await;
    assert_eq!(socket.records[2]["act"]["user_id"], json!(troll.id), "told at once");
    socket.say("but why", "t2").await;
    let answer = socket.answer().await;
    assert_eq!(
        (&answer["type"], &answer["status"], &answer["code"]),
        (&json!("refused"), &json!(403), &json!("banned")),
        "{answer}"
    );
    assert_eq!(refused(&server, &troll, &stream, "by post").await, (403, json!("banned")));

    let unban = json!({ "kind": "unban", "user_id": troll.id });
    assert_eq!(act(&server, &owner, &stream, unban).await, StatusCode::CREATED);
    let said = post(&server, &troll, &stream, json!({ "message": "sorry" })).await;
    let pin = json!({ "kind": "pin", "seq": said["seq"] });
    assert_eq!(act(&server, &helper, &stream, pin).await, StatusCode::CREATED);
    let newcomer = Viewer::join(&server, &stream.id).await;
    assert_eq!(newcomer.welcome["pinned"]["message"], "sorry");
    let history = server.get(&chat(&stream)).await.json();
    let texts: Vec<_> =
        history["messages"].as_array().unwrap().iter().map(|m| m["message"].clone()).collect();
    assert_eq!(texts, ["sorry"], "what was deleted is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_limits_say_when_to_try_again() {
    let blocked = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(blocked.path(), "badword*\n/[0-9]{12,}/\n").expect("it is written");
    let path = blocked.path().display().to_string();
    let server = server_with(&[("chat.blocked", &path), ("chat.links", "example.org")]).await;
    let stream = server.create("Strict").await;
    let ann = Person::new(&server, "ann", &[]).await;
    for (message, status, code) in [
        ("", 400, "empty"),
        (&*"x".repeat(501), 400, "too_long"),
        ("such a BADWORDS", 400, "word"),
        ("b\u{e1}dword", 400, "word"),
        ("call 123456789012", 400, "word"),
        ("see https://elsewhere.example/", 400, "link"),
    ] {
        assert_eq!(
            refused(&server, &ann, &stream, message).await,
            (status, json!(code)),
            "{message}"
        );
    }
    post(&server, &ann, &stream, json!({ "message": "see https://www.example.org/" })).await;
    assert_eq!(refused(&server, &ann, &stream, "see https://www.example.org/").await.1, "repeated");
    let slow = json!({ "kind": "mode", "mode": { "slow_s": 30 } });
    let acts = format!("{}/acts", chat(&stream));
    assert_eq!(server.admin(Method::POST, &acts, Some(slow)).await.status, StatusCode::CREATED);
    assert_eq!(refused(&server, &ann, &stream, "too soon").await, (429, json!("slow")));
    let followers = json!({ "kind": "mode", "mode": { "followers_s": 60 } });
    assert_eq!(
        server.admin(Method::POST, &acts, Some(followers)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(refused(&server, &ann, &stream, "hi").await, (403, json!("followers_only")));
    let subscribers = json!({ "kind": "mode", "mode": { "subscribers": true } });
    assert_eq!(
        server.admin(Method::POST, &acts, Some(subscribers)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(refused(&server, &ann, &stream, "hi").await, (403, json!("subscribers_only")));
    let open = json!({ "kind": "mode", "mode": {} });
    assert_eq!(server.admin(Method::POST, &acts, Some(open)).await.status, StatusCode::CREATED);
    let mut limited = 0;
    for n in 0..25 {
        let said = json!({ "message": format!("one of many {n}") });
        let answer = ann.call(&server, Method::POST, &chat(&stream), said).await;
        limited += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(limited, 25 - 19, "20 a minute, of which one was before");
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_go_on_in_the_channels_next_broadcast() {
    let server = server().await;
    let stream = server.create("Today").await;
    let troll = Person::new(&server, "troll", &[]).await;
    let acts = format!("{}/acts", chat(&stream));
    let ban = json!({ "kind": "ban", "user_id": troll.id });
    assert_eq!(server.admin(Method::POST, &acts, Some(ban)).await.status, StatusCode::CREATED);
    // Two broadcasts by the same key.
    let mut publisher = crate::support::rtmp::Rtmp::publish(&server.rtmp, &stream.key).await;
    let feed = crate::support::feed::Feed { length: Duration::from_secs(2), ..Default::default() };
    feed.run(&mut publisher).await;
    publisher.finish().await;
    server.state(&stream, "STREAM_COMPLETE").await;
    let mut publisher = crate::support::rtmp::Rtmp::publish(&server.rtmp, &stream.key).await;
    feed.run(&mut publisher).await;
    let next = eventually("the next broadcast", async || {
        let live = server.get("/api/streams").await.json();
        let live = live["streams"].as_array()?.first()?["stream_id"].as_str()?.to_owned();
        (live != stream.id).then_some(live)
    })
    .await;
    let late = troll.call(&server, Method::POST, &chat(&stream), json!({ "message": "hi" })).await;
    assert_eq!(late.status, StatusCode::GONE, "{}", late.text());
    let over = server.get(&chat(&stream)).await;
    assert_eq!((over.status, &over.json()["over"]), (StatusCode::OK, &json!(true)));
    let stream = Stream { id: next, ..server.create("Another").await };
    assert_eq!(refused(&server, &troll, &stream, "here again").await, (403, json!("banned")));
    publisher.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regex_bombs_are_refused_at_the_start_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("blocked.txt");
    for (bomb, why) in [
        ("(a{1000}){1000}", "use smaller counts"),
        ("((((a{100}){100}){100}){100}){100}", "use smaller counts"),
        ("(a*)*", "it matches every message"),
    ] {
        std::fs::write(&blocked, format!("badword\n/fine/\n/{bomb}/\n")).expect("it is written");
        let mut command = Command::new(binary());
        command
            .args(["serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .args(["--set", "transcode.enabled=false", "--set"])
            .arg(format!("chat.blocked={}", blocked.display()))
            .current_dir(folder.path())
            .kill_on_drop(true);
        let output = timeout(SOON, command.output()).await.expect("it ends").expect("it runs");
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&all);
        assert!(!output.status.success(), "{bomb}: {said}");
        assert!(said.contains(bomb) && said.contains(why), "{bomb}: {said}");
        assert!(!said.contains("panicked"), "{bomb}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_that_take_for_ever_elsewhere_hold_nobody_up() {
    let blocked = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(blocked.path(), "/(a+)+$/\n/(x+x+)+y/\n").expect("it is written");
    let path = blocked.path().display().to_string();
    let server = server_with(&[("chat.blocked", &path)]).await;
    let stream = server.create("Patient").await;
    let (ann, bob) =
        (Person::new(&server, "ann", &[]).await, Person::new(&server, "bob", &[]).await);
    for message in ["aaa", "so xxy it is"] {
        assert_eq!(refused(&server, &ann, &stream, message).await, (400, json!("word")));
    }
    // What nearly matches, in more ways than anybody can try.
    let judged = async {
        for n in 'b'..='p' {
            for (person, letter) in [(&ann, "a"), (&bob, "x")] {
                let message = format!("{}{n}!", letter.repeat(480));
                post(&server, person, &stream, json!({ "message": message })).await;
            }
        }
    };
    timeout(SOON, judged).await.expect("it is judged soon");
}
