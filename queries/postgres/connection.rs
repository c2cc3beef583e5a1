//! One connection, from its first byte to the client's hanging up.
//!
//! Enters: bytes. Leaves: pgwire's messages to the conversation, and its answers.
//! Held: what of a message has come so far, within bounds. Ends: when the client
//! hangs up, also in mid-query. Never here: what a message means.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Framed, FramedParts};

use super::Postgres;
use super::conversation::Conversation;
use super::failure::fatal;
use super::prepared::Prepared;

/// TLS, greeting and password together.
const STARTUP_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest message before the password was right, in bytes.
const STARTUP_BYTES_MAX: usize = 16 * 1024;

/// Longest message after that: the longest query with its parameters, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Silence after which the kernel asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long a client has to read why it is sent away.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests for encryption, by GSSAPI and by TLS, in a message of eight bytes.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

type Socket<S> = Framed<S, PgWireMessageServerCodec<Arc<Prepared>>>;

/// Talks with a client until it hangs up; what runs then ends.
pub(super) async fn run(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    server: Arc<Postgres>,
    is_beyond: bool,
) -> io::Result<()> {
    let conversation = Arc::new(Conversation::new(server, is_beyond));
    let line = TcpStream::from_std(stream.try_clone()?)?;
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    tokio::select! {
        hung_up = hung_up(line) => hung_up,
        talked = greet(stream, peer, conversation) => talked,
    }
}

/// Waits for the client to close its side: nobody reads from the connection
/// while a query runs.
async fn hung_up(line: TcpStream) -> io::Result<()> {
    loop {
        if line.ready(Interest::READABLE).await?.is_read_closed() {
            return Ok(());
        }
        // Reads nothing, but says that there was nothing: until more comes.
        let _ = line.try_io(Interest::READABLE, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        });
    }
}

/// Agrees on encryption, then begins in earnest.
async fn greet(
    mut stream: TcpStream,
    peer: SocketAddr,
    conversation: Arc<Conversation>,
) -> io::Result<()> {
    let deadline = Instant::now() + STARTUP_TIME_MAX;
    let tls =
        conversation.server.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
    // Each may be asked for once; the first eight bytes of anything else are a greeting's.
    let mut head = [0; 8];
    for _ in 0..3 {
        timeout_at(deadline, stream.read_exact(&mut head)).await??;
        match (head, &tls) {
            (TLS_REQUEST, Some(tls)) => {
                stream.write_all(b"S").await?;
                let stream = timeout_at(deadline, tls.accept(stream)).await??;
                return converse(stream, peer, true, BytesMut::new(), conversation, deadline).await;
            }
            (TLS_REQUEST | GSS_REQUEST, _) => stream.write_all(b"N").await?,
            _ => break,
        }
    }
    converse(stream, peer, false, BytesMut::from(&head[..]), conversation, deadline).await
}

async fn converse<S>(
    stream: S,
    peer: SocketAddr,
    is_secure: bool,
    read: BytesMut,
    conversation: Arc<Conversation>,
    deadline: Instant,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(peer, is_secure));
    let mut parts = FramedParts::new::<PgWireBackendMessage>(stream, codec);
    parts.read_buf = read;
    let mut socket: Socket<S> = Framed::from_parts(parts);
    socket.set_state(PgWireConnectionState::AwaitingStartup);
    loop {
        let is_starting = !conversation.is_admitted();
        let message = if is_starting {
            timeout_at(deadline, next(&mut socket, STARTUP_BYTES_MAX)).await?
        } else {
            next(&mut socket, MESSAGE_BYTES_MAX).await
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(message)) => message,
            Some(Err(error)) => return farewell(&mut socket, error).await,
        };
        let is_extended = message.is_extended_query();
        let each = || Arc::clone(&conversation);
        let copies = Arc::new(NoopHandler);
        let processed =
            process_message(message, &mut socket, each(), each(), each(), copies, each()).await;
        match processed {
            Ok(()) => {}
            // Whatever it is, nobody goes on without a password.
            Err(error) if !conversation.is_admitted() => return farewell(&mut socket, error).await,
            Err(error) => process_error(&mut socket, error, is_extended).await?,
        }
    }
}

/// The next message. None: the connection is closed.
async fn next<S>(
    socket: &mut Socket<S>,
    bytes_max: usize,
) -> Option<PgWireResult<PgWireFrontendMessage>>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|context| match socket.poll_next_unpin(context) {
        // Not whole yet, and too long already.
        Poll::Pending if socket.read_buffer().len() > bytes_max => {
            Poll::Ready(Some(Err(fatal("54000", "the message is too long"))))
        }
        other => other,
    })
    .await
}

/// Says why, and ends.
async fn farewell<S>(socket: &mut Socket<S>, error: PgWireError) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut why = ErrorInfo::from(error);
    why.severity = "FATAL".into();
    let why = PgWireBackendMessage::ErrorResponse(why.into());
    // A client that doesn't read isn't waited for.
    timeout(FAREWELL, async {
        socket.send(why).await?;
        socket.close().await
    })
    .await?
}
