//! A request's JSON, and what is wrong with it.
//!
//! Enters: bodies. Leaves: what they say, or a problem for their sender. Never here:
//! the body itself in an error: it may hold a password.

use axum::Json;
use axum::extract::rejection::JsonRejection;

use super::Problem;

/// What a handler takes to say by itself what is wrong.
pub type Body<T> = Result<Json<T>, JsonRejection>;

/// The value, or 400.
pub fn read<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(value)| value).map_err(|error| Problem::bad_request(error.body_text()))
}
