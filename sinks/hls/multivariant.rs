//! The text of the multivariant playlist: the ladder of the current run.

use std::fmt::Write;

use records::Rendition;

use super::Shape;
use super::track::Track;

/// Bit rates of what a playlist lists, in bit/s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BitRate {
    pub(super) peak: u64,
    pub(super) average: u64,
}

impl std::ops::Add for BitRate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { peak: self.peak + other.peak, average: self.average + other.average }
    }
}

/// Measures `(bytes, duration in microseconds)` of segments. Peak: of any
/// segment that lasts at least half a target duration (bis 4.4.6.2).
pub(super) fn measure(pieces: impl Iterator<Item = (u64, i64)>, shortest_us: i64) -> BitRate {
    let (mut bytes, mut us, mut peak) = (0, 0, 0);
    for (piece_bytes, piece_us) in pieces.filter(|(_, us)| *us > 0) {
        bytes += piece_bytes;
        us += piece_us;
        if piece_us >= shortest_us {
            peak = peak.max(rate(piece_bytes, piece_us));
        }
    }
    let average = if us > 0 { rate(bytes, us) } else { 0 };
    BitRate { peak: peak.max(average), average }
}

fn rate(bytes: u64, us: i64) -> u64 {
    bytes * 8_000_000 / us.unsigned_abs().max(1)
}

/// What a rendition was measured at: its listed segments, or, before the
/// first is complete, its parts.
pub(super) fn bit_rate(track: &Track, target_duration_s: u32) -> BitRate {
    let half_us = i64::from(target_duration_s) * 500_000;
    let segments = track.listed().filter(|seg| !seg.meta.gap);
    let measured =
        measure(segments.map(|s| (s.meta.bytes, s.meta.end_us - s.meta.start_us)), half_us);
    if measured.average > 0 {
        return measured;
    }
    let parts = track.open.iter().flat_map(|open| &open.parts);
    measure(parts.map(|p| (u64::from(p.len), i64::from(p.duration_us))), half_us)
}

/// The same for its I-frames: one picture for each segment.
fn iframe_rate(track: &Track, target_duration_s: u32) -> BitRate {
    let half_us = i64::from(target_duration_s) * 500_000;
    let iframes = track.listed().filter_map(|seg| {
        let bytes = u64::from(seg.meta.iframe_bytes?);
        Some((bytes, seg.meta.end_us - seg.meta.start_us))
    });
    measure(iframes, half_us)
}

/// Before anything is measured a client must still be able to choose: what
/// such a picture or sound usually takes.
fn guess(shape: &Shape) -> BitRate {
    let average = match shape.resolution {
        Some((width, height)) => {
            let pixels = u64::from(width) * u64::from(height);
            (pixels as f64 * shape.frame_rate.unwrap_or(30.0) * 0.1) as u64
        }
        None => 128_000,
    };
    BitRate { peak: average.max(64_000) * 5 / 4, average: average.max(64_000) }
}

/// What the ladder says of one rendition.
pub(super) struct Entry<'a> {
    pub(super) rendition: Rendition,
    pub(super) shape: &'a Shape,
    /// An average of 0: not measured yet.
    pub(super) rate: BitRate,
    pub(super) iframe_rate: BitRate,
}

impl Entry<'_> {
    fn rate_or_guess(&self) -> BitRate {
        if self.rate.average > 0 { self.rate } else { guess(self.shape) }
    }

    fn iframe_rate_or_guess(&self) -> BitRate {
        if self.iframe_rate.average > 0 {
            return self.iframe_rate;
        }
        let BitRate { peak, average } = guess(self.shape);
        BitRate { peak: peak / 8, average: average / 8 }
    }
}

/// Renders the ladder of a broadcast. None: no track has begun.
pub(super) fn render<'a>(
    tracks: impl Iterator<Item = &'a Track>,
    target_duration_s: u32,
) -> Option<String> {
    let known = tracks.filter_map(|track| {
        Some(Entry {
            rendition: track.rendition,
            shape: &track.inits.back()?.shape,
            rate: bit_rate(track, target_duration_s),
            iframe_rate: iframe_rate(track, target_duration_s),
        })
    });
    ladder(known.collect())
}

/// Renders a ladder, highest first. None: it is empty.
pub(super) fn ladder(mut known: Vec<Entry<'_>>) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    known.sort_by_key(|entry| std::cmp::Reverse(entry.rendition.rank()));
    let mut out = String::with_capacity(256 + known.len() * 400);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");

    let audio = known.iter().find(|entry| !entry.rendition.is_video());
    let audio_rate = audio.map_or(BitRate::default(), Entry::rate_or_guess);
    if let Some(entry) = audio {
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",LANGUAGE=\"und\",\
             DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{}\",URI=\"{}/index.m3u8\"",
            entry.shape.channels.unwrap_or(2),
            entry.rendition
        );
    }
    for entry in &known {
        let Entry { rendition, shape, .. } = entry;
        let own = entry.rate_or_guess();
        let is_video = rendition.is_video();
        let total = if is_video { own + audio_rate } else { own };
        let BitRate { peak, average } = total;
        let _ = write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}");
        let _ = write!(out, ",CODECS=\"{}", shape.codec);
        match audio {
            Some(sound) if is_video => {
                let _ = write!(out, ",{}\"", sound.shape.codec);
            }
            _ => out.push('"'),
        }
        if let Some((width, height)) = shape.resolution {
            let _ = write!(out, ",RESOLUTION={width}x{height}");
        }
        if let Some(rate) = shape.frame_rate {
            let _ = write!(out, ",FRAME-RATE={rate:.3}");
        }
        if audio.is_some() {
            out.push_str(",AUDIO=\"audio\"");
        }
        // On every variant or on none (A 4.3).
        let _ = writeln!(out, ",CLOSED-CAPTIONS=NONE\n{rendition}/index.m3u8");
    }
    for entry in known.iter().filter(|entry| entry.rendition.is_video()) {
        let rate = entry.iframe_rate_or_guess();
        let _ = write!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            rate.peak, rate.average, entry.shape.codec
        );
        if let Some((width, height)) = entry.shape.resolution {
            let _ = write!(out, ",RESOLUTION={width}x{height}");
        }
        let _ = writeln!(out, ",URI=\"{}/iframes.m3u8\"", entry.rendition);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_leaves_out_short_pieces_and_average_is_over_all() {
        let pieces = [(1000, 2_000_000), (90, 100_000), (500, 2_000_000)];
        let rate = measure(pieces.into_iter(), 2_000_000);
        assert_eq!(rate, BitRate { peak: 4000, average: 1590 * 80 / 41 });
        assert_eq!(measure([].into_iter(), 1), BitRate::default());
    }
}
