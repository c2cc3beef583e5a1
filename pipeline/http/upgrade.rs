//! From a connection that hyper gave up to a socket that the flush loops take.
//!
//! Enters: an upgraded connection. Leaves: its socket, and what was read of it already.
//! Held: for TLS, a task that carries bytes between the two. Never here: a protocol.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;

use super::outlet::Outlet;

/// The socket of a connection in the clear itself; for one over TLS, the end of a pair
/// whose other end carries what is decrypted. None: the connection broke, or the process
/// has no file left for it.
pub async fn socket(upgraded: Upgraded, is_tls: bool) -> Option<(OwnedFd, Bytes)> {
    if !is_tls {
        return match downcast::<TokioIo<Outlet>>(upgraded) {
            Ok(parts) => Some((parts.io.into_inner().into_socket().ok()?, parts.read_buf)),
            Err(upgraded) => carried(upgraded),
        };
    }
    carried(upgraded)
}

fn carried(upgraded: Upgraded) -> Option<(OwnedFd, Bytes)> {
    let (ours, theirs) = UnixStream::pair().ok()?;
    tokio::spawn(async move {
        let (mut outer, mut inner) = (TokioIo::new(upgraded), ours);
        // Either side's end is the other's.
        let _ended = copy_bidirectional(&mut outer, &mut inner).await;
    });
    Some((theirs.into_std().ok()?.into(), Bytes::new()))
}
