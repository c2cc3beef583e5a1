//! From a publisher's milliseconds to exact ticks of a track.
//!
//! RTMP rounds every timestamp to a millisecond, which no frame rate but 25, 50
//! or 40 survives. A track's samples lie on a grid (its frame duration), so a
//! timestamp close to the grid is put on it; one that isn't is believed.
//!
//! Held: the last timestamp given out; decode times rise strictly. Never done
//! here: deciding that timestamps jumped (`running`).

/// One track's map from source time to the stream's timeline, for one run.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    timescale: i64,
    // Source time in microseconds that lies at `origin_ticks`.
    origin_us: i64,
    origin_ticks: i64,
    // Duration of one picture if it is known well enough to snap to.
    grid: Option<i64>,
    // Last decode time given out, and for sound where the next should lie.
    last: Option<i64>,
    next: i64,
}

/// ±2 ms: source rounding of two timestamps, and encoders that truncate.
const SNAP_PER_SECOND: i64 = 500;

impl Clock {
    /// Source time `origin_us` is `origin_ticks` on the timeline.
    pub(super) fn new(
        timescale: u32,
        grid: Option<u32>,
        origin_us: i64,
        origin_ticks: i64,
    ) -> Self {
        Self {
            timescale: i64::from(timescale),
            origin_us,
            origin_ticks,
            grid: grid.map(|ticks| i64::from(ticks.max(1))),
            last: None,
            next: origin_ticks,
        }
    }

    /// A span of source microseconds in ticks, rounded.
    fn ticks(&self, us: i64) -> i64 {
        let scaled = i128::from(us) * i128::from(self.timescale);
        let half = if scaled < 0 { -500_000 } else { 500_000 };
        ((scaled + half) / 1_000_000) as i64
    }

    /// The instant of a source time, not snapped.
    pub(super) fn raw(&self, us: i64) -> i64 {
        self.origin_ticks.saturating_add(self.ticks(us.saturating_sub(self.origin_us)))
    }

    /// `ticks` on the grid, if it is close to it.
    fn snap(&self, ticks: i64) -> Option<i64> {
        let grid = self.grid?;
        let near = (ticks + ticks.signum() * grid / 2) / grid * grid;
        let tolerance = (self.timescale / SNAP_PER_SECOND).min(grid / 2);
        ((near - ticks).abs() <= tolerance).then_some(near)
    }

    /// A composition offset in ticks, on the grid where it is close to it.
    pub(super) fn offset(&self, cts_us: i64) -> i64 {
        let ticks = self.ticks(cts_us);
        self.snap(ticks).unwrap_or(ticks)
    }

    /// Decode time and composition offset of a picture. The decode time is
    /// above all before it, whatever the source says; the instant at which the
    /// picture is shown is kept.
    pub(super) fn picture(&mut self, dts_us: i64, cts_us: i64) -> (i64, i32) {
        let raw = self.raw(dts_us);
        let mut shown = self.raw(dts_us.saturating_add(cts_us));
        let mut dts = raw;
        match self.last {
            // The first one is shown exactly at the run's start.
            None => {
                let offset = self.offset(cts_us);
                dts = shown - offset;
            }
            Some(last) => {
                if let Some(step) = self.snap(raw - last).filter(|step| *step > 0) {
                    dts = last + step;
                    shown = dts + self.offset(cts_us);
                }
                dts = dts.max(last + 1);
            }
        }
        self.last = Some(dts);
        (dts, i32::try_from(shown - dts).unwrap_or(0))
    }

    /// Decode time of a block of sound that lasts `ticks`; none if it overlaps
    /// what came before by more than the tolerance.
    pub(super) fn sound(&mut self, us: i64, ticks: u32, tolerance_us: i64) -> Option<i64> {
        let raw = self.raw(us);
        let mut dts = raw;
        if self.last.is_some() {
            let stray = raw - self.next;
            let tolerance = self.ticks(tolerance_us);
            if stray < -tolerance {
                return None;
            }
            if stray <= tolerance {
                dts = self.next;
            }
        }
        self.last = Some(dts);
        self.next = dts + i64::from(ticks.max(1));
        Some(dts)
    }
}

/// Timescale of a frame rate and the ticks of one picture: 90 kHz where a
/// picture is a whole number of its ticks, else the smallest multiple of the
/// frame rate above it.
pub(super) fn timescale(fps: Option<(u32, u32)>) -> (u32, u32) {
    const USUAL: u64 = 90_000;
    // Unknown: as in MPEG-TS, and 30 per second until the next picture tells.
    let Some((num, den)) = fps else { return (USUAL as u32, 3000) };
    let (num, den) = (u64::from(num.max(1)), u64::from(den.max(1)));
    let (scale, ticks) = if (USUAL * den).is_multiple_of(num) {
        (USUAL, USUAL * den / num)
    } else {
        let multiple = USUAL.div_ceil(num);
        (num * multiple, den * multiple)
    };
    match (u32::try_from(scale), u32::try_from(ticks)) {
        (Ok(scale), Ok(ticks)) if ticks > 0 => (scale, ticks),
        _ => (USUAL as u32, 3000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timescales_are_multiples_of_the_frame_rate() {
        assert_eq!(timescale(Some((25, 1))), (90_000, 3600));
        assert_eq!(timescale(Some((30_000, 1001))), (90_000, 3003));
        assert_eq!(timescale(Some((24_000, 1001))), (96_000, 4004));
        assert_eq!(timescale(Some((60_000, 1001))), (120_000, 2002));
        assert_eq!(timescale(None), (90_000, 3000));
    }

    #[test]
    fn rounded_milliseconds_come_out_exact_for_hours() {
        for truncate in [true, false] {
            let mut clock = Clock::new(90_000, Some(3003), 0, 0);
            // Four hours of 29.97 pictures.
            for n in 0..431_568i64 {
                let exact = n as f64 * 1001.0 / 30.0;
                let ms = if truncate { exact.floor() } else { exact.round() } as i64;
                assert_eq!(clock.picture(ms * 1000, 0), (n * 3003, 0));
            }
        }
    }

    #[test]
    fn off_grid_and_backward_pictures() {
        let mut clock = Clock::new(90_000, Some(3600), 0, 0);
        assert_eq!(clock.picture(0, 0), (0, 0));
        // A variable frame rate is believed.
        assert_eq!(clock.picture(55_000, 0), (4950, 0));
        // Back: nudged, shown when it says.
        assert_eq!(clock.picture(40_000, 80_000), (4951, 10_800 - 4951));
        assert_eq!(clock.picture(40_000, 0), (4952, 3600 - 4952));
    }

    #[test]
    fn sound_is_contiguous_within_the_tolerance() {
        let mut clock = Clock::new(48_000, None, 0, 0);
        let mut at = |ms: i64| clock.sound(ms * 1000, 1024, 60_000);
        assert_eq!(at(0), Some(0));
        assert_eq!(at(23), Some(1024));
        assert_eq!(at(90), Some(2048));
        // A hole is kept, an overlap is refused until time catches up.
        assert_eq!(at(1000), Some(48_000));
        assert_eq!(at(900), None);
        assert_eq!(at(965), Some(49_024));
    }
}
