//! The player against playlists that it and the server's authors didn't write.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::*;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/bigbuckbunny.mp4")
}

/// Serves a directory with the headers that [`rules::http`] wants; without
/// `cors` all but that one.
async fn serve(directory: PathBuf, cors: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let directory = Arc::new(directory);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let directory = Arc::clone(&directory);
            let service = hyper::service::service_fn(move |request| {
                let directory = Arc::clone(&directory);
                async move { Ok::<_, Infallible>(answer(&directory, &request, cors)) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service),
            );
        }
    });
    format!("http://{address}")
}

fn answer(directory: &Path, request: &Request<Incoming>, cors: bool) -> Response<Full<Bytes>> {
    let name = request.uri().path().trim_start_matches('/');
    let mut response = Response::builder();
    if cors {
        response = response.header("access-control-allow-origin", "*");
    }
    let Ok(bytes) = std::fs::read(directory.join(name)) else {
        let missing = response.status(StatusCode::NOT_FOUND).header("cache-control", "max-age=1");
        return missing.body(Full::default()).unwrap();
    };
    let (content_type, cache) = match name.rsplit_once('.').unwrap().1 {
        "m3u8" => ("application/vnd.apple.mpegurl", "max-age=1"),
        "mp4" => ("video/mp4", "max-age=3600"),
        _ => ("video/iso.segment", "max-age=3600"),
    };
    response
        .header("content-type", content_type)
        .header("cache-control", cache)
        .body(Full::new(bytes.into()))
        .unwrap()
}

/// ffmpeg's HLS of the sample's picture, `seconds` long segments.
async fn hls(directory: &Path, live: bool) -> tokio::process::Child {
    let input = sample();
    let realtime: &[&str] = if live { &["-re", "-stream_loop", "-1"] } else { &[] };
    let list: &[&str] = if live {
        &["-hls_list_size", "8", "-hls_flags", "program_date_time+temp_file+independent_segments"]
    } else {
        &["-hls_list_size", "0", "-hls_flags", "program_date_time+temp_file"]
    };
    Command::new("ffmpeg")
        .current_dir(directory)
        .args(["-v", "error"])
        .args(realtime)
        .args(["-i", input.to_str().unwrap(), "-an", "-vf", "scale=320:180"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25"])
        .args(["-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4"])
        .args(list)
        .arg("main.m3u8")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn reads_what_ffmpeg_recorded() {
    let directory = tempfile::tempdir().unwrap();
    assert!(hls(directory.path(), false).await.wait().await.unwrap().success());
    let base = serve(directory.path().to_path_buf(), true).await;
    let options = WatchOptions::new(format!("{base}/main.m3u8"));
    let report = watch(options, Stop::new()).await.unwrap();
    assert_eq!((report.segments, report.ended), (6, 1), "{report}");
    assert_eq!(report.violation_counts.keys().collect::<Vec<_>>(), Vec::<&&str>::new(), "{report}");
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn follows_what_ffmpeg_sends_live() {
    let directory = tempfile::tempdir().unwrap();
    let _ffmpeg = hls(directory.path(), true).await;
    let base = serve(directory.path().to_path_buf(), false).await;
    let playlist = directory.path().join("main.m3u8");
    for _ in 0..100 {
        if playlist.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let options = WatchOptions {
        viewers: 3,
        duration: Some(Duration::from_secs(5)),
        ..WatchOptions::new(format!("{base}/main.m3u8"))
    };
    let report = watch(options, Stop::new()).await.unwrap();
    assert!(report.segments >= 9, "{report}");
    assert!(report.segment_latency.count >= 9, "{report}");
    assert!(report.segment_latency.p99_ms < 5000.0, "{report}");
    // The one thing that this server leaves out.
    let broken: Vec<&str> = report.violation_counts.keys().copied().collect();
    assert_eq!(broken, ["CORS on every response"], "{report}");
}

#[tokio::test]
async fn says_why_nothing_can_be_watched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.m3u8"), "hello").unwrap();
    let base = serve(directory.path().to_path_buf(), true).await;
    let watching = |name: &str| watch(WatchOptions::new(format!("{base}/{name}")), Stop::new());
    assert!(matches!(watching("no.m3u8").await, Err(WatchError::Status { status: 404, .. })));
    assert!(matches!(watching("bad.m3u8").await, Err(WatchError::Parse { .. })));
    let nobody = watch(WatchOptions::new("http://127.0.0.1:1/x.m3u8"), Stop::new()).await;
    assert!(matches!(nobody, Err(WatchError::Fetch { .. })));
}
