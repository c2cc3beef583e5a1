//! The web pages, embedded in the binary.

use std::collections::HashMap;
use std::io::Write;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use parking_lot::Mutex;
use rust_embed::RustEmbed;
use sinks::hls::accepts_gzip;

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
pub async fn serve(uri: Uri, request: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_route = path.is_empty()
        || path == "videos"
        || path.starts_with("watch/")
        || path.starts_with("videos/")
        || path == "sql";
    let name = if is_route { "index.html" } else { path };
    match Dist::get(name) {
        Some(file) => respond(name, &file, accepts_gzip(&request)),
        None if is_route => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this binary was built without its web pages; run `make web` and build again",
        )
        .into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, "nothing is here").into_response(),
    }
}

/// Kinds that gain from compression; pictures and fonts are compressed already.
fn is_text(kind: &str) -> bool {
    kind.starts_with("text/") || kind.ends_with("javascript") || kind == "image/svg+xml"
}

/// A file compressed, once for all who ask.
fn gzipped(name: &str, data: &[u8]) -> std::io::Result<Bytes> {
    static DONE: Mutex<Option<HashMap<String, Bytes>>> = Mutex::new(None);
    let mut done = DONE.lock();
    let done = done.get_or_insert_default();
    if let Some(known) = done.get(name) {
        return Ok(known.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data)?;
    let packed = Bytes::from(encoder.finish()?);
    done.insert(name.to_owned(), packed.clone());
    Ok(packed)
}

fn respond(name: &str, file: &rust_embed::EmbeddedFile, gzip: bool) -> Response {
    // Vite puts a hash in the name of all but index.html.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let text = is_text(file.metadata.mimetype());
    let packed = if text && gzip { gzipped(name, &file.data).ok() } else { None };
    let is_packed = packed.is_some();
    let data = packed.unwrap_or_else(|| Bytes::copy_from_slice(&file.data));
    let mut response = Response::new(Body::from(data));
    let headers = response.headers_mut();
    if text {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
