//! One second of ingest, measured by arrival time.
//!
//! Enters: what came, what was dropped, what became a discontinuity. Leaves: a
//! [`Health`] each second while a publisher is connected, and for the rest
//! when it goes.

use records::{Health, StreamId};

const SECOND_US: i64 = 1_000_000;

/// Where a track's newest message lies in its own time and in arrival time, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Mark {
    source_us: i64,
    now: i64,
}

/// Measures one stream's ingest.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    // Begin of the second being measured; none while nobody publishes.
    since: Option<i64>,
    video_bytes: u64,
    audio_bytes: u64,
    pictures: u32,
    dropped: u32,
    discontinuities: u32,
    keyframe_us: Option<i64>,
    keyframe_interval_ms: Option<u32>,
    video: Option<Mark>,
    audio: Option<Mark>,
}

impl Meter {
    /// A publisher connected: what was measured before counts no more.
    pub(super) fn start(&mut self, now: i64) {
        *self = Self { since: Some(now), ..Self::default() };
    }

    /// Payload came in.
    pub(super) fn received(&mut self, video: bool, bytes: usize) {
        let sum = if video { &mut self.video_bytes } else { &mut self.audio_bytes };
        *sum = sum.saturating_add(bytes as u64);
    }

    /// A coded picture or block of sound came in.
    pub(super) fn coded(&mut self, video: bool, keyframe: bool, source_us: i64, now: i64) {
        let mark = Some(Mark { source_us, now });
        if !video {
            self.audio = mark;
            return;
        }
        self.video = mark;
        self.pictures = self.pictures.saturating_add(1);
        if keyframe {
            let before = self.keyframe_us.replace(source_us);
            self.keyframe_interval_ms = before
                .and_then(|before| u32::try_from(source_us.saturating_sub(before) / 1000).ok())
                .or(self.keyframe_interval_ms);
        }
    }

    /// Messages could not be used.
    pub(super) fn dropped(&mut self, messages: u32) {
        self.dropped = self.dropped.saturating_add(messages);
    }

    /// A jump or a change of parameters became a discontinuity.
    pub(super) fn discontinuity(&mut self) {
        self.discontinuities = self.discontinuities.saturating_add(1);
        // The intervals across it mean nothing.
        self.keyframe_us = None;
    }

    /// The second that is over by `now`, if one is. `wall` tells the date of its end.
    pub(super) fn tick(
        &mut self,
        stream: StreamId,
        now: i64,
        wall: impl Fn(i64) -> u64,
    ) -> Option<Health> {
        let since = self.since?;
        (now - since >= SECOND_US).then(|| self.take(stream, since, now, wall))
    }

    /// The publisher went: what was measured since the last full second.
    pub(super) fn stop(
        &mut self,
        stream: StreamId,
        now: i64,
        wall: impl Fn(i64) -> u64,
    ) -> Option<Health> {
        let since = self.since?;
        let some =
            self.video_bytes + self.audio_bytes > 0 || self.dropped > 0 || self.discontinuities > 0;
        let last = some.then(|| self.take(stream, since, now, wall));
        self.since = None;
        last
    }

    fn take(
        &mut self,
        stream: StreamId,
        since: i64,
        now: i64,
        wall: impl Fn(i64) -> u64,
    ) -> Health {
        let span = (now - since).max(1);
        // Whole seconds keep their beat; after a longer pause a new one begins.
        let end = if (SECOND_US..2 * SECOND_US).contains(&span) { since + SECOND_US } else { now };
        let kbps = |bytes: u64| {
            let kbit = i128::from(bytes) * 8000 / i128::from(span.max(1000));
            u32::try_from(kbit).unwrap_or(u32::MAX)
        };
        let health = Health {
            stream,
            at_us: wall(end),
            bitrate_kbps: kbps(self.video_bytes + self.audio_bytes),
            video_kbps: kbps(self.video_bytes),
            audio_kbps: kbps(self.audio_bytes),
            fps: (f64::from(self.pictures) * 1e6 / span as f64) as f32,
            keyframe_interval_ms: self.keyframe_interval_ms,
            av_drift_ms: self.drift_ms(),
            dropped: self.dropped,
            discontinuities: self.discontinuities,
        };
        *self = Self {
            since: Some(end),
            keyframe_us: self.keyframe_us,
            keyframe_interval_ms: self.keyframe_interval_ms,
            video: self.video,
            audio: self.audio,
            ..Self::default()
        };
        health
    }

    /// How far each is ahead of arrival, sound minus picture.
    fn drift_ms(&self) -> Option<i32> {
        let (audio, video) = (self.audio?, self.video?);
        let source = audio.source_us.saturating_sub(video.source_us);
        i32::try_from(source.saturating_sub(audio.now - video.now) / 1000).ok()
    }
}

#[cfg(test)]
impl Meter {
    /// What was dropped since the last full second.
    pub(super) fn pending_dropped(&self) -> u32 {
        self.dropped
    }
}
