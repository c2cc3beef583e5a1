//! `/api/sessions`: log-in, log-out, a new password; and by which keys others
//! can check our tokens.
//!
//! Enters: passwords. Leaves: tokens, each shown once. Held: nothing; a session
//! is its token. Never here: whether a name exists, a password or a token in a
//! log line.

use std::net::SocketAddr;

use accounts::{Issued, Password, PublicKey};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::auth::Asker;
use super::body::{Body, read};
use super::users::{OWN, Shown, password, problem};
use super::{App, Problem};

/// `POST /api/sessions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// A name or an e-mail address.
    login: String,
    #[serde(deserialize_with = "password")]
    password: Password,
}

/// `PUT /api/me/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    #[serde(deserialize_with = "password")]
    old_password: Password,
    #[serde(deserialize_with = "password")]
    new_password: Password,
}

/// A session that begins.
#[derive(Serialize)]
struct Begun {
    token: String,
    expires_at_us: u64,
    user: Shown,
}

/// `GET /api/keys`: a JWK set (RFC 7517 5).
#[derive(Serialize)]
pub struct Keys {
    keys: Vec<PublicKey>,
}

fn begun(status: StatusCode, issued: Issued) -> Response {
    let Issued { token, user, expires_at_us } = issued;
    (status, OWN, Json(Begun { token, expires_at_us, user: user.into() })).into_response()
}

/// A session for who knows the password. Who is unknown is told what a wrong password is.
pub async fn log_in(
    State(app): State<App>,
    Extension(peer): Extension<SocketAddr>,
    body: Body<LogIn>,
) -> Result<Response, Problem> {
    let LogIn { login, password } = read(body)?;
    let issued = app.accounts.log_in(&login, &password, peer.ip()).await.map_err(problem)?;
    Ok(begun(StatusCode::CREATED, issued))
}

/// Ends all sessions of who asks, this one included.
pub async fn log_out(asker: Asker, State(app): State<App>) -> Result<StatusCode, Problem> {
    app.accounts.log_out_everywhere(asker.session()?).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new password, and a new session; all others are over.
pub async fn change_password(
    asker: Asker,
    State(app): State<App>,
    Extension(peer): Extension<SocketAddr>,
    body: Body<NewPassword>,
) -> Result<Response, Problem> {
    let NewPassword { old_password, new_password } = read(body)?;
    let session = asker.session()?;
    let (old, new, from) = (&old_password, &new_password, peer.ip());
    let issued = app.accounts.change_password(session, old, new, from).await.map_err(problem)?;
    tracing::info!(user = %issued.user.user_id, "a user has a new password");
    Ok(begun(StatusCode::OK, issued))
}

/// Our public keys.
pub async fn keys(State(app): State<App>) -> Response {
    // A new one signs at once: whoever meets a token by a key they lack asks again.
    let cache = [(header::CACHE_CONTROL, "public, max-age=300")];
    (cache, Json(Keys { keys: app.accounts.public_keys() })).into_response()
}
