//! `/api/videos/{id}/download`: a video as one MP4 file, sent as it is read.
//!
//! Enters: a request, perhaps for a range. Leaves: the file's bytes, one
//! segment at a time. Held: the layout and the segment that is being sent. Ends
//! with the range, with the client, or with a file that can't be read (the
//! connection breaks, so that nobody takes half a file for a whole one). Never
//! done here: deciding what the file holds.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sinks::hls::vod::{Download, Library, VodError};
use sinks::hls::{Range, parse_range};

use super::auth::Viewer;
use super::videos::allowed;
use super::{App, Problem, cold};

/// The file, or the range of it that is asked for.
pub async fn get(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    method: Method,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let video = allowed(&app, &id, &viewer)?;
    if let Some(answer) = cold::come_back(&app, &video)? {
        return Ok(answer);
    }
    let download = app.library.download(video.wanted()).await.map_err(|error| match error {
        VodError::Missing | VodError::Outside => Problem::unknown_video(),
        error => Problem::unreadable(&error),
    })?;
    let total = download.len;
    let wanted = request.get(header::RANGE).filter(|_| method == Method::GET);
    let (status, range) = match wanted.map_or(Range::Whole, |value| parse_range(value, total)) {
        Range::Whole => (StatusCode::OK, 0..=total.saturating_sub(1)),
        Range::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Range::Outside => {
            let problem =
                Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range is outside the file");
            let mut response = problem.into_response();
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{total}"));
            return Ok(response);
        }
    };
    let (first, last) = (*range.start(), *range.end());
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(bytes(app.library.clone(), download, range)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::PARTIAL_CONTENT {
        set(headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{total}"));
    }
    set(headers, header::CONTENT_LENGTH, &(last + 1 - first).to_string());
    set(headers, header::CONTENT_DISPOSITION, &disposition(&video.title));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // It may be taken off at any time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A file name for whoever saves it (RFC 6266), in letters that all know and in its own.
fn disposition(title: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || " -_.,()".contains(c);
    let plain: String = title.chars().map(|c| if safe(c) { c } else { '_' }).collect();
    let mut own = String::new();
    for byte in title.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                own.push(char::from(byte));
            }
            _ => own.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename=\"{plain}.mp4\"; filename*=UTF-8''{own}.mp4")
}

struct Sending {
    library: Library,
    download: Arc<Download>,
    /// The piece that comes next.
    next: usize,
    ready: VecDeque<Bytes>,
    /// Bytes of what comes that aren't wanted.
    skip: u64,
    /// Bytes that are still to be sent.
    left: u64,
}

fn bytes(
    library: Library,
    download: Arc<Download>,
    range: RangeInclusive<u64>,
) -> impl Stream<Item = Result<Bytes, VodError>> {
    let left = if download.len == 0 { 0 } else { range.end() + 1 - range.start() };
    let ready = VecDeque::from([download.head.clone()]);
    let sending = Sending { library, download, next: 0, ready, skip: *range.start(), left };
    stream::try_unfold(sending, |mut sending| async {
        let next = sending.next().await?;
        Ok(next.map(|bytes| (bytes, sending)))
    })
}

impl Sending {
    async fn next(&mut self) -> Result<Option<Bytes>, VodError> {
        while self.left > 0 {
            while let Some(mut bytes) = self.ready.pop_front() {
                let skipped = self.skip.min(bytes.len() as u64);
                self.skip -= skipped;
                let _ = bytes.split_to(skipped as usize);
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                if !bytes.is_empty() {
                    self.left -= bytes.len() as u64;
                    return Ok(Some(bytes));
                }
            }
            let download = Arc::clone(&self.download);
            let Some(piece) = download.pieces.get(self.next) else { return Ok(None) };
            self.next += 1;
            if piece.len <= self.skip {
                self.skip -= piece.len;
                continue;
            }
            self.ready = self.library.piece(piece).await?.into();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_file_names() {
        assert_eq!(
            disposition("Chess: \"Übung\" 1/2"),
            "attachment; filename=\"Chess_ __bung_ 1_2.mp4\"; \
             filename*=UTF-8''Chess%3A%20%22%C3%9Cbung%22%201%2F2.mp4"
        );
    }
}
