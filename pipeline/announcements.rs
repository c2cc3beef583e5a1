//! Streams' pasts in the log's topic `segments`.

use std::collections::HashMap;

use log::{Error, Log, Topic};
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
