//! Programs that we did not write, against the real binary: each publishes,
//! plays or parses as its users would have it do.

pub mod browser;
mod delivery;
mod encoders;
mod players;
mod secure;

use tokio::process::Command;

use crate::support::process::Program;
use crate::support::server::Server;
use crate::support::{clip, root};

/// A server that cuts every second, so that a few seconds show much.
async fn server(settings: &[(&str, &str)]) -> Server {
    let short =
        [("transcode.enabled", "false"), ("hls.segment_target", "1s"), ("hls.segment_max", "2s")];
    Server::with(&[&short[..], settings].concat()).await
}

/// Debian's ffmpeg.
pub const FFMPEG: &str = "ffmpeg";

/// A current ffmpeg, which speaks Enhanced RTMP; `make test` installs it.
fn new_ffmpeg() -> String {
    let path = root().join(".cache/ffmpeg");
    assert!(path.exists(), "{} is missing: `make .cache/ffmpeg` installs it", path.display());
    path.display().to_string()
}

/// What the tests publish if they don't care: H.264 with a keyframe a second.
pub const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-sc_threshold", "0"];
pub const AAC: &[&str] = &["-c:a", "aac", "-ac", "2"];

/// The sample clip over and over, small, encoded by `ffmpeg` and published to `url`.
pub fn publish(ffmpeg: &str, video: &[&str], audio: &[&str], seconds: u32, url: &str) -> Program {
    let mut command = Command::new(ffmpeg);
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(clip());
    command.args(["-t", &seconds.to_string()]);
    if !video.contains(&"copy") {
        // The clip's sound is longer than its picture: without `fps` each
        // repetition would begin with a longer picture.
        command.args(["-vf", "scale=320:180,fps=25"]);
    }
    // Encoders of libraries write to standard error whatever the level.
    command.args(video).args(audio).args(["-f", "flv", url]);
    Program::start(&mut command)
}

/// Runs a program to its end; what it wrote to standard output. It must succeed
/// and, if `quiet`, have nothing to say about errors.
pub async fn output(command: &mut Command) -> (String, String) {
    let limit = std::time::Duration::from_secs(60);
    let run = command.kill_on_drop(true).output();
    let out = tokio::time::timeout(limit, run).await.expect("it ends").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{command:?}: {}\n{stderr}\n{stdout}", out.status);
    (stdout, stderr)
}
