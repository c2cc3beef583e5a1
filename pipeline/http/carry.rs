//! From a connection that hyper gave up to a socket that the flush loops take.
//!
//! ```text
//! in the clear:  the connection's socket itself ──────────────────────► flush loop
//! over TLS:      socket ◄─► TLS ◄─► up, down ◄─► a pair of sockets ◄──► flush loop
//! ```
//!
//! - **Enters**: an upgraded connection. **Leaves**: its socket, and what was read of it
//!   already.
//! - **Held**: for TLS, a task that carries bytes between the two, a piece in each direction.
//! - **Ends**: when either side does; of a viewer that the loop let go of and that doesn't
//!   read, [`LINGER`] later.
//! - **Never here**: a protocol.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use chat::Flushers;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::outlet::Outlet;

/// How long a viewer may take for what waits here once its loop let go of it.
const LINGER: Duration = Duration::from_secs(5);

/// What is carried at once, in each direction.
const PIECE_BYTES: usize = 8 << 10;

/// The socket of a connection in the clear itself; for any other one the end of a pair,
/// to whose other end bytes are carried. None: the connection broke, or the process has no
/// file left for it.
pub fn socket(upgraded: Upgraded, flushers: &Flushers) -> Option<(OwnedFd, Bytes)> {
    let upgraded = match downcast::<TokioIo<Outlet>>(upgraded) {
        Ok(parts) => return Some((parts.io.into_inner().into_socket().ok()?, parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    match downcast::<TokioIo<TlsStream<TcpStream>>>(upgraded) {
        Ok(parts) => {
            let outer = parts.io.into_inner();
            flushers.set_up(outer.get_ref().0);
            Some((carried(outer)?, parts.read_buf))
        }
        Err(upgraded) => Some((carried(TokioIo::new(upgraded))?, Bytes::new())),
    }
}

fn carried(outer: impl AsyncRead + AsyncWrite + Send + 'static) -> Option<OwnedFd> {
    let (ours, theirs) = UnixStream::pair().ok()?;
    tokio::spawn(async move {
        let (viewer_says, viewer_hears) = tokio::io::split(outer);
        // Whoever reads nothing holds up `down`, which then doesn't see that its loop is gone:
        // connection, task and what waits would be here for as long as the viewer likes.
        let let_go = async {
            let _closed = ours.ready(Interest::PRIORITY).await;
            tokio::time::sleep(LINGER).await;
        };
        let carry = async { tokio::try_join!(up(viewer_says, &ours), down(&ours, viewer_hears)) };
        tokio::select! {
            _ended = carry => {}
            () = let_go => {}
        }
    });
    Some(theirs.into_std().ok()?.into())
}

/// What the viewer says, to its loop.
async fn up(mut viewer: impl AsyncRead + Unpin, ours: &UnixStream) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = viewer.read(&mut piece).await?;
        if read == 0 {
            return Ok(rustix::net::shutdown(ours, Shutdown::Write)?);
        }
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            ours.writable().await?;
            match ours.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the loop says, to the viewer.
async fn down(ours: &UnixStream, mut viewer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        ours.readable().await?;
        match ours.try_read(&mut piece) {
            Ok(0) => return viewer.shutdown().await,
            Ok(read) => {
                viewer.write_all(&piece[..read]).await?;
                viewer.flush().await?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
