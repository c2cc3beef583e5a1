//! `/api/users` and `/api/me`: who has an account here.
//!
//! Enters: sign-ups, and what admins change. Leaves: users, as they themselves
//! and admins may know them. Held: nothing. Never here: a password or an e-mail
//! address in a log line.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use accounts::{AccountError, Email, Password, Role, SignUp, User, UserId};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::auth::{self, Admin, Asker};
use super::body::{Body, read};
use super::{App, Problem};

/// Nobody in between keeps what is one's own.
pub const OWN: [(&str, &str); 1] = [("cache-control", "no-store")];

/// A user, to themselves and to admins.
#[derive(Serialize)]
pub struct Shown {
    user_id: UserId,
    name: String,
    /// Null for some who come from an identity provider.
    email: Option<Email>,
    roles: BTreeSet<Role>,
    created_at_us: u64,
    /// Locked out.
    disabled: bool,
}

impl From<User> for Shown {
    fn from(user: User) -> Self {
        let User { user_id, name, email, roles, created_at_us, disabled, .. } = user;
        Self { user_id, name, email, roles, created_at_us, disabled }
    }
}

/// `POST /api/users`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: String,
    email: String,
    #[serde(deserialize_with = "password")]
    password: Password,
}

/// `GET /api/users`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// A name or an e-mail address.
    login: String,
}

/// `PUT /api/users/{id}/roles`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRoles {
    roles: BTreeSet<Role>,
}

/// `PUT /api/users/{id}/disabled`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDisabled {
    disabled: bool,
}

/// A password as it comes. What is none isn't quoted in the error.
pub fn password<'de, D: Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
    let text = String::deserialize(from).map_err(|_| D::Error::custom("a password is a text"))?;
    Ok(Password::new(text))
}

/// What the accounts refuse, as a client may know it; our own faults are logged.
pub fn problem(error: AccountError) -> Problem {
    let status = StatusCode::from_u16(error.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = if error.is_public() {
        Problem::new(status, error.to_string())
    } else {
        tracing::error!(%error, "accounts failed");
        Problem::new(status, "accounts can't be used at the moment; try again shortly")
    };
    match error.retry_after_s() {
        Some(seconds) => problem.retry_after(seconds),
        None => problem,
    }
}

/// The identifier that a path says, whether or not there is such a user.
pub fn id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| problem(AccountError::Unknown))
}

/// A new account.
pub async fn create(
    State(app): State<App>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body<New>,
) -> Result<Response, Problem> {
    if !app.is_sign_up_open {
        let asker = auth::asker(&app, &headers).await?;
        if !asker.is_some_and(|asker| asker.has(Role::Admin)) {
            let detail = "on this server accounts are made by its admins; ask one of them";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    let New { name, email, password } = read(body)?;
    let user = app.accounts.sign_up(SignUp { name, email, password }, peer.ip()).await;
    let user = user.map_err(problem)?;
    tracing::info!(user = %user.user_id, "an account was made");
    Ok((StatusCode::CREATED, OWN, Json(Shown::from(user))).into_response())
}

/// The user of a name or an e-mail address.
pub async fn find(
    _: Admin,
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::bad_request(error.body_text()))?;
    let user = app.accounts.find(&wanted.login).ok_or_else(|| problem(AccountError::Unknown))?;
    Ok((OWN, Json(Shown::from(user))).into_response())
}

/// Who asks.
pub async fn me(asker: Asker, State(app): State<App>) -> Result<Response, Problem> {
    let user = app.accounts.get(asker.session()?.user_id);
    let user = user.ok_or_else(|| problem(AccountError::Unknown))?;
    Ok((OWN, Json(Shown::from(user))).into_response())
}

/// Other roles, at once and for sessions that exist, too.
pub async fn set_roles(
    asker: Asker,
    State(app): State<App>,
    Path(user): Path<String>,
    body: Body<NewRoles>,
) -> Result<Response, Problem> {
    asker.needs(Role::Admin)?;
    let NewRoles { roles } = read(body)?;
    let changed = app.accounts.set_roles(asker.caller(), id(&user)?, roles).await;
    let changed = changed.map_err(problem)?;
    tracing::info!(user = %changed.user_id, roles = ?changed.roles, "a user has other roles");
    Ok((OWN, Json(Shown::from(changed))).into_response())
}

/// Locks a user out, or lets them in again.
pub async fn set_disabled(
    asker: Asker,
    State(app): State<App>,
    Path(user): Path<String>,
    body: Body<NewDisabled>,
) -> Result<Response, Problem> {
    asker.needs(Role::Admin)?;
    let NewDisabled { disabled } = read(body)?;
    let changed = app.accounts.set_disabled(asker.caller(), id(&user)?, disabled).await;
    let changed = changed.map_err(problem)?;
    tracing::info!(user = %changed.user_id, disabled, "a user was locked out, or let in again");
    Ok((OWN, Json(Shown::from(changed))).into_response())
}
