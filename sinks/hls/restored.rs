//! A stream's past, as read back from storage after a restart.

use records::{Kind, MediaTime, Rendition, TrackInit};
use serde::{Deserialize, Serialize};

/// What a multivariant playlist says of a track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// RFC 6381 name.
    pub codec: String,
    /// Width and height in pixels, of a picture.
    pub resolution: Option<(u16, u16)>,
    /// Pictures per second, of a picture.
    pub frame_rate: Option<f64>,
    /// Channels, of sound.
    pub channels: Option<u16>,
}

impl Shape {
    /// The shape of a track with this configuration.
    #[must_use]
    pub fn of(init: &TrackInit) -> Self {
        let codec = init.rfc6381();
        match init.kind {
            Kind::Video { width, height, fps } => {
                let nominal = (init.timescale, init.sample_ticks);
                let (frames, seconds) = fps.filter(|f| f.1 > 0).unwrap_or(nominal);
                Self {
                    codec,
                    resolution: Some((width, height)),
                    frame_rate: Some(f64::from(frames) / f64::from(seconds.max(1))),
                    channels: None,
                }
            }
            Kind::Audio { channels, .. } => {
                Self { codec, resolution: None, frame_rate: None, channels: Some(channels) }
            }
        }
    }
}

/// A complete segment, without its bytes. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Media sequence number.
    pub msn: u64,
    /// Discontinuity sequence number.
    pub run: u64,
    /// Where it begins on the stream's timeline.
    pub start_us: i64,
    /// Where it ends.
    pub end_us: i64,
    /// Wall clock of its start, since 1970.
    pub wall_us: u64,
    /// Its length in bytes; 0 for a gap.
    pub bytes: u64,
    /// Nothing can be fetched for it.
    pub gap: bool,
    /// Bytes from its start to the end of its first picture.
    pub iframe_bytes: Option<u32>,
}

/// One rendition's past. Media sequence numbers are contiguous.
#[derive(Clone, Debug)]
pub struct RestoredTrack {
    /// Which rendition.
    pub rendition: Rendition,
    /// PART-TARGET that was declared, in microseconds.
    pub part_target_us: i64,
    /// Runs whose initialization section is stored, rising.
    pub inits: Vec<(u64, Shape)>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentMeta>,
}

/// Where a stream goes on after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Media sequence number of the next segment.
    pub next_msn: u64,
    /// Number of the next run.
    pub next_run: u64,
    /// Media time at which the next run may begin.
    pub end: MediaTime,
    /// Wall clock of media time 0, in microseconds since 1970.
    pub origin_wall_us: u64,
}

/// A stream's past: all tracks end with the same media sequence number.
#[derive(Clone, Debug)]
pub struct RestoredStream {
    /// Its renditions.
    pub tracks: Vec<RestoredTrack>,
    /// The gaps at the end of every track, for what a crash may have shown
    /// without storing it. To be announced: the next restart lists them too.
    pub skipped: Vec<SegmentMeta>,
    /// Whether the broadcast is over.
    pub ended: bool,
    /// Where it goes on, if it does.
    pub resume: Resume,
}

#[cfg(test)]
mod tests {
    use records::StreamId;

    use super::*;
    use crate::hls::HlsConfig;
    use crate::hls::tests::{origin, text};

    /// `start_us..end_us` of the sound.
    fn segment(msn: u64, start_us: i64, end_us: i64) -> SegmentMeta {
        let wall_us = start_us.unsigned_abs();
        SegmentMeta {
            msn,
            run: 0,
            start_us,
            end_us,
            wall_us,
            bytes: 10,
            gap: false,
            iframe_bytes: None,
        }
    }

    /// The sound's playlist of a stream that has these segments behind it.
    async fn playlist(segments: Vec<SegmentMeta>, end: MediaTime, ended: bool) -> String {
        let shape =
            Shape { codec: "c".into(), resolution: None, frame_rate: None, channels: Some(2) };
        let next_msn = segments.last().map_or(0, |last| last.msn + 1);
        let track = RestoredTrack {
            rendition: Rendition::Audio,
            part_target_us: 200_000,
            inits: vec![(0, shape)],
            segments,
        };
        let resume = Resume { next_msn, next_run: 1, end, origin_wall_us: 0 };
        let (origin, stream) = (origin(), StreamId::generate());
        let restored = RestoredStream { tracks: vec![track], skipped: Vec::new(), ended, resume };
        origin.open(stream, Some(restored));
        text(&origin, stream, "audio/index.m3u8").await
    }

    #[tokio::test]
    async fn a_window_is_as_long_as_what_it_lists() {
        let config = HlsConfig::default();
        // One more than the window, which is three target durations, but for
        // some milliseconds between segments.
        let (count, three_us) = (config.window_segments as i64, config.target_durations_us(3));
        let nth = |n: i64| {
            segment(n.unsigned_abs(), n * three_us / count + 3000, (n + 1) * three_us / count)
        };
        let end = MediaTime::new(nth(count).end_us, 1_000_000);
        let text = playlist((0..=count).map(nth).collect(), end, false).await;
        let listed = text.matches("\n#EXTINF:").count();
        assert_eq!(listed as i64, count + 1, "{text}");
    }

    #[tokio::test]
    async fn a_gap_begins_where_its_own_rendition_ended() {
        // The picture's segment 1 was announced before the crash, the sound's wasn't.
        let gap = SegmentMeta { gap: true, ..segment(1, 1_000_000, 2_000_000) };
        let segments = vec![segment(0, 0, 1_008_000), gap];
        let text = playlist(segments, MediaTime::new(2, 1), true).await;
        let lines = "01.008Z\n#EXT-X-GAP\n#EXTINF:0.992,\n1.m4s\n";
        assert!(text.contains(lines), "{text}");
    }
}
