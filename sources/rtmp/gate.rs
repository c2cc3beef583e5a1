//! Who may publish, decided elsewhere.
//!
//! ```text
//! connection ──admit(app, key)──► Gate ──Admission │ Refusal──► connection
//!            ◄──orders (watch)── Gate ◄──release(departure)── connection
//! ```
//!
//! Enters: an application and a key. Leaves: the way into the data plane, or
//! why not. The gate pushes a session's `Start` before it admits, and `Stop`
//! or `End` after the release; a connection pushes only what was published.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use records::{Packet, StreamId};
use runtime::Writer;
use tokio::sync::watch;

use super::key::StreamKeyText;

/// Decides who may publish. Implemented by whoever knows the streams.
pub trait Gate: Send + Sync + 'static {
    /// Checks application and key, before anything of the publisher is stored,
    /// and claims the stream for it. Given up (the future dropped) after
    /// [`super::RtmpConfig::admission_timeout`] or when the server stops: a
    /// claim must not outlive the future unless it was returned.
    ///
    /// # Errors
    /// A [`Refusal`], whose text the publisher sees.
    fn admit(
        &self,
        app: &str,
        key: &StreamKeyText,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Admission, Refusal>> + Send;

    /// The publisher that was admitted as `session` left; called exactly once
    /// per admission, whatever happens to the connection. Must not block.
    fn release(&self, stream: StreamId, session: u32, departure: Departure);
}

/// A publisher's permission.
pub struct Admission {
    /// The stream it publishes.
    pub stream: StreamId,
    /// Which of the stream's publishers it is, as in its `Start` packet.
    pub session: u32,
    /// The way into the data plane.
    pub writer: Writer<Packet>,
    /// What the gate wants of the connection from now on; a dropped sender
    /// means nothing more.
    pub orders: watch::Receiver<Order>,
}

/// What the gate wants of an admitted connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Carry on.
    #[default]
    Serve,
    /// Ask the encoder to connect again soon, and carry on until it does
    /// (E-RTMP Reconnect Request). Only told to encoders that said they can.
    Reconnect {
        /// Where to; the same address if none.
        tc_url: Option<Arc<str>>,
        /// Why, for the encoder's log.
        reason: Arc<str>,
    },
    /// Tell the encoder why and close.
    Close {
        /// Why, for the encoder's screen.
        reason: Arc<str>,
        /// Whether the encoder should connect again by itself: true when the
        /// server goes away, false when the stream ended or its key changed.
        may_return: bool,
    },
}

/// How a publisher left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It said so: `FCUnpublish`, `deleteStream` or `closeStream`.
    Clean,
    /// It vanished, broke the protocol, or was closed by an [`Order`]; it may come back.
    Lost {
        /// What happened, for events and logs.
        reason: String,
    },
}

/// Why a publisher isn't admitted. Its `Display` is what the publisher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No stream has this key (publisher's fault; won't help to retry).
    BadKey,
    /// Somebody publishes with this key already (may retry once that one left).
    InUse,
    /// The broadcast is over (won't help to retry); the text says how.
    Ended(String),
    /// The server can't take it now (our fault; may retry); the text says why.
    Unavailable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadKey => f.write_str("no stream has this key"),
            Self::InUse => f.write_str("this stream is being published already"),
            Self::Ended(reason) => write!(f, "this stream has ended: {reason}"),
            Self::Unavailable(reason) => write!(f, "cannot take streams now: {reason}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::BadKey => "bad_key",
            Self::InUse => "in_use",
            Self::Ended(_) => "ended",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The status code by which encoders know it (R 7.2.2.6; seen: OBS stops
    /// retrying at both).
    #[must_use]
    pub fn status_code(&self) -> &'static str {
        match self {
            Self::InUse => "NetStream.Publish.BadName",
            Self::BadKey | Self::Ended(_) | Self::Unavailable(_) => "NetStream.Publish.Denied",
        }
    }
}
