//! A user's identifier.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

/// A user, as UUIDv7: sorted by when they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl UserId {
    /// A new identifier, stamped with this time.
    #[must_use]
    pub fn at(now_us: u64) -> Self {
        let (seconds, nanos) = (now_us / 1_000_000, now_us % 1_000_000 * 1000);
        Self(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos as u32)))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for UserId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}
