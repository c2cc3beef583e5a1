//! Timestamps that never wrap.
//!
//! Enters: RTMP's milliseconds modulo 2^32. Leaves: `i64` milliseconds. Held:
//! the last one. A step of less than 2^31 ms (24.8 days) in either direction
//! is a step; so a wrap goes on rising, and jitter backwards across it doesn't
//! look like 49 days forward.

/// Unwraps the timestamps of one broadcast, picture and sound together.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    /// The timestamp of the next media message.
    pub(super) fn media(&mut self, timestamp_ms: u32) -> i64 {
        let unwrapped = self.peek(timestamp_ms);
        self.last = Some(unwrapped);
        unwrapped
    }

    /// The same for data, whose timestamps are often 0 and prove nothing.
    pub(super) fn peek(&self, timestamp_ms: u32) -> i64 {
        match self.last {
            None => i64::from(timestamp_ms),
            Some(last) => last + i64::from(timestamp_ms.wrapping_sub(last as u32) as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped<const N: usize>(timestamps: [u32; N]) -> [i64; N] {
        let mut unwrap = Unwrap::default();
        timestamps.map(|t| unwrap.media(t))
    }

    #[test]
    fn goes_on_beyond_the_wrap_and_back() {
        let wrap = 1_i64 << 32;
        assert_eq!(
            unwrapped([u32::MAX - 20, 10, u32::MAX - 5, 30]),
            [wrap - 21, wrap + 10, wrap - 6, wrap + 30]
        );
    }

    #[test]
    fn jitter_backwards_is_not_a_wrap() {
        assert_eq!(unwrapped([40, 20, 60]), [40, 20, 60]);
        assert_eq!(unwrapped([5, u32::MAX]), [5, -1]);
    }

    #[test]
    fn two_wraps() {
        let half = 1 << 30;
        let steps = [0, half, 2 * half, 3 * half, 0, half, 2 * half, 3 * half, 7];
        assert_eq!(unwrapped(steps)[8], (2_i64 << 32) + 7);
    }
}
