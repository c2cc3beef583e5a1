//! Renditions that old recordings don't keep.
//!
//! Enters: broadcasts whose age is reached. Leaves: fewer files. A rendition is
//! dropped for good in five steps, each of which can be repeated: it is written
//! down, told, no longer shown, deleted, and written down that it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use records::StreamId;
use runtime::wall_us;
use sinks::hls::vod::Wanted;

use super::super::rules::{Thin, ThinTo, too_many, without_holes};
use super::super::{Dropping, MediaEntry, VideoEntry};
use super::{TierError, Tiers};
use crate::faults::Step;
use crate::journal;

impl Tiers {
    /// Broadcasts of which something is to be dropped, oldest first.
    pub(super) fn to_thin(&self, rule: Thin) -> Vec<StreamId> {
        let is_due = |video: &VideoEntry| {
            !video.deleted
                && !too_many(&video.renditions, rule.to).is_empty()
                && self.is_over_since(video, rule.after)
        };
        let videos = self.around.videos.list(is_due);
        let (refused, needed) = (self.refused.lock(), self.needed.lock());
        let due: BTreeSet<_> = videos.iter().map(|video| video.stream_id).collect();
        due.into_iter().filter(|of| !refused.contains(of) && !needed.contains(of)).collect()
    }

    /// Drops what the rule says.
    pub(super) async fn thin(&self, stream: StreamId, to: ThinTo) -> Result<(), TierError> {
        let _turn = self.turn(stream).await;
        let mut entry = self.media(stream);
        if entry.is_open() || !self.is_wanted(stream) || !self.around.archive.is_at_rest(stream) {
            return Ok(());
        }
        let recording = self.around.library.recording(Wanted { stream, piece_us: None }).await?;
        let all = recording.renditions();
        let renditions = without_holes(&recording, &too_many(&all, to));
        if renditions.is_empty() {
            tracing::info!(%stream, %to, "no rendition dropped: each has what others lack");
            self.needed.lock().insert(stream);
            return Ok(());
        }
        let gone = all.iter().filter(|of| renditions.contains(&of.rendition));
        let bytes = gone.map(|of| of.bytes).sum();
        entry.dropped.extend(&renditions);
        entry.dropped.sort_unstable();
        entry.dropped.dedup();
        entry.dropping = Some(Dropping { at_us: wall_us(), renditions, bytes });
        self.around.videos.put_media(entry.clone()).await?;
        self.around.faults.reach(Step::ThinDecided);
        self.finish_dropping(entry).await.map(drop)
    }

    /// Carries out what was decided; the record as it is then.
    pub(super) async fn finish_dropping(&self, entry: MediaEntry) -> Result<MediaEntry, TierError> {
        let Some(dropping) = &entry.dropping else { return Ok(entry) };
        let stream = entry.stream_id;
        self.tell(journal::renditions_dropped(stream, dropping)).await?;
        self.around.faults.reach(Step::ThinTold);
        self.around.library.leave_out(stream, &entry.dropped);
        for video in self.around.videos.list(|video| video.stream_id == stream) {
            self.around.thumbnails.forget_video(video.wanted());
        }
        self.around.videos.show_media(&entry).await?;
        self.around.faults.reach(Step::ThinShown);
        let (archive, renditions) = (Arc::clone(&self.around.archive), dropping.renditions.clone());
        let removed =
            tokio::task::spawn_blocking(move || archive.remove_renditions(stream, &renditions));
        let removed = removed.await.unwrap_or_else(|died| Err(std::io::Error::other(died)));
        removed.map_err(TierError::Disk)?;
        let cold = self.config.cold.iter().map(|cold| &cold.store);
        for store in cold.chain(self.around.archive.spool().map(|_| &self.warm)) {
            for rendition in &dropping.renditions {
                store.remove_rendition(stream, *rendition).await?;
            }
        }
        // The space of a deleted file is free once nobody has it open.
        self.around.library.forget(stream);
        self.around.faults.reach(Step::ThinCleared);
        let done = MediaEntry { dropping: None, ..entry.clone() };
        self.around.videos.put_media(done.clone()).await?;
        let (count, bytes) = (dropping.renditions.len() as u64, dropping.bytes);
        self.counts.dropped_total.fetch_add(count, Ordering::Relaxed);
        self.counts.dropped_bytes_total.fetch_add(bytes, Ordering::Relaxed);
        tracing::info!(%stream, count, bytes, "renditions dropped: the recording is old");
        Ok(done)
    }
}
