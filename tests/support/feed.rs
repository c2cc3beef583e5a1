//! The sample clip's real tags, sent with whatever timestamps a test wants.

use std::sync::OnceLock;
use std::time::Duration;

use clients::publish::{Clip, Tag, Track};
use tokio::time::{Instant, sleep_until};

use super::rtmp::Rtmp;

/// The clip with a keyframe each second, so that short tests see several segments.
pub fn clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| open(&["-g", "25", "-bf", "0"]))
}

/// The clip with three B-frames between references.
pub fn b_frame_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| open(&["-g", "25", "-bf", "3"]))
}

/// The clip at another size, as after a scene change in OBS.
pub fn small_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| open(&["-g", "25", "-bf", "0", "-vf", "scale=320:180"]))
}

/// The clip twice, tiny, with a single keyframe: 10 s of OBS's default and more.
pub fn long_gop_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| {
        let options = ["-g", "1000", "-bf", "0", "-vf", "scale=160:90"];
        open_looped(1, &options)
    })
}

/// Encodes the sample clip with `options`, small enough to be quick.
fn open(options: &[&str]) -> Clip {
    open_looped(0, options)
}

/// The same with the sample clip repeated.
fn open_looped(repeats: u32, options: &[&str]) -> Clip {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("clip.mp4");
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-stream_loop", &repeats.to_string(), "-i"]).arg(super::clip());
    if !options.contains(&"-vf") {
        command.args(["-vf", "scale=640:360"]);
    }
    let encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0", "-ac", "2"];
    let status = command.args(encoder).args(options).arg(&path).status();
    assert!(status.expect("ffmpeg runs").success());
    Clip::open(&path).expect("a clip")
}

/// Which tags go out, and with which timestamps.
pub struct Feed {
    pub clip: &'static Clip,
    /// RTMP timestamp of the first tag.
    pub first_ms: u32,
    /// Media time to skip at the start of the clip.
    pub skip: Duration,
    /// Media time to send; the clip repeats as needed.
    pub length: Duration,
    pub video: bool,
    pub audio: bool,
    /// How many times faster than real time.
    pub speed: f64,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            clip: clip(),
            first_ms: 0,
            skip: Duration::ZERO,
            length: Duration::from_secs(5),
            video: true,
            audio: true,
            speed: 1.0,
        }
    }
}

impl Feed {
    /// Sends the sequence headers.
    pub async fn headers(&self, to: &mut Rtmp) {
        for (track, body) in &self.clip.headers {
            self.send(to, *track, self.first_ms, body.clone()).await;
        }
    }

    /// Sends headers and tags, paced; returns the timestamp that would be next.
    pub async fn run(&self, to: &mut Rtmp) -> u32 {
        self.headers(to).await;
        self.run_bare(to).await
    }

    /// Sends the tags, paced; returns the timestamp that would be next.
    pub async fn run_bare(&self, to: &mut Rtmp) -> u32 {
        let begin = Instant::now();
        let (skip, length) = (self.skip.as_nanos() as i64, self.length.as_nanos() as i64);
        for round in 0.. {
            for tag in &self.clip.tags {
                let due_ns = self.clip.due_ns(round, tag) - skip;
                if due_ns < 0 {
                    continue;
                }
                if due_ns >= length {
                    return self.at(length);
                }
                sleep_until(begin + Duration::from_nanos((due_ns as f64 / self.speed) as u64))
                    .await;
                self.tag(to, self.at(due_ns), tag).await;
            }
        }
        unreachable!("the clip isn't empty")
    }

    /// Sends one tag.
    pub async fn tag(&self, to: &mut Rtmp, timestamp_ms: u32, tag: &Tag) {
        self.send(to, tag.track, timestamp_ms, tag.body.clone()).await;
    }

    async fn send(&self, to: &mut Rtmp, track: Track, timestamp_ms: u32, body: bytes::Bytes) {
        match track {
            Track::Video if self.video => to.video(timestamp_ms, body).await,
            Track::Audio if self.audio => to.audio(timestamp_ms, body).await,
            _ => {}
        }
    }

    fn at(&self, ns: i64) -> u32 {
        self.first_ms.wrapping_add((ns / 1_000_000) as u32)
    }
}
