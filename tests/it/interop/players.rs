//! Players and parsers: ffmpeg, GStreamer, hls-parser.

use std::collections::HashSet;

use tokio::process::Command;

use super::browser::script;
use super::{AAC, FFMPEG, H264, output, publish, server};
use crate::support::eventually;
use crate::support::server::{Server, Stream};

/// Waits until the source has so many segments.
async fn segments(server: &Server, stream: &Stream, count: usize) {
    let path = format!("/live/{}/source/index.m3u8", stream.id);
    eventually("segments", async || {
        (server.get(&path).await.text().matches("#EXTINF").count() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_it_as_plain_hls() {
    let server = server(&[]).await;
    let stream = server.create("plain").await;
    let _publisher = publish(FFMPEG, H264, AAC, 30, &stream.ingest);
    segments(&server, &stream, 3).await;
    let mut player = Command::new(FFMPEG);
    player.args(["-v", "error", "-i", &stream.playback, "-t", "4", "-map", "0:v:0"]);
    player.args(["-f", "framecrc", "-"]);
    let (frames, errors) = output(&mut player).await;
    assert_eq!(errors, "");
    let pictures = frames.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(pictures, 4 * 25, "{frames}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_hlsdemux2_plays_to_the_end() {
    let server = server(&[]).await;
    let stream = server.create("hlsdemux2").await;
    let mut publisher = publish(FFMPEG, H264, AAC, 7, &stream.ingest);
    segments(&server, &stream, 2).await;
    let mut player = Command::new("gst-launch-1.0");
    let pipeline = format!(
        "-v uridecodebin3 uri={} name=in \
         in. ! queue ! videoconvert ! fakesink name=picture silent=false sync=false \
         in. ! queue ! audioconvert ! fakesink name=sound silent=false sync=false",
        stream.playback
    );
    player.args(pipeline.split_whitespace());
    let (log, errors) = output(&mut player).await;
    assert!(log.contains("hlsdemux2"), "the new demuxer was chosen: {log}");
    assert!(!log.contains("ERROR") && !errors.contains("ERROR"), "{errors}");
    // Printed when somebody gets round to it: some messages twice, some not at all.
    let chained = |name: &str| {
        let sink = format!("({name}:sink)");
        let lines = log.lines().filter(|l| l.contains("chain") && l.contains(&sink));
        let times: HashSet<_> = lines.filter_map(|line| line.split("pts: ").nth(1)).collect();
        times.len()
    };
    // It begins at the first segment, since the window is shorter than HOLD-BACK.
    let (pictures, sound) = (chained("picture"), chained("sound"));
    assert!((5 * 25..=7 * 25).contains(&pictures), "{pictures} pictures");
    assert!(sound > 150, "{sound} frames of sound");
    publisher.wait(std::time::Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_parser_finds_nothing_in_strict_mode() {
    let ladder = [("transcode.enabled", "true"), ("transcode.ladder", "120:200")];
    let server = server(&ladder).await;
    let stream = server.create("strict").await;
    let mut publisher = publish(FFMPEG, H264, AAC, 8, &stream.ingest);
    let iframes = ["source", "120p"]
        .map(|name| format!("{}/live/{}/{name}/iframes.m3u8", server.http, stream.id));
    let urls = [&[stream.playback.clone()][..], &iframes].concat();
    let check = async |is_live: bool| {
        let report = script("strict.mjs", &urls).await;
        assert_eq!(report["ok"], true, "live {is_live}: {report}");
        let playlists = report["playlists"].as_array().expect("playlists");
        let media = playlists.iter().filter(|p| p["type"] == "media");
        assert_eq!(media.clone().count(), 5, "three renditions and two of I-frames: {report}");
        assert!(media.clone().all(|p| p["segments"].as_u64() > Some(1)), "{report}");
        let with_parts = media.filter(|p| p["parts"].as_u64() > Some(0)).count();
        assert!(!is_live || with_parts == 3, "{report}");
    };
    // Long enough for old parts to be gone from the playlist.
    segments(&server, &stream, 5).await;
    check(true).await;
    publisher.wait(std::time::Duration::from_secs(20)).await;
    server.state(&stream, "STREAM_COMPLETE").await;
    check(false).await;
}
