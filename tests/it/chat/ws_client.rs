//! A program that chats by a WebSocket client that isn't ours (`ws`, of npm), while its server
//! is killed twice and stopped at last.

use std::ops::RangeInclusive;
use std::path::Path;

use super::*;
use crate::interop::browser::script;

/// The program is so far.
async fn told(folder: &Path, step: &str) {
    eventually(step, async || folder.join(step).exists().then_some(())).await;
}

async fn says(server: &Server, bob: &Person, stream: &Stream, numbers: RangeInclusive<u32>) {
    for n in numbers {
        let said = json!({ "message": format!("bob {n}"), "client_id": format!("b{n}") });
        heard(server, bob, stream, said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_misses_nothing_across_kills() {
    let mut server = server().await;
    let stream = server.create("Programs").await;
    let other = server.create("Soon over").await;
    let ann = Person::new(&server, "ann", &[]).await;
    let bob = Person::new(&server, "bob", &[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let host = server.http.replace("http://", "ws://");
    let arguments = [
        ("--url", format!("{host}{}/subscribe", chat(&stream))),
        ("--token", ann.token.clone()),
        ("--other", format!("{host}{}/subscribe", chat(&other))),
        ("--folder", at.display().to_string()),
    ];
    let arguments: Vec<_> =
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let story = async {
        told(at, "here").await;
        says(&server, &bob, &stream, 1..=3).await;
        told(at, "kill").await;
        server.restart("KILL").await;
        says(&server, &bob, &stream, 4..=6).await;
        std::fs::write(at.join("back"), "").expect("it is told");
        told(at, "kill-again").await;
        server.restart("KILL").await;
        says(&server, &bob, &stream, 7..=8).await;
        told(at, "delete").await;
        let path = format!("/api/streams/{}", other.id);
        let deleted = server.admin(Method::DELETE, &path, None).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text());
        told(at, "stop").await;
        server.stop("INT").await
    };
    let (report, _data) = tokio::join!(script("ws.mjs", &arguments), story);

    let records = report["records"].as_array().expect("records");
    let seqs = records.iter().map(|record| record["seq"].as_u64());
    assert!(seqs.eq((1..=13).map(Some)), "each once, in order: {report}");
    for (who, count) in [("ann", 5), ("bob", 8)] {
        let theirs = records.iter().filter(|record| record["name"] == who);
        let texts: Vec<_> = theirs.filter_map(|record| record["message"].as_str()).collect();
        let said: Vec<_> = (1..=count).map(|n| format!("{who} {n}")).collect();
        assert_eq!(texts, said, "{report}");
    }
    assert_eq!(report["unlike"], json!([]), "as it was acknowledged: {report}");
    assert_eq!(report["recovered"], json!([true, true]), "{report}");
    assert_eq!(report["you"], "ann", "{report}");
    assert_eq!(report["pong"], "there?", "{report}");
    assert_eq!(report["extensions"], "", "none was agreed on: {report}");
    let closes = json!({
        "killed": [1006, 1006],
        "normal": 1000,
        "own": 4321,
        "bytes": 1003,
        "notText": 1007,
        "tooLong": 1009,
        "over": 4001,
        "stopped": 1001,
    });
    assert_eq!(report["closes"], closes, "{report}");
}
