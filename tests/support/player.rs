//! The strict player in the background, and playlists as structs.

use std::time::Duration;

use clients::playlist::{MediaPlaylist, MultivariantPlaylist, parse_media, parse_multivariant};
use clients::watch::RenditionChoice;
use clients::{Stop, WatchError, WatchOptions, WatchReport, watch};
use http::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::eventually;
use super::server::{Server, Stream};

/// The machine does other things too, and faults take their time: how late
/// media may be is measured by the benchmarks, what it is by tests.
const SLACK: Duration = Duration::from_secs(30);

/// How long a player waits for a stream to begin, or for its end.
const PATIENCE: Duration = Duration::from_secs(45);

/// A strict viewer of all renditions that watches while a test goes on.
pub struct Player {
    stop: Stop,
    task: JoinHandle<WatchReport>,
}

impl Player {
    /// Begins to watch as soon as there is something to see.
    pub fn start(stream: &Stream) -> Self {
        let stop = Stop::new();
        let task = tokio::spawn(follow(stream.playback.clone(), stop.clone()));
        Self { stop, task }
    }

    /// Ends watching.
    pub async fn finish(self) -> WatchReport {
        self.stop.stop();
        self.ended().await
    }

    /// Waits until the broadcast ends.
    pub async fn ended(self) -> WatchReport {
        let joined = tokio::time::timeout(PATIENCE, self.task).await;
        joined.expect("the broadcast ends").expect("the player doesn't panic")
    }
}

async fn follow(url: String, stop: Stop) -> WatchReport {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut options = WatchOptions::new(&url);
        options.rendition = RenditionChoice::All;
        options.slack = SLACK;
        match watch(options, stop.clone()).await {
            Ok(report) => return report,
            Err(WatchError::Status { status: 404 | 503, .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Nothing was wrong, neither with media nor with requests.
#[track_caller]
pub fn assert_clean(report: &WatchReport) {
    assert!(report.is_clean(), "{report}");
}

/// No rule was broken. Requests may have failed, since the server was away.
#[track_caller]
pub fn assert_lawful(report: &WatchReport) {
    assert!(report.parts + report.segments > 0, "nothing was received:\n{report}");
    assert!(report.violation_counts.is_empty(), "{report}");
}

impl Server {
    /// The stream's multivariant playlist.
    pub async fn multivariant(&self, stream: &Stream) -> MultivariantPlaylist {
        let answer = super::http::get(&stream.playback).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        parse_multivariant(&answer.text()).unwrap_or_else(|e| panic!("{e}:\n{}", answer.text()))
    }

    /// The media playlist of a rendition, once there is one.
    pub async fn media(&self, stream: &Stream, rendition: &str) -> MediaPlaylist {
        let path = format!("/live/{}/{rendition}/index.m3u8", stream.id);
        let answer = eventually("media playlist", async || {
            let answer = self.get(&path).await;
            (answer.status == StatusCode::OK).then_some(answer)
        })
        .await;
        parse_media(&answer.text()).unwrap_or_else(|e| panic!("{e}:\n{}", answer.text()))
    }

    /// A segment's bytes.
    pub async fn segment(&self, stream: &Stream, rendition: &str, msn: u64) -> super::http::Answer {
        self.get(&format!("/live/{}/{rendition}/{msn}.m4s", stream.id)).await
    }

    /// The sum of a metric's samples.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        samples.sum()
    }
}

/// Segments behind a discontinuity, by media sequence number.
pub fn discontinuities(playlist: &MediaPlaylist) -> Vec<u64> {
    playlist.heads().filter(|h| h.discontinuity).map(|h| h.msn).collect()
}
