//! `/vod/{video}/…`: playlists, segments and storyboards of recordings and clips.
//!
//! Enters: requests. Leaves: the library's responses, and sheets of pictures, once
//! it is clear that this client may watch. Held: nothing. Never done here:
//! making a playlist or a picture.

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sinks::hls::vod::{VodError, sheet_number};

use super::auth::Viewer;
use super::outlet::Places;
use super::videos::allowed;
use super::{App, Problem, cold};
use crate::videos::{VideoEntry, Visibility};

/// Where recordings are played from.
pub const PREFIX: &str = "/vod/";

/// What never changes may be kept for as long as caches like, by all of them …
const SHARED: &str = "public, max-age=31536000, immutable";
/// … or by the viewer's own.
const OWN: &str = "private, max-age=31536000, immutable";

/// Answers a request below [`PREFIX`], on a connection that may know `places`.
pub async fn respond<B>(
    app: &App,
    request: &Request<B>,
    places: Option<&Places>,
) -> Response<Body> {
    let (headers, method) = (request.headers(), request.method());
    let (video, path) = match find(app, request).await {
        Ok(found) => found,
        Err(problem) => return refused(problem),
    };
    // Players would take anything but an error for a playlist.
    if let Some(problem) = cold::not_yet(app, &video, path.ends_with(".m3u8")) {
        return refused(problem);
    }
    let is_shared = video.visibility != Visibility::Private;
    if let Some(number) = sheet_number(path)
        && (method == Method::GET || method == Method::HEAD)
    {
        let found = sheet(app, &video, number).await;
        return found.map_or_else(refused, |sheet| picture(sheet, method, is_shared));
    }
    let response = app.library.respond(video.wanted(), path, headers, method, is_shared).await;
    if let Some(places) = places {
        places.note(response.body());
    }
    response.map(Body::new)
}

async fn sheet(app: &App, video: &VideoEntry, number: usize) -> Result<Bytes, Problem> {
    let found = app.thumbnails.sprite(video.wanted(), number, &app.library).await;
    let sheet = found.map_err(|error| match error {
        VodError::Missing | VodError::Outside => Problem::unknown_video(),
        error => Problem::unavailable("reading the video", &error),
    })?;
    let none = || Problem::new(StatusCode::NOT_FOUND, "the video has no such sheet of pictures");
    sheet.ok_or_else(none)
}

/// A JPEG with the headers that everything of a video has.
fn picture(jpeg: Bytes, method: &Method, is_shared: bool) -> Response<Body> {
    let length = jpeg.len();
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(jpeg) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed("image/jpeg"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    let cache = if is_shared { SHARED } else { OWN };
    headers.insert(header::CACHE_CONTROL, fixed(cache));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    response
}

async fn find<'a, B>(app: &App, request: &'a Request<B>) -> Result<(VideoEntry, &'a str), Problem> {
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let (id, path) = rest.split_once('/').ok_or_else(Problem::unknown_video)?;
    let viewer = Viewer::of(app, request.headers()).await;
    Ok((allowed(app, id, &viewer)?, path))
}

fn refused(problem: Problem) -> Response<Body> {
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    // Players on other sites read our errors too.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // It may be allowed again in a minute.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
