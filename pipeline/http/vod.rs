//! `/vod/{video}/…`: playlists and segments of recordings and clips.
//!
//! Enters: requests. Leaves: the library's responses, once it is clear that this
//! client may watch. Held: nothing. Never done here: making a playlist.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderValue, Request, Response, header};

use super::outlet::Places;
use super::videos::allowed;
use super::{App, Problem, auth};
use crate::videos::{VideoEntry, Visibility};

/// Where recordings are played from.
pub const PREFIX: &str = "/vod/";

/// Answers a request below [`PREFIX`], on a connection that may know `places`.
pub async fn respond<B>(
    app: &App,
    request: &Request<B>,
    places: Option<&Places>,
) -> Response<Body> {
    match find(app, request) {
        Ok((video, path)) => {
            let (headers, method) = (request.headers(), request.method());
            let is_shared = video.visibility != Visibility::Private;
            let answer = app.library.respond(video.wanted(), path, headers, method, is_shared);
            let response = answer.await;
            if let Some(places) = places {
                places.note(response.body());
            }
            response.map(Body::new)
        }
        Err(problem) => {
            let mut response = problem.into_response();
            let headers = response.headers_mut();
            // Players on other sites read our errors too.
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            // It may be allowed again in a minute.
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    }
}

fn find<'a, B>(app: &App, request: &'a Request<B>) -> Result<(VideoEntry, &'a str), Problem> {
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let (id, path) = rest.split_once('/').ok_or_else(Problem::unknown_video)?;
    let is_admin = auth::is_admin(app, request.headers());
    Ok((allowed(app, id, is_admin)?, path))
}
