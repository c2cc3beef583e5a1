//! `/api/streams`: what is live, and the life of one stream.

use accounts::Role;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use records::{Health, Rendition, StreamId, StreamState, UserId};
use serde::{Deserialize, Serialize};

use super::auth::{self, Asker};
use super::{App, Problem};
use crate::catalog::{CatalogError, StreamEntry};
use crate::urls::Base;
use crate::videos::{VideoEntry, VideoId};

/// `POST /api/streams`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    title: String,
    #[serde(default)]
    category: String,
}

/// What a streamer needs to go live. The only time the key is shown.
#[derive(Serialize)]
pub struct Created {
    stream_id: StreamId,
    stream_key: String,
    ingest_url: String,
    playback_url: String,
    watch_url: String,
}

/// A stream as everybody may see it.
#[derive(Serialize)]
pub struct Stream {
    stream_id: StreamId,
    /// The streamer whose it is; null for the operator's.
    owner: Option<UserId>,
    title: String,
    category: String,
    state: StreamState,
    created_at_us: u64,
    started_at_us: Option<u64>,
    ended_at_us: Option<u64>,
    /// Its recording, if everybody who knows its address may watch it.
    video: Option<VideoId>,
    /// The next broadcast with the same key.
    successor: Option<StreamId>,
    playback_url: String,
    watch_url: String,
    thumbnail_url: String,
    /// What viewers can choose from, while it is live.
    renditions: Vec<Rendition>,
}

/// `GET /api/streams`.
#[derive(Serialize)]
pub struct Streams {
    streams: Vec<Stream>,
}

/// `GET /api/streams/{id}/playback`.
#[derive(Serialize)]
pub struct Playback {
    stream_id: StreamId,
    state: StreamState,
    playback_url: String,
}

/// `GET /api/streams/{id}/health`.
#[derive(Serialize)]
pub struct HealthReport {
    latest: Option<Health>,
    history: Vec<Health>,
}

/// `POST /api/streams/{id}/key`.
#[derive(Serialize)]
pub struct NewKey {
    stream_id: StreamId,
    stream_key: String,
}

fn describe(app: &App, urls: &Base, entry: StreamEntry) -> Stream {
    let id = entry.stream_id;
    Stream {
        renditions: renditions(app, id),
        video: app.videos.of_stream(id).filter(VideoEntry::is_open).map(|video| video.video_id),
        stream_id: id,
        owner: entry.owner,
        title: entry.title,
        category: entry.category,
        state: entry.state,
        created_at_us: entry.created_at_us,
        started_at_us: entry.started_at_us,
        ended_at_us: entry.ended_at_us,
        successor: entry.successor,
        playback_url: urls.playback(id),
        watch_url: urls.watch(id),
        thumbnail_url: urls.thumbnail(id),
    }
}

fn renditions(app: &App, id: StreamId) -> Vec<Rendition> {
    let tracks = app.origin.snapshot(id).map_or_else(Vec::new, |snapshot| snapshot.tracks);
    tracks.into_iter().filter(|track| track.active).map(|track| track.rendition).collect()
}

fn find(app: &App, id: &str) -> Result<StreamEntry, Problem> {
    let id = id.parse().map_err(|_| Problem::unknown_stream())?;
    app.registry.catalog().get(id).ok_or_else(Problem::unknown_stream)
}

/// The stream, if this asker may change it.
fn own(app: &App, id: &str, asker: &Asker) -> Result<StreamEntry, Problem> {
    let entry = find(app, id)?;
    match asker.owns(entry.owner) {
        true => Ok(entry),
        false => Err(auth::not_yours()),
    }
}

/// Makes a stream and its key; what a user makes is theirs.
pub async fn create(
    asker: Asker,
    State(app): State<App>,
    urls: Base,
    body: Result<Json<New>, JsonRejection>,
) -> Result<Response, Problem> {
    asker.needs(Role::Streamer)?;
    let Json(new) = body.map_err(|error| Problem::bad_request(error.body_text()))?;
    let catalog = app.registry.catalog();
    let created = match &asker {
        Asker::Operator => catalog.create(&new.title, &new.category).await,
        Asker::User(of) => {
            catalog.create_for(of.user_id, app.streams_max, &new.title, &new.category).await
        }
    };
    let (entry, key) = created.map_err(|error| match error {
        CatalogError::Field { .. } => Problem::bad_request(error.to_string()),
        CatalogError::TooMany(_) => Problem::new(StatusCode::CONFLICT, error.to_string()),
        error => Problem::unavailable("creating the stream", &error),
    })?;
    let id = entry.stream_id;
    let body = Created {
        stream_id: id,
        stream_key: key.expose().to_owned(),
        ingest_url: urls.ingest(),
        playback_url: urls.playback(id),
        watch_url: urls.watch(id),
    };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/streams/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    // The body holds a secret.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The streams that are live, newest first.
pub async fn list(State(app): State<App>, urls: Base) -> Json<Streams> {
    let mut live = app.registry.catalog().live();
    live.sort_by_key(|entry| std::cmp::Reverse((entry.started_at_us, entry.stream_id)));
    Json(Streams { streams: live.into_iter().map(|entry| describe(&app, &urls, entry)).collect() })
}

/// One stream, live or not.
pub async fn show(
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
) -> Result<Json<Stream>, Problem> {
    Ok(Json(describe(&app, &urls, find(&app, &id)?)))
}

/// Where to play it: 404 unknown or not begun, 410 ended.
pub async fn playback(
    State(app): State<App>,
    urls: Base,
    Path(id): Path<String>,
) -> Result<Json<Playback>, Problem> {
    let entry = find(&app, &id)?;
    match entry.state {
        state if state.is_over() => Err(Problem::new(StatusCode::GONE, "this broadcast has ended")),
        StreamState::Created => {
            Err(Problem::new(StatusCode::NOT_FOUND, "this stream has not begun yet"))
        }
        state => Ok(Json(Playback {
            stream_id: entry.stream_id,
            state,
            playback_url: urls.playback(entry.stream_id),
        })),
    }
}

/// How the publisher is doing, the last two minutes by the second.
pub async fn health(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<HealthReport>, Problem> {
    let history = app.health.history(find(&app, &id)?.stream_id);
    Ok(Json(HealthReport { latest: history.last().cloned(), history }))
}

/// A new key; the old one is refused from now on, and whoever publishes with it is cut off.
pub async fn rotate_key(
    asker: Asker,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = own(&app, &id, &asker)?.stream_id;
    let key = app.registry.rotate_key(id).await;
    let key = key.map_err(|error| Problem::unavailable("making the key", &error))?;
    let body = NewKey { stream_id: id, stream_key: key.expose().to_owned() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Ends the broadcast for good; its key is refused from now on.
pub async fn delete(
    asker: Asker,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = own(&app, &id, &asker)?.stream_id;
    let deleted = app.registry.delete(id).await;
    deleted.map_err(|error| Problem::unavailable("deleting the stream", &error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A picture of what is on, at most some seconds old.
pub async fn thumbnail(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = find(&app, &id)?.stream_id;
    let picture = app.thumbnails.get(id, &app.origin).await;
    let picture = picture
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "this stream has no picture yet"))?;
    let headers =
        [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "public, max-age=5")];
    Ok((headers, picture).into_response())
}
