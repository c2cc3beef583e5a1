//! What the log has of a room.
//!
//! Enters: a stream, and when it was made. Leaves: its records, in order. Held: one
//! batch. Never here: what they mean.
//!
//! A partition holds the rooms of many streams, also of years ago, so reading begins
//! where the stream was made: records of a partition lie by time, to within what
//! clocks of a machine are set back by.

use std::ops::Range;
use std::sync::Arc;

use log::{Log, Record, Topic};
use records::{ChatRecord, ChatRecordError, StreamId};

/// Records of one read.
const BATCH: usize = 4096;

/// How far a clock may have been set back between two records.
const SLACK_US: u64 = 3_600_000_000;

/// Why a room can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The log's; see there whether a retry helps.
    #[error("the chat of {stream} can't be read: {source}")]
    Log {
        /// Whose room it is.
        stream: StreamId,
        /// What the log said.
        source: log::Error,
    },
    /// The disk's fault, or a newer program's.
    #[error(
        "the chat of {stream} can't be read, at offset {offset} of partition {partition}: {source}"
    )]
    Record {
        /// Whose room it is.
        stream: StreamId,
        /// Where.
        partition: u16,
        /// Where.
        offset: u64,
        /// What is wrong.
        source: ChatRecordError,
    },
}

/// Hands every record of the stream's room to `take`. `made_us` is when the stream was
/// made, in microseconds since 1970.
///
/// # Errors
/// [`PastError`]; some records may have been handed over.
pub async fn read(
    log: &Arc<dyn Log>,
    stream: StreamId,
    made_us: u64,
    mut take: impl FnMut(ChatRecord) + Send,
) -> Result<(), PastError> {
    let partition = Topic::Chat.partition(stream.shard());
    let failed = |source| PastError::Log { stream, source };
    let bounds = log.bounds(Topic::Chat, partition).await.map_err(failed)?;
    let from_us = made_us.saturating_sub(SLACK_US);
    let mut at = begin(log, partition, bounds, from_us).await.map_err(failed)?;
    loop {
        let records = log.read(Topic::Chat, partition, at, BATCH).await.map_err(failed)?;
        let Some(last) = records.last() else { return Ok(()) };
        at = last.offset + 1;
        for Record { offset, key, value, .. } in records {
            let Some(value) = value.filter(|_| key == stream.0.as_bytes()[..]) else { continue };
            take(ChatRecord::decode(&value).map_err(|source| PastError::Record {
                stream,
                partition,
                offset,
                source,
            })?);
        }
    }
}

/// An offset before which nothing is as young as `from_us`.
async fn begin(
    log: &Arc<dyn Log>,
    partition: u16,
    bounds: Range<u64>,
    from_us: u64,
) -> Result<u64, log::Error> {
    let Range { start: mut old, end: mut young } = bounds;
    while young - old > BATCH as u64 {
        let middle = old + (young - old) / 2;
        let records = log.read(Topic::Chat, partition, middle, 1).await?;
        let first = records.first().and_then(|record| record.value.as_deref());
        match first.map(ChatRecord::decode) {
            Some(Ok(record)) if record.sent_at_us() < from_us => old = middle,
            _ => young = middle,
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use log::{Embedded, NewRecord};
    use records::{CHAT_VERSION, ChatMessage, MessageId, UserId};
    use uuid::Uuid;

    use super::*;

    fn message(stream: StreamId, seq: u64, sent_at_us: u64) -> ChatRecord {
        ChatRecord::Message(ChatMessage {
            v: CHAT_VERSION,
            stream_id: stream,
            seq,
            message_id: MessageId(Uuid::from_u128(u128::from(seq))),
            user_id: UserId(Uuid::from_u128(1)),
            name: "ann".into(),
            sent_at_us,
            text: "hi".into(),
            emotes: Vec::new(),
            badges: Vec::new(),
            client_id: None,
        })
    }

    #[tokio::test]
    async fn a_room_is_found_among_years_of_others() {
        let place = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
        let ours = StreamId::generate();
        let shares = |s: &StreamId| Topic::Chat.partition(s.shard()) == partition(ours);
        let other = std::iter::repeat_with(StreamId::generate).find(shares).unwrap();
        let day_us = 86_400_000_000;
        let mut records = Vec::new();
        for n in 1..=20_000 {
            records.push(message(other, n, n * day_us));
            if n > 15_000 {
                records.push(message(ours, n - 15_000, n * day_us));
            }
        }
        let append = |record: &ChatRecord| {
            let key = record.stream_id().0.as_bytes().to_vec();
            NewRecord::new(partition(ours), key, record.encode().unwrap())
        };
        for batch in records.chunks(5000) {
            log.append_many(Topic::Chat, batch.iter().map(append).collect()).await.unwrap();
        }
        let mut seqs = Vec::new();
        read(&log, ours, 15_001 * day_us, |record| seqs.push(record.seq())).await.unwrap();
        assert!(seqs.iter().copied().eq(1..=5000), "{} of 5000", seqs.len());
        let bounds = log.bounds(Topic::Chat, partition(ours)).await.unwrap();
        let begun = begin(&log, partition(ours), bounds, 15_001 * day_us).await.unwrap();
        assert!((10_000..=15_000).contains(&begun), "{begun}: not from the beginning");
    }

    #[tokio::test]
    async fn what_cant_be_read_is_said_with_its_place() {
        let place = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
        let stream = StreamId::generate();
        let broken = NewRecord::new(partition(stream), stream.0.as_bytes().to_vec(), "{}");
        log.append_many(Topic::Chat, vec![broken]).await.unwrap();
        let error = read(&log, stream, 0, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("offset 0 of partition"), "{error}");
    }

    fn partition(stream: StreamId) -> u16 {
        Topic::Chat.partition(stream.shard())
    }
}
