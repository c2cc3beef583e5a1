//! The server that a gateway is the front of.
//!
//! Enters: what is asked of it. Leaves: its answers, each within bounds of size and time.
//! Held: idle connections. Never here: trying again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clients::net::{Connector, Stream, chain};
use futures_util::StreamExt;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use moderate::Receipt;
use records::{MessageId, StreamId};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_websockets::upgrade::Error as Upgrade;
use tokio_websockets::{ClientBuilder, Limits, WebSocketStream};

use crate::chat::{Refused, Told, ToldWelcome};
use crate::config::Secret;
use crate::tls::{TlsError, trusted};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Requests at a time.
const ASKING_MAX: usize = 512;

/// Longest text of a room, and longest answer, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A room's texts on their way.
pub type Wire = WebSocketStream<Stream>;

/// Why there is no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It can't be reached, or isn't what it should be; a retry may help.
    #[error("the origin: {0}")]
    Away(String),
    /// It answered so.
    #[error("the origin answered {0}")]
    Status(StatusCode),
}

/// Why the origin refuses a viewer, in words for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    code: String,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Refusal {
    /// As the viewer is told.
    #[must_use]
    pub fn told<'a>(&'a self, client_id: Option<&'a str>) -> Refused<'a> {
        let mut told = Refused::plain(self.status, &self.code, &self.detail, client_id);
        told.retry_after_s = self.retry_after_s;
        told
    }

    /// Whether a retry may be answered otherwise.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
    }

    /// Whether it will be in the room is open.
    fn busy(cause: &dyn fmt::Display) -> Self {
        tracing::warn!(%cause, "a viewer can't be heard at the origin");
        let busy = Refused::busy(None);
        Self {
            status: busy.status,
            code: busy.code.to_owned(),
            detail: busy.detail.into_owned(),
            retry_after_s: busy.retry_after_s,
        }
    }

    /// A problem document (RFC 9457).
    fn read(status: StatusCode, document: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Document {
            detail: String,
            code: Option<String>,
            retry_after_s: Option<u64>,
        }
        let document: Document = serde_json::from_slice(document).unwrap_or_default();
        // Not the origin's own words, perhaps those of a proxy: what became of it is open.
        if status.is_server_error() && document.code.is_none() {
            return Self::busy(&status);
        }
        let code = document.code.unwrap_or_else(|| {
            if status == StatusCode::UNAUTHORIZED { "token" } else { "refused" }.to_owned()
        });
        Self {
            status: status.as_u16(),
            code,
            detail: document.detail,
            retry_after_s: document.retry_after_s,
        }
    }
}

/// See the module.
pub struct Origin {
    // Without a slash at the end.
    url: String,
    token: Secret,
    tls: Arc<ClientConfig>,
    client: Client<Connector, Full<Bytes>>,
    // Lest what viewers say takes all of the origin's connections.
    asking: Semaphore,
}

impl Origin {
    /// The server at `url`, which is shown this token.
    ///
    /// # Errors
    /// There is no TLS.
    pub fn new(url: &Uri, token: Secret) -> Result<Self, TlsError> {
        let tls = trusted()?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Connector::new(Arc::clone(&tls)));
        let url = url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { url, token, tls, client, asking: Semaphore::new(ASKING_MAX) })
    }

    /// Opens a room: with all that is held, or behind message `seq` of `epoch`.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn subscribe(
        &self,
        stream: StreamId,
        since: Option<(u64, u64)>,
    ) -> Result<(Wire, ToldWelcome), OriginError> {
        let mut url = format!("{}/api/streams/{stream}/chat/subscribe?gateway=true", self.url);
        if let Some((epoch, seq)) = since {
            url.push_str(&format!("&epoch={epoch}&seq={seq}"));
        }
        let late = |_| OriginError::Away(format!("no answer within {PATIENCE:?}"));
        tokio::time::timeout(PATIENCE, self.open(url)).await.map_err(late)?
    }

    async fn open(&self, url: String) -> Result<(Wire, ToldWelcome), OriginError> {
        let away = |error: &dyn std::error::Error| OriginError::Away(chain(error));
        let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| away(&error))?;
        let socket = Stream::open(&url, &self.tls).await.map_err(|error| away(&error))?;
        let builder = ClientBuilder::from_uri(url)
            .limits(Limits::default().max_payload_len(Some(TEXT_BYTES_MAX)))
            .add_header(header::AUTHORIZATION, self.bearer(&self.token.0)?)
            .map_err(|error| away(&error))?;
        let (mut wire, _) = builder.connect_on(socket).await.map_err(|error| match &error {
            tokio_websockets::Error::Upgrade(Upgrade::DidNotSwitchProtocols(status)) => {
                StatusCode::from_u16(*status).map_or_else(|_| away(&error), OriginError::Status)
            }
            _ => away(&error),
        })?;
        let first = wire.next().await.and_then(Result::ok);
        let first = first.as_ref().and_then(|first| first.as_text());
        match first.map(serde_json::from_str) {
            Some(Ok(Told::Welcome(welcome))) => Ok((wire, welcome)),
            _ => Err(OriginError::Away("it didn't welcome us; is it Millstream?".into())),
        }
    }

    /// Who the holder of this token is in the room: the text for it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn you(&self, stream: StreamId, token: &str) -> Result<String, Refusal> {
        let path = format!("/api/streams/{stream}/chat/you");
        let you = self.ask(Method::GET, &path, token, Bytes::new()).await?;
        String::from_utf8(you.into()).map_err(|error| Refusal::busy(&error))
    }

    /// Says it for the holder of this token; returns once it is durable.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn say(
        &self,
        stream: StreamId,
        token: &str,
        message: &str,
        client_id: Option<&str>,
    ) -> Result<Receipt, Refusal> {
        #[derive(Deserialize)]
        struct Said {
            message_id: MessageId,
            seq: u64,
            sent_at_us: u64,
        }
        let path = format!("/api/streams/{stream}/chat");
        let body = json!({ "message": message, "client_id": client_id }).to_string();
        let said = self.ask(Method::POST, &path, token, body.into()).await?;
        let Said { message_id, seq, sent_at_us } =
            serde_json::from_slice(&said).map_err(|error| Refusal::busy(&error))?;
        Ok(Receipt { message_id, seq, sent_at_us })
    }

    /// Whether it can be used: it is there, and knows the token, which it looks at before
    /// it lists videos.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), OriginError> {
        let path = "/api/videos?limit=1";
        let asked = self.ask(Method::GET, path, &self.token.0, Bytes::new()).await;
        asked.map(|_| ()).map_err(|refusal| OriginError::Away(refusal.detail))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Bytes,
    ) -> Result<Bytes, Refusal> {
        let bearer = self.bearer(token);
        let bearer = bearer.map_err(|_| {
            Refusal::read(StatusCode::UNAUTHORIZED, br#"{"detail":"this is no session's token"}"#)
        })?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Refusal::busy(&error))?;
        let asking = async {
            let _turn = self.asking.acquire().await.map_err(|error| Refusal::busy(&error))?;
            let response = self.client.request(request).await;
            let response = response.map_err(|error| Refusal::busy(&chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), TEXT_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Refusal::busy(&error))?.to_bytes();
            match status.is_success() {
                true => Ok(body),
                false => Err(Refusal::read(status, &body)),
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        asked.unwrap_or_else(|late| Err(Refusal::busy(&late)))
    }

    fn bearer(&self, token: &str) -> Result<HeaderValue, OriginError> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| OriginError::Away("the token can't be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_passed_on() {
        let document = br#"{"status":429,"detail":"slow down","code":"rate","retry_after_s":3}"#;
        let refusal = Refusal::read(StatusCode::TOO_MANY_REQUESTS, document);
        let told = refusal.told(Some("mine"));
        assert_eq!((told.status, told.code, told.retry_after_s), (429, "rate", Some(3)));
        assert_eq!((told.client_id, &*told.detail), (Some("mine"), "slow down"));
        let refusal = Refusal::read(StatusCode::UNAUTHORIZED, b"<html>");
        assert_eq!(refusal.told(None).code, "token");
        let refusal = Refusal::read(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(refusal.is_open() && refusal.told(None).code == "busy");
    }
}
