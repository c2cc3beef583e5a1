//! HTTP as a player does it: keep-alive connections, gzip, timings.
//!
//! Enters: URLs. Leaves: [`Fetched`]. Held: idle connections, one pool for
//! each viewer, as real viewers don't share any.
//!
//! HTTP/1.1 is spoken by [`super::h1`], HTTP/2 by hyper.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::h1::{Answer, Pool};
use crate::net::{Connector, Trust, chain};

/// Longest body that is taken, in bytes: a segment at 100 Mbit/s for 10 s.
pub(super) const BODY_BYTES_MAX: usize = 128 << 20;

/// A page on another site asks: the answers must allow it.
const ORIGIN: &str = "https://player.example";

/// A response, whole.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
    /// Bytes of body on the wire.
    pub wire_bytes: u64,
    /// From the request to the response's headers: what blocking took.
    pub waited: Duration,
    /// From the headers to the body's end.
    pub transfer: Duration,
    /// When the last byte came.
    pub at: Instant,
}

/// A request without a usable response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is malformed: the playlist's or the caller's fault.
    #[error("not a URL that can be fetched: {0}")]
    Url(String),
    /// No connection or it broke; a retry may help.
    #[error("request failed: {0}")]
    Connection(String),
    /// Nothing came in time; a retry may help.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The body is too long or not what its encoding says: the server's fault.
    #[error("unusable body: {0}")]
    Body(&'static str),
}

/// One viewer's way to the server.
#[derive(Clone)]
pub struct Http {
    way: Way,
    unpacked: Arc<Unpacked>,
}

#[derive(Clone)]
enum Way {
    H1(Arc<Pool>),
    H2(Box<Client<Connector, Empty<Bytes>>>),
}

/// Compressed bodies kept with what they hold.
const UNPACKED_KEPT: usize = 8;

/// What the newest compressed bodies hold. A thousand viewers in one process
/// that are sent the same bytes at the same moment needn't unpack them all.
#[derive(Default)]
pub(super) struct Unpacked(Mutex<VecDeque<(Bytes, Bytes)>>);

impl Unpacked {
    fn gunzip(&self, packed: Bytes) -> Result<Bytes, FetchError> {
        if let Some((_, plain)) = self.0.lock().iter().rev().find(|(known, _)| *known == packed) {
            return Ok(plain.clone());
        }
        let plain = gunzip(&packed)?;
        let mut kept = self.0.lock();
        if kept.len() >= UNPACKED_KEPT {
            kept.pop_front();
        }
        kept.push_back((packed, plain.clone()));
        Ok(plain)
    }
}

impl Http {
    /// A way to the server, not yet connected. `http2`: h2 over TLS, h2c over
    /// plain TCP, one connection for everything.
    ///
    /// # Errors
    /// The TLS library refuses the certificates in `trust`.
    pub fn new(trust: &Trust, http2: bool) -> Result<Self, rustls::Error> {
        let alpn: &[&[u8]] = if http2 { &[b"h2"] } else { &[b"http/1.1"] };
        Ok(Self::with_tls(trust.client_config(alpn)?, http2, Arc::default()))
    }

    /// As [`Self::new`] with what costs too much to be repeated for a thousand viewers.
    pub(super) fn with_tls(tls: Arc<ClientConfig>, http2: bool, unpacked: Arc<Unpacked>) -> Self {
        if !http2 {
            return Self { way: Way::H1(Arc::new(Pool::new(tls))), unpacked };
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(true)
            .build(Connector::new(tls));
        Self { way: Way::H2(Box::new(client)), unpacked }
    }

    /// Fetches `url`, `range` (first byte, length) of it if given.
    ///
    /// # Errors
    /// See [`FetchError`]; an HTTP error status is not one.
    pub async fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let began = Instant::now();
        let fetching = self.fetch(url, range, began);
        tokio::time::timeout(timeout, fetching).await.map_err(|_| FetchError::Timeout(timeout))?
    }

    async fn fetch(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        began: Instant,
    ) -> Result<Fetched, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let range = range.map(|(start, length)| {
            let end = start.saturating_add(length).saturating_sub(1);
            format!("bytes={start}-{end}")
        });
        let Answer { status, headers, body, headers_at } = match &self.way {
            Way::H1(pool) => {
                let mut lines = format!("accept-encoding: gzip\r\norigin: {ORIGIN}\r\n");
                if let Some(range) = range {
                    lines.extend(["range: ", &range, "\r\n"]);
                }
                pool.get(&uri, &lines).await?
            }
            Way::H2(client) => over_h2(client, uri, range).await?,
        };
        let at = Instant::now();
        let wire_bytes = body.len() as u64;
        let gzip = headers.get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip");
        let body = if gzip { self.unpacked.gunzip(body)? } else { body };
        Ok(Fetched {
            status,
            headers,
            body,
            wire_bytes,
            waited: headers_at - began,
            transfer: at - headers_at,
            at,
        })
    }
}

async fn over_h2(
    client: &Client<Connector, Empty<Bytes>>,
    uri: Uri,
    range: Option<String>,
) -> Result<Answer, FetchError> {
    let mut request =
        Request::get(uri).header(header::ACCEPT_ENCODING, "gzip").header(header::ORIGIN, ORIGIN);
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let failed = |e: &dyn std::error::Error| FetchError::Connection(chain(e));
    let request = request.body(Empty::new()).map_err(|e| failed(&e))?;
    let response = client.request(request).await.map_err(|e| failed(&e))?;
    let headers_at = Instant::now();
    let (parts, incoming) = response.into_parts();
    let body = Limited::new(incoming, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|e| failed(&*e))?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body, headers_at })
}

fn gunzip(body: &[u8]) -> Result<Bytes, FetchError> {
    let mut plain = Vec::with_capacity(body.len() * 4);
    let mut decoder = GzDecoder::new(body).take(BODY_BYTES_MAX as u64);
    decoder.read_to_end(&mut plain).map_err(|_| FetchError::Body("not gzip as it says"))?;
    Ok(plain.into())
}

/// Resolves `reference` against `base` (RFC 3986 §5.2, as far as playlists
/// need it: absolute URLs, absolute paths, relative paths with `.` and `..`).
#[must_use]
pub fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let scheme_end = base.find("://").map_or(0, |at| at + 3);
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{}{rest}", &base[..scheme_end]);
    }
    let path_start = base[scheme_end..].find('/').map_or(base.len(), |at| at + scheme_end);
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..path_start]);
    }
    let path_end = base.find(['?', '#']).unwrap_or(base.len()).max(path_start);
    let directory = base[path_start..path_end].rsplit_once('/').map_or("", |(dir, _)| dir);
    let (path, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
    let mut segments: Vec<&str> = directory.split('/').skip(1).collect();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    format!("{}/{}{query}", &base[..path_start], segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_references() {
        let base = "http://h:80/live/a/main.m3u8?x=/y";
        for (reference, expected) in [
            ("seg.m4s", "http://h:80/live/a/seg.m4s"),
            ("../b/seg.m4s?q=1", "http://h:80/live/b/seg.m4s?q=1"),
            ("./seg.m4s", "http://h:80/live/a/seg.m4s"),
            ("/seg.m4s", "http://h:80/seg.m4s"),
            ("//g/seg.m4s", "http://g/seg.m4s"),
            ("https://g/seg.m4s", "https://g/seg.m4s"),
        ] {
            assert_eq!(resolve(base, reference), expected);
        }
        assert_eq!(resolve("http://h", "a"), "http://h/a");
    }
}
