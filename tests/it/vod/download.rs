//! Videos as files.

use http::StatusCode;
use serde_json::Value;
use tokio::process::Command;

use super::{api, count, pictures, rendition_url};
use crate::interop::{FFMPEG, output};
use crate::support::feed::{Feed, b_frame_clip};
use crate::support::rtmp::Rtmp;
use crate::support::scene::{reconnect, reset, seconds, server};
use crate::support::server::Server;

/// Downloads a video; the file, and what ffprobe takes its length for.
pub async fn download(server: &Server, video: &Value) -> (tempfile::TempDir, String, f64) {
    let answer = server.get(&api(video, "/download")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "video/mp4");
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("video.mp4").display().to_string();
    std::fs::write(&path, &answer.body).expect("written");
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-show_entries", "format=duration"]);
    probe.args(["-of", "default=nw=1:nk=1", &path]);
    let (length, errors) = output(&mut probe).await;
    assert_eq!(errors, "");
    (folder, path, length.trim().parse().expect("a length"))
}

/// Pictures that ffmpeg decodes, each once, and what it has to say.
pub async fn decoded(path: &str) -> (usize, String) {
    let mut decode = Command::new(FFMPEG);
    decode.args(["-v", "error", "-i", path, "-map", "0:v:0", "-map", "0:a:0"]);
    decode.args(["-fps_mode", "passthrough", "-f", "framecrc", "-"]);
    let (frames, errors) = output(&mut decode).await;
    (frames.lines().filter(|line| line.starts_with("0,")).count(), errors)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_one_file_that_plays_everywhere() {
    let server = server().await;
    let stream = server.create("To \"keep\"").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let b_frames = Feed { clip: b_frame_clip(), length: seconds(3), ..Feed::default() };
    b_frames.run(&mut publisher).await;
    reset(publisher);
    server.state(&stream, "RECONNECTING").await;
    let mut publisher = reconnect(&server, &stream).await;
    b_frames.run(&mut publisher).await;
    publisher.finish().await;
    let video = server.video(&stream).await;
    let sent = pictures(&rendition_url(&server, &video, "source")).await;
    assert!(sent > 5 * 25, "{sent} pictures");
    let (_folder, path, length_s) = download(&server, &video).await;
    assert_eq!(pictures(&path).await, sent);
    assert_eq!(
        count(&path, "a:0").await,
        count(&rendition_url(&server, &video, "audio"), "a:0").await
    );
    let told_s = video["duration_us"].as_f64().expect("a duration") / 1e6;
    assert!((length_s - told_s).abs() < 0.05, "{length_s} s in the file, {told_s} s told");
    let (shown, errors) = decoded(&path).await;
    assert_eq!((shown, &*errors), (sent, ""), "every picture can be decoded");

    let whole = std::fs::read(&path).expect("the file");
    let url = format!("{}{}", server.http, api(&video, "/download"));
    for (range, status, bytes) in [
        ("0-99", 206, &whole[..100]),
        ("-1000", 206, &whole[whole.len() - 1000..]),
        ("5000-400000", 206, &whole[5000..=400_000]),
        ("999999999-", 416, &[][..]),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-r", range, "-o"]).arg(format!("{path}.part"));
        curl.args(["-w", "%{http_code}", &url]);
        assert_eq!(output(&mut curl).await.0, status.to_string(), "{range}");
        let got = std::fs::read(format!("{path}.part")).expect("what curl wrote");
        assert!(status == 416 || got == bytes, "{range}");
    }
}
