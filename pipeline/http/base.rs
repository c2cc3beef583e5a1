//! The addresses that a client can use, from its own request.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::App;
use crate::urls::Base;

/// Set by the server on requests that came over TLS.
#[derive(Clone, Copy)]
pub struct OverTls;

impl FromRequestParts<App> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let is_tls = parts.extensions.get::<OverTls>().is_some();
        Ok(app.urls.for_client(&parts.uri, &parts.headers, is_tls))
    }
}
