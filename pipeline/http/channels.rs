//! `/api/channels`: who moderates whose chat. A channel is named by its streamer.

use accounts::{AccountError, UserId};
use axum::extract::{Path, State};
use http::StatusCode;

use super::auth::Asker;
use super::users::{id, problem};
use super::{App, Problem};

/// The user moderates the channel from now on.
pub async fn add(
    asker: Asker,
    State(app): State<App>,
    Path((channel, user)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    set(&app, &asker, &channel, &user, true).await
}

/// The user moderates it no longer.
pub async fn remove(
    asker: Asker,
    State(app): State<App>,
    Path((channel, user)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    set(&app, &asker, &channel, &user, false).await
}

async fn set(
    app: &App,
    asker: &Asker,
    channel: &str,
    user: &str,
    moderates: bool,
) -> Result<StatusCode, Problem> {
    let unknown = || problem(AccountError::Unknown);
    let channel = app.accounts.get(id(channel)?).ok_or_else(unknown)?.user_id;
    let user = named(app, user).ok_or_else(unknown)?;
    let changed = app.accounts.set_moderator(asker.caller(), channel, user, moderates).await;
    changed.map_err(problem)?;
    tracing::info!(%channel, %user, moderates, "a channel's moderators changed");
    Ok(StatusCode::NO_CONTENT)
}

/// By identifier or by name. Not by e-mail address: that would tell streamers who has one here.
fn named(app: &App, text: &str) -> Option<UserId> {
    if let Ok(id) = text.parse() {
        return Some(id);
    }
    app.accounts.find(text).filter(|_| !text.contains('@')).map(|user| user.user_id)
}
