//! A virtual playhead: would a player have stalled?
//!
//! Enters: the end of what has been received, on the media clock. Leaves:
//! stalls. It starts a hold-back behind the live edge, as players do (bis
//! 4.4.3.8), and runs in real time from then on.

use std::time::{Duration, Instant};

/// Stalls shorter than this are within a player's own tolerance.
const NOTICEABLE: Duration = Duration::from_millis(20);

/// Where playback would be.
#[derive(Default)]
pub struct Playhead {
    // Wall instant and media seconds at which it ran last.
    anchor: Option<(Instant, f64)>,
    buffered_end: f64,
    /// Times it had to wait.
    pub stalls: u64,
    /// How long it waited in all.
    pub stalled: Duration,
}

impl Playhead {
    /// Media up to `end` seconds can be played since `at`; `hold_back` is how
    /// far behind the edge playback begins.
    pub fn received(&mut self, at: Instant, end: f64, hold_back: f64) {
        let Some((since, position)) = self.anchor else {
            self.anchor = Some((at, end - hold_back));
            self.buffered_end = end;
            return;
        };
        let now = position + at.saturating_duration_since(since).as_secs_f64();
        if now > self.buffered_end {
            let waited = Duration::from_secs_f64(now - self.buffered_end);
            if waited >= NOTICEABLE {
                self.stalls += 1;
                self.stalled += waited;
                self.anchor = Some((at, self.buffered_end));
            }
        }
        self.buffered_end = self.buffered_end.max(end);
    }

    /// The timeline breaks: playback begins anew with what comes next.
    pub fn restart(&mut self) {
        self.anchor = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_what_a_hold_back_cannot_hide() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut playhead = Playhead::default();
        playhead.received(at(0), 10.0, 0.6);
        playhead.received(at(500), 10.2, 0.6);
        assert_eq!(playhead.stalls, 0);
        // Played up to 10.2 at 800 ms, so 200 ms are missing.
        playhead.received(at(1000), 10.4, 0.6);
        assert_eq!((playhead.stalls, playhead.stalled.as_millis()), (1, 200));
        playhead.received(at(1190), 10.6, 0.6);
        assert_eq!(playhead.stalls, 1);
    }
}
