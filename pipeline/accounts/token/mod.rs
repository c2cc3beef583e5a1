//! Sessions as JSON Web Tokens.
//!
//! ```text
//! log-in ──issue──► token (EdDSA, kid of the newest key)
//! request ──verify──► Claims ──(the user as it is now)──► Session
//! identity provider's token ──External──► who it is there
//! ```
//!
//! Enters: tokens from strangers, of at most [`TOKEN_BYTES_MAX`]. Leaves: who
//! it is, and nothing of a token that isn't right in all of RFC 7519 7.2 and
//! RFC 8725: the algorithm is the key's, never the token's choice; no
//! extension that isn't understood (`crit`) is passed over; the type is JWT;
//! issuer and times are checked here, by a clock that tests can set.
//! Never: the token or a key in an error or in a log.

mod crypto;
mod external;
mod keys;

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use records::UserId;

use crate::user::Role;

pub use external::{Fetch, FetchError, Fetched, JWKS_BYTES_MAX, Provider};
pub use keys::{KEYS_FILE, KeyRingError, PublicKey};

pub(crate) use external::Providers;
pub(crate) use keys::KeyRing;

/// The longest token that is looked at; headers of requests are not longer.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Why a token isn't accepted. What exactly is wrong with a forged one is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours or of a known identity provider.
    #[error("this token isn't valid; log in")]
    Invalid,
    /// Its time is over.
    #[error("this session has expired; log in again")]
    Expired,
    /// Its user logged out everywhere, changed the password, or was disabled.
    #[error("this session was ended; log in again")]
    Ended,
    /// The identity provider's keys can't be had now; a retry may help.
    #[error("the identity provider doesn't answer; try again shortly")]
    Provider,
}

impl TokenError {
    /// The HTTP status that says this best.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Provider => 503,
            Self::Invalid | Self::Expired | Self::Ended => 401,
        }
    }
}

/// What our tokens say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Who made it: us.
    pub iss: String,
    /// Whose session it is.
    pub sub: UserId,
    /// What its user could do then. We ask what it may do now; others can't.
    pub roles: BTreeSet<Role>,
    /// When it was made, in seconds since 1970 as all times here.
    pub iat: u64,
    /// The same in microseconds: log-out everywhere divides a second.
    pub iat_us: u64,
    /// Not before; none in ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// When it ends.
    pub exp: u64,
    /// Which one it is.
    pub jti: Uuid,
}

/// Whether `exp`, `nbf` and `iat`, in seconds, allow it now.
fn check_times(
    exp: u64,
    nbf: Option<u64>,
    iat: u64,
    now_us: u64,
    leeway_s: u64,
) -> Result<(), TokenError> {
    let now = now_us / 1_000_000;
    if exp.saturating_add(leeway_s) <= now {
        return Err(TokenError::Expired);
    }
    let soon = now + leeway_s;
    match iat > soon || nbf.is_some_and(|nbf| nbf > soon) {
        true => Err(TokenError::Invalid),
        false => Ok(()),
    }
}

/// The header, if the token can be one that we accept.
fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Invalid);
    }
    // `alg: none` and unknown algorithms end here already.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
    let is_jwt = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("jwt"));
    let is_plain = header.crit.is_none() && header.zip.is_none() && header.enc.is_none();
    match is_jwt && is_plain {
        true => Ok(header),
        false => Err(TokenError::Invalid),
    }
}

/// The claims, if `key` signed them with `algorithm`. Checks nothing else.
fn signed<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<T, TokenError> {
    crypto::install();
    let mut validation = Validation::new(algorithm);
    // The library reads the machine's clock, and passes over claims that aren't there.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode(token, key, &validation)
        .map(|decoded| decoded.claims)
        .map_err(|_| TokenError::Invalid)
}
