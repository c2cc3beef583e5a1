//! The rules of HLS, LL-HLS and CMAF as a viewer can see them.
//!
//! ```text
//! playlists ──Checker::observe──┐
//! renditions ─────across────────┤
//! init · parts ──cmaf::Track────┼──► Violations
//! responses ───────http─────────┘
//! ```
//!
//! Enters: what was fetched. Leaves: a [`Violation`] for each broken rule,
//! named by its source: *bis* = draft-pantos-hls-rfc8216bis-22, *A* = Apple's
//! HLS Authoring Specification, *BMFF* = ISO 14496-12. Held: what came before,
//! as far as rules compare with it. Never done here: fetching.

pub mod across;
pub mod cmaf;
pub mod http;
pub mod multivariant;
mod mutation;
mod single;

#[cfg(test)]
mod cmaf_tests;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::playlist::MediaPlaylist;

pub use mutation::mutation;
pub use single::single;

/// A rule was broken: the server's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule, with its source.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Collects violations.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<Violation>);

impl Findings {
    /// Notes that `rule` is broken unless `holds`.
    pub(crate) fn check(
        &mut self,
        holds: bool,
        rule: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push(Violation { rule, detail: detail() });
        }
    }
}

/// Rounding that playlists may have: decimals with at least three digits.
pub(crate) const ROUNDING: f64 = 0.0015;

/// The delivery directives of a request (bis 6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// `_HLS_msn`.
    pub msn: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u64>,
    /// `_HLS_skip=YES`.
    pub skip: bool,
}

/// Judges one media playlist over time.
pub struct Checker {
    slack: Duration,
    clock: Duration,
    last_segment_at: Duration,
    last_part_at: Duration,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new(Duration::from_millis(500))
    }
}

impl Checker {
    /// A checker that lets things be late by `slack`, for what the network and
    /// this machine's other work may add.
    #[must_use]
    pub fn new(slack: Duration) -> Self {
        Self {
            slack,
            clock: Duration::ZERO,
            last_segment_at: Duration::ZERO,
            last_part_at: Duration::ZERO,
        }
    }

    /// Judges a whole playlist (delta updates made whole first) against the
    /// one before it, the request that it answers, and the `elapsed` time
    /// since that one.
    pub fn observe(
        &mut self,
        previous: Option<&MediaPlaylist>,
        current: &MediaPlaylist,
        requested: Requested,
        elapsed: Duration,
    ) -> Vec<Violation> {
        let mut found = Findings(single(current));
        answered(current, requested, &mut found);
        self.clock += elapsed;
        if let Some(previous) = previous {
            found.0.extend(mutation(previous, current));
            self.cadence(previous, current, &mut found);
        } else {
            (self.last_segment_at, self.last_part_at) = (self.clock, self.clock);
        }
        found.0
    }

    /// How soon new media must come (bis 6.2.1).
    fn cadence(&mut self, previous: &MediaPlaylist, current: &MediaPlaylist, found: &mut Findings) {
        let late_after = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0)) + self.slack;
        let newest_is_gap = current.segments.last().is_some_and(|s| s.head.gap);
        if current.next_msn() > previous.next_msn() {
            let took = self.clock - self.last_segment_at;
            let limit = late_after(1.5 * current.target_duration as f64);
            found.check(
                took <= limit || newest_is_gap,
                "bis 6.2.1 next segment within 1.5 target durations",
                || format!("segment {} came after {took:?}", current.next_msn() - 1),
            );
            self.last_segment_at = self.clock;
        }
        if current.next_part() > previous.next_part() {
            let took = self.clock - self.last_part_at;
            if let Some(target) = current.part_target {
                found.check(
                    took <= late_after(target) || newest_is_gap,
                    "bis 6.2.1 next part within one part target",
                    || format!("part before {:?} came after {took:?}", current.next_part()),
                );
            }
            self.last_part_at = self.clock;
        }
    }
}

/// A blocking reload holds what was asked for (bis 6.2.5.2).
fn answered(current: &MediaPlaylist, requested: Requested, found: &mut Findings) {
    let Some(msn) = requested.msn else {
        return;
    };
    let (next_msn, next_part) = current.next_part();
    let complete = match requested.part {
        Some(part) => next_msn > msn || (next_msn == msn && next_part > part),
        None => next_msn > msn,
    };
    found.check(
        complete || current.end_list,
        "bis 6.2.5.2 a blocking reload holds what was asked for",
        || format!("asked for {msn}/{:?}, got up to {next_msn}/{next_part}", requested.part),
    );
}

/// Judges a delta update as it came, before it is made whole (bis 6.2.5.1).
#[must_use]
pub fn delta(update: &MediaPlaylist, requested: Requested) -> Vec<Violation> {
    let mut found = Findings::default();
    let Some(skip) = &update.skip else {
        return found.0;
    };
    found.check(requested.skip, "bis 6.2.5.1 skips only when asked", || {
        format!("{} segments were skipped", skip.segments)
    });
    found.check(!update.end_list, "bis 6.2.5.1 no delta update after the end", String::new);
    let boundary = update.server_control.as_ref().and_then(|c| c.can_skip_until);
    found.check(boundary.is_some(), "bis 4.4.5.2 skips only with CAN-SKIP-UNTIL", String::new);
    if let Some(boundary) = boundary {
        let kept = update.duration();
        found.check(
            kept + ROUNDING >= boundary,
            "bis 4.4.5.2 skips only what is older than the skip boundary",
            || format!("{kept:.3} s are left, the boundary is {boundary} s"),
        );
    }
    found.check(update.version >= 9, "bis 8 version 9 with EXT-X-SKIP", || {
        format!("version {}", update.version)
    });
    found.0
}
