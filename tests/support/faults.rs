//! A proxy before an HTTP server that breaks what goes through it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is closed, and nothing was done.
    Away,
    /// What it asked for is done, but the connection is closed without an answer.
    LostAnswer,
    /// 500.
    Error,
    /// 503, as S3 answers those who ask too much.
    SlowDown,
    /// It waits first.
    Slow(Duration),
    /// Each of the others in turn, and then nothing.
    Mixed,
}

type Forward = Client<HttpConnector, Full<Bytes>>;

struct Shared {
    port: u16,
    fault: Mutex<Fault>,
    requests: AtomicUsize,
    client: Forward,
}

/// A running proxy; ends when dropped.
pub struct Faults {
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Faults {
    /// Before the server on `port` of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own_port = listener.local_addr().expect("its address").port();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (fault, requests) = (Mutex::new(Fault::None), AtomicUsize::new(0));
        let shared = Arc::new(Shared { port, fault, requests, client });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { port: own_port, shared, task }
    }

    /// What requests meet from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock() = fault;
    }

    /// Requests that came, whatever they met.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    // A connection that ends in an error is what this is for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    /// An error closes the connection.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let fault = *self.fault.lock();
        let fault = match fault {
            Fault::Mixed => [
                Fault::Away,
                Fault::LostAnswer,
                Fault::Error,
                Fault::SlowDown,
                Fault::Slow(Duration::from_millis(300)),
                Fault::None,
            ][number % 6],
            fault => fault,
        };
        let cut = || io::Error::from(io::ErrorKind::ConnectionAborted);
        match fault {
            Fault::Away => return Err(cut()),
            Fault::Error => return Ok(error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Fault::SlowDown => return Ok(error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Fault::Slow(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::LostAnswer | Fault::Mixed => {}
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::try_from(format!("http://127.0.0.1:{}{path}", self.port));
        let mut forward = Request::from_parts(parts, Full::new(body));
        *forward.uri_mut() = uri.map_err(io::Error::other)?;
        let answer = self.client.request(forward).await.map_err(io::Error::other)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if fault == Fault::LostAnswer {
            return Err(cut());
        }
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
