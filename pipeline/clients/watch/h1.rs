//! HTTP/1.1 on keep-alive connections, lean enough for a thousand viewers on
//! the machine that serves them.
//!
//! Enters: requests' bytes. Leaves: whole [`Answer`]s. Held: idle connections.
//! A request is written and its answer read by the task that asks; dropping
//! that future closes its connection. Never done here: redirects, decoding of
//! content, time limits.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http::{BODY_BYTES_MAX, FetchError};
use crate::net::Stream;

/// Bytes of a response's head that are taken, and of a chunk's.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
const READ_BYTES: usize = 8 << 10;

/// A response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// When its head was there.
    pub(super) headers_at: Instant,
}

/// Connections of one viewer.
pub(super) struct Pool {
    tls: Arc<ClientConfig>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, idle: Mutex::default() }
    }

    /// Sends a GET with these header lines (each ends with CRLF) and reads the answer.
    pub(super) async fn get(&self, uri: &Uri, lines: &str) -> Result<Answer, FetchError> {
        let unusable = || FetchError::Url(uri.to_string());
        let host = uri.authority().ok_or_else(unusable)?.as_str();
        let origin = Origin { host: host.to_owned(), secure: uri.scheme_str() == Some("https") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n");
        loop {
            let idle = {
                let mut idle = self.idle.lock();
                let at = idle.iter().rposition(|connection| connection.origin == origin);
                at.map(|at| idle.swap_remove(at))
            };
            let reused = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => Connection::open(origin.clone(), uri, &self.tls).await?,
            };
            match connection.exchange(request.as_bytes()).await {
                Ok((answer, reusable)) => {
                    if reusable {
                        self.idle.lock().push(connection);
                    }
                    return Ok(answer);
                }
                // The server closed it while it was idle: another one will do.
                Err(Failure::Unanswered(_)) if reused => {}
                Err(Failure::Unanswered(error)) => {
                    return Err(FetchError::Connection(error.to_string()));
                }
                Err(Failure::Fetch(error)) => return Err(error),
            }
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Origin {
    host: String,
    secure: bool,
}

struct Connection {
    origin: Origin,
    stream: Stream,
    buffer: BytesMut,
}

enum Failure {
    /// Before the first byte of an answer.
    Unanswered(std::io::Error),
    Fetch(FetchError),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Fetch(FetchError::Connection(error.to_string()))
    }
}

fn malformed(what: &'static str) -> Failure {
    Failure::Fetch(FetchError::Body(what))
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    /// HTTP/1.0, or asked to close.
    closes: bool,
}

impl Connection {
    async fn open(origin: Origin, uri: &Uri, tls: &Arc<ClientConfig>) -> Result<Self, FetchError> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if origin.secure { 443 } else { 80 });
        let stream = Stream::connect(host, port, origin.secure.then_some(tls))
            .await
            .map_err(|error| FetchError::Connection(error.to_string()))?;
        Ok(Self { origin, stream, buffer: BytesMut::new() })
    }

    /// The answer, and whether another request may follow.
    async fn exchange(&mut self, request: &[u8]) -> Result<(Answer, bool), Failure> {
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        sent.await.map_err(Failure::Unanswered)?;
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => return Err(Failure::Unanswered(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(Failure::Unanswered(error)),
        }
        let head = loop {
            match parse(&mut self.buffer)? {
                // Interim answers say nothing that matters here.
                Some(head) if head.status.is_informational() => {}
                Some(head) => break head,
                None if self.buffer.len() > HEAD_BYTES_MAX => {
                    return Err(malformed("a head longer than 64 KiB"));
                }
                None => self.fill(READ_BYTES).await?,
            }
        };
        let headers_at = Instant::now();
        let (body, ended) = self.body(&head).await?;
        let Head { status, headers, closes } = head;
        Ok((Answer { status, headers, body, headers_at }, !closes && ended))
    }

    /// Reads more; the end of the stream is an error.
    async fn fill(&mut self, at_least: usize) -> Result<(), Failure> {
        self.buffer.reserve(at_least.max(READ_BYTES));
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// The body (RFC 9112 §6.3), and whether it says itself where it ends.
    async fn body(&mut self, head: &Head) -> Result<(Bytes, bool), Failure> {
        if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok((Bytes::new(), true));
        }
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(coding) = text(header::TRANSFER_ENCODING) {
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(malformed("an unknown transfer coding"));
            }
            return Ok((self.chunked().await?, true));
        }
        let Some(length) = text(header::CONTENT_LENGTH) else {
            return Ok((self.until_closed().await?, false));
        };
        let length: usize = length.parse().map_err(|_| malformed("a malformed content-length"))?;
        if length > BODY_BYTES_MAX {
            return Err(malformed("longer than 128 MiB"));
        }
        while self.buffer.len() < length {
            self.fill(length - self.buffer.len()).await?;
        }
        Ok((self.buffer.split_to(length).freeze(), true))
    }

    async fn until_closed(&mut self) -> Result<Bytes, Failure> {
        loop {
            if self.buffer.len() > BODY_BYTES_MAX {
                return Err(malformed("longer than 128 MiB"));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(self.buffer.split().freeze());
            }
        }
    }

    async fn chunked(&mut self) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        loop {
            let (line, length) = loop {
                match httparse::parse_chunk_size(&self.buffer) {
                    Ok(httparse::Status::Complete(found)) => break found,
                    Ok(httparse::Status::Partial) if self.buffer.len() < HEAD_BYTES_MAX => {
                        self.fill(READ_BYTES).await?;
                    }
                    _ => return Err(malformed("a malformed chunk")),
                }
            };
            self.buffer.advance(line);
            let length = length as usize;
            if length == 0 {
                self.trailers().await?;
                return Ok(body.freeze());
            }
            if length > BODY_BYTES_MAX - body.len() {
                return Err(malformed("longer than 128 MiB"));
            }
            while self.buffer.len() < length + 2 {
                self.fill(length + 2 - self.buffer.len()).await?;
            }
            body.extend_from_slice(&self.buffer[..length]);
            if &self.buffer[length..length + 2] != b"\r\n" {
                return Err(malformed("a chunk without an end"));
            }
            self.buffer.advance(length + 2);
        }
    }

    async fn trailers(&mut self) -> Result<(), Failure> {
        loop {
            let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
            match httparse::parse_headers(&self.buffer, &mut lines) {
                Ok(httparse::Status::Complete((length, _))) => {
                    self.buffer.advance(length);
                    return Ok(());
                }
                Ok(httparse::Status::Partial) if self.buffer.len() < HEAD_BYTES_MAX => {}
                _ => return Err(malformed("malformed trailers")),
            }
            self.fill(READ_BYTES).await?;
        }
    }
}

/// Takes a response's head off the buffer. None: it isn't whole.
fn parse(buffer: &mut BytesMut) -> Result<Option<Head>, Failure> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let length = match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(malformed("not an HTTP/1 head")),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| malformed("an impossible status"))?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
            return Err(malformed("a malformed header"));
        };
        headers.append(name, value);
    }
    let asked = headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
    let closes = response.version != Some(1)
        || asked.is_some_and(|asked| {
            asked.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"))
        });
    buffer.advance(length);
    Ok(Some(Head { status, headers, closes }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::Trust;

    /// Answers each request on a connection with the next of `answers`, in
    /// small pieces, then closes it.
    async fn server(connections: Vec<Vec<&'static str>>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                for answer in answers {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    for piece in answer.as_bytes().chunks(7) {
                        stream.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        format!("http://{address}/a?b=c").parse().unwrap()
    }

    fn pool() -> Pool {
        Pool::new(Trust::Any.client_config(&[]).unwrap())
    }

    #[tokio::test]
    async fn bodies_end_as_the_head_says() {
        let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nt: 1\r\n\r\n";
        let interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                       HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello";
        let none = "HTTP/1.1 204 No Content\r\n\r\n";
        let closed = "HTTP/1.1 200 OK\r\n\r\nhello";
        let uri = server(vec![vec![length, chunked, interim, none, closed], vec![length]]).await;
        let pool = pool();
        for (status, body) in
            [(200, "hello"), (200, "hello"), (404, "hello"), (204, ""), (200, "hello")]
        {
            let answer = pool.get(&uri, "x-y: z\r\n").await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()));
        }
        // The connection that ended isn't used again.
        assert_eq!(pool.get(&uri, "").await.unwrap().body, "hello");
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_is_replaced() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let uri = server(vec![vec![answer], vec![answer]]).await;
        let pool = pool();
        assert_eq!(pool.get(&uri, "").await.unwrap().body, "ok");
        assert_eq!(pool.get(&uri, "").await.unwrap().body, "ok");
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        for nonsense in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        ] {
            let uri = server(vec![vec![nonsense]]).await;
            assert!(pool().get(&uri, "").await.is_err(), "{nonsense}");
        }
    }
}
