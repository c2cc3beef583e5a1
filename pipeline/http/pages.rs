//! The web pages, embedded in the binary.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use rust_embed::RustEmbed;

use super::Problem;

/// Built by `make web`; an empty folder gives a page that says so.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

/// Nothing from elsewhere, nothing inline. Players make blobs of media.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; media-src 'self' blob:; connect-src 'self'; form-action 'none'; \
     frame-ancestors 'none'; base-uri 'none'";

/// A file of the pages, or the page itself for the routes that it handles.
pub async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_route = path.is_empty() || path.starts_with("watch/");
    let name = if is_route { "index.html" } else { path };
    match Dist::get(name) {
        Some(file) => respond(name, &file.metadata, file.data.into_owned()),
        None if is_route => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this binary was built without its web pages; run `make web` and build again",
        )
        .into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, "nothing is here").into_response(),
    }
}

fn respond(name: &str, metadata: &rust_embed::Metadata, data: Vec<u8>) -> Response {
    // Vite puts a hash in the name of all but index.html.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = Response::new(Body::from(data));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_str(metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
