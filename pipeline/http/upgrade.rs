//! From a request for a WebSocket to a viewer whom the flush loops take.
//!
//! ```text
//! request ─► websocket ─┬─► 101, to be answered
//!                       └─► Coming ─► (hyper gives the connection up) ─► flush loop
//! ```
//!
//! Enters: a request. Leaves: its answer; a viewer, to the loops. Held: a task for each who
//! hasn't switched yet. Never here: who may come, and what is said.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use chat::ws::{self, Refusal};
use chat::{Flushers, Joining, Room, Start, UserTag};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;

use super::Problem;
use super::carry::socket;

/// Somebody whose connection is a WebSocket once the answer is sent.
pub struct Coming {
    upgrade: OnUpgrade,
}

/// The answer that makes a request's connection a WebSocket, and whoever comes by it then.
pub fn websocket(request: &mut Request) -> Result<(Response, Coming), Problem> {
    let accept = ws::accept(request.method(), request.headers()).map_err(refused)?;
    let accept = HeaderValue::from_str(&accept)
        .map_err(|_| Problem::bad_request("Sec-WebSocket-Key can't be answered"))?;
    let coming = Coming { upgrade: hyper::upgrade::on(request) };
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
            let came = self.upgrade.await.ok().and_then(|upgraded| socket(upgraded, &flushers));
            let joining = came.map(|(socket, already_read)| Joining {
                socket,
                already_read,
                room,
                user,
                start,
            });
            if joining.is_none_or(|joining| flushers.join(joining).is_err()) {
                missed();
            }
        });
    }
}
