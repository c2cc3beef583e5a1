//! `/live/{stream}/…`: playlists, parts and segments.

use std::net::SocketAddr;

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderValue, Request, Response, header};
use records::StreamId;

use super::outlet::Places;
use super::player::player;
use super::{App, Problem};

/// Where the live path begins.
pub const PREFIX: &str = "/live/";

/// Answers a request below [`PREFIX`], on a connection that may know `places`.
pub async fn respond<B>(
    app: &App,
    request: &Request<B>,
    peer: SocketAddr,
    places: Option<&Places>,
) -> Response<Body> {
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let parsed = rest
        .split_once('/')
        .and_then(|(stream, path)| Some((stream.parse::<StreamId>().ok()?, path)));
    let Some((stream, path)) = parsed else {
        return with_cors(Problem::unknown_stream().into_response());
    };
    let (query, headers) = (request.uri().query(), request.headers());
    // Counted by those who asked for the count, or chat: nobody else's request costs more.
    if path.ends_with(".m3u8")
        && let Some(lane) = app.chat.desk.known(stream)
    {
        lane.plays(player(peer, headers));
    }
    let response = app.origin.respond(stream, path, query, headers, request.method()).await;
    if let Some(places) = places {
        places.note(response.body());
    }
    response.map(Body::new)
}

/// Players on other sites read our errors too (PROTOCOLS §1: CORS on every response).
fn with_cors(mut response: Response<Body>) -> Response<Body> {
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}
