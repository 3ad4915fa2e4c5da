//! The table.

use std::time::Duration;

use palisade::metrics::{Requests, Snapshot};

const HEADING: &str =
    "endpoint           calls/s   success   attempts   in flight      p50      p95      p99";

/// All endpoints: rates and times of the last interval, the rest of all time.
pub(crate) fn draw(all: &Snapshot, last: &Snapshot, interval: Duration) -> String {
    let mut lines = vec![HEADING.to_owned()];
    for template in ["/users", "/users/{id}", "/search"] {
        let of = |requests: &Requests| requests.endpoint("GET", template);
        lines.push(row(
            template,
            [&of(&all.calls), &of(&last.calls)],
            &of(&all.attempts),
            interval,
        ));
    }
    lines.push(row("all", [&all.calls, &last.calls], &all.attempts, interval));
    lines.join("\n")
}

fn row(name: &str, [all, last]: [&Requests; 2], attempts: &Requests, interval: Duration) -> String {
    let rate = last.count() as f64 / interval.as_secs_f64();
    let success = all.success_rate().unwrap_or(1.0) * 100.0;
    let per_call = attempts.count() as f64 / all.count().max(1) as f64;
    let in_flight = all.in_flight();
    let times = last.times();
    let [p50, p95, p99] = [times.p50(), times.p95(), times.p99()].map(millis);
    format!(
        "{name:<16} {rate:>9.0} {success:>7.1} % {per_call:>10.2} {in_flight:>11} {p50:>8} {p95:>8} {p99:>8}"
    )
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
}
