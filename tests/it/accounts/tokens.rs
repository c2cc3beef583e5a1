//! Tokens: ours across a kill, those of others, and those that nobody should have made.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Person, assert_is_no_session, call, log_in, me, person, text};
use crate::support::server::Server;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// A token with any header and claims.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn key_pair() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key")
}

/// The server's own key, out of its file, and its name.
fn stolen(data: &Path) -> (Ed25519KeyPair, String) {
    let file = std::fs::read(data.join("session-keys.json")).expect("keys");
    let stored: Value = serde_json::from_slice(&file).expect("JSON");
    let key = &stored["keys"][0];
    let private = STANDARD.decode(text(key, "private")).expect("base64");
    (Ed25519KeyPair::from_pkcs8(&private).expect("a key"), text(key, "kid"))
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_expired_and_unsigned_tokens_are_refused() {
    let server = Server::start().await;
    let ann = person(&server, "ann", &[]).await;
    let (key, kid) = stolen(server.data());
    let ours = |message: &[u8]| key.sign(message).as_ref().to_vec();
    let now = now_s();
    let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": kid });
    let claims = |exp: u64| {
        json!({
            "iss": "millstream", "sub": ann.id, "roles": ["admin"], "iat": now - 600,
            "iat_us": (now - 600) * 1_000_000, "exp": exp,
            "jti": "01900000-0000-7000-8000-000000000000",
        })
    };
    // Each of those below differs from it in one thing.
    let good = token(&header, &claims(now + 600), ours);
    assert_eq!(me(&server, &good).await.status, StatusCode::OK);
    let path = format!("/api/users/{}/roles", ann.id);
    let roles = Some(json!({ "roles": ["admin"] }));
    let promoted = call(&server, Some(&good), Method::PUT, &path, roles).await;
    assert_eq!(promoted.status, StatusCode::FORBIDDEN, "roles are what they are, not what it says");

    let other = key_pair();
    let by_other = |message: &[u8]| other.sign(message).as_ref().to_vec();
    let nothing = |_: &[u8]| Vec::new();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.public_key().as_ref());
    let hmac = |message: &[u8]| ring::hmac::sign(&secret, message).as_ref().to_vec();
    let with = |alg: &str| json!({ "typ": "JWT", "alg": alg, "kid": kid });
    let mut tampered = claims(now + 600);
    tampered["sub"] = json!("01900000-0000-7000-8000-000000000000");
    let parts: Vec<_> = good.split('.').collect();
    let swapped = token(&header, &tampered, nothing);
    let swapped = format!("{}{}", swapped, parts[2]);
    for (what, forged) in [
        ("expired", token(&header, &claims(now - 60), ours)),
        ("unsigned", token(&with("none"), &claims(now + 600), nothing)),
        ("unsigned in capitals", token(&with("NONE"), &claims(now + 600), nothing)),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("another's signature", token(&header, &claims(now + 600), by_other)),
        ("an HMAC by the public key", token(&with("HS256"), &claims(now + 600), hmac)),
        ("another user", swapped),
        ("no JSON", "a.b.c".into()),
        ("nothing", "..".into()),
    ] {
        for path in ["/api/me", "/api/videos"] {
            let refused = call(&server, Some(&forged), Method::GET, path, None).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{what} at {path}");
            assert_is_no_session(&refused);
        }
    }
    let long = format!("a.{}.c", "b".repeat(9000));
    assert_is_no_session(&me(&server, &long).await);
    assert_eq!(me(&server, "nonsense").await.status, StatusCode::FORBIDDEN);
    assert_eq!(me(&server, &ann.token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_a_kill_and_so_does_their_end() {
    let mut server = Server::start().await;
    let (ann, bob) = (person(&server, "ann", &[]).await, person(&server, "bob", &["admin"]).await);
    server.restart("KILL").await;
    for Person { id, token } in [&ann, &bob] {
        assert_eq!(text(&me(&server, token).await.json(), "user_id"), *id);
    }
    let out = call(&server, Some(ann.token.as_str()), Method::DELETE, "/api/sessions", None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    server.restart("KILL").await;
    assert_is_no_session(&me(&server, &ann.token).await);
    let roles = me(&server, &bob.token).await.json()["roles"].clone();
    assert_eq!(roles, json!(["viewer", "admin"]));
    assert_eq!(log_in(&server, "ann", super::PASSWORD).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_can_check_our_tokens() {
    let server = Server::start().await;
    let ann = person(&server, "ann", &[]).await;
    let published = server.get("/api/keys").await;
    assert_eq!(published.status, StatusCode::OK);
    assert!(!published.text().contains("private"), "{}", published.text());
    let set = published.json();
    let [key] = &set["keys"].as_array().expect("keys")[..] else { panic!("one key: {set}") };
    let (message, signature) = ann.token.rsplit_once('.').expect("a signature");
    let header = URL_SAFE_NO_PAD.decode(message.split('.').next().expect("a header"));
    let header: Value = serde_json::from_slice(&header.expect("base64")).expect("JSON");
    assert_eq!((&header["kid"], &header["alg"]), (&key["kid"], &key["alg"]));
    let point = URL_SAFE_NO_PAD.decode(text(key, "x")).expect("base64");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let verified = UnparsedPublicKey::new(&ED25519, point).verify(message.as_bytes(), &signature);
    assert!(verified.is_ok());
}

/// Answers every request with this JSON; the port.
async fn serve(json: Value) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let body = json.to_string();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_providers_users_are_users() {
    let (key, other) = (key_pair(), key_pair());
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x });
    let port = serve(json!({ "keys": [jwk] })).await;
    let issuer = "https://id.example.com";
    let provider = format!("{issuer}=our-client http://127.0.0.1:{port}/jwks");
    let server =
        Server::with(&[("transcode.enabled", "false"), ("accounts.providers", &provider)]).await;
    let now = now_s();
    let claims = |subject: &str, audience: &str| {
        json!({ "iss": issuer, "sub": subject, "aud": audience, "iat": now - 5, "exp": now + 600,
                "preferred_username": "Anna" })
    };
    let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "k1" });
    let by = |key: &Ed25519KeyPair, claims: &Value| {
        token(&header, claims, |message| key.sign(message).as_ref().to_vec())
    };
    let anna = by(&key, &claims("4711", "our-client"));
    let shown = me(&server, &anna).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    let shown = shown.json();
    assert_eq!((&shown["name"], &shown["email"]), (&json!("Anna"), &json!(null)));
    let namesake = me(&server, &by(&key, &claims("4712", "our-client"))).await.json();
    assert_eq!(namesake["name"], "Anna-2");
    assert_eq!(me(&server, &anna).await.json(), shown, "the same one");

    assert_is_no_session(&me(&server, &by(&key, &claims("4711", "another-client"))).await);
    assert_is_no_session(&me(&server, &by(&other, &claims("4711", "our-client"))).await);
    // They are users like all others.
    super::give(&server, &text(&shown, "user_id"), &["streamer"]).await;
    let body = Some(json!({ "title": "by Anna" }));
    let made = call(&server, Some(&anna), Method::POST, "/api/streams", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    // And those of our own aren't affected by who is asked for keys.
    let bob = person(&server, "bob", &[]).await;
    assert_eq!(me(&server, &bob.token).await.status, StatusCode::OK);
}
