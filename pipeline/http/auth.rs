//! Who asks: the operator, by the server's admin token; a user, by the token of
//! a session; or nobody.
//!
//! Enters: a request's headers. Leaves: who it is, or a problem: 401 for a session
//! that isn't one (any more), 403 for what is no token of a session and not the
//! admin token either. Held: nothing. Never done here: keeping who it was; a
//! session may end at any time.
//!
//! A session costs a signature check, some 100 µs, on the thread that asks.

use accounts::{Caller, Role, Session, UserId};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::{App, Problem, users};
use crate::keys;

/// Somebody who brought a token. As an extractor: 401 for who brings none.
#[derive(Debug)]
pub enum Asker {
    /// Who holds the admin token; may do everything.
    Operator,
    /// Who is logged in.
    User(Session),
}

impl Asker {
    /// The same to the accounts.
    pub fn caller(&self) -> Caller<'_> {
        match self {
            Self::Operator => Caller::Operator,
            Self::User(session) => Caller::User(session),
        }
    }

    /// The user's session; the operator has none.
    pub fn session(&self) -> Result<&Session, Problem> {
        match self {
            Self::User(session) => Ok(session),
            Self::Operator => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this is about one's own account, and the admin token has none: log in",
            )),
        }
    }

    /// Whether it may do what the role may.
    pub fn has(&self, role: Role) -> bool {
        match self {
            Self::Operator => true,
            Self::User(session) => session.has(role),
        }
    }

    /// 403 without the role.
    pub fn needs(&self, role: Role) -> Result<(), Problem> {
        match self.has(role) {
            true => Ok(()),
            false => {
                Err(Problem::new(StatusCode::FORBIDDEN, format!("this needs the role {role}")))
            }
        }
    }

    /// Whether it may do to a stream of this owner what the operator may.
    pub fn owns(&self, owner: Option<UserId>) -> bool {
        match self {
            Self::Operator => true,
            Self::User(session) => {
                let is_own = owner == Some(session.user_id) && session.has(Role::Streamer);
                is_own || session.has(Role::Admin)
            }
        }
    }
}

/// The token that these headers carry.
pub fn token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    token.map(Some).ok_or_else(not_the_token)
}

/// Who these headers say it is. None: they carry no token.
pub async fn asker(app: &App, headers: &HeaderMap) -> Result<Option<Asker>, Problem> {
    match token(headers)? {
        Some(token) => bearer(app, token).await.map(Some),
        None => Ok(None),
    }
}

/// Who brings this token.
pub async fn bearer(app: &App, token: &str) -> Result<Asker, Problem> {
    if keys::matches(&app.admin_token, token) {
        return Ok(Asker::Operator);
    }
    // A JWT has three parts (RFC 7515 7.1), of which `alg: none` leaves the last one empty.
    if token.split('.').count() != 3 {
        return Err(not_the_token());
    }
    app.accounts.authenticate(token).await.map(Asker::User).map_err(users::problem)
}

fn not_the_token() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this is not the admin token")
}

fn nobody(what: &str) -> Problem {
    let detail = format!("this needs {what}: send the header Authorization: Bearer TOKEN");
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// 403: somebody else's.
pub fn not_yours() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this is for the streamer whose it is, and for admins")
}

impl FromRequestParts<App> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let asker = asker(app, &parts.headers).await?;
        asker.ok_or_else(|| nobody("a token of a session, or the admin token"))
    }
}

/// Proof that the request came from the operator or an admin.
pub struct Admin;

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let asker = asker(app, &parts.headers).await?.ok_or_else(|| nobody("the admin token"))?;
        asker.needs(Role::Admin).map(|()| Self)
    }
}

/// Proof that the request came from somebody who may ask SQL.
pub struct Analyst;

impl FromRequestParts<App> for Analyst {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let asker = asker(app, &parts.headers).await?.ok_or_else(|| nobody("the admin token"))?;
        asker.needs(Role::Analyst).map(|()| Self)
    }
}

/// Somebody who watches, perhaps by a token; a wrong one is refused.
#[derive(Default)]
pub struct Viewer {
    asker: Option<Asker>,
}

impl Viewer {
    /// Who these headers say it is; a wrong token counts as none.
    pub async fn of(app: &App, headers: &HeaderMap) -> Self {
        Self { asker: asker(app, headers).await.unwrap_or_default() }
    }

    /// Whether it may see what only the owner of a stream may.
    pub fn owns(&self, app: &App, stream: records::StreamId) -> bool {
        match &self.asker {
            None => false,
            Some(Asker::Operator) => true,
            Some(asker) => asker.owns(app.registry.catalog().owner(stream)),
        }
    }
}

impl From<Asker> for Viewer {
    fn from(asker: Asker) -> Self {
        Self { asker: Some(asker) }
    }
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self { asker: asker(app, &parts.headers).await? })
    }
}
