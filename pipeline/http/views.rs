//! `/api/views`: what viewers' players saw, every few seconds.
//!
//! Enters: a report, by whoever watches; nobody is asked who they are, so it is
//! bounded in size and values, and all of them together by [`Rate`]. Leaves: a
//! record in the log. Never here: addresses, or anything else that
//! names a person.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use chat::UserTag;
use http::{HeaderMap, StatusCode};
use log::{NewRecord, Topic};
use parking_lot::Mutex;
use records::{StreamId, View};
use serde::Deserialize;
use uuid::Uuid;

use super::player::player;
use super::{App, Problem};
use crate::videos::VideoId;

/// Longest report, in bytes.
const BYTES_MAX: usize = 2048;
/// What one report may cover, in milliseconds: players report every ten seconds.
const SPAN_MS_MAX: u32 = 120_000;
/// Most stalls and late pictures that one may tell of.
const COUNT_MAX: u32 = 100_000;
/// Longest name of a rendition.
const RENDITION_BYTES_MAX: usize = 16;

/// Reports a second that all viewers together may send …
const PER_SECOND: f64 = 2000.0;
/// … and how many at once.
const BURST: f64 = 10_000.0;

/// `POST /api/views`. Times are milliseconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    stream: StreamId,
    #[serde(default)]
    video: Option<VideoId>,
    session: Uuid,
    #[serde(default)]
    rendition: String,
    watched_ms: u32,
    #[serde(default)]
    stalls: u32,
    #[serde(default)]
    stalled_ms: u32,
    #[serde(default)]
    dropped_frames: u32,
    #[serde(default)]
    latency_ms: Option<u32>,
    #[serde(default)]
    startup_ms: Option<u32>,
    #[serde(default)]
    position_ms: Option<u64>,
}

/// A bucket that fills with the time.
pub struct Rate(Mutex<(f64, Instant)>);

impl Default for Rate {
    fn default() -> Self {
        Self(Mutex::new((BURST, Instant::now())))
    }
}

impl Rate {
    /// Takes one; none is left: false.
    fn take(&self, now: Instant) -> bool {
        let (left, since) = &mut *self.0.lock();
        *left =
            (*left + now.saturating_duration_since(*since).as_secs_f64() * PER_SECOND).min(BURST);
        *since = now;
        let is_there = *left >= 1.0;
        if is_there {
            *left -= 1.0;
        }
        is_there
    }
}

/// Takes a report. 204: it is in the log, and so will be in the lake; players don't
/// wait for that, and never try again.
pub async fn report(
    State(app): State<App>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    if body.len() > BYTES_MAX {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a report has at most 2 KiB"));
    }
    if !app.view_rate.take(Instant::now()) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many reports; drop this one"));
    }
    let report: Report =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let view = view(report, runtime::wall_us())?;
    match view.video {
        None => {
            let stream = app.registry.catalog().get(view.stream).filter(|stream| !stream.deleted);
            stream.ok_or_else(Problem::unknown_stream)?;
            // Whoever watches is counted with those who chat; both say the same identifier.
            if let Ok(lane) = app.chat.desk.lane(view.stream).await {
                lane.watches(UserTag(view.session.as_u128()), player(peer, &headers));
            }
        }
        Some(video) => {
            let video = app.videos.get(VideoId(video)).filter(|v| v.stream_id == view.stream);
            video.ok_or_else(Problem::unknown_video)?;
        }
    }
    let partition = Topic::Views.partition(view.stream.shard());
    // Plain data always has a JSON form.
    let value = serde_json::to_vec(&view)
        .map_err(|error| Problem::unavailable("keeping the report", &error))?;
    let record = NewRecord::new(partition, view.stream.0.as_bytes().to_vec(), value);
    match app.views.append(vec![record]).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let why = "the log doesn't take reports now; drop this one";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

fn view(report: Report, at_us: u64) -> Result<View, Problem> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if report.rendition.len() > RENDITION_BYTES_MAX || !report.rendition.bytes().all(is_name) {
        return Err(Problem::bad_request("rendition is source, audio or a height such as 720p"));
    }
    if report.watched_ms > SPAN_MS_MAX || report.stalled_ms > SPAN_MS_MAX {
        return Err(Problem::bad_request("a report covers two minutes at most"));
    }
    if report.stalls > COUNT_MAX || report.dropped_frames > COUNT_MAX {
        return Err(Problem::bad_request("a report tells of 100,000 stalls and pictures at most"));
    }
    Ok(View {
        stream: report.stream,
        video: report.video.map(|video| video.0),
        session: report.session,
        at_us,
        rendition: report.rendition,
        watched_ms: report.watched_ms,
        stalls: report.stalls,
        stalled_ms: report.stalled_ms,
        dropped_frames: report.dropped_frames,
        latency_ms: report.latency_ms,
        startup_ms: report.startup_ms,
        position_ms: report.position_ms,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_bounded_and_comes_back() {
        let rate = Rate::default();
        let now = Instant::now();
        let taken = (0..20_000).filter(|_| rate.take(now)).count();
        assert_eq!(taken, BURST as usize);
        assert!(rate.take(now + Duration::from_millis(1)));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..20_000).filter(|_| rate.take(later)).count(), BURST as usize);
    }

    #[test]
    fn reports_are_bounded() {
        let stream = StreamId::generate();
        let report = |more: &str| {
            let text = format!(
                r#"{{"stream":"{stream}","session":"{}","watched_ms":10000{more}}}"#,
                Uuid::nil()
            );
            serde_json::from_str::<Report>(&text).map(|report| view(report, 5))
        };
        let good = report(r#","rendition":"720p","stalls":1,"latency_ms":900"#).unwrap().unwrap();
        assert_eq!((good.at_us, good.stalls, good.latency_ms), (5, 1, Some(900)));
        for bad in [
            r#","rendition":"<script>""#,
            r#","rendition":"aaaaaaaaaaaaaaaaaaaaa""#,
            r#","stalled_ms":120001"#,
            r#","stalls":4000000000"#,
        ] {
            assert!(report(bad).unwrap().is_err(), "{bad}");
        }
        assert!(report(r#","who":"me""#).is_err());
        assert!(report(r#","stalls":-1"#).is_err());
    }
}
