//! The report as JSON: times in seconds or, where named so, milliseconds.

use chat_load::{BACK, Histogram, JOINING, MEASURED, Report};
use serde_json::{Value, json};

/// A report as one object.
pub fn json(report: &Report) -> Value {
    let found = &report.findings;
    let reads = found.reads.max(1) as f64;
    let deliveries: u64 = found.deliveries.iter().sum();
    json!({
        "viewers": report.viewers,
        "opening_s": report.opening.as_secs_f64(),
        "measured_s": report.measured.as_secs_f64(),
        "back_s": report.returning.map(|took| took.as_secs_f64()),
        "said": report.published,
        "accepted": found.accepted.iter().sum::<u64>(),
        "accepted_per_s": report.accepted_per_s(),
        "accepted_ms": quantiles(&found.answers),
        "refused": found.refused,
        "unanswered": found.unanswered,
        "deliveries": deliveries,
        "deliveries_per_s": report.deliveries_per_s(),
        "deliveries_per_read": deliveries as f64 / reads,
        "latency_ms": quantiles(&found.latency[MEASURED]),
        "joining_ms": quantiles(&found.latency[JOINING]),
        "back_ms": quantiles(&found.latency[BACK]),
        "last": report.last,
        "gaps": found.gaps,
        "repeated": found.repeated,
        "lost": report.lost,
        "unrecovered": found.unrecovered,
        "turned_away": found.turned_away,
        "ended": found.closed,
        "faults": found.faults,
        "is_clean": report.is_clean(),
        "server_cpu_s": report.server.map(|server| server.measured.as_secs_f64()),
        "server_joining_cpu_s": report.server.map(|server| server.joining.as_secs_f64()),
        "deliveries_per_cpu_s": report.deliveries_per_cpu_s(),
        "bytes_per_viewer": report.bytes_per_viewer(),
        "own_cpu_s": report.own_cpu.as_secs_f64(),
    })
}

/// Null where nothing was measured.
fn quantiles(of: &Histogram) -> Option<Value> {
    (of.total() > 0).then(|| {
        json!({
            "count": of.total(),
            "p50": of.quantile_ms(0.5),
            "p90": of.quantile_ms(0.9),
            "p99": of.quantile_ms(0.99),
            "p999": of.quantile_ms(0.999),
            "max": of.max_ms(),
        })
    })
}
