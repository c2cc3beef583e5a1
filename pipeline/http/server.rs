//! Accepts connections and speaks HTTP/1.1 and HTTP/2, in the clear and over TLS.
//!
//! ```text
//! listener ─► (TLS) ─► hyper ─┬─ /live/… ─► HLS origin
//!                             ├─ /vod/…  ─► recordings
//!                             └─ the rest ─► axum routes
//! ```
//!
//! The live path goes round the router: it is nearly all the requests, and
//! each costs little enough for routing to show.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::base::OverTls;
use super::outlet::{Outlet, Places};
use super::{App, live, vod};
use sources::rtmp::TlsConfig;

/// Connections beyond this wait in the kernel's queue: below the limit on open
/// files that common systems set, with room for publishers and files.
const CONNECTIONS_MAX: usize = 16_000;

/// How long a client may take to send a request's head, or to finish a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long open requests may take to finish when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves until `stop` turns true, then lets open requests finish. A gateway has no app.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsConfig>,
    app: Option<App>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let service = Service { app, router, is_tls: tls.is_some(), places: None };
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        let (service, tls, stopping) = (service.clone(), tls.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, peer, tls, service, stopping).await {
                tracing::debug!(%peer, error = &*error, "http connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    // All of them: no connection is left.
    let ended = connections.acquire_many(CONNECTIONS_MAX as u32);
    if tokio::time::timeout(DRAIN_TIMEOUT, ended).await.is_err() {
        tracing::info!("some viewers' requests were cut off at shutdown");
    }
}

/// Out of files or memory: accepting again at once would spin.
async fn rest_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "could not accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsConfig>,
    mut service: Service,
    stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Parts are small and late ones are worthless.
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let places = Places::default();
            service.places = Some(places.clone());
            speak(Outlet::new(stream, places), peer, service, stopping).await
        }
        Some(tls) => {
            let accept = TlsAcceptor::from(Arc::clone(&tls.borrow())).accept(stream);
            let stream = tokio::time::timeout(HEAD_TIMEOUT, accept).await??;
            speak(stream, peer, service, stopping).await
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    service: Service,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(20));
    let handler = service_fn(move |request| service.clone().answer(request, peer));
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), handler));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[derive(Clone)]
struct Service {
    /// None: there is nothing to watch here.
    app: Option<App>,
    router: Router,
    is_tls: bool,
    /// Of the connection, if it is one that files can be sent on.
    places: Option<Places>,
}

impl Service {
    async fn answer(
        self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Infallible> {
        if let Some(app) = &self.app {
            if request.uri().path().starts_with(live::PREFIX) {
                return Ok(live::respond(app, &request, peer, self.places.as_ref()).await);
            }
            if request.uri().path().starts_with(vod::PREFIX) {
                return Ok(vod::respond(app, &request, self.places.as_ref()).await);
            }
        }
        request.extensions_mut().insert(peer);
        if self.is_tls {
            request.extensions_mut().insert(OverTls);
        }
        self.router.oneshot(request).await
    }
}
