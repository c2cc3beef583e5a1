//! A stream's past in the log's topic `segments`.

use log::{Error, Log, Topic};
use records::StreamId;
use sinks::archive::Announcement;

/// Records read at once.
const PAGE: usize = 1000;

/// All announcements of one stream, oldest first. Reads its whole partition:
/// retention keeps that to what is on disk.
///
/// # Errors
/// The log can't be read.
pub async fn of(log: &dyn Log, stream: StreamId) -> Result<Vec<Announcement>, Error> {
    let partition = Topic::Segments.partition(stream.shard());
    let (mut from, mut found) = (0, Vec::new());
    loop {
        let page = log.read(Topic::Segments, partition, from, PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        from = last.offset + 1;
        let own = page.iter().filter(|record| *record.key == *stream.0.as_bytes());
        for record in own {
            let Some(value) = &record.value else { continue };
            match Announcement::decode(value) {
                Ok(announcement) => found.push(announcement),
                Err(error) => {
                    tracing::warn!(%stream, offset = record.offset, %error, "announcement skipped");
                }
            }
        }
    }
}
