//! Response headers: types, cache lifetimes, CORS, ranges.

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::route::Route;
use super::{ColdError, HlsBody, problem};

/// A request that is answered with an error.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// For the person who reads it.
    pub(super) detail: &'static str,
}

impl Refusal {
    pub(super) fn not_found(detail: &'static str) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail }
    }

    pub(super) fn bad_request(detail: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail }
    }

    pub(super) fn unavailable(detail: &'static str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail }
    }

    /// What is stored couldn't be read.
    pub(super) fn cold(error: &ColdError) -> Self {
        let (status, detail) = error.answer();
        Self { status, detail }
    }
}

/// How long caches may keep responses (bis B.1), made once: every response has one.
pub(super) struct CacheLifetimes {
    blocking: HeaderValue,
    blocking_error: HeaderValue,
    playlist: HeaderValue,
    media: HeaderValue,
    error: HeaderValue,
}

impl CacheLifetimes {
    pub(super) fn new(target_duration_s: u32) -> Self {
        let max_age = |seconds: u32, more: &str| {
            HeaderValue::try_from(format!("max-age={seconds}{more}"))
                .unwrap_or(HeaderValue::from_static("no-cache"))
        };
        let td = target_duration_s;
        Self {
            blocking: max_age(td * 6, ""),
            blocking_error: max_age(td * 4, ""),
            playlist: max_age((td / 2).max(1), ""),
            // "At least" six: media never changes, so longer saves refetching.
            media: max_age(td * 6, ", immutable"),
            error: max_age(td, ""),
        }
    }

    fn of(&self, playlist: bool, blocking: bool, ok: bool) -> HeaderValue {
        match (playlist, blocking, ok) {
            (true, true, true) => &self.blocking,
            (true, true, false) => &self.blocking_error,
            (true, false, true) => &self.playlist,
            (false, _, true) => &self.media,
            (_, _, false) => &self.error,
        }
        .clone()
    }

    /// Adds what every response has.
    pub(super) fn finish(
        &self,
        response: &mut Response<HlsBody>,
        route: Option<Route>,
        blocking: bool,
    ) {
        let ok = response.status().is_success();
        let playlist = route.is_some_and(Route::is_playlist);
        let length = response.body().len();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, self.of(playlist, blocking, ok));
        headers.insert(header::CONTENT_LENGTH, length.into());
        if playlist {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        cors(headers);
    }
}

/// Any page may play any stream; what a player reads is exposed.
pub(super) fn cors(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("age, content-length, content-range, date"),
    );
}

/// A response to a preflight.
pub(super) fn preflight() -> Response<HlsBody> {
    let mut response = Response::new(HlsBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    cors(headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, OPTIONS"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, range"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// A response to a method that changes things: there is nothing to change.
pub(super) fn wrong_method() -> Response<HlsBody> {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

pub(super) fn playlist(body: Bytes, gzip: bool) -> Response<HlsBody> {
    let mut response = Response::new(HlsBody::Full(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apple.mpegurl"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A part, segment or initialization section, or the range of it that is asked for.
pub(super) fn media(
    body: HlsBody,
    is_init: bool,
    request: &HeaderMap,
    method: &Method,
) -> Response<HlsBody> {
    let total = body.len();
    // Ranges are defined for GET only (RFC 9110 §14.2).
    let range = request.get(header::RANGE).filter(|_| method == Method::GET);
    let mut response = match range.map_or(Range::Whole, |value| parse_range(value, total)) {
        Range::Whole => Response::new(body),
        Range::Part(range) => {
            let content_range = format!("bytes {}-{}/{total}", range.start(), range.end());
            let mut response = Response::new(body.slice(*range.start(), *range.end()));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(response.headers_mut(), header::CONTENT_RANGE, &content_range);
            response
        }
        Range::Outside => {
            let detail = "the range is outside the resource";
            let mut response = problem(StatusCode::RANGE_NOT_SATISFIABLE, detail);
            insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{total}"));
            return response;
        }
    };
    let headers = response.headers_mut();
    let kind = if is_init { "video/mp4" } else { "video/iso.segment" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What a client asks for of a resource.
#[derive(Debug, PartialEq)]
pub enum Range {
    /// All: no range was asked for, or one that may be ignored (RFC 9110 §14.2).
    Whole,
    /// These bytes, both inclusive and within the resource.
    Part(RangeInclusive<u64>),
    /// None that the resource has.
    Outside,
}

/// A single range of a resource of `total` bytes; several, or another unit, are ignored.
#[must_use]
pub fn parse_range(value: &HeaderValue, total: u64) -> Range {
    let Some((first, last)) = value
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|spec| spec.trim().split_once('-'))
    else {
        return Range::Whole;
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Range::Whole;
    }
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..=last.min(total.saturating_sub(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..=total.saturating_sub(1),
        // The last N bytes.
        (Err(_), Ok(0)) if first.is_empty() => return Range::Outside,
        (Err(_), Ok(n)) if first.is_empty() => total.saturating_sub(n)..=total.saturating_sub(1),
        _ => return Range::Whole,
    };
    if *range.start() < total { Range::Part(range) } else { Range::Outside }
}

/// Whether the client takes gzip.
#[must_use]
pub fn accepts_gzip(request: &HeaderMap) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut params = coding.split(';').map(str::trim);
            let named = params.next().is_some_and(|n| n.eq_ignore_ascii_case("gzip") || n == "*");
            let weight = params.find_map(|p| p.strip_prefix("q=")).map(str::parse::<f32>);
            named && !matches!(weight, Some(Ok(0.0)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let range = |text| parse_range(&HeaderValue::from_static(text), 10);
        assert_eq!(range("bytes=0-4"), Range::Part(0..=4));
        assert_eq!(range("bytes=4-"), Range::Part(4..=9));
        assert_eq!(range("bytes=4-99"), Range::Part(4..=9));
        assert_eq!(range("bytes=-3"), Range::Part(7..=9));
        assert_eq!(range("bytes=-99"), Range::Part(0..=9));
        for outside in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            assert_eq!(range(outside), Range::Outside, "{outside}");
        }
        for ignored in
            ["bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=5-4", "bytes=+1-2"]
        {
            assert_eq!(range(ignored), Range::Whole, "{ignored}");
        }
        assert_eq!(parse_range(&HeaderValue::from_static("bytes=0-"), 0), Range::Outside);
    }

    #[test]
    fn gzip_only_if_accepted() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        assert!(accepts("br, gzip"));
        assert!(accepts("gzip;q=0.5"));
        assert!(accepts("*"));
        assert!(!accepts("gzip;q=0"));
        assert!(!accepts("identity"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
