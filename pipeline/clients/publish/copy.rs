//! One copy: the clip against the clock, connection after connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::clip::{Clip, Track};
use super::session::Session;
use super::url::RtmpUrl;
use super::{CopyReport, PublishError, PublishOptions};
use crate::Stop;

/// Tags due within this time go out together: a wake-up costs more than a tag.
const BATCH: Duration = Duration::from_millis(4);
/// Pauses between attempts to reconnect: from this …
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// … doubling up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// A connection that lasted so long starts the pauses anew.
const SETTLED: Duration = Duration::from_secs(10);

/// One copy of the clip.
pub(super) struct Copy {
    pub(super) clip: Arc<Clip>,
    pub(super) options: Arc<PublishOptions>,
    pub(super) url: RtmpUrl,
    pub(super) stop: Stop,
}

impl Copy {
    /// Runs to its end; what was done is reported also if it fails.
    pub(super) async fn run(self, delay: Duration) -> (CopyReport, Result<(), PublishError>) {
        let mut report = CopyReport { url: self.url.to_string(), ..CopyReport::default() };
        tokio::select! {
            () = sleep(delay) => {}
            () = self.stop.stopped() => return (report, Ok(())),
        }
        let until = self.options.duration.map(|limit| Instant::now() + limit);
        let mut backoff = BACKOFF_MIN;
        let mut published = false;
        loop {
            let began = Instant::now();
            let result = self.connection(&mut report, &mut published, until).await;
            let Err(error) = result else {
                return (report, Ok(()));
            };
            if !self.options.reconnect || !published {
                return (report, Err(error));
            }
            tracing::debug!(url = %self.url, %error, "connection lost, trying again");
            if began.elapsed() >= SETTLED {
                backoff = BACKOFF_MIN;
            }
            tokio::select! {
                () = sleep(backoff) => {}
                () = self.stop.stopped() => return (report, Ok(())),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return (report, Ok(()));
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            report.reconnects += 1;
        }
    }

    /// One connection, from the clip's beginning as an encoder would.
    async fn connection(
        &self,
        report: &mut CopyReport,
        published: &mut bool,
        until: Option<Instant>,
    ) -> Result<(), PublishError> {
        let mut session = tokio::select! {
            session = Session::open(&self.url, &self.options.trust) => session?,
            () = self.stop.stopped() => return Ok(()),
        };
        *published = true;
        session.metadata(&self.clip.metadata)?;
        for (track, body) in &self.clip.headers {
            session.push(*track, 0, body);
        }
        session.flush().await?;
        self.play(&mut session, report, until).await?;
        session.close().await
    }

    async fn play(
        &self,
        session: &mut Session,
        report: &mut CopyReport,
        until: Option<Instant>,
    ) -> Result<(), PublishError> {
        let start = Instant::now();
        let stopped = self.stop.stopped();
        tokio::pin!(stopped);
        let rounds = if self.options.looping { u64::MAX } else { 1 };
        for round in 0..rounds {
            let mut tags = self.clip.tags.iter().peekable();
            while let Some(tag) = tags.peek() {
                let due = start + self.wall(self.clip.due_ns(round, tag));
                if until.is_some_and(|until| due >= until) {
                    return Ok(());
                }
                // Answers are read while waiting; when late, at least looked for.
                loop {
                    tokio::select! {
                        biased;
                        () = &mut stopped => return Ok(()),
                        received = session.receive() => received?,
                        () = sleep_until(due) => break,
                    }
                }
                let now = Instant::now();
                report.late_ms_max = report.late_ms_max.max((now - due).as_millis() as u64);
                let horizon = now + BATCH;
                let is_due = |ns| start + self.wall(ns) <= horizon;
                while let Some(tag) = tags.next_if(|tag| is_due(self.clip.due_ns(round, tag))) {
                    let ns = self.clip.due_ns(round, tag);
                    let timestamp_ms = (ns + 500_000) / 1_000_000;
                    // Modulo 2^32, as RTMP counts (R 5.3.1.3).
                    session.push(tag.track, timestamp_ms as u32, &tag.body);
                    report.media_ms = report.media_ms.max(timestamp_ms.unsigned_abs());
                    report.bytes += tag.body.len() as u64;
                    match tag.track {
                        Track::Video => report.video_tags += 1,
                        Track::Audio => report.audio_tags += 1,
                    }
                }
                session.flush().await?;
            }
        }
        Ok(())
    }

    /// Wall time after which media time `ns` is due.
    fn wall(&self, ns: i64) -> Duration {
        let speed = if self.options.speed > 0.0 { self.options.speed } else { 1.0 };
        if speed == 1.0 {
            return Duration::from_nanos(ns.unsigned_abs());
        }
        Duration::from_secs_f64(ns.unsigned_abs() as f64 / 1e9 / speed)
    }
}
