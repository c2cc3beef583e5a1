//! SQL by PostgreSQL's wire protocol, for psql, its drivers and the tools that use them.
//!
//! ```text
//! listener ─► negotiate ─► startup ─► conversation ─► Session ─► rows
//!            (TLS or not)  (password)   │    ▲
//!                                       │    └── cancel requests, by other connections
//!                                       └─► SET, SHOW, BEGIN, FETCH …: answered here
//! ```
//!
//! Enters: connections. Leaves: rows as PostgreSQL writes them. Held: per
//! connection its settings, prepared statements (as text), open portals and
//! cursors; all of it, and what still runs, goes when the client hangs up. It runs on the
//! session's own threads, where parsing and encoding delay nobody who watches.
//! Never here: deciding what a query may do, which is the session's guard.

mod acts;
mod cancel;
mod comments;
mod connection;
mod conversation;
mod copy;
mod cursors;
mod extended;
mod failure;
mod prepared;
mod settings;
mod simple;
mod sizes;
mod spelling;
mod startup;
mod ways;

use std::future::Future;
use std::sync::Arc;

use pgwire::api::RandomPidSecretKeyGenerator;
use tokio::net::TcpListener;

use self::cancel::Cancels;
use self::ways::Ways;
use crate::doors::{self, Admits, Entrance, TlsConfig};
use crate::{Error, Session};

/// What all connections share.
pub struct Postgres {
    session: Session,
    ways: Arc<Ways>,
    admits: Admits,
    base_url: String,
    tls: Option<TlsConfig>,
    // Numbers and secrets, by which running queries are cancelled.
    names: RandomPidSecretKeyGenerator,
    cancels: Cancels,
}

impl Postgres {
    /// Answers from `session` whom the entrance admits.
    ///
    /// # Errors
    /// [`Error::Internal`] if PostgreSQL's catalog can't be made.
    pub async fn new(session: Session, entrance: Entrance) -> Result<Arc<Self>, Error> {
        let ways = Arc::new(Ways::new(&session).await?);
        let Entrance { admits, base_url, tls } = entrance;
        let (names, cancels) = Default::default();
        Ok(Arc::new(Self { session, ways, admits, base_url, tls, names, cancels }))
    }

    /// Accepts connections until `stopped`, then closes them all.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stopped: impl Future<Output = ()>) {
        // Those beyond what is taken may cancel what another runs, for which
        // clients connect anew.
        let connect =
            |stream, peer, is_beyond| connection::run(stream, peer, Arc::clone(&self), is_beyond);
        doors::serve("PostgreSQL", &self.session, listener, stopped, connect).await;
    }
}
