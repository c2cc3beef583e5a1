//! `millstream gateway`: the front of a chat alone, for rooms that one process can't hold.
//!
//! ```text
//! origin ─► link (a WebSocket per room) ─► Hall (ring) ─► flush loops ─► viewers
//!    ▲                                      │ who is here                  │
//!    └────── crowd, once a second ◄─────────┘                              │
//!    └────── POST …/chat, GET …/chat/you ◄── Voices ◄── hello, say ◄───────┘
//! ```
//!
//! What viewers are told is the origin's texts, byte for byte; who may say what, and what
//! is durable, the origin alone knows. Any number of gateways serve one room: its numbers
//! are the same at each, so a viewer may come back to another.
//!
//! - **Enters**: viewers' sockets, the origin's texts. **Leaves**: the same texts; what
//!   viewers say, by their own tokens; who is here.
//! - **Held**: per room a ring, and who is in it. Nothing on disk.
//! - **Ends**: with a signal; viewers are sent elsewhere. While the origin is away, viewers
//!   stay, and hear afterwards what was said meanwhile.
//! - **Never here**: a silent hole. A room of which texts are missing ends, and its viewers
//!   come back to be told so.

mod halls;
mod link;
mod origin;
mod voices;

use std::net::SocketAddr;
use std::sync::Arc;

use chat::ws::{CloseCode, CloseReason};
use chat::{Flushers, Totals};
use http::Uri;
use records::StreamId;

pub use halls::Hall;
pub use origin::{OriginError, Refusal};

use self::halls::Halls;
use self::origin::Origin;
use self::voices::Voices;
use crate::chat::{Places, flush_config};
use crate::config::{Config, Secret};
use crate::keys::{self, KeyError};
use crate::server::{Doors, StartError, listen, local, secure, with_secured};
use crate::tls::TlsError;

/// Why a gateway doesn't start; the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No URL of a server.
    #[error("{0}: the origin is given as http[s]://HOST[:PORT]")]
    Url(String),
    /// It has nothing to show at the origin.
    #[error(
        "a gateway shows its origin the admin token: give admin.token, or the origin's data directory ({0})"
    )]
    Token(KeyError),
    /// A certificate can't be used, or certificates at all.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// As with a server.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What a gateway's HTTP handlers share.
pub struct Shared {
    halls: Arc<Halls>,
    voices: Arc<Voices>,
    /// Viewers' sockets.
    pub flushers: Arc<Flushers>,
}

/// A running gateway.
pub struct Gateway {
    /// Where it is reached.
    pub at: SocketAddr,
    /// Where it is reached by TLS.
    pub https: Option<SocketAddr>,
    shared: Arc<Shared>,
    doors: Doors,
}

impl Gateway {
    /// Starts one before the server at `origin`. Of the configuration it uses `[http]`,
    /// `[chat]` and the admin token.
    ///
    /// # Errors
    /// [`GatewayError`]. An origin that is away isn't one.
    pub async fn start(config: &Config, origin: &str) -> Result<Self, GatewayError> {
        let url = origin.trim_end_matches('/').parse::<Uri>();
        let url = url.ok().filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
        let url = url.ok_or_else(|| GatewayError::Url(origin.to_owned()))?;
        let origin = Arc::new(Origin::new(&url, token(config)?)?);
        let halls = Arc::new(Halls::new(Arc::clone(&origin), config.chat.ring_bytes));
        let places = Places::new(config.chat.sockets_max);
        let voices = Voices::new(origin, Arc::clone(&halls), places);
        let flushers = Flushers::start(&flush_config(&config.chat), Arc::clone(&voices) as _);
        let flushers = Arc::new(flushers.map_err(StartError::Flush)?);
        voices.answer_by(&flushers);
        let shared = Arc::new(Shared { halls, voices, flushers });

        let http = listen("HTTP", config.http.listen).await?;
        let at = local(&http);
        let secured = secure("HTTPS", config.http.tls.as_ref(), &[b"http/1.1"]).await?;
        let https = secured.as_ref().map(|(listener, _)| local(listener));
        let mut doors = Doors::new();
        let router = crate::http::gateway(Arc::clone(&shared));
        for (listener, tls) in with_secured(http, secured) {
            doors.open(|stop| crate::http::serve(listener, tls, None, router.clone(), stop));
        }
        Ok(Self { at, https, shared, doors })
    }

    /// Sends everybody elsewhere; returns once they have gone, or had time to.
    pub async fn stop(mut self) {
        let reason = going_away("the gateway stops; come back");
        self.shared.halls.close(&reason);
        self.doors.close().await;
        // The loops' threads write the closes.
        let flushers = Arc::clone(&self.shared.flushers);
        let stopped = tokio::task::spawn_blocking(move || flushers.stop(&reason)).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "viewers of this gateway may not have been told");
        }
    }
}

impl Shared {
    /// The room of this stream, opened at the origin if need be.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn hall(&self, stream: StreamId) -> Result<Arc<Hall>, OriginError> {
        Arc::clone(&self.halls).get(stream).await
    }

    /// Places of viewers, and of those on their way.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.voices.places
    }

    /// The viewer with this tag, which nobody else may have, showed a token.
    pub fn expect(&self, tag: chat::UserTag, token: String) {
        self.voices.expect(tag, token);
    }

    /// It didn't come.
    pub fn unexpect(&self, tag: chat::UserTag) {
        self.voices.unexpect(tag);
    }

    /// Rooms that are open, and those of them that hear the origin now.
    #[must_use]
    pub fn rooms(&self) -> (usize, usize) {
        self.halls.count()
    }

    /// What the loops did.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.flushers.totals()
    }

    /// Whether the origin can be used.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), OriginError> {
        self.halls.origin().ready().await
    }
}

fn token(config: &Config) -> Result<Secret, GatewayError> {
    match &config.admin_token {
        Some(given) => Ok(given.clone()),
        None => keys::kept_admin_token(&config.data_dir).map_err(GatewayError::Token),
    }
}

fn going_away(why: &'static str) -> CloseReason {
    CloseReason::new(CloseCode::GOING_AWAY, why)
}
