//! SQL by Arrow Flight SQL, for ADBC and the JDBC and ODBC drivers of Arrow's:
//! answers are Arrow from the engine to the client.
//!
//! ```text
//! listener ─► (TLS) ─► HTTP/2 ─► gate ─► service ─► Session ─► batches
//!                              (token)     └─► catalogs, schemas, tables: answered here
//! ```
//!
//! Enters: gRPC calls. Leaves: batches, as they come. Held: nothing between
//! calls, since a ticket is its question and a prepared statement's handle is
//! its text and values. A call that is cancelled frees everything at once. It
//! runs on the session's own threads. Never here: deciding what a query may do,
//! which is the session's guard.

mod gate;
mod listing;
mod service;
mod statement;
mod status;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::service::interceptor::InterceptedService;

use self::gate::Gate;
use self::service::Service;
use crate::Session;
use crate::doors::{self, Entrance, TlsConfig};
use crate::limits::TEXT_BYTES_MAX;

/// How long a client may take over its TLS handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Silence after which the client is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Calls of one connection at once.
const CALLS_MAX: u32 = 32;

/// Longest headers of a call, in bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Longest message of a client's: the longest query with its parameters, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * TEXT_BYTES_MAX;

type Served = InterceptedService<FlightServiceServer<Service>, Gate>;

/// What all connections share.
pub struct Flight {
    session: Session,
    served: Served,
    tls: Option<TlsConfig>,
}

impl Flight {
    /// Answers from `session` whom the entrance admits.
    #[must_use]
    pub fn new(session: Session, entrance: Entrance) -> Self {
        let Entrance { admits, base_url, tls } = entrance;
        let service = FlightServiceServer::new(Service::new(session.clone(), base_url))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { session, served: InterceptedService::new(service, Gate::new(admits)), tls }
    }

    /// Accepts connections until `stopped`, then closes them all.
    pub async fn serve(self, listener: TcpListener, stopped: impl Future<Output = ()>) {
        let connect = |stream: std::net::TcpStream, _, is_beyond: bool| {
            let (served, tls) = (self.served.clone(), self.tls.clone());
            async move {
                // HTTP/2 has no way to say why before it has begun.
                if is_beyond { Ok(()) } else { connection(stream, served, tls).await }
            }
        };
        doors::serve("Flight SQL", &self.session, listener, stopped, connect).await;
    }
}

async fn connection(
    stream: std::net::TcpStream,
    served: Served,
    tls: Option<TlsConfig>,
) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    match tls {
        None => speak(stream, served).await,
        Some(tls) => {
            let accept = TlsAcceptor::from(Arc::clone(&tls.borrow())).accept(stream);
            speak(timeout(HANDSHAKE_TIME_MAX, accept).await??, served).await
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    served: Served,
) -> io::Result<()> {
    Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(served))
        .await
        .map_err(io::Error::other)
}
