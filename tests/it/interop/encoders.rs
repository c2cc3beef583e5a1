//! Publishers: ffmpeg old and new, GStreamer, librtmp.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::{AAC, FFMPEG, H264, new_ffmpeg, output, publish, server};
use crate::support::eventually;
use crate::support::player::{Player, assert_clean};
use crate::support::process::Program;
use crate::support::server::{Server, Stream};

const LIMIT: Duration = Duration::from_secs(30);

/// The CODECS of each variant, by the first folder of its address.
async fn codecs(server: &Server, stream: &Stream) -> Vec<(String, String)> {
    let text = server.get(&format!("/live/{}/index.m3u8", stream.id)).await.text();
    let lines: Vec<_> = text.lines().collect();
    let variants = lines.windows(2).filter(|pair| pair[0].starts_with("#EXT-X-STREAM-INF:"));
    variants
        .map(|pair| {
            let codecs = pair[0].split("CODECS=\"").nth(1).and_then(|rest| rest.split('"').next());
            let name = pair[1].split('/').next().unwrap_or_default();
            (name.to_owned(), codecs.expect("CODECS").to_owned())
        })
        .collect()
}

/// Decodes all of a broadcast that is over; how many pictures and samples there were.
async fn decoded(ffmpeg: &str, server: &Server, stream: &Stream, rendition: &str) -> usize {
    let url = format!("{}/live/{}/{rendition}/index.m3u8", server.http, stream.id);
    let mut command = Command::new(ffmpeg);
    command.args(["-v", "error", "-i", &url, "-f", "framemd5", "-"]);
    let (frames, errors) = output(&mut command).await;
    assert_eq!(errors, "", "{rendition} decodes without a word");
    frames.lines().filter(|line| !line.starts_with('#')).count()
}

/// How far encoders are behind is a matter of the machine's other work.
const IN_STEP: &str = "bis 6.2.4 renditions in step within one part";
/// GStreamer's live source leaves pictures out where the machine is busy, and
/// the date of a segment behind them is early by as much.
const DATES: &str = "bis 4.4.4.6 dates mean the same media time in all renditions";

/// Broadcasts for a few seconds under the eyes of the strict player, who
/// overlooks what has to do with the machine.
async fn broadcast(
    server: &Server,
    mut publisher: Program,
    stream: &Stream,
    overlooked: &[&'static str],
) {
    let player = Player::start(stream);
    assert!(publisher.wait(LIMIT).await, "{}", publisher.output());
    let mut report = player.ended().await;
    report.violation_counts.retain(|rule, _| !overlooked.contains(rule));
    report.violations.retain(|violation| !overlooked.contains(&violation.rule));
    assert_clean(&report);
    assert!(report.ended > 0, "the player saw the end");
    server.state(stream, "STREAM_COMPLETE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_h264_and_aac() {
    let server = server(&[]).await;
    let stream = server.create("ffmpeg").await;
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-bf", "2"];
    let publisher = publish(FFMPEG, &video, AAC, 5, &stream.ingest);
    broadcast(&server, publisher, &stream, &[IN_STEP]).await;
    assert_eq!(decoded(FFMPEG, &server, &stream, "source").await, 5 * 25);
    // A frame of sound is 1024 samples; the encoder's first one is priming.
    let sound = decoded(FFMPEG, &server, &stream, "audio").await;
    assert!((5 * 48_000 / 1024 - 2..=5 * 48_000 / 1024 + 3).contains(&sound), "{sound}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_copies_a_file_in_a_loop() {
    // One keyframe in 5.3 s, so segments must be allowed to be as long.
    let server = server(&[("hls.segment_max", "6s")]).await;
    let stream = server.create("copy").await;
    let publisher = publish(FFMPEG, &["-c:v", "copy"], &["-c:a", "copy"], 8, &stream.ingest);
    broadcast(&server, publisher, &stream, &[IN_STEP]).await;
    let pictures = decoded(FFMPEG, &server, &stream, "source").await;
    assert!((8 * 25 - 5..=8 * 25 + 5).contains(&pictures), "{pictures}");
}

/// A GStreamer pipeline that publishes a test picture and tone by `sink`, and
/// keeps what it sends in `copy`: a busy machine's live source may leave
/// pictures out.
fn gstreamer(sink: &[&str], copy: &Path) -> Program {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q");
    let video = "videotestsrc is-live=true num-buffers=125 ! video/x-raw,width=320,height=180,framerate=25/1 \
                 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h264parse \
                 ! flvmux streamable=true name=mux ! tee name=sent \
                 sent. ! queue max-size-time=0 max-size-buffers=0 !";
    let audio = "audiotestsrc is-live=true num-buffers=234 ! audio/x-raw,rate=48000,channels=2 \
                 ! avenc_aac ! aacparse ! mux.";
    let copy = format!("sent. ! queue ! filesink location={}", copy.display());
    command.args(video.split_whitespace()).args(sink);
    command.args(copy.split_whitespace()).args(audio.split_whitespace());
    Program::start(&mut command)
}

/// Publishes with GStreamer's `sink`; every picture that it sent can be played.
async fn gstreamer_publishes(sink: &str, more: &str) {
    let server = server(&[]).await;
    let stream = server.create(sink).await;
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("sent.flv");
    let location = format!("location={}{more}", stream.ingest);
    let publisher = gstreamer(&[sink, &location], &copy);
    broadcast(&server, publisher, &stream, &[IN_STEP, DATES]).await;
    let playlist = format!("{}/live/{}/source/index.m3u8", server.http, stream.id);
    let sent = pictures_in(&copy.display().to_string()).await;
    assert!(sent > 100, "{sent} pictures were sent");
    assert_eq!(pictures_in(&playlist).await, sent);
    assert!(decoded(FFMPEG, &server, &stream, "source").await > 100);
}

/// Counts pictures without decoding, which might leave some out or show some twice.
async fn pictures_in(input: &str) -> usize {
    let mut command = Command::new(FFMPEG);
    command.args(["-v", "error", "-i", input]);
    command.args("-map 0:v -c copy -f framemd5 -".split(' '));
    let (pictures, _) = output(&mut command).await;
    pictures.lines().filter(|line| !line.starts_with('#')).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_rtmp2sink_publishes() {
    gstreamer_publishes("rtmp2sink", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn librtmp_publishes() {
    gstreamer_publishes("rtmpsink", " live=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_told_why_they_are_refused() {
    let server = server(&[]).await;
    let stream = server.create("taken").await;
    let wrong = format!("{}/no-such-key", server.rtmp);
    let folder = tempfile::tempdir().expect("a folder");
    let first = publish(FFMPEG, H264, AAC, 20, &stream.ingest);
    server.state(&stream, "STREAM_ACTIVE").await;
    for (url, theirs, ours) in [
        (&wrong, "Not authorized", "no stream has this key"),
        (&stream.ingest, "already exists", ""),
    ] {
        let mut publisher = publish(FFMPEG, H264, AAC, 5, url);
        assert!(!publisher.wait(LIMIT).await, "ffmpeg says that it failed");
        assert!(publisher.output().contains(ours), "{}", publisher.output());
        let copy = folder.path().join("sent.flv");
        let mut publisher = gstreamer(&["rtmp2sink", &format!("location={url}")], &copy);
        publisher.wait(LIMIT).await;
        assert!(publisher.output().contains(theirs), "{}", publisher.output());
    }
    assert_ne!(first.pid(), 0, "the first publisher goes on: {}", first.output());
}

/// Publishes with the new ffmpeg; both the source and a rung of H.264 beside it decode.
async fn with_a_ladder(title: &str, video: &[&str], audio: &[&str], expected: [&str; 3]) {
    let ladder = [("transcode.enabled", "true"), ("transcode.ladder", "120:200")];
    let server = server(&ladder).await;
    let stream = server.create(title).await;
    let publisher = publish(&new_ffmpeg(), video, audio, 6, &stream.ingest);
    broadcast(&server, publisher, &stream, &[IN_STEP]).await;

    let codecs = codecs(&server, &stream).await;
    let names: Vec<_> = codecs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["source", "120p", "audio"]);
    for ((name, codecs), expected) in codecs.iter().zip(expected) {
        assert!(codecs.starts_with(expected), "{name}: {codecs}");
    }
    for rendition in ["source", "120p"] {
        let pictures = decoded(&new_ffmpeg(), &server, &stream, rendition).await;
        assert!((6 * 25 - 8..=6 * 25).contains(&pictures), "{rendition}: {pictures} pictures");
    }
    assert!(decoded(&new_ffmpeg(), &server, &stream, "audio").await > 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_is_passed_through_with_h264_beside_it() {
    let video =
        ["-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-x265-params", "log-level=none"];
    with_a_ladder("HEVC", &video, AAC, ["hvc1.1.6.L", "avc1.", "mp4a.40.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn av1_and_opus_are_passed_through_with_h264_beside_them() {
    let video =
        ["-c:v", "libsvtav1", "-preset", "11", "-g", "25", "-svtav1-params", "pred-struct=1"];
    let audio = ["-c:a", "libopus", "-ac", "2"];
    with_a_ladder("AV1", &video, &audio, ["av01.0.00M.08,opus", "avc1.", "opus"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp9_is_named_and_left_out_but_its_sound_is_heard() {
    let server = server(&[]).await;
    let stream = server.create("VP9").await;
    let video = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25"];
    let publisher = publish(&new_ffmpeg(), &video, AAC, 5, &stream.ingest);
    let dropped = eventually("health with what was dropped", async || {
        let health = server.get(&format!("/api/streams/{}/health", stream.id)).await.json();
        health["latest"]["dropped"].as_u64().filter(|dropped| *dropped > 0)
    });
    dropped.await;
    broadcast(&server, publisher, &stream, &[IN_STEP]).await;
    let codecs = codecs(&server, &stream).await;
    assert_eq!(codecs, [("audio".to_owned(), "mp4a.40.2".to_owned())]);
    assert_eq!(server.output().matches("vp09").count(), 1, "said once: {}", server.output());
}
