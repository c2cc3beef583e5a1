//! From a request for a WebSocket to a viewer whom the flush loops take.
//!
//! ```text
//! request ─► websocket ─┬─► 101, to be answered
//!                       └─► Coming ─► (hyper gives the connection up) ─► Joining
//! ```
//!
//! Enters: a request. Leaves: its answer; the connection's socket, and what was read of it
//! already. Held: for TLS, a task that carries bytes between the two. Never here: who may
//! come, and what is said.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chat::ws::{self, Refusal};
use chat::{Flushers, Joining, Room, Start, UserTag};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;

use super::Problem;
use super::base::OverTls;
use super::outlet::Outlet;

/// Somebody whose connection is a WebSocket once the answer is sent.
pub struct Coming {
    upgrade: OnUpgrade,
    is_tls: bool,
}

/// The answer that makes a request's connection a WebSocket, and whoever comes by it then.
pub fn websocket(request: &mut Request) -> Result<(Response, Coming), Problem> {
    let accept = ws::accept(request.method(), request.headers()).map_err(refused)?;
    let accept = HeaderValue::from_str(&accept)
        .map_err(|_| Problem::bad_request("Sec-WebSocket-Key can't be answered"))?;
    let is_tls = request.extensions().get::<OverTls>().is_some();
    let coming = Coming { upgrade: hyper::upgrade::on(request), is_tls };
    let fixed = HeaderValue::from_static;
    let mut answer = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::CONNECTION, fixed("Upgrade"));
    headers.insert(header::UPGRADE, fixed("websocket"));
    Ok((answer, coming))
}

fn refused(refusal: Refusal) -> Problem {
    let status = match refusal {
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::NotAnUpgrade | Refusal::Version => StatusCode::UPGRADE_REQUIRED,
        Refusal::Key | Refusal::Host => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, refusal.to_string())
}

impl Coming {
    /// Waits for the connection. None: it broke, or the process has no file left for it.
    pub async fn joining(self, room: Arc<Room>, user: UserTag, start: Start) -> Option<Joining> {
        let upgraded = self.upgrade.await.ok()?;
        let (socket, already_read) = socket(upgraded, self.is_tls)?;
        Some(Joining { socket, already_read, room, user, start })
    }

    /// Brings it to a room once it is there. If it never is, or the loops have no room for
    /// it, `missed` is called.
    pub fn bring(
        self,
        flushers: Arc<Flushers>,
        seat: (Arc<Room>, UserTag, Start),
        missed: impl FnOnce() + Send + 'static,
    ) {
        tokio::spawn(async move {
            let (room, user, start) = seat;
            let joining = self.joining(room, user, start).await;
            if joining.is_none_or(|joining| flushers.join(joining).is_err()) {
                missed();
            }
        });
    }
}

/// The socket of a connection in the clear itself; for one over TLS, the end of a pair
/// whose other end carries what is decrypted.
fn socket(upgraded: Upgraded, is_tls: bool) -> Option<(OwnedFd, Bytes)> {
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
