//! What a run of viewers found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::histogram::Histogram;
use crate::rules::Violation;

/// Different violations kept in full; more are only counted.
const VIOLATIONS_KEPT: usize = 200;

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many times were measured.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90 % don't exceed it.
    pub p90_ms: f64,
    /// 99 % don't exceed it.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl From<&Histogram> for Percentiles {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.total(),
            mean_ms: histogram.mean_ms(),
            p50_ms: histogram.quantile_ms(0.5),
            p90_ms: histogram.quantile_ms(0.9),
            p99_ms: histogram.quantile_ms(0.99),
            max_ms: histogram.max_ms(),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none measured");
        }
        write!(
            f,
            "p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1} ms",
            self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms
        )
    }
}

/// What all viewers of a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WatchReport {
    /// How many viewers there were.
    pub viewers: usize,
    /// How long they watched, in seconds.
    pub seconds: f64,
    /// Playlist responses.
    pub playlists: u64,
    /// Parts received.
    pub parts: u64,
    /// Whole segments received.
    pub segments: u64,
    /// Bytes of bodies on the wire.
    pub bytes: u64,
    /// From the instant that a part's media ended on the publisher's clock
    /// (EXT-X-PROGRAM-DATE-TIME) to its last byte. Means something only if
    /// both clocks agree.
    pub part_latency: Percentiles,
    /// From when the first of the viewers had a part that all were waiting for
    /// to when each had it: what it takes to serve a crowd.
    pub part_spread: Percentiles,
    /// As `part_latency`, for segments that were fetched whole.
    pub segment_latency: Percentiles,
    /// How long blocking playlist requests were held.
    pub reload_wait: Percentiles,
    /// Times that a virtual playhead at the hold-back ran dry.
    pub stalls: u64,
    /// How long it stood still in all, in milliseconds.
    pub stalled_ms: u64,
    /// Responses with an error status, by status.
    pub http_errors: BTreeMap<u16, u64>,
    /// Requests without a response.
    pub failed_requests: u64,
    /// Viewers that saw the broadcast end (EXT-X-ENDLIST).
    pub ended: usize,
    /// Discontinuities crossed.
    pub discontinuities: u64,
    /// Rules broken, each kind of detail once.
    pub violations: Vec<Violation>,
    /// How often each rule was broken.
    pub violation_counts: BTreeMap<&'static str, u64>,
    /// What else went wrong, each once.
    pub problems: Vec<String>,
}

impl WatchReport {
    /// Whether something was received, without any broken rule or error.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.parts + self.segments > 0
            && self.violation_counts.is_empty()
            && self.http_errors.is_empty()
            && self.failed_requests == 0
            && self.problems.is_empty()
    }
}

impl fmt::Display for WatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: u64 = self.http_errors.values().sum();
        writeln!(f, "viewers          {} for {:.1} s", self.viewers, self.seconds)?;
        writeln!(f, "playlists        {}", self.playlists)?;
        writeln!(f, "parts            {}", self.parts)?;
        writeln!(f, "segments         {}", self.segments)?;
        let megabit = self.bytes as f64 * 8e-6 / self.seconds.max(0.001);
        writeln!(f, "received         {:.1} MB ({megabit:.1} Mbit/s)", self.bytes as f64 / 1e6)?;
        writeln!(f, "part latency     {}", self.part_latency)?;
        writeln!(f, "part spread      {}", self.part_spread)?;
        writeln!(f, "segment latency  {}", self.segment_latency)?;
        writeln!(f, "reload wait      {}", self.reload_wait)?;
        writeln!(f, "stalls           {} ({} ms)", self.stalls, self.stalled_ms)?;
        writeln!(f, "discontinuities  {}", self.discontinuities)?;
        writeln!(f, "failed requests  {} and {errors} error responses", self.failed_requests)?;
        for (status, count) in &self.http_errors {
            writeln!(f, "  HTTP {status}       {count}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem          {problem}")?;
        }
        let broken: u64 = self.violation_counts.values().sum();
        writeln!(f, "rules broken     {broken}")?;
        for (rule, count) in &self.violation_counts {
            writeln!(f, "  {count:>6} × {rule}")?;
            let details = self.violations.iter().filter(|v| v.rule == *rule);
            for violation in details.take(3) {
                writeln!(f, "           {}", violation.detail)?;
            }
        }
        Ok(())
    }
}

/// What one follower of a playlist counts; merged into the report at the end.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) playlists: u64,
    pub(super) parts: u64,
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) part_latency: Histogram,
    pub(super) part_spread: Histogram,
    pub(super) segment_latency: Histogram,
    pub(super) reload_wait: Histogram,
    pub(super) stalls: u64,
    pub(super) stalled_ms: u64,
    pub(super) http_errors: BTreeMap<u16, u64>,
    pub(super) failed_requests: u64,
    pub(super) ended: bool,
    pub(super) discontinuities: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) problems: Vec<String>,
}

/// Tallies of all viewers on their way to a report.
#[derive(Default)]
pub(super) struct Sum {
    report: WatchReport,
    part_latency: Histogram,
    part_spread: Histogram,
    segment_latency: Histogram,
    reload_wait: Histogram,
}

impl Sum {
    pub(super) fn add(&mut self, tally: Tally) {
        let report = &mut self.report;
        report.playlists += tally.playlists;
        report.parts += tally.parts;
        report.segments += tally.segments;
        report.bytes += tally.bytes;
        report.stalls += tally.stalls;
        report.stalled_ms += tally.stalled_ms;
        report.failed_requests += tally.failed_requests;
        report.ended += usize::from(tally.ended);
        report.discontinuities += tally.discontinuities;
        for (status, count) in tally.http_errors {
            *report.http_errors.entry(status).or_default() += count;
        }
        self.violations(tally.violations);
        for problem in tally.problems {
            if !self.report.problems.contains(&problem)
                && self.report.problems.len() < VIOLATIONS_KEPT
            {
                self.report.problems.push(problem);
            }
        }
        self.part_latency.merge(&tally.part_latency);
        self.part_spread.merge(&tally.part_spread);
        self.segment_latency.merge(&tally.segment_latency);
        self.reload_wait.merge(&tally.reload_wait);
    }

    pub(super) fn violations(&mut self, violations: Vec<Violation>) {
        for violation in violations {
            *self.report.violation_counts.entry(violation.rule).or_default() += 1;
            let kept = &mut self.report.violations;
            if kept.len() < VIOLATIONS_KEPT && !kept.contains(&violation) {
                kept.push(violation);
            }
        }
    }

    pub(super) fn finish(mut self, viewers: usize, seconds: f64) -> WatchReport {
        self.report.viewers = viewers;
        self.report.seconds = seconds;
        self.report.part_latency = (&self.part_latency).into();
        self.report.part_spread = (&self.part_spread).into();
        self.report.segment_latency = (&self.segment_latency).into();
        self.report.reload_wait = (&self.reload_wait).into();
        self.report
    }
}
