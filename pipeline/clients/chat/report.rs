//! What was seen, in numbers and for people.

use std::fmt;
use std::time::Duration;

use crate::findings::{Findings, MEASURED};
use crate::histogram::Histogram;

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// Let in.
    pub viewers: usize,
    /// From the first to the last.
    pub opening: Duration,
    /// How long deliveries were counted.
    pub measured: Duration,
    /// Of all viewers.
    pub findings: Findings,
    /// From the cut until all were let in again.
    pub returning: Option<Duration>,
    /// Published here.
    pub published: u64,
    /// The greatest number that there was to have in the end.
    pub last: u64,
    /// Numbers up to that which viewers who stayed still lacked when patience was over.
    pub lost: u64,
    /// Of the processes that were asked for.
    pub server: Option<ServerCost>,
    /// Our own CPU time while deliveries were counted.
    pub own_cpu: Duration,
}

/// What it cost the server.
#[derive(Clone, Copy, Debug)]
pub struct ServerCost {
    /// CPU time while viewers joined.
    pub joining: Duration,
    /// CPU time while deliveries were counted.
    pub measured: Duration,
    /// Memory before viewers joined, when all were in, and at the end of the measuring.
    pub memory_bytes: [u64; 3],
}

impl Report {
    /// Deliveries that came while it was measured, each second.
    #[must_use]
    pub fn deliveries_per_s(&self) -> f64 {
        self.findings.deliveries[MEASURED] as f64 / self.measured.as_secs_f64().max(1e-9)
    }

    /// Messages accepted while it was measured, each second.
    #[must_use]
    pub fn accepted_per_s(&self) -> f64 {
        self.findings.accepted[MEASURED] as f64 / self.measured.as_secs_f64().max(1e-9)
    }

    /// Deliveries for each second of the server's CPU time.
    #[must_use]
    pub fn deliveries_per_cpu_s(&self) -> Option<f64> {
        let cpu = self.server?.measured.as_secs_f64();
        Some(self.findings.deliveries[MEASURED] as f64 / cpu.max(1e-9))
    }

    /// The server's memory for each viewer: when all were in, and at the end of the measuring.
    #[must_use]
    pub fn bytes_per_viewer(&self) -> Option<[f64; 2]> {
        let [before, joined, after] = self.server?.memory_bytes;
        let each = |bytes: u64| bytes.saturating_sub(before) as f64 / self.viewers.max(1) as f64;
        Some([each(joined), each(after)])
    }

    /// Whether everybody got everything, once and in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Findings { gaps, repeated, unrecovered, turned_away, unanswered, .. } = self.findings;
        let wrong = gaps + repeated + unrecovered + turned_away + unanswered + self.lost;
        wrong == 0 && self.findings.closed.is_empty() && self.findings.faults.is_empty()
    }

    fn said(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { said, accepted, answers, refused, unanswered, .. } = &self.findings;
        if *said == 0 {
            return Ok(());
        }
        let per_s = self.published as f64 / self.measured.as_secs_f64().max(1e-9);
        write!(f, "said           {said}: {per_s:.0}/s")?;
        if answers.total() == 0 && refused.is_empty() && *unanswered == 0 {
            return writeln!(f);
        }
        let all: u64 = accepted.iter().sum();
        writeln!(f, ", {all} accepted: {:.0}/s, {unanswered} unanswered", self.accepted_per_s())?;
        quantiles(f, "accepted", answers)?;
        for (reason, count) in refused {
            writeln!(f, "refused        {reason}: {count}")?;
        }
        Ok(())
    }

    fn cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.measured.as_secs_f64().max(1e-9);
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / seconds;
        if let (Some(server), Some(each)) = (self.server, self.deliveries_per_cpu_s()) {
            let cpu = server.measured.as_secs_f64();
            writeln!(
                f,
                "server         {cpu:.2} s CPU ({:.0} % of a core): {each:.0} deliveries per \
                 CPU-second, {:.2} µs each; {:.2} s CPU for the joins",
                share(server.measured),
                cpu * 1e6 / self.findings.deliveries[MEASURED].max(1) as f64,
                server.joining.as_secs_f64(),
            )?;
        }
        if let Some([joined, after]) = self.bytes_per_viewer() {
            writeln!(f, "memory         {joined:.0} bytes for each viewer, {after:.0} at the end")?;
        }
        writeln!(f, "here           {:.0} % of a core", share(self.own_cpu))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.findings;
        writeln!(f, "viewers        {} in {:.2} s", self.viewers, self.opening.as_secs_f64())?;
        if let Some(returning) = self.returning {
            let seconds = returning.as_secs_f64();
            let lost = found.unrecovered;
            writeln!(f, "back           all in {seconds:.2} s, {lost} told that they missed some")?;
        }
        self.said(f)?;
        writeln!(
            f,
            "deliveries     {} in {:.1} s: {:.0}/s, {:.1} a read",
            found.deliveries[MEASURED],
            self.measured.as_secs_f64(),
            self.deliveries_per_s(),
            found.deliveries.iter().sum::<u64>() as f64 / found.reads.max(1) as f64,
        )?;
        for (name, latency) in
            ["while joining", "latency", "after the cut"].iter().zip(&found.latency)
        {
            quantiles(f, name, latency)?;
        }
        writeln!(
            f,
            "order          {} gaps, {} again or late, {} lost at the end",
            found.gaps, found.repeated, self.lost
        )?;
        if found.turned_away > 0 || !found.closed.is_empty() {
            writeln!(f, "ended          {:?}, {} turned away", found.closed, found.turned_away)?;
        }
        if !found.faults.is_empty() {
            writeln!(f, "faults         {:?}", found.faults)?;
        }
        self.cost(f)
    }
}

fn quantiles(f: &mut fmt::Formatter<'_>, name: &str, of: &Histogram) -> fmt::Result {
    if of.total() == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "{name:14} p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
        of.quantile_ms(0.5),
        of.quantile_ms(0.9),
        of.quantile_ms(0.99),
        of.quantile_ms(0.999),
        of.max_ms()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            viewers: 10,
            opening: Duration::from_secs(1),
            measured: Duration::from_secs(2),
            findings: Findings::default(),
            returning: None,
            published: 0,
            last: 0,
            lost: 0,
            server: None,
            own_cpu: Duration::ZERO,
        }
    }

    #[test]
    fn rates_are_of_what_came_in_time() {
        let mut report = report();
        report.findings.deliveries = [1, 400, 2, 3];
        report.findings.accepted = [0, 20, 0, 9];
        assert_eq!((report.deliveries_per_s(), report.accepted_per_s()), (200.0, 10.0));
        assert_eq!((report.deliveries_per_cpu_s(), report.bytes_per_viewer()), (None, None));
        report.server = Some(ServerCost {
            joining: Duration::ZERO,
            measured: Duration::from_millis(500),
            memory_bytes: [1000, 21_000, 31_000],
        });
        assert_eq!(report.deliveries_per_cpu_s(), Some(800.0));
        assert_eq!(report.bytes_per_viewer(), Some([2000.0, 3000.0]));
    }

    #[test]
    fn what_was_refused_is_shown_and_no_loss() {
        let mut report = report();
        report.findings.said = 5;
        report.findings.refuse(429, "user_limit");
        assert!(report.is_clean());
        assert!(report.to_string().contains("refused        429 user_limit: 1\n"), "{report}");
        report.findings.unanswered = 1;
        assert!(!report.is_clean());
    }
}
