//! Where to publish: `rtmp://host[:port]/app/key`.

use std::fmt;

/// An RTMP address taken apart. Its text form hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct RtmpUrl {
    /// `rtmps`.
    pub tls: bool,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 1935 (443 for `rtmps`) if the URL has none.
    pub port: u16,
    /// Everything between the host and the last slash.
    pub app: String,
    /// The stream key, with its query if there is one.
    pub key: String,
}

/// The text isn't an address to publish to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RTMP URL: {0} (expected rtmp[s]://host[:port]/app/key)")]
pub struct RtmpUrlError(&'static str);

impl RtmpUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`RtmpUrlError`] says which piece is missing or malformed.
    pub fn parse(url: &str) -> Result<Self, RtmpUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RtmpUrlError("it has no scheme"))?;
        let tls = match scheme {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(RtmpUrlError("its scheme isn't rtmp or rtmps")),
        };
        let (authority, path) = rest.split_once('/').ok_or(RtmpUrlError("it has no path"))?;
        // A key's query may hold slashes.
        let (names, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        let (app, key) = names.rsplit_once('/').ok_or(RtmpUrlError("it has no stream key"))?;
        if app.is_empty() || key.is_empty() {
            return Err(RtmpUrlError("app or stream key is empty"));
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err(RtmpUrlError("it has no host"));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 1935 }),
            app: app.to_owned(),
            key: format!("{key}{query}"),
        })
    }

    /// What `connect` calls `tcUrl`: the address without the key.
    #[must_use]
    pub fn tc_url(&self) -> String {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}/{}", self.host, self.port, self.app)
        } else {
            format!("{scheme}://{}:{}/{}", self.host, self.port, self.app)
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), RtmpUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(RtmpUrlError("a bracket is open"))?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map(str::parse).transpose();
    Ok((host, port.map_err(|_| RtmpUrlError("its port isn't a number up to 65535"))?))
}

impl fmt::Display for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.tc_url())
    }
}

impl fmt::Debug for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_apart() {
        let url = RtmpUrl::parse("rtmp://127.0.0.1:1936/live/a-key?x=/y").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.tls), ("127.0.0.1", 1936, false));
        assert_eq!((url.app.as_str(), url.key.as_str()), ("live", "a-key?x=/y"));
        assert_eq!(url.tc_url(), "rtmp://127.0.0.1:1936/live");

        let url = RtmpUrl::parse("rtmps://[::1]/a/b/key").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.app.as_str()), ("::1", 443, "a/b"));
        assert_eq!(url.tc_url(), "rtmps://[::1]:443/a/b");
    }

    #[test]
    fn hides_the_key() {
        let url = RtmpUrl::parse("rtmp://h/live/secret").unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
    }

    #[test]
    fn says_what_is_missing() {
        for bad in ["", "h/live/key", "http://h/a/k", "rtmp://h", "rtmp://h/live", "rtmp:///a/k"] {
            assert!(RtmpUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(RtmpUrl::parse("rtmp://h:99999/a/k").is_err());
    }
}
