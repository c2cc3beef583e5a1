//! What can be chosen about the timeline, and where it goes on after a restart.

use std::time::Duration;

use records::{Codec, MediaTime};
use serde::{Deserialize, Serialize};

/// What can be chosen about the timeline; the same for all streams.
#[derive(Clone, Debug)]
pub struct DemuxConfig {
    /// A segment ends at the first keyframe after this long, less half a picture.
    pub segment_target: Duration,
    /// The longest segment; EXT-X-TARGETDURATION is this, rounded (bis
    /// 4.4.3.1). A source whose keyframes are rarer is re-encoded.
    pub segment_max: Duration,
    /// Pictures that this machine can decode and encode anew. Those of another
    /// codec stay passed through, with segments as long as their keyframes demand.
    pub can_encode: Vec<Codec>,
    /// Timestamps that leap ahead of the arrival clock by more than this, or
    /// fall behind the other track by more than this, begin a new run.
    pub jump_tolerance: Duration,
    /// Timestamps that go back by less than this are guessed ones, put in
    /// order; beyond it they begin a new run.
    pub back_tolerance: Duration,
    /// One track leaps alone: how long the other is given to follow, while what
    /// leapt is held back.
    pub jump_confirm: Duration,
    /// How far audio timestamps (whole milliseconds, often jittery) may stray
    /// from the sum of the frames' durations before the sum gives way.
    pub audio_tolerance: Duration,
    /// How long the first track waits for the second, by arrival time.
    pub track_wait: Duration,
    /// How long sound waits for the keyframe of a picture that is known to exist.
    pub keyframe_wait: Duration,
    /// Silence of a connected publisher after which gaps begin.
    pub idle_before_gap: Duration,
    /// Wait after a pause before the first gap is listed: a publisher that is
    /// back at once leaves none.
    pub gap_delay: Duration,
    /// Messages held while a run can't begin yet.
    pub preroll_messages_max: usize,
    /// Payload bytes held while a run can't begin yet.
    pub preroll_bytes_max: usize,
}

impl Default for DemuxConfig {
    fn default() -> Self {
        Self {
            segment_target: Duration::from_secs(2),
            segment_max: Duration::from_secs(4),
            can_encode: vec![Codec::H264],
            jump_tolerance: Duration::from_secs(3),
            back_tolerance: Duration::from_millis(500),
            jump_confirm: Duration::from_secs(1),
            audio_tolerance: Duration::from_millis(60),
            track_wait: Duration::from_secs(1),
            keyframe_wait: Duration::from_secs(10),
            idle_before_gap: Duration::from_secs(3),
            gap_delay: Duration::from_millis(500),
            preroll_messages_max: 1024,
            preroll_bytes_max: 8 << 20,
        }
    }
}

/// Where a stream's sequences and its media time must go on after the process
/// restarted. [`super::Demuxer::resume`] gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The next media sequence number; all lower ones are used up.
    pub next_msn: u64,
    /// The next run's number.
    pub next_run: u64,
    /// Media time never goes below this.
    pub end: MediaTime,
    /// Wall clock of media time 0, in microseconds since 1970.
    pub origin_wall_us: u64,
}

/// Whole microseconds, for arithmetic.
pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
