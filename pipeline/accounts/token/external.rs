//! Tokens of identity providers, checked with the keys they publish.
//!
//! ```text
//! token ──iss──► provider ──kid──► key ──signature, iss, aud, times──► External{issuer, subject}
//!                             └─ unknown: fetch the set anew, at most once in `refresh_min`
//! ```
//!
//! Enters: tokens, and key sets (RFC 7517) through [`Fetch`], which whoever has
//! an HTTP client supplies. Held: per provider, one set of at most [`KEYS_MAX`]
//! keys, good for `refresh_after` and usable for `stale_max` while the provider
//! doesn't answer. Never: a fetch per token, however many unknown kids
//! strangers make up; two fetches at once from one provider.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;

use super::TokenError;
use crate::user::External;

/// The largest key set that is read; a fetcher stops there.
pub const JWKS_BYTES_MAX: usize = 256 << 10;
/// Keys of one set that are kept.
const KEYS_MAX: usize = 64;
/// The longest `sub` (OIDC Core 2: 255 ASCII characters).
const SUBJECT_BYTES_MAX: usize = 255;

/// What a fetch gave.
pub type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

/// A key set couldn't be fetched. The text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// How key sets are fetched.
pub trait Fetch: Send + Sync + 'static {
    /// The body of `GET url`, of at most [`JWKS_BYTES_MAX`]. Ends within
    /// seconds; follows no redirect to anything but https.
    fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a>;
}

/// An identity provider whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its `iss`, exactly.
    pub issuer: String,
    /// What must be among its tokens' `aud`: our client id there.
    pub audience: String,
    /// Where its keys are.
    pub jwks_url: String,
    /// After how long keys are fetched anew.
    pub refresh_after: Duration,
    /// The shortest time between two fetches, whatever happens.
    pub refresh_min: Duration,
    /// How long keys are used while they can't be fetched anew.
    pub stale_max: Duration,
}

impl Provider {
    /// A provider with the usual times: an hour, a minute, a day.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        jwks_url: impl Into<String>,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            jwks_url: jwks_url.into(),
            refresh_after: Duration::from_secs(3600),
            refresh_min: Duration::from_secs(60),
            stale_max: Duration::from_secs(86_400),
        }
    }
}

/// What a provider says of somebody.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub external: External,
    pub iat: u64,
    pub exp: u64,
    /// What it would like to be called.
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    public: DecodingKey,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    /// When they were fetched. 0: never.
    fetched_at_us: u64,
}

impl Known {
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)),
            // RFC 7515 4.1.4: kid is optional; without it there must be no choice.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
        .map(|key| key.public.clone())
    }
}

struct Source {
    provider: Provider,
    known: RwLock<Known>,
    // Held by the one fetch under way; when the last one began. 0: never.
    fetching: tokio::sync::Mutex<u64>,
}

/// The providers that are known.
pub(crate) struct Providers {
    sources: Vec<Arc<Source>>,
    fetch: Option<Arc<dyn Fetch>>,
}

impl Providers {
    pub(crate) fn new(providers: Vec<Provider>, fetch: Option<Arc<dyn Fetch>>) -> Self {
        let source = |provider| {
            let fetching = tokio::sync::Mutex::new(0);
            Arc::new(Source { provider, known: RwLock::default(), fetching })
        };
        Self { sources: providers.into_iter().map(source).collect(), fetch }
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(crate) async fn verify(
        &self,
        token: &str,
        now_us: u64,
        leeway_s: u64,
    ) -> Result<Claimed, TokenError> {
        let header = super::header(token)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(TokenError::Invalid);
        }
        // Only to know whose keys to try: nothing of it is believed before they fit.
        let unproven: Issuer = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_| TokenError::Invalid)?;
        let source = self.sources.iter().find(|source| source.provider.issuer == unproven.iss);
        let source = source.ok_or(TokenError::Invalid)?;
        let key = self.key(source, header.kid.as_deref(), header.alg, now_us).await?;
        let claims: Claims = super::signed(token, &key, header.alg)?;
        let is_ours = claims.iss == source.provider.issuer
            && claims.aud.has(&source.provider.audience)
            && (1..=SUBJECT_BYTES_MAX).contains(&claims.sub.len());
        if !is_ours {
            return Err(TokenError::Invalid);
        }
        super::check_times(claims.exp, claims.nbf, claims.iat, now_us, leeway_s)?;
        Ok(Claimed {
            external: External { issuer: claims.iss, subject: claims.sub },
            iat: claims.iat,
            exp: claims.exp,
            name: claims.preferred_username.or(claims.name),
        })
    }

    async fn key(
        &self,
        source: &Arc<Source>,
        kid: Option<&str>,
        algorithm: Algorithm,
        now_us: u64,
    ) -> Result<DecodingKey, TokenError> {
        let Provider { refresh_after, stale_max, .. } = &source.provider;
        let look = |max_age: &Duration| {
            let known = source.known.read();
            let is_young = now_us < known.fetched_at_us + max_age.as_micros() as u64;
            (known.fetched_at_us > 0 && is_young).then(|| known.find(kid, algorithm)).flatten()
        };
        if let Some(key) = look(refresh_after) {
            return Ok(key);
        }
        // In a task of its own: a client that goes away doesn't waste the one fetch of a minute.
        let refreshed = tokio::spawn(refresh(Arc::clone(source), self.fetch.clone(), now_us));
        let answered = refreshed.await.unwrap_or(false);
        match look(stale_max) {
            Some(key) => Ok(key),
            None if answered => Err(TokenError::Invalid),
            None => Err(TokenError::Provider),
        }
    }
}

/// Fetches the keys, unless that was tried lately; whether there is a set to trust.
async fn refresh(source: Arc<Source>, fetch: Option<Arc<dyn Fetch>>, now_us: u64) -> bool {
    let Provider { jwks_url, issuer, refresh_min, stale_max, .. } = &source.provider;
    let mut began_at_us = source.fetching.lock().await;
    // Who waited for another's fetch finds its result.
    if *began_at_us > 0 && now_us < *began_at_us + refresh_min.as_micros() as u64 {
        let fetched_at_us = source.known.read().fetched_at_us;
        return fetched_at_us > 0 && now_us < fetched_at_us + stale_max.as_micros() as u64;
    }
    *began_at_us = now_us.max(1);
    let Some(fetch) = fetch else { return false };
    let fetched = fetch.fetch(jwks_url).await;
    match fetched.and_then(|body| parse(&body)) {
        Ok(keys) => {
            let (keys, fetched_at_us) = (Arc::new(keys), now_us.max(1));
            *source.known.write() = Known { keys, fetched_at_us };
            true
        }
        Err(error) => {
            tracing::warn!(%issuer, %error, "the identity provider's keys can't be fetched");
            false
        }
    }
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

fn parse(body: &[u8]) -> Result<Vec<Key>, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    if body.len() > JWKS_BYTES_MAX {
        return Err(FetchError(format!("a key set of {} bytes", body.len())));
    }
    let set: Set = serde_json::from_slice(body)
        .map_err(|error| FetchError(format!("not a key set: {error}")))?;
    // A key of a kind that we don't know isn't an error (RFC 7517 5).
    let keys =
        set.keys.into_iter().take(KEYS_MAX).filter_map(|value| {
            serde_json::from_value::<Jwk>(value).ok().and_then(|jwk| usable(&jwk))
        });
    Ok(keys.collect())
}

/// The key with the one algorithm that it is for, if it is one of ours.
fn usable(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // A symmetric key in a public set is no key.
        _ => return None,
    };
    if common.key_algorithm.is_some_and(|of| of != named) {
        return None;
    }
    let public = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { kid: common.key_id.clone(), algorithm, public })
}
