//! One track through its parts and segments: what must hold from one to the next.
//!
//! Enters: initialization sections, parts and segments in playback order.
//! Leaves: violations. Held: where the next chunk must begin. Ends with the
//! playlist's follower. Never done here: reading boxes.

use super::{Chunk, Init, chunks, init};
use crate::playlist::Part;
use crate::rules::{Findings, ROUNDING, Violation};

/// Follows one track through its parts and segments.
#[derive(Default)]
pub struct Track {
    init: Option<Init>,
    next_decode_time: Option<u64>,
    last_sequence: Option<u32>,
    // When the newest segment's first sample is presented, in microseconds.
    segment_us: Option<i64>,
    // EXTINF or part durations minus real ones, since the last break, in seconds.
    drift: f64,
}

impl Track {
    /// A new initialization section applies; `codecs` of the variant, if known.
    pub fn init(&mut self, bytes: &[u8], codecs: Option<&[String]>) -> Vec<Violation> {
        let (parsed, violations) = init(bytes);
        let mut found = Findings(violations);
        if let (Some(parsed), Some(codecs)) = (&parsed, codecs) {
            let named = codecs.iter().any(|c| {
                c.eq_ignore_ascii_case(&parsed.codec)
                    || (!parsed.codec.contains('.') && c.starts_with(&parsed.codec))
            });
            found.check(named, "bis 4.4.6.2 CODECS names what the sample entry says", || {
                format!("{} isn't among {}", parsed.codec, codecs.join(","))
            });
        }
        self.init = parsed;
        self.broken();
        found.0
    }

    /// Whether pictures are followed, once that is known.
    #[must_use]
    pub fn is_video(&self) -> Option<bool> {
        self.init.as_ref().map(|init| init.video)
    }

    /// The initialization section that applies.
    #[must_use]
    pub fn current(&self) -> Option<&Init> {
        self.init.as_ref()
    }

    /// When the first sample of the segment under way is presented, in
    /// microseconds of media time; none before its first part.
    #[must_use]
    pub fn segment_us(&self) -> Option<i64> {
        self.segment_us
    }

    /// The timeline breaks here (EXT-X-DISCONTINUITY, or something was missed).
    pub fn broken(&mut self) {
        self.next_decode_time = None;
        self.last_sequence = None;
        self.segment_us = None;
        self.drift = 0.0;
    }

    /// Judges a part. `first`: it begins its segment.
    pub fn part(&mut self, tag: &Part, first: bool, bytes: &[u8]) -> Vec<Violation> {
        let name = tag.uri.clone();
        let Some((chunks, mut found)) = self.media(bytes, tag.duration, first, &name) else {
            return Vec::new();
        };
        let starts_sync = chunks.first().is_some_and(|chunk| chunk.starts_sync);
        let has_sync = chunks.iter().any(|chunk| chunk.has_sync);
        found.check(
            !tag.independent || has_sync,
            "bis 4.4.4.9 INDEPENDENT only with a sync sample",
            || name.clone(),
        );
        let video = self.is_video() == Some(true);
        found.check(
            tag.independent || !starts_sync || !video,
            "bis 4.4.4.9 INDEPENDENT where a part begins with a sync sample",
            || name.clone(),
        );
        found.0
    }

    /// Judges a segment that was fetched whole. If its parts were judged,
    /// their bytes joined are `parts` and only compared (bis 4.4.4.9).
    pub fn segment(
        &mut self,
        uri: &str,
        duration: f64,
        bytes: &[u8],
        parts: Option<&[u8]>,
    ) -> Vec<Violation> {
        let mut found = Findings::default();
        match parts {
            Some(parts) => found.check(
                parts == bytes,
                "bis 4.4.4.9 the parts are exactly their segment",
                || format!("{uri}: parts {} bytes, segment {}", parts.len(), bytes.len()),
            ),
            None => {
                if let Some((_, more)) = self.media(bytes, duration, true, uri) {
                    found = more;
                }
            }
        }
        found.0
    }

    fn media(
        &mut self,
        bytes: &[u8],
        duration: f64,
        first: bool,
        name: &str,
    ) -> Option<(Vec<Chunk>, Findings)> {
        let init = self.init.as_ref()?;
        let (chunks, violations) = chunks(init, bytes);
        let mut found = Findings(
            violations
                .into_iter()
                .map(|v| Violation { detail: format!("{name}: {}", v.detail), ..v })
                .collect(),
        );
        let timescale = f64::from(init.timescale);
        let (mut real, mut frame) = (0, 0);
        for chunk in &chunks {
            if let Some(expected) = self.next_decode_time {
                found.check(
                    chunk.decode_time == expected,
                    "A 7.3 decode times go on where the last chunk ended",
                    || format!("{name}: tfdt {}, expected {expected}", chunk.decode_time),
                );
            }
            if let Some(last) = self.last_sequence {
                found.check(chunk.sequence > last, "BMFF 8.8.5 mfhd sequence rises", || {
                    format!("{name}: {last} → {}", chunk.sequence)
                });
            }
            self.next_decode_time = Some(chunk.decode_time + chunk.duration);
            self.last_sequence = Some(chunk.sequence);
            real += chunk.duration;
            frame = frame.max(chunk.sample_duration_max);
        }
        if let (true, Some(chunk)) = (first, chunks.first()) {
            let us = i128::from(chunk.presented) * 1_000_000 / i128::from(init.timescale);
            self.segment_us = i64::try_from(us).ok();
            found.check(chunk.starts_sync, "A 7 a segment begins with a sync sample", || {
                name.to_owned()
            });
        }
        let real = real as f64 / timescale;
        let frame = frame as f64 / timescale;
        self.drift += duration - real;
        found.check(
            (duration - real).abs() <= frame,
            "A 8.1 durations are true to within one frame",
            || format!("{name}: {duration} s says the playlist, {real:.5} s the samples"),
        );
        found.check(
            self.drift.abs() <= frame.max(ROUNDING),
            "A 8.1 durations add up to within one frame",
            || format!("{name}: {:.5} s apart by now", self.drift),
        );
        if self.drift.abs() > frame {
            // Said once; what follows is judged anew.
            self.drift = 0.0;
        }
        Some((chunks, found))
    }
}
