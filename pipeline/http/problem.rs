//! Errors as RFC 9457 problem documents.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use sinks::hls::vod::VodError;

/// An error as a client sees it: what is wrong and what to do, never our internals.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// When to ask again.
    retry_after_s: Option<u64>,
    /// What programs tell problems of one status apart by.
    code: Option<&'static str>,
}

#[derive(Serialize)]
struct Document<'a> {
    // "about:blank": the title is the status's own (RFC 9457 4.2.1).
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with this status and explanation.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None, code: None }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The same, and a client may ask again in so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The same, with a name for programs.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// 400: the request can't be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404: no such stream.
    #[must_use]
    pub fn unknown_stream() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no stream with this id")
    }

    /// 404: no such video, or none that this client may know of.
    #[must_use]
    pub fn unknown_video() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no video with this id")
    }

    /// 404, 503 or 504: a video can't be read; logs the cause.
    #[must_use]
    pub fn unreadable(cause: &VodError) -> Self {
        tracing::warn!(%cause, "a video can't be read");
        let (status, detail) = cause.answer();
        Self::new(status, detail)
    }

    /// 503: a part of us doesn't work now; logs the cause and keeps it from the client.
    pub fn unavailable(what: &str, cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(cause, "{what} failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{what} failed; try again shortly"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            retry_after_s: self.retry_after_s.filter(|_| self.code.is_some()),
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // To what, which 426 has to say (RFC 9110 15.5.22, RFC 6455 4.2.2).
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}
