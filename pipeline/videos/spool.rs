//! Broadcasts on their way to the store: what leaves the disk, and what is
//! given up when too much waits.
//!
//! ```text
//! a broadcast is in the store, and old enough ─► its files go
//! more waits than archive.spool ─► lost: segments topic, events topic, recording.json ─► files go
//! ```
//!
//! Enters: what the spool picked. Leaves: announcements, then deletions. Held:
//! nothing. A loss is announced before its file goes: killed in between, the
//! file is still there, and goes up or is given up again. While the log is
//! away nothing is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use log::{NewRecord, Topic};
use records::StreamId;
use runtime::wall_us;
use sinks::archive::{Announcement, SegmentRecord, Spool, Victim};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Recorder;
use super::recorder::RecordError;
use crate::journal::{self, Loss};

/// How often it is looked for what became old enough to leave the disk.
const SWEEP: Duration = Duration::from_secs(30);

/// Pause after a log that took no announcement.
const PAUSE: Duration = Duration::from_secs(2);

impl Recorder {
    /// Until dropped; at once if there is no store.
    pub async fn tend_spool(self: Arc<Self>) {
        let Some(spool) = self.archive.spool() else { return };
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                victims = spool.overflow() => self.give_up(spool, victims).await,
                () = spool.another_whole() => self.evict(spool).await,
                _ = sweep.tick() => self.evict(spool).await,
            }
        }
    }

    /// Deletes the files of broadcasts that are in the store and old enough.
    async fn evict(&self, spool: &Spool) {
        let before_us = wall_us().saturating_sub(self.config.local.as_micros() as u64);
        for stream in spool.whole() {
            let entry = self.catalog.get(stream);
            let is_due = entry.is_some_and(|entry| {
                let is_old = entry.ended_at_us.is_some_and(|at| at <= before_us);
                // Its recording is made from what lies here.
                entry.state.is_over() && is_old && !self.is_due(&entry)
            });
            if !is_due {
                continue;
            }
            self.tiers.leave_disk(stream).await;
        }
    }

    /// Announces that segments are lost, and deletes them.
    async fn give_up(&self, spool: &Spool, victims: Vec<Victim>) {
        // A recording that is made meanwhile would list them.
        let _turn = self.videos.shared.files.lock().await;
        if let Err(error) = self.announce_lost(&victims).await {
            tracing::warn!(%error, "segments can't be given up yet, and wait for the store");
            spool.spare(&victims);
            sleep(PAUSE).await;
            return;
        }
        let archive = Arc::clone(&self.archive);
        let discarded = tokio::task::spawn_blocking(move || archive.discard(&victims)).await;
        if let Err(error) = discarded {
            tracing::error!(%error, "segments that were given up may still be on disk");
        }
    }

    async fn announce_lost(&self, victims: &[Victim]) -> Result<(), RecordError> {
        let mut lost: BTreeMap<StreamId, Vec<Victim>> = BTreeMap::new();
        for victim in victims {
            lost.entry(victim.stream).or_default().push(*victim);
        }
        for (stream, victims) in lost {
            let mut announced = self.ledger.read(&*self.log, stream).await?;
            let losses = lost_records(&announced, &victims);
            let partition = Topic::Segments.partition(stream.shard());
            let key = stream.0.as_bytes();
            let records =
                losses.iter().map(|lost| NewRecord::new(partition, key.to_vec(), lost.encode()));
            self.log.append_many(Topic::Segments, records.collect()).await?;
            let at_us = wall_us();
            let losses_by_rendition = summed(&victims);
            let events = losses_by_rendition.iter().filter_map(|loss| journal::lost(loss, at_us));
            self.log.append_many(Topic::Events, events.collect()).await?;
            for Loss { rendition, from_msn, to_msn, segments, bytes, .. } in losses_by_rendition {
                tracing::warn!(
                    %stream, %rendition, from_msn, to_msn, segments, bytes,
                    "segments lost: too much waits for the store"
                );
            }
            announced.extend(losses);
            self.mend(stream, announced).await?;
        }
        Ok(())
    }

    /// Makes a finished stream's recording anew, without what is lost.
    async fn mend(
        &self,
        stream: StreamId,
        announced: Vec<Announcement>,
    ) -> Result<(), RecordError> {
        let Some(video) = self.videos.of_stream(stream) else { return Ok(()) };
        let (recording, ()) = self.put_together(stream, announced, ()).await?;
        let Some(recording) = recording else { return Ok(()) };
        self.library.forget(stream);
        let changed = self.videos.update(video.video_id, move |entry| {
            entry.bytes = recording.bytes();
            entry.renditions = recording.renditions();
        });
        changed.await?;
        Ok(())
    }
}

/// What is said of the lost: the record of each, as it was announced, but lost.
fn lost_records(announced: &[Announcement], victims: &[Victim]) -> Vec<Announcement> {
    let wanted: BTreeSet<_> = victims.iter().map(|v| (v.rendition, v.msn)).collect();
    let mut said = BTreeSet::new();
    let segments = announced.iter().filter_map(|announcement| match announcement {
        Announcement::Segment(segment) => Some(segment),
        _ => None,
    });
    segments
        .filter(|segment| wanted.contains(&(segment.rendition, segment.msn)))
        .filter(|segment| said.insert((segment.rendition, segment.msn)))
        .map(|segment| Announcement::Segment(SegmentRecord { lost: true, ..segment.clone() }))
        .collect()
}

/// One loss for each rendition of one stream.
fn summed(victims: &[Victim]) -> Vec<Loss> {
    let mut all: Vec<Loss> = Vec::new();
    for &Victim { stream, rendition, msn, bytes, .. } in victims {
        let known = all.iter_mut().find(|loss| loss.rendition == rendition);
        match known {
            Some(loss) => {
                loss.from_msn = loss.from_msn.min(msn);
                loss.to_msn = loss.to_msn.max(msn);
                loss.segments += 1;
                loss.bytes += bytes;
            }
            None => {
                all.push(Loss {
                    stream,
                    rendition,
                    from_msn: msn,
                    to_msn: msn,
                    segments: 1,
                    bytes,
                });
            }
        }
    }
    all
}
