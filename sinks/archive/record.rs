//! What the archive says of what it wrote: values of the log's topic `segments`.

use records::{MediaTime, Rendition, StreamId};
use serde::{Deserialize, Serialize};

use crate::hls::{SegmentMeta, Shape};

/// One announcement, as JSON: `{"segment": {…}}`, `{"track": {…}}` or
/// `"end"`. The key is the stream. Fields may be added; readers ignore what
/// they don't know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// A rendition begins a run; its initialization section is stored.
    Track(TrackRecord),
    /// A segment is stored, or lost, or a gap.
    Segment(SegmentRecord),
    /// The broadcast is over.
    End,
}

/// A rendition's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Which rendition.
    pub rendition: Rendition,
    /// The run's number.
    pub run: u64,
    /// What playlists say of it.
    pub shape: Shape,
    /// PART-TARGET.
    pub part_target: MediaTime,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Which rendition.
    pub rendition: Rendition,
    /// Media sequence number.
    pub msn: u64,
    /// Discontinuity sequence number.
    pub run: u64,
    /// Where it begins on the stream's timeline.
    pub start: MediaTime,
    /// How long it lasts.
    pub duration: MediaTime,
    /// Wall clock of its start, in microseconds since 1970.
    pub wall_us: u64,
    /// Length of its file.
    pub bytes: u64,
    /// How many parts it was published in.
    pub parts: u32,
    /// Nothing was published for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// It was published, but couldn't be stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Bytes from its start to the end of its first picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iframe_bytes: Option<u32>,
}

impl SegmentRecord {
    /// A gap that a restart lists.
    pub(super) fn gap(rendition: Rendition, gap: &SegmentMeta) -> Self {
        Self {
            rendition,
            msn: gap.msn,
            run: gap.run,
            start: MediaTime::new(gap.start_us, 1_000_000),
            duration: MediaTime::new(gap.end_us - gap.start_us, 1_000_000),
            wall_us: gap.wall_us,
            bytes: 0,
            parts: 0,
            gap: true,
            lost: false,
            iframe_bytes: None,
        }
    }
}

impl Announcement {
    /// Its value in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Plain data with string keys always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a value of the log.
    ///
    /// # Errors
    /// It is none of ours, or of a newer version that means something else.
    pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

/// Appending failed: storage's fault, a retry may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot append an announcement")]
pub struct AnnounceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where announcements go. Called by an archive thread, so it may block.
pub trait Announce: Send + 'static {
    /// Appends values in order; durable when it returns. An error may leave
    /// some of them appended: they are then appended again, and readers drop
    /// what they have already.
    ///
    /// # Errors
    /// The log can't take them now.
    fn announce(&self, values: &[(StreamId, Vec<u8>)]) -> Result<(), AnnounceError>;
}

impl<F> Announce for F
where
    F: Fn(&[(StreamId, Vec<u8>)]) -> Result<(), AnnounceError> + Send + 'static,
{
    fn announce(&self, values: &[(StreamId, Vec<u8>)]) -> Result<(), AnnounceError> {
        self(values)
    }
}
