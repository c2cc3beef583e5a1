//! Identity providers: how they are written down, and how their keys are fetched.
//!
//! Enters: the setting `accounts.providers`; URLs of it. Leaves: providers for
//! the accounts; bodies of answers, bounded in size and time. Held: which
//! certificates this machine trusts, read once at the start. Never done here:
//! keeping keys or looking at tokens (the accounts do), following redirects.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use accounts::{AccountsConfig, Fetch, FetchError, Fetched, JWKS_BYTES_MAX, Provider};
use bytes::Bytes;
use clients::net::{Stream, chain};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::tls::{TlsError, trusted};

/// How long an answer may take, its connection included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a provider can't be used as it is written down; the operator's to mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderProblem {
    /// Not two words.
    #[error("{0} needs our client id there and the URL of its keys, with a blank between")]
    Form(String),
    /// Who listens on the way could give us keys of their own.
    #[error("the keys of {0} must be at an https URL, or at http on this machine")]
    Url(String),
    /// What we say of ourselves in our own tokens.
    #[error("{0} is this server itself, so no provider can be called that")]
    Own(String),
}

/// The provider `issuer`: `text` is our client id there and the URL of its keys.
///
/// # Errors
/// [`ProviderProblem`].
pub fn parse(issuer: &str, text: &str) -> Result<Provider, ProviderProblem> {
    if issuer.is_empty() || issuer == AccountsConfig::default().issuer {
        return Err(ProviderProblem::Own(format!("{issuer:?}")));
    }
    // The last blank: a client id may have some.
    let (audience, url) = text
        .trim()
        .rsplit_once(char::is_whitespace)
        .ok_or_else(|| ProviderProblem::Form(issuer.to_owned()))?;
    match url.parse::<Uri>().is_ok_and(|url| is_safe(&url)) {
        true => Ok(Provider::new(issuer, audience.trim(), url)),
        false => Err(ProviderProblem::Url(issuer.to_owned())),
    }
}

fn is_safe(url: &Uri) -> bool {
    let host = host(url);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    // A password in the URL would end up in log lines.
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match url.scheme_str() {
        _ if has_user || host.is_empty() => false,
        Some("https") => true,
        Some("http") => is_here,
        _ => false,
    }
}

/// The host, an IPv6 address without its brackets.
fn host(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Fetches key sets over HTTPS, one connection each: an hour lies between them.
pub struct KeyFetcher {
    tls: Arc<ClientConfig>,
}

impl KeyFetcher {
    /// Trusts what this machine trusts.
    ///
    /// # Errors
    /// The TLS library has no usable ciphers.
    pub fn new() -> Result<Self, TlsError> {
        Ok(Self { tls: trusted()? })
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let failed = |error: &dyn Error| FetchError(format!("{url}: {}", chain(error)));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
        let stream = Stream::open(&uri, &self.tls).await.map_err(|error| failed(&error))?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| failed(&error))?;
        // Ends with this call, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError(format!("{url} answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| failed(&*error))?.to_bytes())
    }
}

impl Fetch for KeyFetcher {
    fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a> {
        Box::pin(async move {
            let late = |_| FetchError(format!("no answer from {url} within {FETCH_TIMEOUT:?}"));
            tokio::time::timeout(FETCH_TIMEOUT, self.get(url)).await.map_err(late)?
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn providers_are_written_as_client_id_and_url() {
        let provider = parse("https://id.example", "our client  https://id.example/jwks").unwrap();
        assert_eq!(
            (provider.issuer.as_str(), provider.audience.as_str(), provider.jwks_url.as_str()),
            ("https://id.example", "our client", "https://id.example/jwks")
        );
        for here in ["http://127.0.0.1:8/k", "http://localhost/k", "http://[::1]:8/k"] {
            assert!(parse("x", &format!("us {here}")).is_ok(), "{here}");
        }
        for (issuer, text, problem) in [
            ("millstream", "us https://x.example/k", ProviderProblem::Own("\"millstream\"".into())),
            ("", "us https://x.example/k", ProviderProblem::Own("\"\"".into())),
            ("x", "https://x.example/k", ProviderProblem::Form("x".into())),
            ("x", "us http://x.example/k", ProviderProblem::Url("x".into())),
            ("x", "us https://me:pw@x.example/k", ProviderProblem::Url("x".into())),
            ("x", "us ftp://x.example/k", ProviderProblem::Url("x".into())),
            ("x", "us /k", ProviderProblem::Url("x".into())),
        ] {
            assert_eq!(parse(issuer, text), Err(problem), "{issuer} {text}");
        }
    }

    /// What comes of asking a server that answers with these bytes.
    async fn fetched(answer: Vec<u8>) -> Result<Bytes, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks?x=1", listener.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /jwks?x=1 HTTP/1.1\r\n"));
            // Who has heard enough goes away meanwhile.
            let _ = stream.write_all(&answer).await;
        });
        let fetched = KeyFetcher::new().unwrap().fetch(&url).await;
        serve.await.unwrap();
        fetched
    }

    #[tokio::test]
    async fn a_key_set_is_fetched_within_limits() {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec();
        assert_eq!(fetched(ok).await.unwrap(), "{}");
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        let error = fetched([head, vec![b' '; JWKS_BYTES_MAX + 1]].concat()).await.unwrap_err();
        assert!(error.to_string().contains("length limit"), "{error}");
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n";
        let error = fetched(moved.to_vec()).await.unwrap_err();
        assert!(error.to_string().contains("302"), "{error}");
        assert!(fetched(b"nonsense\r\n\r\n".to_vec()).await.is_err());
        assert!(KeyFetcher::new().unwrap().fetch("http://127.0.0.1:9/").await.is_err());
    }
}
