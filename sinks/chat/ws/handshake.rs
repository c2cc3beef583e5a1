//! What a request must say to become a WebSocket (RFC 6455, 4.2.1), and the answer's key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Method};
use sha1::{Digest as _, Sha1};

/// 1.3: appended to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request doesn't become a WebSocket. The viewer's fault; a retry won't help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Answer 405.
    #[error("a WebSocket is opened by GET")]
    Method,
    /// Answer 426 with `Upgrade: websocket`.
    #[error("this address speaks WebSocket: send Connection: Upgrade and Upgrade: websocket")]
    NotAnUpgrade,
    /// Answer 426 with `Sec-WebSocket-Version: 13`.
    #[error("only version 13 of the WebSocket protocol is spoken")]
    Version,
    /// Answer 400.
    #[error("Sec-WebSocket-Key has to be sixteen bytes in base64")]
    Key,
    /// Answer 400.
    #[error("the request names no host")]
    Host,
}

/// The value of `Sec-WebSocket-Accept` for a request over HTTP/1.1.
pub fn accept(method: &Method, headers: &HeaderMap) -> Result<String, Refusal> {
    if method != Method::GET {
        return Err(Refusal::Method);
    }
    if !headers.contains_key(HOST) {
        return Err(Refusal::Host);
    }
    if !has_token(headers, CONNECTION, "upgrade") || !has_token(headers, UPGRADE, "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Key) };
    if STANDARD.decode(key.as_bytes()).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(Refusal::Key);
    }
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(GUID);
    Ok(STANDARD.encode(sha.finalize()))
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}
