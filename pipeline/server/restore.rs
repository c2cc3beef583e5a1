//! What was live when the process last ended, from the log and the archive's files.
//!
//! Enters: the catalog, announcements, files. Leaves: streams that wait for their
//! publisher, and ended ones that may still be watched. Held: nothing. Ends before
//! anybody is let in. Never here: recordings, which the recorder makes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use log::Log;
use records::{StreamId, StreamState};
use runtime::wall_us;
use sinks::archive::{Announcement, Archive};
use sinks::hls::RestoredStream;

use super::StartError;
use crate::config::Config;
use crate::registry::Registry;
use crate::settings;
use crate::videos::Recorder;

/// Takes up what was live when the process last ended, and shows what ended
/// and may still be watched.
pub(super) async fn restore(
    registry: &Registry,
    log: &dyn Log,
    recorder: &Recorder,
    config: &Config,
) -> Result<(), StartError> {
    let Recorder { archive, ledger, videos, .. } = recorder;
    let catalog = registry.catalog();
    let live = catalog.live();
    let mut finished: Vec<_> = catalog
        .list(|entry| {
            let is_closed = entry.deleted || entry.state == StreamState::Inactive;
            entry.state.is_over() && !is_closed
        })
        .into_iter()
        .filter_map(|entry| {
            let ago = wall_us().saturating_sub(entry.ended_at_us?);
            Some((Duration::from_micros(ago), entry.stream_id))
        })
        .filter(|(ago, _)| *ago < config.hls.keep)
        // A video that was closed closes this way to it too.
        .filter(|(_, id)| videos.of_stream(*id).is_none_or(|video| video.is_open()))
        .collect();
    finished.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
    let wanted: HashSet<_> = live
        .iter()
        .map(|entry| entry.stream_id)
        .chain(finished.iter().map(|(_, stream)| *stream))
        .collect();
    let mut pasts = crate::announcements::read(log, |stream| wanted.contains(&stream)).await?;

    for entry in live {
        let stream = entry.stream_id;
        // Its announcements may be anywhere.
        ledger.note(stream, 0);
        let restored = past(stream, pasts.remove(&stream), archive, config).await;
        let resume = restored.as_ref().map(|restored| operators::demux::Resume {
            next_msn: restored.resume.next_msn,
            next_run: restored.resume.next_run,
            end: restored.resume.end,
            origin_wall_us: restored.resume.origin_wall_us,
        });
        tracing::info!(%stream, restored = restored.is_some(), "stream waits for its publisher");
        registry.restore(&entry, restored, resume).await?;
    }
    for (ago, stream) in finished {
        if let Some(restored) = past(stream, pasts.remove(&stream), archive, config).await {
            registry.show_finished(stream, restored, ago);
        }
    }
    Ok(())
}

/// A stream's window, from its announcements and the files that are there.
async fn past(
    stream: StreamId,
    announcements: Option<Vec<Announcement>>,
    archive: &Arc<Archive>,
    config: &Config,
) -> Option<RestoredStream> {
    let (reader, window) = (Arc::clone(archive), settings::restored_window(config));
    // Looks at every segment's file.
    let looked = tokio::task::spawn_blocking(move || {
        reader.restore(stream, announcements.unwrap_or_default(), window)
    });
    let restored = looked.await.ok().flatten()?;
    archive.adopt(stream, &restored);
    Some(restored)
}
