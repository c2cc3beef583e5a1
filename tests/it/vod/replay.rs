//! Recordings, published once more.

use tokio::process::Command;

use super::{pictures, rendition_url};
use crate::support::feed::Feed;
use crate::support::rtmp::Rtmp;
use crate::support::scene::{seconds, server};
use crate::support::server::binary;

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_the_same_broadcast_again() {
    let server = server().await;
    let first = server.create("first").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &first.key).await;
    Feed { length: seconds(4), ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    let before = server.video(&first).await;

    let again = server.create("again").await;
    let url = format!("{}/{}", server.rtmp, again.key);
    let run = |stream: String, more: &'static [&'static str]| {
        let mut command = Command::new(binary());
        command.arg("replay").arg(server.data()).args(["--stream", &stream, &url]);
        command.args(more).kill_on_drop(true);
        async move { command.output().await.expect("it runs") }
    };
    let output = run(first.id.to_string(), &["--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = server.video(&again).await;
    let us = |video: &serde_json::Value| video["duration_us"].as_i64().expect("a duration");
    assert!((us(&before) - us(&after)).abs() < 50_000, "{before} {after}");
    assert_eq!(
        pictures(&rendition_url(&server, &after, "source")).await,
        pictures(&rendition_url(&server, &before, "source")).await
    );

    let unknown = run("0198d1a4-0000-7000-8000-000000000000".into(), &[]).await;
    assert!(!unknown.status.success());
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("no recording of 0198d1a4"), "{said}");
    let backwards = run(first.id.to_string(), &["--from", "3", "--to", "1"]).await;
    assert!(!backwards.status.success());
}
