//! What the encoder pool is told: the ladder, and the bounds that keep it honest.

use records::Rung;
use serde::{Deserialize, Serialize};

use super::TranscodeError;

/// Settings of the encoder pool. Every bound is per stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranscodeConfig {
    /// False: pictures are only passed through, whatever their keyframes allow.
    pub enabled: bool,
    /// Encoded pictures beside the source, any order. A rung is used for a
    /// source that is higher than it; bitrates are those of a 16:9 picture.
    pub ladder: Vec<Rung>,
    /// x264's speed: `ultrafast` … `placebo`. Slower looks better at the same
    /// bitrate and costs CPU; hardware encoders choose by themselves.
    pub preset: String,
    /// Threads of each software encoder, `0..=16`; 0 chooses by picture size
    /// (1 up to 720p). More threads cost CPU and quality, and gain latency.
    pub encoder_threads: u32,
    /// Threads of each software decoder, `1..=16`.
    pub decoder_threads: u32,
    /// Published pictures that may wait for the decoder, in bytes. Beyond,
    /// pictures are skipped up to the next keyframe.
    pub queue_bytes_max: usize,
    /// The same in pictures.
    pub queue_frames_max: usize,
    /// Decoded pictures that may wait for each encoder, `1..=32`. They are
    /// uncompressed (3 MB each at 1080p), so this stays small.
    pub raw_frames_max: u32,
    /// Delay of the ladder behind the publisher, in milliseconds, from which
    /// the highest rung is dropped at the next cut.
    pub lag_shed_ms: u32,
    /// Delay below which the stream counts as calm. Less than `lag_shed_ms`.
    pub lag_restore_ms: u32,
    /// How long it must have been calm before a dropped rung comes back, in
    /// milliseconds; doubles each time that coming back was too much.
    pub restore_after_ms: u32,
    /// How long encoders may take to deliver what they hold when a run ends,
    /// in milliseconds; what they still hold then is given up.
    pub drain_ms_max: u32,
    /// A decoder or encoder that fails is started again no sooner than this, in milliseconds.
    pub restart_ms_min: u32,
    /// After so many failures in one run, it isn't started again.
    pub failures_max: u32,
}

impl Default for TranscodeConfig {
    fn default() -> Self {
        let rung = |height, bitrate_kbps| Rung { height, bitrate_kbps };
        Self {
            enabled: true,
            ladder: vec![
                rung(1080, 6000),
                rung(720, 3000),
                rung(480, 1400),
                rung(360, 800),
                rung(160, 250),
            ],
            preset: "veryfast".into(),
            encoder_threads: 0,
            decoder_threads: 2,
            queue_bytes_max: 16 << 20,
            queue_frames_max: 600,
            raw_frames_max: 4,
            lag_shed_ms: 1000,
            lag_restore_ms: 400,
            restore_after_ms: 10_000,
            drain_ms_max: 3000,
            restart_ms_min: 2000,
            failures_max: 5,
        }
    }
}

/// x264's presets, fastest first.
pub const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

impl TranscodeConfig {
    /// Refuses what could never work, naming the key at fault.
    ///
    /// # Errors
    /// [`TranscodeError::Config`]: the operator's to mend.
    pub fn validate(&self) -> Result<(), TranscodeError> {
        let refuse =
            |key: &'static str, reason: String| Err(TranscodeError::Config { key, reason });
        for (index, rung) in self.ladder.iter().enumerate() {
            if !(64..=4320).contains(&rung.height) || rung.height % 2 != 0 {
                return refuse(
                    "ladder",
                    format!("height {} is not an even number in 64..=4320", rung.height),
                );
            }
            if !(32..=200_000).contains(&rung.bitrate_kbps) {
                return refuse(
                    "ladder",
                    format!("bitrate_kbps {} is not in 32..=200000", rung.bitrate_kbps),
                );
            }
            if self.ladder[..index].iter().any(|other| other.height == rung.height) {
                return refuse("ladder", format!("height {} occurs twice", rung.height));
            }
        }
        if !PRESETS.contains(&self.preset.as_str()) {
            return refuse(
                "preset",
                format!("{:?} is not one of {}", self.preset, PRESETS.join(", ")),
            );
        }
        if self.encoder_threads > 16 {
            return refuse("encoder_threads", format!("{} > 16", self.encoder_threads));
        }
        if !(1..=16).contains(&self.decoder_threads) {
            return refuse("decoder_threads", format!("{} not in 1..=16", self.decoder_threads));
        }
        if !(1..=32).contains(&self.raw_frames_max) {
            return refuse("raw_frames_max", format!("{} not in 1..=32", self.raw_frames_max));
        }
        if self.queue_frames_max < 2 || self.queue_bytes_max < 64 << 10 {
            return refuse(
                "queue_frames_max",
                "a queue of less than 2 pictures or 64 KiB holds nothing".into(),
            );
        }
        if self.lag_restore_ms >= self.lag_shed_ms {
            return refuse(
                "lag_restore_ms",
                format!("{} is not below lag_shed_ms {}", self.lag_restore_ms, self.lag_shed_ms),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_faults_are_named() {
        TranscodeConfig::default().validate().unwrap();
        let odd = TranscodeConfig {
            ladder: vec![Rung { height: 481, bitrate_kbps: 1000 }],
            ..Default::default()
        };
        assert!(odd.validate().unwrap_err().to_string().contains("ladder"));
        let preset = TranscodeConfig { preset: "quick".into(), ..Default::default() };
        assert!(preset.validate().unwrap_err().to_string().contains("veryfast"));
        let lag = TranscodeConfig { lag_restore_ms: 1000, ..Default::default() };
        assert!(lag.validate().unwrap_err().to_string().contains("lag_restore_ms"));
    }
}
