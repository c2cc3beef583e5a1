//! Who may change things: holders of the admin token.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{StatusCode, header};

use super::{App, Problem};
use crate::keys;

/// Proof that the request carried the admin token.
pub struct Admin;

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let presented = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match presented {
            Some(token) if keys::matches(&app.admin_token, token) => Ok(Self),
            Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "this is not the admin token")),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this needs the admin token: send the header Authorization: Bearer TOKEN",
            )),
        }
    }
}
