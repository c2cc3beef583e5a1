//! SQL by Arrow Flight SQL: ADBC from Python, which gets Arrow tables.

use tokio::process::Command;

use crate::support::certificate::{certificate, https};
use crate::support::scene::seconds;
use crate::support::server::{Server, TOKEN};
use crate::support::{eventually, root};

async fn server(settings: &[(&str, &str)]) -> (Server, String) {
    let ours = [("transcode.enabled", "false"), ("sql.flight", "127.0.0.1:0")];
    let server = Server::with(&[&ours[..], settings].concat()).await;
    let uri = eventually("address of Flight SQL's", async || {
        let output = server.output();
        let line = output.lines().find_map(|line| line.trim().strip_prefix("flight "))?;
        Some(line.trim().to_owned())
    })
    .await;
    (server, uri)
}

/// Runs a script with ADBC and reads what it says.
async fn python(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command
        .arg(root().join(script))
        .args(arguments)
        .env("PYTHONPATH", root().join(".cache/drivers"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(seconds(240), command.output()).await;
    let output = output.expect("it ends").expect("it runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(output.status.success() && said.ends_with("all is well\n"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_gets_arrow_tables() {
    let (server, uri) = server(&[]).await;
    server.create("First").await;
    server.create("Second").await;
    python("tests/it/flight.py", &["plain", &uri, TOKEN, &server.pid().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_is_encrypted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = certificate(dir.path()).await;
    let (_server, uri) = server(&https(&cert, &key)).await;
    assert!(uri.starts_with("grpc+tls://"), "{uri}");
    python("tests/it/flight.py", &["tls", &uri, TOKEN, &cert]).await;
}
