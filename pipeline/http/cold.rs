//! Videos that lie in the cold store: what whoever wants them is told meanwhile.
//!
//! Enters: a video that this client may watch. Leaves: nothing if it can be played
//! now, else when to come back. Held: nothing. Never done here: fetching; asking
//! for a video's playback, playlist or download is what orders it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use sinks::hls::vod::VodError;

use super::{App, Problem};
use crate::videos::{Access, VideoEntry, VideoId};

/// Longest time that a client is asked to stay away.
const COME_BACK_MAX_S: u64 = 30;

/// 202: it is on its way.
#[derive(Serialize)]
struct Fetching {
    video_id: VideoId,
    status: &'static str,
    /// In about so many seconds it can be played; at least 1.
    ready_in_s: u64,
    detail: String,
}

fn told(ready_in_s: u64) -> String {
    format!("this video is being fetched from the cold archive, ready in about {ready_in_s} s")
}

fn away() -> Problem {
    let detail = "this video lies in a cold archive that can't be reached now; try again later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(COME_BACK_MAX_S)
}

/// Orders a video if it isn't there: 202, or 503 if it can't be had now.
pub fn come_back(app: &App, video: &VideoEntry) -> Result<Option<Response>, Problem> {
    let ready_in_s = match app.tiers.access(video.stream_id, true) {
        Access::Open => return Ok(None),
        Access::Away => return Err(away()),
        Access::Fetching { ready_in_s } | Access::Cold { ready_in_s } => ready_in_s,
    };
    let body = Fetching {
        video_id: video.video_id,
        status: "RESTORING",
        ready_in_s,
        detail: told(ready_in_s),
    };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, ready_in_s.min(COME_BACK_MAX_S).into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Some(response))
}

/// Why nothing of a video can be played now, if that is so; with `wants` it is ordered.
pub fn not_yet(app: &App, video: &VideoEntry, wants: bool) -> Option<Problem> {
    let (ready_in_s, detail) = match app.tiers.access(video.stream_id, wants) {
        Access::Open => return None,
        Access::Away => return Some(away()),
        Access::Fetching { ready_in_s } => (ready_in_s, told(ready_in_s)),
        Access::Cold { ready_in_s } => {
            let detail =
                "this video lies in the cold archive; whoever asks for its playback has it fetched";
            (ready_in_s, detail.to_owned())
        }
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    Some(problem.retry_after(ready_in_s.min(COME_BACK_MAX_S)))
}

/// 409: nobody can have seen what a clip of it would show.
pub fn refuse_clip(app: &App, video: &VideoEntry) -> Result<(), Problem> {
    if !app.videos.is_cold(video.stream_id) {
        return Ok(());
    }
    let detail =
        "this video lies in the cold archive; ask for its playback, and clip it once it plays";
    Err(Problem::new(StatusCode::CONFLICT, detail))
}

/// Why a video can't be read, where that may be since it is cold.
pub fn unreadable(app: &App, video: &VideoEntry, error: &VodError) -> Problem {
    if matches!(error, VodError::Missing) && app.videos.is_cold(video.stream_id) {
        let detail = "this video lies in the cold archive, and its picture with it";
        return Problem::new(StatusCode::NOT_FOUND, detail);
    }
    Problem::unreadable(error)
}
