//! Accepts the connections of a way in, and serves each on the session's threads.
//!
//! Enters: a listener. Held: the connections, so many and no more. Ends: when it
//! is told to stop, all of them too. Never here: what they say.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Session;

/// Connections of one way in at once.
pub(crate) const CONNECTIONS_MAX: usize = 100;

/// Connections beyond those that are only told so; further ones are closed on arrival.
const BEYOND_MAX: usize = 20;

/// How long nothing is accepted after accepting failed: with too many open
/// files it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Certificates for those who ask for TLS; the newest value is used.
pub type TlsConfig = watch::Receiver<Arc<rustls::ServerConfig>>;

/// Whether a password or token lets its bearer in; the user's name doesn't matter.
pub type Admits = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Who comes in, and how.
pub struct Entrance {
    /// Who may.
    pub admits: Admits,
    /// Where links lead, see [`Session::query`].
    pub base_url: String,
    /// None: nothing is encrypted.
    pub tls: Option<TlsConfig>,
}

/// Serves connections by `connection` until `stopped`. It is told of those
/// beyond [`CONNECTIONS_MAX`].
pub(crate) async fn serve<Served>(
    way: &'static str,
    session: &Session,
    listener: TcpListener,
    stopped: impl Future<Output = ()>,
    connection: impl Fn(TcpStream, SocketAddr, bool) -> Served,
) where
    Served: Future<Output = io::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let places_beyond = Arc::new(Semaphore::new(BEYOND_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, way, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = Arc::clone(&places).try_acquire_owned();
        let is_beyond = place.is_err();
        let place = place.or_else(|_| Arc::clone(&places_beyond).try_acquire_owned());
        let Ok(place) = place else {
            tracing::warn!(%peer, way, at_most = CONNECTIONS_MAX, "too many connections");
            continue;
        };
        // Back and forth, so that the other threads' reactor wakes it.
        let Ok(stream) = stream.into_std() else { continue };
        let served = connection(stream, peer, is_beyond);
        let served = async move {
            let _place = place;
            if let Err(error) = served.await {
                tracing::debug!(%peer, %error, way, "a connection broke");
            }
        };
        let Some(task) = session.spawn(served) else { return };
        // Ends with the set.
        connections.spawn(async { drop(task.await) });
    }
}
