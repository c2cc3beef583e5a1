//! `/api/videos`: recordings of finished broadcasts, and clips of them.
//!
//! Enters: requests. Leaves: what the catalogue of videos says, and changes to
//! it, checked. Held: nothing. Never done here: media, but for a picture.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use records::{StreamId, StreamState, UserId};
use serde::{Deserialize, Serialize};
use sinks::hls::vod::{RecordedRendition, VodError};

use super::auth::{self, Asker, Viewer};
use super::body::{Body, read};
use super::{App, Problem, cold};
use crate::catalog::{CatalogError, TITLE_CHARS_MAX, text};
use crate::urls::Base;
use crate::videos::{
    ClipError, DeleteError, Search, Tier, VideoEntry, VideoError, VideoId, VideoStatus, Visibility,
    Why,
};

/// Where in a video its picture is taken from: past the test card.
const THUMBNAIL_AT: f64 = 0.2;

/// A video as everybody may see it.
#[derive(Serialize)]
pub struct Video {
    video_id: VideoId,
    stream_id: StreamId,
    /// The streamer whose it is; null for the operator's.
    owner: Option<UserId>,
    /// Of what it is a clip; null for a whole recording.
    clip: Option<ClipOf>,
    title: String,
    category: String,
    created_at_us: u64,
    started_at_us: u64,
    ended_at_us: u64,
    duration_us: u64,
    bytes: u64,
    renditions: Vec<RecordedRendition>,
    status: VideoStatus,
    visibility: Visibility,
    /// Where its media lie; COLD has to be fetched before it plays.
    tier: Tier,
    playback_url: String,
    watch_url: String,
    thumbnail_url: String,
    /// WebVTT that names pictures for the seek bar; null without pictures.
    storyboard_url: Option<String>,
    download_url: String,
}

/// Which piece of which video.
#[derive(Serialize)]
struct ClipOf {
    video_id: VideoId,
    /// Of the recording's playing time.
    from_ms: i64,
    to_ms: i64,
}

/// `GET /api/videos`.
#[derive(Serialize)]
pub struct List {
    videos: Vec<Video>,
    /// Ask for the next page with it; null on the last.
    next_cursor: Option<String>,
}

/// `GET /api/videos/{id}/playback`.
#[derive(Serialize)]
pub struct Playback {
    video_id: VideoId,
    status: VideoStatus,
    duration_us: u64,
    playback_url: String,
}

/// `PUT /api/videos/{id}`: what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    title: Option<String>,
    visibility: Option<Visibility>,
}

/// `PUT /api/videos/{id}/status`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewStatus {
    status: VideoStatus,
}

/// `POST /api/videos/{id}/clips`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClip {
    from_ms: u64,
    to_ms: u64,
    title: String,
}

fn title(given: &str) -> Result<String, Problem> {
    text("title", given, 1, TITLE_CHARS_MAX)
        .map_err(|error| Problem::bad_request(error.to_string()))
}

fn describe(app: &App, urls: &Base, entry: VideoEntry) -> Video {
    let id = entry.video_id;
    let has_pictures = entry.renditions.iter().any(|of| of.rendition.is_video());
    Video {
        video_id: id,
        stream_id: entry.stream_id,
        owner: app.registry.catalog().owner(entry.stream_id),
        clip: entry.clip.map(|clip| ClipOf {
            video_id: clip.video_id,
            from_ms: clip.from_us / 1000,
            to_ms: clip.to_us / 1000,
        }),
        title: entry.title,
        category: entry.category,
        created_at_us: entry.created_at_us,
        started_at_us: entry.started_at_us,
        ended_at_us: entry.ended_at_us,
        duration_us: entry.duration_us,
        bytes: entry.bytes,
        renditions: entry.renditions,
        status: entry.status,
        visibility: entry.visibility,
        tier: entry.tier,
        playback_url: urls.video_playback(id),
        watch_url: urls.video(id),
        thumbnail_url: urls.of_video(id, "thumbnail.jpg"),
        storyboard_url: has_pictures.then(|| urls.video_storyboard(id)),
        download_url: urls.of_video(id, "download"),
    }
}

/// What not everybody may watch isn't to be had at its broadcast's address either.
fn close(app: &App, entry: &VideoEntry) {
    if entry.clip.is_none() && !entry.is_open() {
        app.origin.remove(entry.stream_id);
    }
}

/// The video, if this client may know of it.
fn find(app: &App, id: &str, viewer: &Viewer) -> Result<VideoEntry, Problem> {
    let id = id.parse().map_err(|_| Problem::unknown_video())?;
    let may_know = |entry: &VideoEntry| {
        entry.visibility != Visibility::Private || viewer.owns(app, entry.stream_id)
    };
    app.videos.get(id).filter(may_know).ok_or_else(Problem::unknown_video)
}

/// The video, if this asker may change it.
fn own(app: &App, id: &str, asker: Asker) -> Result<VideoEntry, Problem> {
    let viewer = Viewer::from(asker);
    let video = find(app, id, &viewer)?;
    match viewer.owns(app, video.stream_id) {
        true => Ok(video),
        false => Err(auth::not_yours()),
    }
}

/// The video, if this client may play it now.
pub fn allowed(app: &App, id: &str, viewer: &Viewer) -> Result<VideoEntry, Problem> {
    playable(find(app, id, viewer)?)
}

fn playable(video: VideoEntry) -> Result<VideoEntry, Problem> {
    match video.status {
        VideoStatus::Archived => Ok(video),
        VideoStatus::Inactive => {
            Err(Problem::new(StatusCode::GONE, "this video is inactive: it was taken off"))
        }
    }
}

/// Makes a change; what the video is then.
async fn update(
    app: &App,
    id: VideoId,
    change: impl FnOnce(&mut VideoEntry) + Send + 'static,
) -> Result<VideoEntry, Problem> {
    let changed = app.videos.update(id, change).await.map_err(|error| match error {
        VideoError::Unknown(_) => Problem::unknown_video(),
        error => Problem::unavailable("changing the video", &error),
    })?;
    close(app, &changed);
    Ok(changed)
}

/// The videos that a search finds. Everybody sees what is public and can be
/// played; owners see theirs, and holders of the admin token all.
pub async fn list(
    viewer: Viewer,
    State(app): State<App>,
    urls: Base,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(search) = search.map_err(|error| Problem::bad_request(error.body_text()))?;
    let may_see = |entry: &VideoEntry| {
        entry.visibility == Visibility::Public && entry.status == VideoStatus::Archived
            || viewer.owns(&app, entry.stream_id)
    };
    let found = app.videos.search(&search, app.registry.catalog(), may_see);
    let page = found.map_err(|error| Problem::bad_request(error.to_string()))?;
    let videos = page.videos.into_iter().map(|entry| describe(&app, &urls, entry)).collect();
    Ok(Json(List { videos, next_cursor: page.next_cursor }))
}

/// One video.
pub async fn show(
    viewer: Viewer,
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
) -> Result<Json<Video>, Problem> {
    let video = find(&app, &id, &viewer)?;
    Ok(Json(describe(&app, &urls, video)))
}

/// Where to play it: 202 while it is fetched, 404 unknown, 410 taken off.
pub async fn playback(
    viewer: Viewer,
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let video = allowed(&app, &id, &viewer)?;
    if let Some(answer) = cold::come_back(&app, &video)? {
        return Ok(answer);
    }
    let playback = Playback {
        video_id: video.video_id,
        status: video.status,
        duration_us: video.duration_us,
        playback_url: urls.video_playback(video.video_id),
    };
    Ok(Json(playback).into_response())
}

/// Another title or visibility.
pub async fn change(
    asker: Asker,
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
    body: Body<Change>,
) -> Result<Json<Video>, Problem> {
    let id = own(&app, &id, asker)?.video_id;
    let change = read(body)?;
    let new_title = change.title.as_deref().map(title).transpose()?;
    let changed = update(&app, id, move |entry| {
        entry.title = new_title.unwrap_or_else(|| std::mem::take(&mut entry.title));
        entry.visibility = change.visibility.unwrap_or(entry.visibility);
    });
    let changed = changed.await?;
    Ok(Json(describe(&app, &urls, changed)))
}

/// Takes a video off, or puts it back.
pub async fn set_status(
    asker: Asker,
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
    body: Body<NewStatus>,
) -> Result<Json<Video>, Problem> {
    let id = own(&app, &id, asker)?.video_id;
    let NewStatus { status } = read(body)?;
    let changed = update(&app, id, move |entry| entry.status = status).await?;
    if changed.clip.is_none() {
        let state = match status {
            VideoStatus::Archived => StreamState::Archived,
            VideoStatus::Inactive => StreamState::Inactive,
        };
        match app.registry.catalog().settle(changed.stream_id, state).await {
            Ok(()) | Err(CatalogError::Unknown(_)) => {}
            Err(error) => return Err(Problem::unavailable("changing the stream", &error)),
        }
    }
    Ok(Json(describe(&app, &urls, changed)))
}

/// Deletes it. Its media go with the last video that plays them.
pub async fn delete(
    asker: Asker,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = own(&app, &id, asker)?.video_id;
    match app.recorder.delete(id, Why::Asked).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteError::Video(VideoError::Unknown(_))) => Err(Problem::unknown_video()),
        // Nobody can play it any more; what is in the store goes when it can.
        Err(error @ DeleteError::Store(_)) => {
            tracing::warn!(video = %id, %error, "a deleted video is still in the store");
            Ok(StatusCode::ACCEPTED)
        }
        Err(error) => Err(Problem::unavailable("deleting the video", &error)),
    }
}

/// Makes a clip, which is a video of its own.
pub async fn clip(
    asker: Asker,
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
    body: Body<NewClip>,
) -> Result<Response, Problem> {
    let video = playable(own(&app, &id, asker)?)?;
    cold::refuse_clip(&app, &video)?;
    let NewClip { from_ms, to_ms, title: given } = read(body)?;
    let title = title(&given)?;
    let length_ms = video.duration_us.div_ceil(1000);
    if from_ms >= to_ms {
        return Err(Problem::bad_request(format!(
            "from_ms ({from_ms}) must be less than to_ms ({to_ms})"
        )));
    }
    if to_ms > length_ms {
        return Err(Problem::bad_request(format!(
            "to_ms ({to_ms}) is beyond the end of the video, which is {length_ms} ms long"
        )));
    }
    // Both are at most the video's length, which is in microseconds.
    let us = |ms: u64| i64::try_from(ms * 1000).unwrap_or(i64::MAX);
    let made = app.recorder.clip(&video, us(from_ms), us(to_ms), title).await;
    let clip = made.map_err(|error| match error {
        ClipError::Vod(VodError::Missing) => Problem::unknown_video(),
        ClipError::Vod(VodError::Outside) => {
            Problem::bad_request("nothing of the video is stored between from_ms and to_ms")
        }
        ClipError::Vod(error) => Problem::unreadable(&error),
        error => Problem::unavailable("making the clip", &error),
    })?;
    let location = format!("/api/videos/{}", clip.video_id);
    let mut response = (StatusCode::CREATED, Json(describe(&app, &urls, clip))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A picture of it.
pub async fn thumbnail(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let video = allowed(&app, &id, &viewer)?;
    let picture = app.thumbnails.of_video(video.wanted(), THUMBNAIL_AT, &app.library).await;
    let picture = picture.map_err(|error| cold::unreadable(&app, &video, &error))?;
    let picture =
        picture.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "this video has no picture"))?;
    let cache = match video.visibility {
        Visibility::Private => "private, max-age=3600",
        _ => "public, max-age=3600",
    };
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, cache)], picture)
        .into_response())
}
