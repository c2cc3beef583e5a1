//! The commands, as a person types them.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::support::scene::{seconds, server};
use crate::support::server::{Server, binary};

/// Runs a command to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(seconds(30), command.output()).await;
    output.expect("it ends").expect("it runs")
}

/// What it printed, on both ways out.
fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Runs a command against `server`, as its owner; what it printed.
async fn ask(server: &Server, arguments: &[&str]) -> String {
    let with_server =
        [arguments, &["--server", &server.http, "--token", crate::support::server::TOKEN]].concat();
    let output = run(&with_server).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_is_published_watched_and_looked_at() {
    let server = server().await;
    let stream = server.create("From a shell").await;
    let clip = crate::support::clip();
    let arguments = ["publish", shown(&clip), &stream.ingest, "--loop", "--seconds", "9", "--json"];
    let publish = run(&arguments);
    let look = async {
        server.state(&stream, "STREAM_ACTIVE").await;
        // The clip's only keyframe per round makes the first segment long.
        server.media(&stream, "source").await;
        let watched =
            run(&["watch", &stream.playback, "--seconds", "2", "--json", "--no-check"]).await;
        assert!(watched.status.success(), "{}", text(&watched));
        let report: serde_json::Value = serde_json::from_slice(&watched.stdout).expect("JSON");
        assert!(report["parts"].as_u64() > Some(0), "{report}");

        assert!(ask(&server, &["streams"]).await.contains("From a shell"));
        let scaled = ask(&server, &["scale", "2"]).await;
        assert!(scaled.contains("2 workers"), "{scaled}");
        let cluster = ask(&server, &["cluster", "--once"]).await;
        for word in ["source", "demux", "transcode", "segment", "hls", "archive", "packets"] {
            assert!(cluster.contains(word), "{word} is missing:\n{cluster}");
        }
    };
    let (published, ()) = tokio::join!(publish, look);
    assert!(published.status.success(), "{}", text(&published));
    let report: serde_json::Value = serde_json::from_slice(&published.stdout).expect("JSON");
    assert!(report["copies"][0]["video_tags"].as_u64() > Some(100), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_loaded_cut_and_comes_back() {
    let server = server().await;
    let stream = server.create("Loaded").await;
    let page = format!("{}/watch/{}", server.http, stream.id);
    let mut arguments = vec!["chat-load", &page, "--viewers", "20", "--seconds", "1", "--json"];
    arguments.extend(["--sign-up", "2", "--rate", "20", "--back"]);
    let output = run(&arguments).await;
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let count = |member: &str| report[member].as_u64();
    assert!(report["is_clean"] == true && report["back_s"].is_f64(), "{report}");
    // Some may be refused: two people may say forty in a minute.
    assert!(count("accepted") >= Some(20), "{report}");
    assert_eq!(count("deliveries"), count("accepted").map(|said| said * 20), "{report}");
    assert_eq!(count("last"), count("accepted"), "{report}");

    for (url, rate, viewers, word) in [
        (&page, "1", "2", "somebody has to speak"),
        (&page, "0", "100000000", "don't fit"),
        (&server.http, "0", "2", "nothing is live"),
    ] {
        let output = run(&["chat-load", url, "--rate", rate, "--viewers", viewers]).await;
        assert!(!output.status.success() && text(&output).contains(word), "{}", text(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_said_so() {
    for arguments in [
        &["streams", "--server", "http://127.0.0.1:9"][..],
        &["scale", "2", "--server", "http://127.0.0.1:9"],
        &["watch", "http://127.0.0.1:9/live/x/index.m3u8"],
        &["publish", shown(&crate::support::clip()), "rtmp://127.0.0.1:9/live/x"],
        &["chat-load", "http://127.0.0.1:9"],
        &["chat-load", "ws://127.0.0.1:9/x", "--viewers", "2"],
    ] {
        let output = run(arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output);
        assert!(said.starts_with("millstream: ") && !said.contains("panicked"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_wrong_number_are_refused() {
    let server = server().await;
    let at = ["--server", &server.http];
    let wrong = run(&[&["scale", "2", "--token", "not-the-token"][..], &at].concat()).await;
    assert!(!wrong.status.success() && text(&wrong).contains("403"), "{}", text(&wrong));
    let token = ["--token", crate::support::server::TOKEN];
    let many = run(&[&["scale", "65"][..], &token, &at].concat()).await;
    assert!(!many.status.success() && text(&many).contains("64"), "{}", text(&many));
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_are_listed() {
    let output = run(&["encoders"]).await;
    assert!(output.status.success());
    assert!(text(&output).contains("x264enc"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_judged_with_line_reason_and_nearest_name() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("millstream.toml");
    std::fs::write(&file, "[hls]\npart_target = \"300ms\"\n").expect("a file");
    let good = run(&["config", "check", "--config", shown(&file)]).await;
    assert!(good.status.success(), "{}", text(&good));

    std::fs::write(&file, "[hls]\npart_taget = \"300ms\"\nsegment_max = \"90s\"\n")
        .expect("a file");
    let bad = run(&["config", "check", "--config", shown(&file)]).await;
    assert!(!bad.status.success());
    let said = text(&bad);
    assert!(said.contains("did you mean hls.part_target?"), "{said}");
    assert!(said.contains(":2") && said.contains(":3"), "both lines: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_trials_is_made() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let output = run(&["cert", "example.test", "--cert", shown(&cert), "--key", shown(&key)]).await;
    assert!(output.status.success(), "{}", text(&output));
    let pem = |path: &Path| std::fs::read_to_string(path).expect("a file");
    assert!(pem(&cert).contains("BEGIN CERTIFICATE") && pem(&key).contains("PRIVATE KEY"));
}
