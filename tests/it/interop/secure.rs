//! HTTP/2 with and without TLS, RTMPS, and certificates that are renewed.

use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use super::{AAC, FFMPEG, H264, output, publish, server};
use crate::support::certificate::{certificate, https};
use crate::support::eventually;
use crate::support::player::{Player, assert_clean};
use crate::support::server::Server;

/// A server with HTTPS and RTMPS: itself, the folder of its certificate, both addresses.
async fn secure_server() -> (Server, TempDir, String, String) {
    let folder = TempDir::new().expect("a temporary directory");
    let (cert, key) = certificate(folder.path()).await;
    let rtmps =
        [("rtmp.tls.listen", "127.0.0.1:0"), ("rtmp.tls.cert", &*cert), ("rtmp.tls.key", &key)];
    let server = server(&[https(&cert, &key), rtmps].concat()).await;
    let (https, rtmps) = (server.found_at("https://"), server.found_at("rtmps://"));
    (server, folder, https, rtmps)
}

async fn curl(options: &[&str], url: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(options).arg(url);
    output(&mut command).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_in_the_clear_and_over_tls() {
    let (server, _folder, https, _) = secure_server().await;
    let version = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    let clear = format!("{}/api/streams", server.http);
    let secure = format!("{https}/api/streams");
    let curl_with =
        async |options: &[&str], url: &str| curl(&[&version, options].concat(), url).await;
    assert_eq!(curl_with(&["--http2-prior-knowledge"], &clear).await, "2 200");
    assert_eq!(curl_with(&["--http1.1"], &clear).await, "1.1 200");
    assert_eq!(curl_with(&["-k"], &secure).await, "2 200", "ALPN agrees on h2");
    assert_eq!(curl_with(&["-k", "--http1.1"], &secure).await, "1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_goes_in_by_rtmps_and_out_by_https() {
    let (server, folder, https, rtmps) = secure_server().await;
    let stream = server.create("secret").await;
    let url = format!("{rtmps}/{}", stream.key);
    let publisher = publish(FFMPEG, H264, AAC, 5, &url);
    let player = Player::start(&stream);
    server.state(&stream, "STREAM_ACTIVE").await;
    let shown = format!("{https}/api/streams/{}", stream.id);
    let cert = folder.path().join("cert.pem").display().to_string();
    let json: serde_json::Value =
        serde_json::from_str(&curl(&["--cacert", &cert], &shown).await).expect("JSON");
    let playback = json["playback_url"].as_str().expect("a link");
    assert!(playback.starts_with(&https), "links are as secure as the page: {playback}");
    // Blocked requests side by side on one connection, as browsers make them.
    let media = playback.replace("index.m3u8", "source/index.m3u8");
    let both =
        [format!("{media}?_HLS_msn=1&_HLS_part=0"), format!("{media}?_HLS_msn=1&_HLS_part=2")];
    let options = [
        "--cacert",
        &cert,
        "--http2",
        "--parallel",
        "-w",
        "%{http_version} %{http_code}\n",
        &both[0],
    ];
    let answers = curl(&options, &both[1]).await;
    assert_eq!(answers.matches("2 200").count(), 2, "{answers}");
    let report = player.ended().await;
    assert_clean(&report);
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (server, folder, https, _) = secure_server().await;
    let old = folder.path().join("old.pem");
    let current = folder.path().join("cert.pem");
    std::fs::rename(&current, &old).expect("a rename");
    std::fs::remove_file(folder.path().join("key.pem")).expect("a removal");
    let url = format!("{https}/healthz");
    let trusts = async |cert: &Path| {
        let cert = cert.display().to_string();
        let status = Command::new("curl").args(["-s", "--cacert", &cert, &url]).output().await;
        status.expect("curl runs").status.success()
    };
    assert!(trusts(&old).await, "while there is no new one, the old one stays in use");
    certificate(folder.path()).await;
    eventually("connection with the new certificate", async || {
        trusts(&current).await.then_some(())
    })
    .await;
    assert!(!trusts(&old).await);
    drop(server);
}
