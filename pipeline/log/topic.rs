//! The topics, which are fixed: external systems subscribe to them by name.

use std::fmt;

use records::Shard;

/// One of the log's topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Topic {
    /// Latest state of each stream (later: user, channel, follow …). Compacted.
    Catalog,
    /// Announcements of stored segments.
    Segments,
    /// What happened to streams.
    Events,
    /// A second of ingest each.
    Health,
    /// Viewers' sessions.
    Views,
    /// Accepted chat messages.
    Chat,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Catalog, Self::Segments, Self::Events, Self::Health, Self::Views, Self::Chat];

    /// Its name in the store and for external systems.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Segments => "segments",
            Self::Events => "events",
            Self::Health => "health",
            Self::Views => "views",
            Self::Chat => "chat",
        }
    }

    /// Whether a newer record of a key replaces the older ones.
    #[must_use]
    pub fn is_compacted(self) -> bool {
        matches!(self, Self::Catalog)
    }

    /// How many partitions it has; a power of two, so that it divides the shards.
    /// May never change: the position of every reader is by partition.
    #[must_use]
    pub fn partitions(self) -> u16 {
        match self {
            // One, since changes to several entities at once must stay in order.
            Self::Catalog => 1,
            _ => 16,
        }
    }

    /// The partition of a record whose key belongs to `shard`.
    #[must_use]
    pub fn partition(self, shard: Shard) -> u16 {
        shard.0 % self.partitions()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use records::SHARDS;

    use super::*;

    #[test]
    fn partitions_divide_the_shards() {
        for topic in Topic::ALL {
            assert_eq!(SHARDS % topic.partitions(), 0, "{topic}");
            assert!(topic.partition(Shard(SHARDS - 1)) < topic.partitions());
        }
    }
}
