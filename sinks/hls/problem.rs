//! Problem documents (RFC 9457).

use http::{Response, StatusCode, header};

use super::HlsBody;

/// A response with a problem document: the status, its standard title, and a
/// sentence for the person who reads it.
///
/// The type is `about:blank`: the status says all that a program needs
/// (RFC 9457 §4.2.1).
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Response<HlsBody> {
    let document = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = Response::new(HlsBody::Full(document.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        const { header::HeaderValue::from_static("application/problem+json") },
    );
    response
}
