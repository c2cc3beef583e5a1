//! HTTP: one file per resource, each a thin layer over what it shows.
//!
//! Enters: requests. Leaves: responses; errors as problem documents (RFC
//! 9457). Held: nothing but connections. Never done here: deciding anything.

mod auth;
mod base;
mod body;
mod carry;
mod channels;
mod chat;
mod cluster;
mod cold;
mod download;
mod gateway;
mod live;
mod metrics;
mod outlet;
mod pages;
mod player;
mod problem;
mod replay;
mod server;
mod sessions;
mod sql;
mod streams;
mod upgrade;
mod users;
mod videos;
mod views;
mod vod;

use std::ops::Deref;
use std::sync::Arc;

use accounts::Accounts;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use http::{HeaderValue, Method, StatusCode, header};
use operators::transcode::Pool;
use runtime::Engine;
use sinks::archive::Archive;
use sinks::hls::Origin;
use sinks::hls::vod::Library;
use sources::rtmp::RtmpMeters;

pub use gateway::gateway;
pub use problem::Problem;
pub use server::serve;
pub use sql::ARROW;
pub use views::Rate;

use crate::chat::Chat;
use crate::config::Secret;
use crate::dataflow::MediaPlane;
use crate::events::EventCounts;
use crate::faults::{LakeFaults, StepFaults};
use crate::feed::Feed;
use crate::health::HealthBoard;
use crate::registry::Registry;
use crate::thumbnails::Thumbnails;
use crate::urls::Urls;
use crate::videos::{Recorder, Tiers, Videos};

/// What the handlers share.
pub struct Shared {
    /// Streams and their publishers.
    pub registry: Arc<Registry>,
    /// Where changes become durable.
    pub log: Arc<dyn log::Log>,
    /// Who there is.
    pub accounts: Accounts,
    /// The viewers' window.
    pub origin: Origin,
    /// The data plane.
    pub engine: Arc<Engine>,
    /// Its surroundings.
    pub plane: Arc<MediaPlane>,
    /// Publishers' health.
    pub health: Arc<HealthBoard>,
    /// Pictures of what is on.
    pub thumbnails: Arc<Thumbnails>,
    /// The RTMP source's counters.
    pub rtmp: Arc<RtmpMeters>,
    /// Segment files.
    pub archive: Arc<Archive>,
    /// Which videos there are.
    pub videos: Videos,
    /// Where videos are played from.
    pub library: Library,
    /// Makes and deletes videos.
    pub recorder: Arc<Recorder>,
    /// Moves old recordings, and fetches them.
    pub tiers: Arc<Tiers>,
    /// Questions to the lake.
    pub sql: queries::Session,
    /// The lake's tables, unless they are switched off.
    pub lake: Option<Arc<lake::Lake>>,
    /// What viewers say.
    pub chat: Chat,
    /// Publishers' health on its way to the log.
    pub health_feed: Arc<Feed>,
    /// Viewers' reports on their way to the log.
    pub views: Arc<Feed>,
    /// How many reports may come.
    pub view_rate: Rate,
    /// The ladder's encoders.
    pub encoders: Pool,
    /// What happened to ladders.
    pub transcode_events: Arc<EventCounts>,
    /// How we are reached.
    pub urls: Urls,
    /// Opens what changes things.
    pub admin_token: Secret,
    /// Whether strangers may make accounts.
    pub is_sign_up_open: bool,
    /// Streams of one streamer that never went live.
    pub streams_max: usize,
    /// Whether panics and deaths may be ordered.
    pub faults_enabled: bool,
    /// Deaths within the lake's commits.
    pub lake_faults: Arc<LakeFaults>,
    /// Deaths while old recordings are moved or thinned.
    pub step_faults: Arc<StepFaults>,
}

/// A cheap handle on [`Shared`].
#[derive(Clone)]
pub struct App(Arc<Shared>);

impl App {
    /// Wraps what the handlers share.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Longest request about accounts, in bytes: strangers send them.
const ACCOUNT_BYTES_MAX: usize = 16 << 10;

/// All routes but the live path.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/streams", get(streams::list).post(streams::create))
        .route("/api/streams/{id}", get(streams::show).delete(streams::delete))
        .route("/api/streams/{id}/playback", get(streams::playback))
        .route("/api/streams/{id}/health", get(streams::health))
        .route("/api/streams/{id}/key", post(streams::rotate_key))
        .route("/api/streams/{id}/thumbnail.jpg", get(streams::thumbnail))
        .route("/api/streams/{id}/viewers", get(chat::viewers))
        .route("/api/streams/{id}/chat", get(chat::history).post(chat::say))
        .route("/api/streams/{id}/chat/subscribe", get(chat::subscribe))
        .route("/api/streams/{id}/chat/you", get(chat::you))
        .route("/api/streams/{id}/chat/poll", get(chat::poll))
        .route("/api/streams/{id}/chat/events", get(chat::events))
        .route("/api/streams/{id}/chat/acts", post(chat::act))
        .route("/api/chat/emotes", get(chat::emotes))
        .route("/api/chat/echo", get(chat::echo))
        .route("/emotes/{id}", get(chat::picture))
        .route("/api/videos/{id}/chat", get(replay::chat))
        .route("/api/videos", get(videos::list))
        .route("/api/videos/{id}", get(videos::show).put(videos::change).delete(videos::delete))
        .route("/api/videos/{id}/status", put(videos::set_status))
        .route("/api/videos/{id}/playback", get(videos::playback))
        .route("/api/videos/{id}/clips", post(videos::clip))
        .route("/api/videos/{id}/download", get(download::get))
        .route("/api/videos/{id}/thumbnail.jpg", get(videos::thumbnail))
        .merge(accounts())
        .route("/api/cluster", get(cluster::show))
        .route("/api/cluster/workers", put(cluster::scale))
        .route("/api/cluster/faults", post(cluster::inject))
        .route("/api/cluster/faults/lake", post(cluster::inject_death))
        .route("/api/cluster/faults/tiers", post(cluster::inject_tier_death))
        .route("/api/sql", post(sql::ask))
        .route("/api/views", post(views::report))
        .route("/metrics", get(metrics::show))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(metrics::ready))
        .fallback(pages::serve)
        .layer(middleware::from_fn(headers))
        .with_state(app)
}

/// Who there is, and what they may do.
fn accounts() -> Router<App> {
    Router::new()
        .route("/api/users", get(users::find).post(users::create))
        .route("/api/users/{id}/roles", put(users::set_roles))
        .route("/api/users/{id}/disabled", put(users::set_disabled))
        .route("/api/me", get(users::me))
        .route("/api/me/password", put(sessions::change_password))
        .route("/api/sessions", post(sessions::log_in).delete(sessions::log_out))
        .route("/api/keys", get(sessions::keys))
        .route(
            "/api/channels/{channel}/moderators/{user}",
            put(channels::add).delete(channels::remove),
        )
        .layer(DefaultBodyLimit::max(ACCOUNT_BYTES_MAX))
}

/// CORS for the API's readers on other sites, and no guessing of types.
async fn headers(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, fixed("GET, POST, PUT, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fixed("authorization, content-type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, fixed("86400"));
    }
    response
}
