//! Streams' pasts in the log's topic `segments`.
//!
//! Enters: streams that are wanted. Leaves: what the archive announced of them,
//! oldest first. Held: where those of live streams begin. Never done here:
//! appending.

use std::collections::HashMap;

use log::{Error, Log, Topic};
use parking_lot::Mutex;
use records::StreamId;
use sinks::archive::Announcement;
use uuid::Uuid;

/// Records read at once.
const PAGE: usize = 1000;

/// All announcements of the streams that `wanted` names, oldest first. Reads
/// the topic once, from its oldest record on.
///
/// # Errors
/// The log can't be read.
pub async fn read(
    log: &dyn Log,
    wanted: impl Fn(StreamId) -> bool,
) -> Result<HashMap<StreamId, Vec<Announcement>>, Error> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    let all: Vec<_> = (0..Topic::Segments.partitions()).map(|partition| (partition, 0)).collect();
    log.prefetch(Topic::Segments, &all).await?;
    for partition in 0..Topic::Segments.partitions() {
        let mut from = 0;
        loop {
            let page = log.read(Topic::Segments, partition, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.offset + 1;
            for record in &page {
                let stream = Uuid::from_slice(&record.key).ok().map(StreamId);
                let (Some(stream), Some(value)) = (stream, &record.value) else { continue };
                if !wanted(stream) {
                    continue;
                }
                match Announcement::decode(value) {
                    Ok(announcement) => found.entry(stream).or_default().push(announcement),
                    Err(error) => {
                        let offset = record.offset;
                        tracing::warn!(%stream, offset, %error, "announcement skipped");
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Where live streams' announcements begin, so that the end of one doesn't
/// read the whole topic again. Held: one number per live stream.
#[derive(Default)]
pub struct Ledger {
    first: Mutex<HashMap<StreamId, u64>>,
}

impl Ledger {
    /// An announcement of `stream` has this offset. The first one stands; 0
    /// for a stream that was live before this process began.
    pub fn note(&self, stream: StreamId, offset: u64) {
        self.first.lock().entry(stream).or_insert(offset);
    }

    /// The stream is over, and its announcements were read.
    pub fn forget(&self, stream: StreamId) {
        self.first.lock().remove(&stream);
    }

    /// All announcements of one stream, oldest first.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn read(&self, log: &dyn Log, stream: StreamId) -> Result<Vec<Announcement>, Error> {
        let partition = Topic::Segments.partition(stream.shard());
        let mut from = self.first.lock().get(&stream).copied().unwrap_or(0);
        let mut found = Vec::new();
        loop {
            let page = log.read(Topic::Segments, partition, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            from = last.offset + 1;
            let own = page.iter().filter(|record| *record.key == *stream.0.as_bytes());
            for (value, offset) in own.filter_map(|r| Some((r.value.as_ref()?, r.offset))) {
                match Announcement::decode(value) {
                    Ok(announcement) => found.push(announcement),
                    Err(error) => {
                        tracing::warn!(%stream, offset, %error, "announcement skipped");
                    }
                }
            }
        }
    }
}
