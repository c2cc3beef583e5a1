//! What an operator of the server decides about playlists.

use std::time::Duration;

/// Settings of the origin, the same for all streams.
#[derive(Clone, Debug)]
pub struct HlsConfig {
    /// EXT-X-TARGETDURATION in seconds: the longest segment, rounded. Default
    /// 4. Must equal the demuxer's longest segment, since it may never change
    /// (bis 4.4.3.1) and so has to be known before the first cut.
    pub target_duration_s: u32,
    /// Segments that a playlist lists at least; at least 6 (A 8.11). Default
    /// 15. It also never gets shorter than three target durations (bis 6.2.2).
    pub window_segments: usize,
    /// How far back viewers may seek. Older segments than memory holds are
    /// read from storage. Default 0: no further than `window_segments`.
    pub dvr: Duration,
    /// Complete segments of each rendition whose bytes stay in memory after
    /// they are stored; at least 1. Default 6: at 2.6 Mbit/s and 2 s, 4 MB. Viewers near
    /// the live edge never touch storage.
    pub hot_segments: usize,
    /// How long parts should be. Default 200 ms. PART-TARGETs are whole numbers
    /// of samples, so up to this; a rendition whose samples are longer declares more.
    pub part_target: Duration,
    /// PART-HOLD-BACK in multiples of `part_target`, or of a longer PART-TARGET;
    /// at least 3 (A 14.3). Default 3. More means more latency and fewer stalls.
    pub part_hold_back: f64,
    /// How long the first requests wait for every rendition of the ladder to
    /// begin, so that no viewer gets half of it. Default 5 s.
    pub ladder_wait: Duration,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            target_duration_s: 4,
            window_segments: 15,
            dvr: Duration::ZERO,
            hot_segments: 6,
            part_target: Duration::from_millis(200),
            part_hold_back: 3.0,
            ladder_wait: Duration::from_secs(5),
        }
    }
}

/// The configuration contradicts a rule; it is the operator's to change.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum HlsConfigError {
    /// A target duration of nothing.
    #[error("target_duration_s is {0}, must be 1 to 60")]
    TargetDuration(u32),
    /// Too short a window.
    #[error("window_segments is {0}, must be at least 6 (A 8.11)")]
    Window(usize),
    /// Nothing in memory.
    #[error("hot_segments is {0}, must be at least 1")]
    Hot(usize),
    /// Too close to the live edge.
    #[error("part_hold_back is {0}, must be 3 to 20 (A 14.3)")]
    PartHoldBack(f64),
}

impl HlsConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// Names the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), HlsConfigError> {
        if !(1..=60).contains(&self.target_duration_s) {
            return Err(HlsConfigError::TargetDuration(self.target_duration_s));
        }
        if self.window_segments < 6 {
            return Err(HlsConfigError::Window(self.window_segments));
        }
        if self.hot_segments < 1 {
            return Err(HlsConfigError::Hot(self.hot_segments));
        }
        if !(3.0..=20.0).contains(&self.part_hold_back) {
            return Err(HlsConfigError::PartHoldBack(self.part_hold_back));
        }
        Ok(())
    }

    /// How long storage must keep a segment after it was published: while it
    /// is listed, and then its own duration plus that of the longest playlist
    /// that listed it (bis 6.2.2). The archive's `keep` may not be shorter.
    #[must_use]
    pub fn retention(&self) -> Duration {
        let td = u64::from(self.target_duration_s);
        let window = Duration::from_secs(td * (self.window_segments as u64 + 1));
        let listed = window.max(self.dvr + Duration::from_secs(td));
        listed * 2 + Duration::from_secs(td)
    }

    /// `n` target durations.
    pub(super) fn target_durations(&self, n: u32) -> Duration {
        Duration::from_secs(u64::from(self.target_duration_s) * u64::from(n))
    }

    /// `n` target durations in microseconds.
    pub(super) fn target_durations_us(&self, n: i64) -> i64 {
        i64::from(self.target_duration_s) * n * 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bounds_are_kept() {
        assert_eq!(HlsConfig::default().validate(), Ok(()));
        let narrow = HlsConfig { window_segments: 5, ..HlsConfig::default() };
        assert_eq!(narrow.validate(), Err(HlsConfigError::Window(5)));
        let close = HlsConfig { part_hold_back: f64::NAN, ..HlsConfig::default() };
        assert!(close.validate().is_err());
    }
}
