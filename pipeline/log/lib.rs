//! The durable log: topics, partitions, offsets.
