//! Tokens of an identity provider.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::forged::token;
use super::*;

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "our-client-id";

/// A provider's keys, of each kind, and what it publishes of them.
struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            // Made for these tests; ring makes none.
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("rsa-for-tests.pk8")).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn rsa_public(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        RsaPublicKeyComponents::from(self.rsa.public())
    }

    fn published(&self, suffix: &str) -> Vec<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let RsaPublicKeyComponents { n, e } = self.rsa_public();
        let point = self.ec.public_key().as_ref();
        vec![
            json!({"kty": "RSA", "kid": format!("rsa{suffix}"), "use": "sig", "alg": "RS256",
                   "n": text(&n), "e": text(&e)}),
            json!({"kty": "EC", "kid": format!("ec{suffix}"), "crv": "P-256",
                   "x": text(&point[1..33]), "y": text(&point[33..])}),
            json!({"kty": "OKP", "kid": format!("ed{suffix}"), "crv": "Ed25519",
                   "x": text(self.ed.public_key().as_ref())}),
            // What providers publish besides, and what nobody should.
            json!({"kty": "RSA", "kid": "for-encryption", "use": "enc", "n": text(&n), "e": text(&e)}),
            json!({"kty": "RSA", "kid": "for-rs512", "alg": "RS512", "n": text(&n), "e": text(&e)}),
            json!({"kty": "oct", "kid": "shared", "k": text(b"secret")}),
            json!({"kty": "new-kind", "kid": "later"}),
            json!("not even a key"),
        ]
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match alg {
            "RS256" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, alg: &str, kid: &str, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": alg, "kid": kid});
        token(&header, claims, |message| self.sign(alg, message))
    }
}

/// Where the provider's keys are fetched.
#[derive(Default)]
struct Served {
    keys: Mutex<Option<Vec<Value>>>,
    fetches: AtomicUsize,
}

impl Served {
    fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Fetch for Served {
    fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a> {
        Box::pin(async move {
            assert_eq!(url, "https://id.example.com/jwks");
            self.fetches.fetch_add(1, Ordering::SeqCst);
            // Others come meanwhile.
            tokio::task::yield_now().await;
            match &*self.keys.lock() {
                Some(keys) => Ok(json!({ "keys": keys }).to_string().into()),
                None => Err(FetchError("503 from the provider".into())),
            }
        })
    }
}

async fn setting() -> (Place, Accounts, Keys, Arc<Served>) {
    let keys = Keys::new();
    let served = Arc::new(Served::default());
    *served.keys.lock() = Some(keys.published(""));
    let mut place = Place::new();
    place.config.providers = vec![Provider::new(ISSUER, AUDIENCE, "https://id.example.com/jwks")];
    place.fetch = Some(Arc::clone(&served) as Arc<dyn Fetch>);
    let accounts = place.open().await;
    (place, accounts, keys, served)
}

fn claims(place: &Place, subject: &str) -> Value {
    let now = place.now_us.load(Ordering::SeqCst) / S;
    json!({"iss": ISSUER, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 600,
           "preferred_username": "Anna"})
}

#[tokio::test]
async fn whoever_the_provider_knows_has_one_account() {
    let (place, accounts, keys, served) = setting().await;
    let mut users = BTreeSet::new();
    for (alg, kid) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let token = keys.token(alg, kid, &claims(&place, "4711"));
        let session = accounts.authenticate(&token).await.unwrap();
        assert_eq!(session.name, "Anna");
        users.insert(session.user_id);
    }
    assert_eq!((users.len(), served.count()), (1, 1));
    // Another of that name is somebody else, and the name isn't a way into an account.
    let other = keys.token("ES256", "ec", &claims(&place, "4712"));
    let other = accounts.authenticate(&other).await.unwrap();
    assert_eq!(other.name, "Anna-2");
    assert_eq!(accounts.log_in("Anna", &right(), from(1)).await.unwrap_err().status(), 401);
    let odd = json!({"preferred_username": "<script>"});
    let mut odd_claims = claims(&place, "4713");
    odd_claims["preferred_username"] = odd["preferred_username"].clone();
    let odd = accounts.authenticate(&keys.token("ES256", "ec", &odd_claims)).await.unwrap();
    assert_eq!(odd.name, "viewer");
    // They are the same after a restart, and can be logged out and locked out.
    drop(accounts);
    let accounts = place.open().await;
    let token = keys.token("EdDSA", "ed", &claims(&place, "4711"));
    let session = accounts.authenticate(&token).await.unwrap();
    assert!(users.contains(&session.user_id));
    place.pass(Duration::from_secs(5));
    accounts.log_out_everywhere(&session).await.unwrap();
    let error = accounts.authenticate(&token).await.unwrap_err();
    assert!(matches!(error, AccountError::Token(TokenError::Ended)));
    place.pass(Duration::from_secs(5));
    let token = keys.token("EdDSA", "ed", &claims(&place, "4711"));
    accounts.authenticate(&token).await.unwrap();
    accounts.set_disabled(Caller::Operator, session.user_id, true).await.unwrap();
    assert!(accounts.authenticate(&token).await.is_err());
}

#[tokio::test]
async fn only_tokens_for_us_are_accepted() {
    let (place, accounts, keys, _served) = setting().await;
    let good = claims(&place, "4711");
    let now = START_US / S;
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        keys.token("ES256", "ec", &changed)
    };
    for fine in [json!([AUDIENCE]), json!(["x", AUDIENCE])] {
        accounts.authenticate(&with("aud", fine)).await.unwrap();
    }
    let elsewhere = Keys::new();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let hmac = |message: &[u8]| ring::hmac::sign(&secret, message).as_ref().to_vec();
    let confused = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &keys.rsa_public().n);
    let by_modulus = |message: &[u8]| ring::hmac::sign(&confused, message).as_ref().to_vec();
    for (at, bad) in [
        with("aud", json!("somebody-else")),
        with("aud", json!([])),
        with("aud", json!(null)),
        with("iss", json!("https://evil.example.com")),
        with("iss", json!("https://id.example.com/")),
        with("sub", json!("")),
        with("sub", json!("x".repeat(256))),
        with("exp", json!(now - 30)),
        with("nbf", json!(now + 31)),
        with("iat", json!(now + 31)),
        with("iat", json!(null)),
        elsewhere.token("ES256", "ec", &good),
        keys.token("ES256", "ed", &good),
        keys.token("RS256", "ec", &good),
        keys.token("RS256", "for-encryption", &good),
        keys.token("RS256", "for-rs512", &good),
        token(&header("HS256", "shared"), &good, hmac),
        token(&header("HS256", "rsa"), &good, by_modulus),
        token(&header("none", "ec"), &good, |_| Vec::new()),
        token(&header("ES384", "ec"), &good, |message| keys.sign("ES256", message)),
        token(&header("PS256", "rsa"), &good, |message| keys.sign("RS256", message)),
    ]
    .iter()
    .enumerate()
    {
        let error = accounts.authenticate(bad).await.unwrap_err();
        assert_eq!(error.status(), 401, "{at}: {error}");
    }
    assert_eq!(accounts.count(), 1);
    // A provider's token can't pass for ours.
    let mut ours = good.clone();
    ours["iss"] = json!("millstream");
    assert!(accounts.authenticate(&keys.token("EdDSA", "ed", &ours)).await.is_err());
}

#[tokio::test]
async fn keys_are_fetched_as_rarely_as_can_be() {
    let (place, accounts, keys, served) = setting().await;
    let known = keys.token("ES256", "ec", &claims(&place, "1"));
    accounts.authenticate(&known).await.unwrap();
    assert_eq!(served.count(), 1);
    // Strangers make up kids: a fetch a minute at most.
    for n in 0..100 {
        let made_up = keys.token("ES256", &format!("made-up-{n}"), &claims(&place, "1"));
        let error = accounts.authenticate(&made_up).await.unwrap_err();
        assert_eq!(error.status(), 401);
    }
    assert_eq!(served.count(), 1, "the first fetch was less than a minute ago");
    place.pass(Duration::from_secs(60));
    // The provider rotates: its new kid is found by one fetch, however many come at once.
    let new = Keys::new();
    let both = [keys.published(""), new.published("-new")].concat();
    *served.keys.lock() = Some(both);
    let token = new.token("ES256", "ec-new", &claims(&place, "1"));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (accounts, token) = (accounts.clone(), token.clone());
            tokio::spawn(async move { accounts.authenticate(&token).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(served.count(), 2);
    // A key that was withdrawn is good for an hour at most.
    *served.keys.lock() = Some(new.published("-new"));
    place.pass(Duration::from_secs(3600));
    let withdrawn = keys.token("ES256", "ec", &claims(&place, "1"));
    assert_eq!(accounts.authenticate(&withdrawn).await.unwrap_err().status(), 401);
    assert_eq!(served.count(), 3);
}

#[tokio::test]
async fn a_provider_that_doesnt_answer_is_waited_for() {
    let (place, accounts, keys, served) = setting().await;
    *served.keys.lock() = None;
    let token = |place: &Place| keys.token("RS256", "rsa", &claims(place, "1"));
    for _ in 0..10 {
        assert_eq!(accounts.authenticate(&token(&place)).await.unwrap_err().status(), 503);
    }
    assert_eq!(served.count(), 1);
    place.pass(Duration::from_secs(60));
    *served.keys.lock() = Some(keys.published(""));
    accounts.authenticate(&token(&place)).await.unwrap();
    // Known keys are used for a day while it is away.
    *served.keys.lock() = None;
    place.pass(Duration::from_secs(2 * 3600));
    accounts.authenticate(&token(&place)).await.unwrap();
    assert_eq!(served.count(), 3);
    place.pass(Duration::from_secs(22 * 3600));
    assert_eq!(accounts.authenticate(&token(&place)).await.unwrap_err().status(), 503);
    // Our own sessions don't depend on it.
    accounts.sign_up(said("bob"), from(1)).await.unwrap();
    let ours = accounts.log_in("bob", &right(), from(1)).await.unwrap().token;
    let before = served.count();
    accounts.authenticate(&ours).await.unwrap();
    assert_eq!(served.count(), before);
}
