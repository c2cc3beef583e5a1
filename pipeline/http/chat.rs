//! `/api/streams/{id}/chat` and what is below it: sockets, requests, polling, history.
//!
//! Enters: requests. Leaves: sockets to the flush loops, words to the desk, texts of the
//! room. Held: a task for each request that waits. Never here: what may be said.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chat::{Position, Start, UserTag};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use moderate::{Receipt, Refusal};
use records::{Act, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::auth::{self, Asker as Caller};
use super::body::{Body, read};
use super::player::player;
use super::upgrade::websocket;
use super::{App, Problem};
use crate::chat::{Answer, Asker, Guest, Lane, OPERATOR, PATIENCE, RoomError};

/// The longest a poll waits.
const POLL_MAX: Duration = Duration::from_secs(30);

/// Messages of one page of history.
const PAGE_MAX: usize = 200;

/// Bytes of texts in one answer to a poll.
const POLL_BYTES: usize = 256 << 10;

/// What somebody who comes back has.
#[derive(Deserialize)]
pub struct Since {
    epoch: Option<String>,
    seq: Option<u64>,
    viewer: Option<Uuid>,
    /// Whether it is a gateway, which begins with the oldest text that is held.
    #[serde(default)]
    gateway: bool,
}

impl Since {
    /// What the viewer calls itself; it says nothing of who it is.
    pub fn viewer(&self) -> Option<UserTag> {
        self.viewer.map(|viewer| UserTag(viewer.as_u128()))
    }

    /// Whether it calls itself a gateway.
    pub fn is_gateway(&self) -> bool {
        self.gateway
    }

    /// Where it goes on.
    pub fn start(&self) -> Start {
        match start(self.epoch.as_deref(), self.seq) {
            Start::Live if self.gateway => Start::Oldest,
            start => start,
        }
    }
}

/// A tag that nobody else has.
pub fn new_tag() -> UserTag {
    UserTag(Uuid::now_v7().as_u128())
}

/// As many are there as may be: the page then polls.
pub fn full() -> Problem {
    let detail = "there are as many chat connections as this server takes; poll instead";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).code("full").retry_after(30)
}

/// `GET …/chat/subscribe`.
pub async fn subscribe(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    Query(since): Query<Since>,
    Extension(peer): Extension<SocketAddr>,
    mut request: axum::extract::Request,
) -> Result<Response, Problem> {
    let lane = lane(&app, stream).await?;
    let guest = match auth::asker(&app, request.headers()).await? {
        Some(Caller::Operator) if since.gateway => Some(Guest::Gateway),
        _ if since.gateway => {
            return Err(Problem::new(StatusCode::FORBIDDEN, "a gateway shows the admin token"));
        }
        Some(Caller::User(session)) => Some(Guest::User(Arc::new(session))),
        Some(Caller::Operator) | None => None,
    };
    let (answer, coming) = websocket(&mut request)?;
    let places = &app.chat.sockets.places;
    match guest {
        Some(Guest::Gateway) => places.take_anyway(),
        _ if !places.take() => return Err(full()),
        _ => {}
    }
    // A tag that the client chose says nothing of who it is: guests wait under ours.
    let tag = match since.viewer().filter(|_| guest.is_none()) {
        Some(tag) => {
            lane.watches(tag, player(peer, request.headers()));
            tag
        }
        None => new_tag(),
    };
    if let Some(guest) = guest {
        app.chat.sockets.expect(tag, guest);
    }
    let flushers = Arc::clone(&app.chat.flushers);
    coming.bring(flushers, (Arc::clone(&lane.room), tag, since.start()), move || {
        app.chat.sockets.unexpect(tag);
        // Whoever doesn't come to the end of it gives its place to another.
        app.chat.sockets.places.give_back();
    });
    Ok(answer)
}

/// `GET …/chat/you`: who the caller is in the room; what a socket is told after its hello.
pub async fn you(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    caller: Caller,
) -> Result<Response, Problem> {
    let session = caller.session()?;
    let lane = lane(&app, stream).await?;
    let you = app.chat.people.you(&lane, session).json();
    Ok(([(header::CONTENT_TYPE, "application/json")], you).into_response())
}

/// `POST …/chat`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    message: String,
    client_id: Option<String>,
}

/// `POST …/chat`: 201 once it is durable.
pub async fn say(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    caller: Caller,
    say: Body<Say>,
) -> Result<Response, Problem> {
    let session = caller.session()?;
    let say = read(say)?;
    let lane = lane(&app, stream).await?;
    let (asked, body) = app.chat.people.said(&lane, session, say.message, say.client_id);
    let (answer, answered) = oneshot::channel();
    app.chat.desk.put(&lane, asked, body, Asker::Call(answer));
    let Receipt { message_id, seq, sent_at_us } = receipt(answered).await?;
    let told = json!({ "message_id": message_id, "seq": seq, "sent_at_us": sent_at_us });
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

/// `POST …/chat/acts`: what a moderator does.
pub async fn act(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    caller: Caller,
    act: Body<Act>,
) -> Result<Response, Problem> {
    let by = match &caller {
        Caller::Operator => OPERATOR,
        Caller::User(session) => session.user_id,
    };
    let act = read(act)?;
    let lane = lane(&app, stream).await?;
    let (asked, body) = app.chat.people.ordered(&lane, by, act);
    let (answer, answered) = oneshot::channel();
    app.chat.desk.put(&lane, asked, body, Asker::Call(answer));
    let Receipt { seq, sent_at_us, .. } = receipt(answered).await?;
    Ok((StatusCode::CREATED, Json(json!({ "seq": seq, "sent_at_us": sent_at_us }))).into_response())
}

async fn receipt(answered: oneshot::Receiver<Answer>) -> Result<Receipt, Problem> {
    let busy = || {
        let detail = "chat can't keep up now; try again shortly, with the same client_id";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).code("busy").retry_after(2)
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(Answer::Accepted(receipt))) => Ok(receipt),
        Ok(Ok(Answer::Refused(refusal))) => Err(refused(&refusal)),
        Ok(Ok(Answer::Busy) | Err(_)) | Err(_) => Err(busy()),
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, refusal.to_string()).code(refusal.code());
    match refusal.retry_after_s() {
        Some(seconds) => problem.retry_after(seconds),
        None => problem,
    }
}

/// `GET …/chat`.
#[derive(Deserialize)]
pub struct Before {
    before: Option<u64>,
    limit: Option<usize>,
}

/// `GET …/chat`: messages, the newest first, from memory or from the lake.
pub async fn history(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    Query(Before { before, limit }): Query<Before>,
) -> Result<Json<Value>, Problem> {
    let limit = limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let lane = match lane(&app, stream).await {
        Ok(lane) => Some(lane),
        // It can be read, and no more written to.
        Err(problem) if problem.status() == StatusCode::GONE => None,
        Err(problem) => return Err(problem),
    };
    // One more tells whether there are more.
    let held = lane.as_ref().and_then(|lane| lane.held_before(before, limit + 1));
    let mut messages = match held {
        Some(held) => held,
        None => super::replay::before(&app, stream, before, limit + 1).await?,
    };
    let more = messages.len() > limit;
    messages.truncate(limit);
    let epoch = lane.as_ref().map(|lane| lane.room.epoch().to_string());
    Ok(Json(json!({
        "epoch": epoch.unwrap_or_default(),
        "messages": messages,
        "more": more,
        "over": lane.is_none(),
    })))
}

/// `GET …/chat/poll`.
#[derive(Deserialize)]
pub struct Poll {
    epoch: Option<String>,
    after: Option<u64>,
    wait_s: Option<u64>,
    viewer: Option<Uuid>,
}

/// `GET …/chat/poll`: what came after, or a wait for it.
pub async fn poll(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    Query(poll): Query<Poll>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let lane = lane(&app, stream).await?;
    if let Some(viewer) = poll.viewer {
        lane.watches(UserTag(viewer.as_u128()), player(peer, &headers));
    }
    let start = start(poll.epoch.as_deref(), poll.after);
    let wait = Duration::from_secs(poll.wait_s.unwrap_or(25)).min(POLL_MAX);
    let until = Instant::now() + wait;
    let mut position = lane.room.seek(start);
    let mut news = lane.room.watch();
    let mut records = Vec::new();
    loop {
        // Who names nothing only asks where the room is.
        let Ok(page) = lane.room.page(position.offset, POLL_BYTES) else {
            position = Position { recovered: false, ..lane.room.seek(Start::Live) };
            break;
        };
        position.offset = page.next;
        position.seq = position.seq.max(page.seq);
        let texts = page.frames.iter().filter(|frame| frame.seq.is_some());
        records.extend(texts.filter_map(|f| serde_json::from_slice::<Value>(&f.payload).ok()));
        let is_asked_only = matches!(start, Start::Live) || !position.recovered;
        if !records.is_empty() || is_asked_only {
            break;
        }
        if !page.frames.is_empty() {
            continue;
        }
        if !matches!(timeout_at(until, news.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    let viewers = lane.viewers();
    Ok(Json(lane.notes(|notes| {
        json!({
            "epoch": position.epoch.to_string(),
            "seq": position.seq,
            "recovered": position.recovered,
            "mode": notes.mode,
            "pinned": notes.pinned.as_ref().map(crate::chat::Message::from),
            "viewers": viewers,
            "records": records,
        })
    })))
}

/// `GET …/chat/events`: server-sent events.
pub async fn events(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let lane = lane(&app, stream).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let start = match last.and_then(|id| id.split_once('-')) {
        Some((epoch, seq)) => self::start(Some(epoch), seq.parse().ok()),
        None => Start::Live,
    };
    let events = Sse::new(told(lane, start)).keep_alive(KeepAlive::default());
    let mut response = events.into_response();
    // Proxies that gather answers would gather this one for ever.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The room's texts for as long as somebody reads them.
fn told(
    lane: Arc<Lane>,
    start: Start,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let position = lane.room.seek(start);
    let news = lane.room.watch();
    let greeting = json!({ "epoch": position.epoch.to_string(), "seq": position.seq, "recovered": position.recovered });
    let first = Event::default().event("welcome").data(greeting.to_string());
    let state = (lane, news, position.offset, VecDeque::from([first]));
    futures_util::stream::unfold(state, |(lane, mut news, mut at, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((Ok(event), (lane, news, at, ready)));
            }
            // Fell off the ring: the browser comes back with the last one's id, and is told.
            let page = lane.room.page(at, POLL_BYTES).ok()?;
            at = page.next;
            let epoch = lane.room.epoch();
            for frame in page.frames {
                let text = String::from_utf8_lossy(&frame.payload).into_owned();
                let event = Event::default().data(text);
                ready.push_back(match frame.seq {
                    Some(seq) => event.id(format!("{epoch}-{seq}")),
                    None => event,
                });
            }
            if ready.is_empty() {
                news.changed().await.ok()?;
            }
        }
    })
}

/// `GET …/viewers`.
pub async fn viewers(
    State(app): State<App>,
    Path(stream): Path<StreamId>,
) -> Result<Json<Value>, Problem> {
    let lane = lane(&app, stream).await?;
    Ok(Json(json!({ "viewers": lane.viewers() })))
}

/// `GET /api/chat/emotes`.
pub async fn emotes(State(app): State<App>) -> Json<Value> {
    Json(json!({ "emotes": app.chat.emotes.list() }))
}

/// `GET /emotes/{id}`: a picture.
pub async fn picture(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let picture = app.chat.emotes.picture(&id);
    let picture =
        picture.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such emote"))?;
    let kept = [(header::CONTENT_TYPE, picture.media), (header::CACHE_CONTROL, "max-age=3600")];
    Ok((kept, picture.bytes.clone()).into_response())
}

/// `GET /api/chat/echo`: sends back what it is told, where it is switched on.
pub async fn echo(
    State(app): State<App>,
    mut request: axum::extract::Request,
) -> Result<Response, Problem> {
    let echo = app.chat.echo.clone();
    let echo = echo.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "nothing is here"))?;
    let (answer, coming) = websocket(&mut request)?;
    // Nobody is anybody here.
    coming.bring(echo.flushers(), (echo.room(), UserTag(0), Start::Live), || {});
    Ok(answer)
}

async fn lane(app: &App, stream: StreamId) -> Result<Arc<Lane>, Problem> {
    if !app.chat.enabled {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this server has no chat").code("off"));
    }
    app.chat.desk.lane(stream).await.map_err(|error| match error {
        RoomError::Unknown => Problem::unknown_stream(),
        RoomError::Over => Problem::new(StatusCode::GONE, error.to_string()).code("over"),
        RoomError::Past(cause) => Problem::unavailable("reading the chat", &cause),
    })
}

fn start(epoch: Option<&str>, seq: Option<u64>) -> Start {
    match (epoch.and_then(|epoch| epoch.parse().ok()), seq) {
        (Some(epoch), Some(seq)) => Start::After { epoch, seq },
        _ => Start::Live,
    }
}
