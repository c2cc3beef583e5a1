//! Which program asks, as far as its requests show it.
//!
//! Enters: an address and headers. Leaves: a number, from which neither can be had: its
//! key is made at the start of the process. Held: that key.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::LazyLock;

use http::{HeaderMap, header};

use crate::chat::PlayerTag;

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Requests of one machine's program have the same.
pub fn player(peer: SocketAddr, headers: &HeaderMap) -> PlayerTag {
    let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes());
    PlayerTag(KEY.hash_one((peer.ip(), agent)))
}
