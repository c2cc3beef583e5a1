//! Who may change things: holders of the admin token.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::{App, Problem};
use crate::keys;

/// Proof that the request carried the admin token.
pub struct Admin;

/// Whether the request carried the admin token; a wrong one is refused.
pub struct Viewer {
    /// It did.
    pub is_admin: bool,
}

/// What the request says of itself. None: no token at all.
fn presented(app: &App, headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(header::AUTHORIZATION)?;
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    Some(token.is_some_and(|token| keys::matches(&app.admin_token, token)))
}

/// Whether these headers carry the admin token.
pub fn is_admin(app: &App, headers: &HeaderMap) -> bool {
    presented(app, headers) == Some(true)
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match presented(app, &parts.headers) {
            Some(false) => Err(not_the_token()),
            known => Ok(Self { is_admin: known == Some(true) }),
        }
    }
}

fn not_the_token() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this is not the admin token")
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match presented(app, &parts.headers) {
            Some(true) => Ok(Self),
            Some(false) => Err(not_the_token()),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this needs the admin token: send the header Authorization: Bearer TOKEN",
            )),
        }
    }
}
