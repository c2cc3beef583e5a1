//! One archive thread: writes, announces, deletes.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use records::{Pieces, Rendition, Segment, StreamId, TrackStart};

use super::files::{self, Put};
use super::queue::{Job, Queue};
use super::{Announce, Announcement, Keep, SegmentRecord, Shared, TrackRecord, upload};
use crate::hls::{Object, Shape};

/// How often retention looks at streams that have ended, and a failed
/// announcement is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it is known which segments of a finished stream are stored, where
/// they are kept: memory has let go of them long before.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Announcements that may wait for a log that fails; the oldest go beyond
/// that, as lost as if their files were.
const UNANNOUNCED_MAX: usize = 16_384;

pub(super) struct Worker<A> {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    announce: A,
    unannounced: Vec<(StreamId, Vec<u8>)>,
    /// Stored segments by age, while there is a limit to keeping them.
    ages: HashMap<(StreamId, Rendition), VecDeque<(u64, i64)>>,
    ended: Vec<(StreamId, Instant)>,
}

impl<A: Announce> Worker<A> {
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue>, announce: A) -> Self {
        let (unannounced, ages, ended) = Default::default();
        Self { shared, queue, announce, unannounced, ages, ended }
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Some(jobs) = self.queue.take(PATIENCE) {
            for (job, bytes) in jobs {
                self.work(job);
                self.queue.done(bytes);
                self.shared.metrics.queue_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
            }
            self.flush();
            self.expire_ended();
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Track { stream, start } => self.track(stream, *start),
            Job::Segment { stream, segment, iframe_bytes, lost } => {
                self.segment(stream, &segment, iframe_bytes, lost);
            }
            Job::End { stream } => {
                self.say(stream, &Announcement::End);
                self.end(stream);
            }
            Job::Adopt { stream, tracks, skipped, ended } => {
                for (rendition, run, segments) in tracks {
                    self.adopt((stream, rendition), run, &segments);
                    for gap in &skipped {
                        self.say(
                            stream,
                            &Announcement::Segment(SegmentRecord::gap(rendition, gap)),
                        );
                    }
                }
                if ended {
                    self.end(stream);
                }
            }
            Job::Delete { stream } => self.delete(stream),
        }
    }

    fn end(&mut self, stream: StreamId) {
        self.ended.push((stream, Instant::now()));
        if let Some(spool) = &self.shared.spool {
            spool.end(stream);
        }
    }

    fn track(&mut self, stream: StreamId, start: TrackStart) {
        let (rendition, run) = (start.rendition, start.run);
        let path = files::path(&self.shared.config.root, Object::Init { stream, rendition, run });
        {
            let mut held = self.shared.held.lock();
            let held = held.entry((stream, rendition)).or_default();
            if held.run.is_some_and(|newest| newest >= run) {
                return;
            }
            held.run = Some(run);
        }
        let bytes = start.header.len() as u64;
        if let Err(error) = files::put_if_absent(&path, &[start.header]) {
            tracing::warn!(%stream, %rendition, run, %error, "initialization section not stored");
            return;
        }
        if let Some(spool) = &self.shared.spool {
            // Too few of them to be worth keeping in memory.
            spool.push(Object::Init { stream, rendition, run }, bytes, upload::wall_us(), &[]);
        }
        let shape = Shape::of(&start.init);
        let part_target = start.part_target;
        self.say(stream, &Announcement::Track(TrackRecord { rendition, run, shape, part_target }));
    }

    fn segment(
        &mut self,
        stream: StreamId,
        segment: &Segment,
        iframe_bytes: Option<u32>,
        lost: bool,
    ) {
        let Segment { rendition, msn, .. } = *segment;
        let key = (stream, rendition);
        let metrics = &self.shared.metrics;
        if self.shared.held.lock().get(&key).is_some_and(|held| held.next > msn) {
            metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut record = SegmentRecord {
            rendition,
            msn,
            run: segment.run,
            start: segment.start,
            duration: segment.duration,
            wall_us: segment.wall_us,
            bytes: segment.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            parts: segment.parts,
            gap: segment.gap,
            lost,
            iframe_bytes,
        };
        // What the file holds, if this wrote it.
        let mut content: &[Pieces] = &[];
        if !segment.gap && !lost {
            let path =
                files::path(&self.shared.config.root, Object::Segment { stream, rendition, msn });
            match files::put_if_absent(&path, segment.chunks.iter().flat_map(Pieces::iter)) {
                Ok(Put::Written) => {
                    content = &segment.chunks;
                    metrics.segments_total.fetch_add(1, Ordering::Relaxed);
                    metrics.bytes_total.fetch_add(record.bytes, Ordering::Relaxed);
                }
                Ok(Put::Kept(bytes)) => {
                    metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
                    // Encoded again after a crash: the first result stands,
                    // and where its pictures end isn't known.
                    if bytes != record.bytes {
                        record.bytes = bytes;
                        record.iframe_bytes = None;
                    }
                }
                Err(error) => {
                    metrics.write_lost_total.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%stream, %rendition, msn, %error, "segment lost: not stored");
                    record.lost = true;
                }
            }
        } else if lost {
            tracing::warn!(%stream, %rendition, msn, "segment lost: storage is too slow");
        }
        let stored = !record.gap && !record.lost;
        let end_us = (record.start.as_micros()) + record.duration.as_micros();
        self.hold(key, msn, stored);
        if let Some(spool) = self.shared.spool.as_ref().filter(|_| stored) {
            spool.list(stream, msn, end_us);
            let object = Object::Segment { stream, rendition, msn };
            spool.push(object, record.bytes, record.wall_us, content);
        }
        self.say(stream, &Announcement::Segment(record));
        self.age(key, msn, end_us, stored);
    }

    /// Notes what became of a segment.
    fn hold(&self, key: (StreamId, Rendition), msn: u64, stored: bool) {
        let mut held = self.shared.held.lock();
        let held = held.entry(key).or_default();
        if held.next == 0 {
            held.first = msn;
        } else {
            // Numbers that never came were never stored.
            held.lost.extend(held.next..msn);
        }
        if !stored {
            held.lost.insert(msn);
        }
        held.next = msn + 1;
    }

    /// Deletes what became too old by this segment's coming.
    fn age(&mut self, key: (StreamId, Rendition), msn: u64, end_us: i64, stored: bool) {
        let Keep::For(keep) = self.shared.config.keep else { return };
        let keep_us = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let ages = self.ages.entry(key).or_default();
        if stored {
            ages.push_back((msn, end_us));
        }
        let (stream, rendition) = key;
        while let Some((old, old_end_us)) = ages.front().copied()
            && old_end_us < end_us.saturating_sub(keep_us)
        {
            ages.pop_front();
            if let Some(held) = self.shared.held.lock().get_mut(&key) {
                held.first = old + 1;
                held.lost = held.lost.split_off(&held.first);
            }
            let object = Object::Segment { stream, rendition, msn: old };
            match fs::remove_file(files::path(&self.shared.config.root, object)) {
                Ok(()) => {
                    self.shared.metrics.deleted_total.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%stream, %rendition, msn = old, %error, "old segment not deleted");
                }
            }
        }
    }

    fn adopt(
        &mut self,
        key: (StreamId, Rendition),
        run: Option<u64>,
        segments: &[super::queue::Adopted],
    ) {
        for (msn, end_us, gap) in segments {
            self.hold(key, *msn, !gap);
            self.age(key, *msn, *end_us, !gap);
            if let Some(spool) = &self.shared.spool {
                spool.list(key.0, *msn, *end_us);
            }
        }
        if let Some(held) = self.shared.held.lock().get_mut(&key) {
            held.run = run;
        }
    }

    /// Streams that ended longer ago than anything is kept lose their files.
    fn expire_ended(&mut self) {
        let Keep::For(keep) = self.shared.config.keep else {
            let old = self.ended.extract_if(.., |(_, at)| at.elapsed() > REMEMBERED);
            let old: Vec<_> = old.map(|(stream, _)| stream).collect();
            if !old.is_empty() {
                self.shared.held.lock().retain(|(of, _), _| !old.contains(of));
            }
            return;
        };
        let expired: Vec<_> =
            self.ended.extract_if(.., |(_, at)| at.elapsed() > keep).map(|(id, _)| id).collect();
        expired.into_iter().for_each(|stream| self.delete(stream));
    }

    fn delete(&mut self, stream: StreamId) {
        self.ages.retain(|(of, _), _| *of != stream);
        self.ended.retain(|(of, _)| *of != stream);
        self.shared.held.lock().retain(|(of, _), _| *of != stream);
        if let Some(spool) = &self.shared.spool {
            spool.forget(stream);
        }
        if let Err(error) = files::remove_stream(&self.shared.config.root, stream) {
            tracing::warn!(%stream, %error, "a stream's files were not deleted");
        }
    }

    fn say(&mut self, stream: StreamId, announcement: &Announcement) {
        self.unannounced.push((stream, announcement.encode()));
    }

    /// Announces everything written since the last time, with one append.
    fn flush(&mut self) {
        if self.unannounced.is_empty() {
            return;
        }
        if let Err(error) = self.announce.announce(&self.unannounced) {
            self.shared.metrics.announce_errors_total.fetch_add(1, Ordering::Relaxed);
            let waiting = self.unannounced.len();
            tracing::warn!(waiting, %error, "announcements wait");
            self.unannounced.drain(..waiting.saturating_sub(UNANNOUNCED_MAX));
            return;
        }
        self.unannounced.clear();
    }
}
