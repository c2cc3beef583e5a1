//! A stream's identifier, and the shard that it belongs to for ever.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many shards there are. The fixed unit of placement: workers come and
/// go, a stream's shard never changes.
pub const SHARDS: u16 = 1024;

/// One of [`SHARDS`] slices of all streams, `0..1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard(pub u16);

/// A stream (one broadcast), as UUIDv7: sorted by creation time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub Uuid);

impl StreamId {
    /// A new identifier, stamped with the current time.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The shard this stream belongs to.
    ///
    /// A fixed mix (splitmix64's finaliser over both halves), written out here
    /// because log partitions and Delta `txn` ids depend on it: it may never
    /// change, so it may not come from a library's "some fast hash".
    #[must_use]
    pub fn shard(self) -> Shard {
        let (high, low) = self.0.as_u64_pair();
        let mixed = mix(mix(high) ^ low);
        Shard((mixed % u64::from(SHARDS)) as u16)
    }
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID.
#[derive(Debug, thiserror::Error)]
#[error("not a stream id: {0:?} (expected a UUID)")]
pub struct ParseStreamIdError(String);

impl FromStr for StreamId {
    type Err = ParseStreamIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseStreamIdError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values computed from the definition by another program.
    #[test]
    fn shard_never_changes() {
        let id: StreamId = "0190a5f0-7c3e-7a11-9d4b-3f2e1d0c9b8a".parse().unwrap();
        assert_eq!(id.shard(), Shard(918));
        assert_eq!(StreamId(Uuid::nil()).shard(), Shard(623));
    }

    #[test]
    fn shards_are_even() {
        let mut counts = vec![0u32; usize::from(SHARDS)];
        for i in 0..102_400u128 {
            counts[usize::from(StreamId(Uuid::from_u128(i << 64 | 7)).shard().0)] += 1;
        }
        assert!(counts.iter().all(|n| (50..170).contains(n)));
    }
}
