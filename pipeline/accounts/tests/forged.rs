//! Tokens that somebody else made, and those whose time is over.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

pub(super) fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with any header and claims, signed by `sign`.
pub(super) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The server's own key, stolen from its file, and its name.
fn stolen(data: &Path) -> (Ed25519KeyPair, String) {
    let text = std::fs::read_to_string(data.join(KEYS_FILE)).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    let key = stored["keys"].as_array().unwrap().last().unwrap();
    let private = STANDARD.decode(key["private"].as_str().unwrap()).unwrap();
    (Ed25519KeyPair::from_pkcs8(&private).unwrap(), key["kid"].as_str().unwrap().into())
}

/// Accounts with one user; a header and claims that are right.
async fn setting() -> (Place, Accounts, Ed25519KeyPair, Value, Value) {
    let place = Place::new();
    let accounts = place.open().await;
    let ann = accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let (key, kid) = stolen(place.dir.path());
    let now = START_US / S;
    let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": kid});
    let claims = json!({
        "iss": "millstream", "sub": ann.user_id, "roles": ["viewer"], "iat": now,
        "iat_us": START_US, "exp": now + 3600, "jti": uuid::Uuid::nil(),
    });
    (place, accounts, key, header, claims)
}

fn with(value: &Value, key: &str, new: Value) -> Value {
    let mut changed = value.clone();
    match new {
        Value::Null => drop(changed.as_object_mut().unwrap().remove(key)),
        new => changed[key] = new,
    }
    changed
}

#[tokio::test]
async fn only_what_our_key_signed_is_ours() {
    let (_place, accounts, key, header, claims) = setting().await;
    let ed = |message: &[u8]| key.sign(message).as_ref().to_vec();
    let good = token(&header, &claims, ed);
    // Each of the following differs from this one in one thing.
    assert!(accounts.verify(&good).is_ok());

    let none = |_: &[u8]| Vec::new();
    let public = key.public_key().as_ref().to_vec();
    let hmac = |secret: &[u8]| {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        move |message: &[u8]| ring::hmac::sign(&secret, message).as_ref().to_vec()
    };
    let other = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let other = Ed25519KeyPair::from_pkcs8(other.as_ref()).unwrap();
    let by_other = |message: &[u8]| other.sign(message).as_ref().to_vec();
    let x = URL_SAFE_NO_PAD.encode(other.public_key().as_ref());
    let own_key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let parts: Vec<_> = good.split('.').collect();
    let forged_claims = encoded(&with(&claims, "roles", json!(["admin"])));

    let alg = |name: &str| with(&header, "alg", json!(name));
    let forged = [
        token(&alg("none"), &claims, none),
        token(&alg("none"), &claims, ed),
        token(&alg("None"), &claims, none),
        token(&alg("nOnE"), &claims, none),
        token(&alg(""), &claims, ed),
        token(&with(&header, "alg", Value::Null), &claims, ed),
        token(&with(&header, "alg", json!(["EdDSA"])), &claims, ed),
        token(&header, &claims, none),
        // The public key as a secret: raw, and as people would find it written.
        token(&alg("HS256"), &claims, hmac(&public)),
        token(&alg("HS256"), &claims, hmac(URL_SAFE_NO_PAD.encode(&public).as_bytes())),
        token(&alg("HS256"), &claims, hmac(b"")),
        token(&alg("HS512"), &claims, hmac(&public)),
        token(&alg("RS256"), &claims, ed),
        token(&alg("ES256"), &claims, ed),
        token(&alg("HS256"), &claims, ed),
        token(&header, &claims, by_other),
        token(&with(&header, "kid", json!("unknown")), &claims, ed),
        token(&with(&header, "kid", json!("../../dev/null")), &claims, ed),
        token(&with(&header, "kid", Value::Null), &claims, ed),
        // A key that the token brings along is nobody's.
        token(&with(&header, "jwk", own_key.clone()), &claims, by_other),
        token(&with(&with(&header, "jwk", own_key), "kid", Value::Null), &claims, by_other),
        token(&with(&header, "jku", json!("https://evil.example/jwks")), &claims, by_other),
        token(&with(&header, "crit", json!(["exp"])), &claims, ed),
        token(&with(&header, "zip", json!("DEF")), &claims, ed),
        token(&with(&header, "typ", json!("at+jwt")), &claims, ed),
        token(&header, &with(&claims, "iss", json!("elsewhere")), ed),
        token(&header, &with(&claims, "iss", Value::Null), ed),
        token(&header, &with(&claims, "iss", json!(["millstream"])), ed),
        token(&header, &with(&claims, "sub", json!("ann")), ed),
        token(&header, &with(&claims, "exp", Value::Null), ed),
        token(&header, &with(&claims, "exp", json!("9999999999")), ed),
        token(&header, &with(&claims, "exp", json!(1e300)), ed),
        token(&header, &with(&claims, "exp", json!(-1)), ed),
        token(&header, &with(&claims, "iat", Value::Null), ed),
        token(&header, &with(&claims, "roles", json!(["root"])), ed),
        format!("{}.{forged_claims}.{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][..parts[2].len() - 2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}."),
        format!("{good}.{}", parts[2]),
        format!(" {good}"),
        format!("{good}="),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        format!("..{}", parts[2]),
        "..".into(),
        String::new(),
        "x".repeat(1 << 20),
        ".".repeat(1 << 20),
    ];
    for (at, forged) in forged.iter().enumerate() {
        let text = &forged[..forged.len().min(300)];
        assert_eq!(accounts.verify(forged), Err(TokenError::Invalid), "{at}: {text}");
        let error = accounts.authenticate(forged).await.unwrap_err();
        assert_eq!((error.status(), error.to_string().contains("Invalid")), (401, false), "{at}");
    }
    // A claim twice: two readers could understand two things.
    let twice = claims.to_string().replacen('{', r#"{"iss":"millstream","#, 1);
    let message = format!("{}.{}", encoded(&header), URL_SAFE_NO_PAD.encode(twice));
    let twice = format!("{message}.{}", URL_SAFE_NO_PAD.encode(ed(message.as_bytes())));
    assert_eq!(accounts.verify(&twice), Err(TokenError::Invalid));
    // One bit anywhere.
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(accounts.verify(&changed), Err(TokenError::Invalid), "byte {at}");
    }
}

#[tokio::test]
async fn times_are_kept_with_a_little_leeway() {
    let (place, accounts, key, header, claims) = setting().await;
    let now = START_US / S;
    let ed = |message: &[u8]| key.sign(message).as_ref().to_vec();
    let verified = |name: &str, value: u64| {
        accounts.verify(&token(&header, &with(&claims, name, json!(value)), ed)).map(drop)
    };
    let expired = Err(TokenError::Expired);
    assert_eq!(verified("exp", now - 29), Ok(()));
    assert_eq!(verified("exp", now - 30), expired);
    assert_eq!(verified("exp", 0), expired);
    assert_eq!(verified("exp", u64::MAX), Ok(()));
    let early = Err(TokenError::Invalid);
    assert_eq!(verified("nbf", now + 30), Ok(()));
    assert_eq!(verified("nbf", now + 31), early);
    assert_eq!(verified("nbf", 0), Ok(()));
    assert_eq!(verified("iat", now + 30), Ok(()));
    assert_eq!(verified("iat", now + 31), early);
    assert_eq!(verified("iat", u64::MAX), early);
    // Sessions that are kept by sockets end as well.
    let issued = accounts.log_in("ann", &right(), from(1)).await.unwrap();
    let session = accounts.verify(&issued.token).unwrap();
    place.pass(place.config.session_life);
    assert!(accounts.is_valid(&session));
    place.pass(Duration::from_secs(30));
    assert!(!accounts.is_valid(&session));
    assert_eq!(accounts.verify(&issued.token), Err(TokenError::Expired));
}

#[tokio::test]
async fn after_a_rotation_the_old_key_verifies_and_no_longer_than_its_tokens() {
    let place = Place::new();
    let accounts = place.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let old = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    let (old_key, old_kid) = stolen(place.dir.path());
    accounts.maintain().await.unwrap();
    assert_eq!(stolen(place.dir.path()).1, old_kid, "it isn't due");
    place.pass(place.config.rotate_every);
    let late = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    accounts.maintain().await.unwrap();
    let (_, new_kid) = stolen(place.dir.path());
    assert_ne!(new_kid, old_kid);
    assert_eq!(accounts.verify(&old), Err(TokenError::Expired));
    assert!(accounts.verify(&late).is_ok());
    let new = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    let header = jsonwebtoken::decode_header(&new).unwrap();
    assert_eq!(header.kid.as_deref(), Some(new_kid.as_str()));
    // Also across a restart.
    drop(accounts);
    let accounts = place.open().await;
    assert!(accounts.verify(&late).is_ok() && accounts.verify(&new).is_ok());
    // The old key's time is over: not even a token with a later end helps its thief.
    let user = accounts.verify(&new).unwrap().user_id;
    place.pass(place.config.session_life + Duration::from_secs(31));
    let now_us = place.now_us.load(Ordering::SeqCst);
    let header = json!({"alg": "EdDSA", "kid": old_kid});
    let claims = json!({
        "iss": "millstream", "sub": user, "roles": [], "iat": now_us / S, "iat_us": now_us,
        "exp": now_us / S + 3600, "jti": uuid::Uuid::nil(),
    });
    let forged = token(&header, &claims, |message| old_key.sign(message).as_ref().to_vec());
    assert_eq!(accounts.verify(&forged), Err(TokenError::Invalid));
}

/// Another server's tokens are worth nothing here.
#[tokio::test]
async fn keys_are_each_servers_own() {
    let (one, other) = (Place::new(), Place::new());
    let accounts = one.open().await;
    accounts.sign_up(said("ann"), from(1)).await.unwrap();
    let token = accounts.log_in("ann", &right(), from(1)).await.unwrap().token;
    let elsewhere = other.open().await;
    elsewhere.sign_up(said("ann"), from(1)).await.unwrap();
    assert_eq!(elsewhere.verify(&token), Err(TokenError::Invalid));
}
