//! How we are reached from outside.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use records::StreamId;

use crate::videos::VideoId;

/// Builds the addresses that the API hands out.
#[derive(Clone, Debug)]
pub struct Urls {
    // Without a slash at the end. None: what the client itself used.
    http: Option<String>,
    rtmp: Option<String>,
    rtmp_port: u16,
}

/// Addresses for one client.
#[derive(Clone, Debug)]
pub struct Base {
    http: String,
    rtmp: String,
}

impl Urls {
    /// Addresses below `http` and `rtmp` where they are given, else below
    /// whatever host the client asked for.
    #[must_use]
    pub fn new(http: Option<String>, rtmp: Option<String>, rtmp_port: u16) -> Self {
        Self { http, rtmp, rtmp_port }
    }

    /// Addresses for the client that sent this request. HTTP/2 names the host
    /// in the address (`:authority`), HTTP/1.1 in a header.
    #[must_use]
    pub fn for_client(&self, uri: &Uri, headers: &HeaderMap, is_tls: bool) -> Base {
        let named = || headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(Authority::as_str).or_else(named);
        let scheme = if is_tls { "https" } else { "http" };
        let http = match (&self.http, host) {
            (Some(public), _) => public.clone(),
            (None, Some(host)) => format!("{scheme}://{host}"),
            // HTTP/1.0 without a host: relative addresses still work.
            (None, None) => String::new(),
        };
        let rtmp = self.rtmp.clone().unwrap_or_else(|| {
            let authority = http.split("//").nth(1).unwrap_or("127.0.0.1");
            format!("rtmp://{}:{}/live", without_port(authority), self.rtmp_port)
        });
        Base { http, rtmp }
    }
}

/// The host of `host:port`, also of `[::1]:port`.
fn without_port(authority: &str) -> &str {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[end_of_host..].find(':') {
        Some(colon) => &authority[..end_of_host + colon],
        None => authority,
    }
}

impl Base {
    /// Where the pages are, without a slash at the end.
    #[must_use]
    pub fn pages(&self) -> &str {
        &self.http
    }

    /// What a publisher enters as its server.
    #[must_use]
    pub fn ingest(&self) -> String {
        self.rtmp.clone()
    }

    /// The multivariant playlist.
    #[must_use]
    pub fn playback(&self, stream: StreamId) -> String {
        format!("{}/live/{stream}/index.m3u8", self.http)
    }

    /// The page that plays it.
    #[must_use]
    pub fn watch(&self, stream: StreamId) -> String {
        format!("{}/watch/{stream}", self.http)
    }

    /// A video's multivariant playlist.
    #[must_use]
    pub fn video_playback(&self, video: VideoId) -> String {
        format!("{}/vod/{video}/index.m3u8", self.http)
    }

    /// The list of a video's pictures along its playing time.
    #[must_use]
    pub fn video_storyboard(&self, video: VideoId) -> String {
        format!("{}/vod/{video}/storyboard.vtt", self.http)
    }

    /// The page that plays a video.
    #[must_use]
    pub fn video(&self, video: VideoId) -> String {
        format!("{}/videos/{video}", self.http)
    }

    /// What belongs to a video: `thumbnail.jpg`, `download`.
    #[must_use]
    pub fn of_video(&self, video: VideoId, what: &str) -> String {
        format!("{}/api/videos/{video}/{what}", self.http)
    }

    /// A picture of what is on.
    #[must_use]
    pub fn thumbnail(&self, stream: StreamId) -> String {
        format!("{}/api/streams/{stream}/thumbnail.jpg", self.http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, http::HeaderValue::from_static(host))])
    }

    #[test]
    fn follows_the_clients_host_unless_told_otherwise() {
        let urls = Urls::new(None, None, 1935);
        let base = urls.for_client(&Uri::default(), &asked_for("live.example:8080"), false);
        assert_eq!(base.ingest(), "rtmp://live.example:1935/live");
        assert!(base.watch(StreamId::generate()).starts_with("http://live.example:8080/watch/"));
        let v6 = urls.for_client(&Uri::default(), &asked_for("[::1]:8443"), true);
        assert_eq!(v6.ingest(), "rtmp://[::1]:1935/live");
        let http2 = Uri::from_static("https://live.example:8443/api/streams");
        let base = urls.for_client(&http2, &HeaderMap::new(), true);
        assert!(base.watch(StreamId::generate()).starts_with("https://live.example:8443/watch/"));
        let urls =
            Urls::new(Some("https://a.example".into()), Some("rtmps://b.example/live".into()), 1);
        let base = urls.for_client(&Uri::default(), &asked_for("c.example"), false);
        assert_eq!(base.ingest(), "rtmps://b.example/live");
        assert!(base.playback(StreamId::generate()).starts_with("https://a.example/live/"));
    }
}
