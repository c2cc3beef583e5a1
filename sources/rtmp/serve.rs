//! The listener: accepts, shakes hands, starts one task per connection.
//!
//! Enters: a bound socket. Leaves: when told to stop, after every connection
//! has said goodbye (bounded by the linger time-out). Held: the connections'
//! tasks. Never done here: giving up because accepting failed.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, debug, debug_span, error, warn};

use super::config::RtmpConfig;
use super::connection::{Connection, Shared};
use super::end::End;
use super::gate::Gate;
use super::handshake::{self, HandshakeError};
use super::lanes::Lanes;
use super::meters::{Held, RtmpMeters};

/// The certificate in force; a new value applies to the connections that follow.
pub type TlsConfig = watch::Receiver<Arc<rustls::ServerConfig>>;

/// Serves RTMP on `listener`, or RTMPS if there is a certificate, on `lanes` until
/// `shutdown` is ready. Publishers are then told that the server goes away (so
/// that encoders come back), and this returns once they are gone.
pub async fn serve<G: Gate>(
    listener: TcpListener,
    tls: Option<TlsConfig>,
    lanes: Arc<Lanes>,
    gate: Arc<G>,
    config: Arc<RtmpConfig>,
    meters: Arc<RtmpMeters>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopping) = watch::channel(false);
    let linger = config.linger_timeout;
    let shared = Arc::new(Shared { gate, config, meters, stopping });
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = tasks.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) if tasks.len() < shared.config.connections_max => {
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    let span = debug_span!("rtmp", %peer);
                    let serve =
                        move |socket| connection(socket, peer, tls, shared).instrument(span);
                    if let Err(error) = lanes.spawn(&mut tasks, socket, serve) {
                        warn!(%peer, %error, "connection lost");
                    }
                }
                Ok((_, peer)) => warn!(%peer, "connection refused: too many are open"),
                // Mostly file descriptors used up: the next may fit.
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    };
    // Room for the last packet to find room, then for the last words.
    if timeout(2 * linger, all).await.is_err() {
        tasks.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a connection's task panicked");
    }
}

/// One connection, from its first byte to its last.
async fn connection<G: Gate>(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsConfig>,
    shared: Arc<Shared<G>>,
) {
    let meters = &shared.meters;
    let _open = Held::new(&meters.connections_open);
    meters.connections_total.fetch_add(1, Ordering::Relaxed);
    prepare(&socket);
    let end = match tls {
        None => greet(async { Ok(socket) }, peer, &shared).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
            let secured = async { acceptor.accept(socket).await.map_err(HandshakeError::Tls) };
            greet(secured, peer, &shared).await
        }
    };
    debug!(%end, "connection ended");
    meters.closed_total.add(end.label());
}

/// Both handshakes within one deadline, then the conversation.
async fn greet<G: Gate, S: AsyncRead + AsyncWrite + Unpin>(
    socket: impl Future<Output = Result<S, HandshakeError>>,
    peer: SocketAddr,
    shared: &Shared<G>,
) -> End {
    let shake = async {
        let mut io = socket.await?;
        let beyond = handshake::accept(&mut io).await?;
        Ok::<_, HandshakeError>((io, beyond))
    };
    let mut stopping = shared.stopping.clone();
    let shaken = tokio::select! {
        shaken = timeout(shared.config.handshake_timeout, shake) => shaken,
        _ = stopping.wait_for(|stopping| *stopping) => return End::ShuttingDown,
    };
    match shaken {
        Ok(Ok((io, beyond))) => {
            let connection = Connection::new(io, peer, &beyond, shared);
            // Large (it holds two codecs), and moved around no more from here.
            Box::pin(connection.run()).await
        }
        Ok(Err(error)) => error.into(),
        Err(_) => HandshakeError::Slow.into(),
    }
}

/// Socket options; each is a courtesy that may fail.
fn prepare(socket: &TcpStream) {
    // Replies are small and awaited.
    let _ = socket.set_nodelay(true);
    // The idle time-out finds dead peers first; this also covers the time in
    // which nothing is read because the data plane is behind.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}
