//! The routes of a gateway: a chat's socket, and what operators ask.
//!
//! Enters: requests. Leaves: sockets to the flush loops. Held: nothing. Never here: what
//! only the origin can answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use records::StreamId;

use super::chat::{Since, full, new_tag};
use super::upgrade::websocket;
use super::{Problem, auth};
use crate::gateway::{OriginError, Shared};
use crate::metrics::Exposition;

type Gateway = State<Arc<Shared>>;

/// All routes.
pub fn gateway(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/streams/{id}/chat/subscribe", get(subscribe))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(elsewhere)
        .layer(middleware::from_fn(super::headers))
        .with_state(shared)
}

async fn subscribe(
    State(gateway): Gateway,
    Path(stream): Path<StreamId>,
    Query(since): Query<Since>,
    mut request: Request,
) -> Result<Response, Problem> {
    if since.is_gateway() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "a gateway stands before a server"));
    }
    let token = auth::token(request.headers())?.map(str::to_owned);
    let (answer, coming) = websocket(&mut request)?;
    let hall = gateway.hall(stream).await.map_err(problem)?;
    hall.reach(since.start()).await;
    if !gateway.places().take() {
        return Err(full());
    }
    // Who shows a token waits under a tag of ours: clients choose theirs as they like.
    let user = since.viewer().filter(|_| token.is_none()).unwrap_or_else(new_tag);
    if let Some(token) = token {
        gateway.expect(user, token);
    }
    let flushers = Arc::clone(&gateway.flushers);
    coming.bring(flushers, (Arc::clone(&hall.room), user, since.start()), move || {
        gateway.unexpect(user);
        gateway.places().give_back();
    });
    Ok(answer)
}

fn problem(error: OriginError) -> Problem {
    match error {
        OriginError::Status(StatusCode::NOT_FOUND) => Problem::unknown_stream(),
        OriginError::Status(StatusCode::GONE) => {
            Problem::new(StatusCode::GONE, "the broadcast is over, and so is its chat").code("over")
        }
        error => Problem::unavailable("reaching the origin of this gateway", &error),
    }
}

async fn ready(State(gateway): Gateway) -> Result<&'static str, Problem> {
    gateway.ready().await.map_err(problem)?;
    Ok("ready\n")
}

async fn metrics(State(gateway): Gateway) -> Response {
    let mut text = Exposition::default();
    let (rooms, linked) = gateway.rooms();
    text.family("millstream_chat_rooms", "gauge", "Rooms that are open here.").sample(&[], rooms);
    text.family("millstream_gateway_links", "gauge", "Rooms that hear the origin now.")
        .sample(&[], linked);
    super::metrics::sockets(&mut text, gateway.places().taken(), &gateway.totals());
    super::metrics::process(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.finish()).into_response()
}

async fn elsewhere() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "a gateway has a chat's sockets alone; ask its origin")
}
