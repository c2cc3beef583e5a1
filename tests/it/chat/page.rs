//! The pages, in a real browser.

use super::*;
use crate::interop::browser::{script, turn};
use crate::support::feed::Feed;
use crate::support::rtmp::Rtmp;
use crate::support::scene::seconds;

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_up_chat_and_come_back_after_a_kill() {
    let _turn = turn().await;
    let mut server = server().await;
    let stream = server.create("Talked over").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let markup = "<b>bold</b> <script>alert(1)</script> <img src='x' onerror='alert(1)'>";
    let arguments = [
        ("--url", format!("{}/watch/{}", server.http, stream.id)),
        ("--name", "ann".into()),
        ("--say", format!("hello|{markup}")),
        ("--gate", gate.display().to_string()),
        ("--after", "and hello again".into()),
    ];
    let arguments: Vec<_> =
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let page = tokio::spawn(async move { script("chat.mjs", &arguments).await });
    eventually("what is said first", async || {
        let told = server.get(&chat(&stream)).await.json();
        (told["messages"].as_array()?.len() == 2).then_some(())
    })
    .await;
    server.restart("KILL").await;
    std::fs::write(&gate, "").expect("it is opened");
    let report = page.await.expect("no panic");
    let expected = json!(["hello", markup, "and hello again"]);
    assert_eq!((&report["own"], &report["read"]), (&expected, &expected), "{report}");
    assert_eq!(report["html"], 0, "texts stay texts: {report}");
    // While the server is away, requests fail; nothing else may.
    let errors = report["errors"].as_array().expect("errors").iter();
    let others: Vec<_> = errors
        .filter(|error| !error.as_str().is_some_and(|e| e.contains("net::ERR_CONNECTION_")))
        .collect();
    assert!(others.is_empty(), "{report}");
}
