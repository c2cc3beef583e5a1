//! Makes a video of every broadcast that is over, and sweeps up what was missed.
//!
//! ```text
//! archive ─ End is announced ─► Recorder ──► recording.json · video record · ARCHIVED
//! every 30 s: what was missed ─►   │
//! API: delete, clip ───────────►   └──► files and records removed · INACTIVE
//! ```
//!
//! - **Enters**: streams whose last announcement is durable; orders to clip and
//!   to delete.
//! - **Leaves**: recordings and clips, and room on the disk; events of what was deleted.
//! - **Held**: the streams whose end the catalog doesn't show yet.
//! - **Ends** with the server, after a last sweep. Each step can be repeated: a
//!   stream stays STREAM_COMPLETE until its video is there, and what a crash left
//!   behind is taken up by the first sweep.
//! - **Never here**: media, which stay where live viewers had them; who may order.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::Log;
use records::{StreamId, StreamState};
use runtime::wall_us;
use sinks::archive::{Announcement, Archive};
use sinks::hls::Origin;
use sinks::hls::vod::{Library, Recording, VodError, Wanted};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Clip, Tier, Tiers, VideoEntry, VideoError, VideoId, VideoStatus, Videos, Visibility};
use crate::announcements::{self, Ledger};
use crate::catalog::{Catalog, CatalogError, StreamEntry};
use crate::thumbnails::Thumbnails;

/// How often what was missed is looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How often a stream is looked at whose end the catalog doesn't show yet.
const LOOK: Duration = Duration::from_millis(50);

/// A stream that ended longer ago than this and has no video was missed: the
/// disk was full, or the log away.
const MISSED_AFTER: Duration = Duration::from_secs(10);

/// A stream that ended longer ago than this will have no end announced: it was
/// quarantined.
const ENDLESS_AFTER: Duration = Duration::from_secs(300);

/// What an operator of the server decides about videos.
#[derive(Clone, Copy, Debug)]
pub struct RecorderConfig {
    /// Whether broadcasts become videos.
    pub enabled: bool,
    /// How long videos are kept; None: until somebody deletes them.
    pub keep: Option<Duration>,
    /// How long a broadcast stays on disk after its end once it is in the store.
    pub local: Duration,
    /// Bytes that a channel's recordings may have; None: any.
    pub channel_bytes_max: Option<u64>,
}

/// What became of finished broadcasts.
#[derive(Default)]
pub struct RecorderCounts {
    /// Those that became videos.
    pub recorded_total: AtomicU64,
    /// Attempts that failed; each is repeated.
    pub errors_total: AtomicU64,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Video(#[from] VideoError),
    #[error("what the recording is made of can't be stored: {0}; check the disk's space")]
    Disk(#[source] std::io::Error),
    #[error("the task that looked at its files died")]
    Interrupted,
}

/// See the module. One per server.
pub struct Recorder {
    /// What it decides by.
    pub config: RecorderConfig,
    /// Where streams are.
    pub catalog: Arc<Catalog>,
    /// Where videos are.
    pub videos: Videos,
    /// Where announcements are.
    pub log: Arc<dyn Log>,
    /// Where those of live streams begin.
    pub ledger: Arc<Ledger>,
    /// Where segments are.
    pub archive: Arc<Archive>,
    /// Where videos are played from.
    pub library: Library,
    /// Where finished broadcasts can still be watched.
    pub origin: Origin,
    /// Where pictures of videos are kept.
    pub thumbnails: Arc<Thumbnails>,
    /// What else is done to recordings.
    pub tiers: Arc<Tiers>,
    /// What it did so far.
    pub counts: RecorderCounts,
}

impl Recorder {
    /// Until dropped. `ended` names streams whose last announcement is durable.
    pub async fn run(self: Arc<Self>, ended: mpsc::Receiver<StreamId>) {
        // Side by side: a sweep may read the whole topic, and who just ended a
        // broadcast waits for its video.
        tokio::select! {
            () = self.record_ended(ended) => {}
            () = self.keep_sweeping() => {}
        }
    }

    async fn keep_sweeping(&self) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // At the start nothing of an earlier process is under way.
        let mut is_quiet = true;
        loop {
            sweep.tick().await;
            self.sweep(std::mem::take(&mut is_quiet)).await;
        }
    }

    async fn record_ended(&self, mut ended: mpsc::Receiver<StreamId>) {
        let mut waiting = HashSet::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                stream = ended.recv() => match stream {
                    Some(stream) => {
                        waiting.insert(stream);
                    }
                    None => return,
                },
                _ = look.tick(), if !waiting.is_empty() => {
                    let all: Vec<_> = waiting.iter().copied().collect();
                    for stream in all {
                        if self.is_settled(stream).await {
                            waiting.remove(&stream);
                        }
                    }
                }
            }
        }
    }

    /// Records a stream that is over. False: it isn't yet, as far as the catalog knows.
    async fn is_settled(&self, stream: StreamId) -> bool {
        let Some(entry) = self.catalog.get(stream) else { return true };
        if !entry.state.is_over() {
            return false;
        }
        if !self.is_due(&entry) {
            self.ledger.forget(stream);
        } else {
            let announced = self.ledger.read(&*self.log, stream).await;
            let recorded = match announced {
                Ok(announced) => self.record(&entry, announced).await,
                Err(error) => Err(error.into()),
            };
            report(&self.counts, stream, &recorded);
            self.keep_quotas().await;
        }
        true
    }

    /// Whether it is to become a video, and isn't one yet.
    pub(super) fn is_due(&self, entry: &StreamEntry) -> bool {
        self.config.enabled && !entry.deleted && entry.state == StreamState::StreamComplete
    }

    /// Does what was missed: streams that ended without a video, deletions
    /// that were interrupted, videos whose time is over. `is_quiet`: nothing
    /// is on its way to the archive, so what is announced is all there is.
    pub async fn sweep(&self, is_quiet: bool) {
        let ended = |entry: &StreamEntry, ago: Duration| {
            let before_us = wall_us().saturating_sub(ago.as_micros() as u64);
            is_quiet || entry.ended_at_us.is_some_and(|at| at <= before_us)
        };
        let missed = self.catalog.list(|entry| self.is_due(entry) && ended(entry, MISSED_AFTER));
        if !missed.is_empty() {
            let wanted: HashSet<_> = missed.iter().map(|entry| entry.stream_id).collect();
            match announcements::read(&*self.log, |stream| wanted.contains(&stream)).await {
                Ok(mut all) => {
                    for entry in &missed {
                        let announced = all.remove(&entry.stream_id).unwrap_or_default();
                        // Storage may be slow: half a recording would be for ever.
                        let is_whole = announced.contains(&Announcement::End);
                        if !is_whole && !ended(entry, ENDLESS_AFTER) {
                            continue;
                        }
                        report(&self.counts, entry.stream_id, &self.record(entry, announced).await);
                    }
                }
                Err(error) => tracing::error!(%error, "broadcasts can't be recorded"),
            }
        }
        self.clear().await;
        self.delete_due().await;
    }

    /// Makes the video of a finished stream, from all its announcements.
    async fn record(
        &self,
        entry: &StreamEntry,
        announced: Vec<Announcement>,
    ) -> Result<(), RecordError> {
        let stream = entry.stream_id;
        let turn = Arc::clone(&self.videos.shared.files).lock_owned().await;
        if self.catalog.get(stream).is_none_or(|entry| !self.is_due(&entry)) {
            // It was recorded meanwhile, or deleted.
            self.ledger.forget(stream);
            return Ok(());
        }
        if self.videos.of_stream(stream).is_none() {
            let (recording, _turn) = self.put_together(stream, announced, turn).await?;
            let Some(recording) = recording else {
                tracing::info!(%stream, "no video: nothing of the broadcast is stored");
                self.ledger.forget(stream);
                return Ok(self.catalog.settle(stream, StreamState::Inactive).await?);
            };
            self.library.forget(stream);
            let video = video(entry, &recording);
            let (id, duration_us) = (video.video_id, video.duration_us);
            self.videos.add(video).await?;
            self.counts.recorded_total.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%stream, video = %id, duration_us, "broadcast recorded");
        }
        self.ledger.forget(stream);
        self.catalog.settle(stream, StreamState::Archived).await?;
        if let Some(spool) = self.archive.spool() {
            spool.look_again();
        }
        Ok(())
    }

    /// Stores what a stream's recording is made of. The turn, if it is one, is
    /// over when that is done, even if nobody waits for it any more.
    pub(super) async fn put_together<T: Send + 'static>(
        &self,
        stream: StreamId,
        announced: Vec<Announcement>,
        turn: T,
    ) -> Result<(Option<Recording>, T), RecordError> {
        let archive = Arc::clone(&self.archive);
        // Looks at every segment's file.
        let made = tokio::task::spawn_blocking(move || {
            let recording = archive.record(stream, announced);
            if let Some(recording) = &recording {
                archive.put_recording(stream, recording)?;
            }
            Ok((recording, turn))
        });
        made.await.map_err(|_| RecordError::Interrupted)?.map_err(RecordError::Disk)
    }

    /// Makes a clip of a video: no copy, it plays the same files.
    /// `from_us..to_us` is of the video's playing time and within it.
    ///
    /// # Errors
    /// The recording can't be read, or the catalogue can't be changed.
    pub async fn clip(
        &self,
        of: &VideoEntry,
        from_us: i64,
        to_us: i64,
        title: String,
    ) -> Result<VideoEntry, ClipError> {
        // A clip of a clip is one of the recording.
        let shift_us = of.clip.map_or(0, |clip| clip.begins_us);
        let (from_us, to_us) = (from_us + shift_us, to_us + shift_us);
        let stream = of.stream_id;
        let whole = Wanted { stream, piece_us: None };
        let recording = self.library.recording(whole).await?;
        let (piece, begins_us) = recording.cut(from_us, to_us).ok_or(VodError::Outside)?;
        let clip = Clip { video_id: of.video_id, from_us, to_us, begins_us };
        let began_us = piece.moments.first().map_or(0, |moment| moment.wall_us);
        let entry = VideoEntry {
            video_id: VideoId::generate(),
            clip: Some(clip),
            title,
            created_at_us: wall_us(),
            started_at_us: began_us,
            ended_at_us: end_wall_us(&piece),
            duration_us: piece.duration_us().unsigned_abs(),
            bytes: piece.bytes(),
            renditions: piece.renditions(),
            ..of.clone()
        };
        let _turn = self.videos.shared.files.lock().await;
        if self.videos.get(of.video_id).is_none() {
            return Err(VodError::Missing.into()); // Deleted meanwhile, perhaps with its files.
        }
        self.videos.add(entry.clone()).await?;
        Ok(entry)
    }
}

/// A clip can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// Its recording can't be read, or ends before it.
    #[error(transparent)]
    Vod(#[from] VodError),
    /// The catalogue can't be changed.
    #[error(transparent)]
    Video(#[from] VideoError),
}

fn report(counts: &RecorderCounts, stream: StreamId, recorded: &Result<(), RecordError>) {
    if let Err(error) = recorded {
        counts.errors_total.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%stream, %error, "a broadcast is not recorded yet; it is tried again");
    }
}

fn end_wall_us(recording: &Recording) -> u64 {
    let last = recording.moments.last();
    last.map_or(0, |last| last.wall_us.saturating_add_signed(last.end_us - last.start_us))
}

/// The record of a whole recording.
fn video(entry: &StreamEntry, recording: &Recording) -> VideoEntry {
    VideoEntry {
        video_id: VideoId::generate(),
        stream_id: entry.stream_id,
        clip: None,
        title: entry.title.clone(),
        category: entry.category.clone(),
        created_at_us: wall_us(),
        started_at_us: recording.moments.first().map_or(0, |moment| moment.wall_us),
        ended_at_us: end_wall_us(recording),
        duration_us: recording.duration_us().unsigned_abs(),
        bytes: recording.bytes(),
        renditions: recording.renditions(),
        status: VideoStatus::Archived,
        visibility: Visibility::Public,
        tier: Tier::Hot,
        changed_at_us: 0,
        deleted: false,
        deletion: None,
        erased: false,
    }
}
