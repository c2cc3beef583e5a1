//! Sockets that wait for connections.
//!
//! Enters: the configuration's addresses. Leaves: sockets, all of them or
//! none. Never here: accepting anybody.

use std::net::SocketAddr;

use sources::rtmp::TlsConfig;
use tokio::net::TcpListener;

use super::StartError;
use crate::config::{Config, Tls};
use crate::tls::Certificate;

/// A socket, and the certificate that is shown there.
pub(crate) type Secured = (TcpListener, TlsConfig);

/// Where people and programs come in.
pub(super) struct Sockets {
    pub(super) http: TcpListener,
    pub(super) https: Option<Secured>,
    pub(super) rtmp: TcpListener,
    pub(super) rtmps: Option<Secured>,
    pub(super) postgres: Option<TcpListener>,
    pub(super) flight: Option<TcpListener>,
}

/// Where they are, with the ports that were chosen for port 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTP.
    pub http: SocketAddr,
    /// HTTPS, if it is served.
    pub https: Option<SocketAddr>,
    /// RTMP.
    pub rtmp: SocketAddr,
    /// RTMPS, if it is served.
    pub rtmps: Option<SocketAddr>,
    /// PostgreSQL's clients, if they may come.
    pub postgres: Option<SocketAddr>,
    /// Clients of Arrow Flight SQL, if they may come.
    pub flight: Option<SocketAddr>,
}

impl Sockets {
    /// Begins to listen; who connects waits until somebody accepts.
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            http: listen("HTTP", config.http.listen).await?,
            https: secure("HTTPS", config.http.tls.as_ref(), &[b"h2", b"http/1.1"]).await?,
            rtmp: listen("RTMP", config.rtmp.listen).await?,
            rtmps: secure("RTMPS", config.rtmp.tls.as_ref(), &[]).await?,
            postgres: maybe("PostgreSQL", config.sql.postgres).await?,
            flight: maybe("Flight SQL", config.sql.flight).await?,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        let secured = |of: &Option<Secured>| of.as_ref().map(|(listener, _)| local(listener));
        Addresses {
            http: local(&self.http),
            https: secured(&self.https),
            rtmp: local(&self.rtmp),
            rtmps: secured(&self.rtmps),
            postgres: self.postgres.as_ref().map(local),
            flight: self.flight.as_ref().map(local),
        }
    }
}

/// Begins to listen.
pub(crate) async fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen { what, address, source };
    TcpListener::bind(address).await.map_err(failed)
}

async fn maybe(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => listen(what, address).await.map(Some),
        None => Ok(None),
    }
}

/// A listener with a certificate, if one is configured.
pub(crate) async fn secure(
    what: &'static str,
    tls: Option<&Tls>,
    protocols: &[&[u8]],
) -> Result<Option<Secured>, StartError> {
    let Some(tls) = tls else { return Ok(None) };
    let certificate = Certificate::load(&tls.cert, &tls.key, protocols)?;
    Ok(Some((listen(what, tls.listen).await?, certificate.watch())))
}

/// Where it listens.
pub(crate) fn local(listener: &TcpListener) -> SocketAddr {
    // A bound socket has an address.
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}
