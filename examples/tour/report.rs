//! The table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use palisade::metrics::Snapshot;
use palisade_testkit::Stats;

use crate::traffic::Answer;

/// What the calls of one client came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) stats: Stats,
    /// Answers that no request was sent for.
    pub(crate) hits: u64,
    /// How often a breaker went from one state to another.
    pub(crate) transitions: usize,
}

impl Outcome {
    fn failed(&self) -> usize {
        self.answers.iter().filter(|answer| answer.failure.is_some()).count()
    }

    /// Which part of the calls succeeded.
    pub(crate) fn success_rate(&self) -> f64 {
        1.0 - self.failed() as f64 / self.answers.len() as f64
    }

    fn failures(&self) -> BTreeMap<&str, usize> {
        let mut failures = BTreeMap::new();
        for failure in self.answers.iter().filter_map(|answer| answer.failure.as_deref()) {
            *failures.entry(failure).or_default() += 1;
        }
        failures
    }

    fn token_requests(&self) -> u64 {
        self.stats.requests_on("POST /token")
    }

    /// How long a call took that so many percent of all calls were no slower than.
    fn time(&self, percent: usize) -> Duration {
        let mut times: Vec<_> = self.answers.iter().map(|answer| answer.took).collect();
        times.sort_unstable();
        times[(times.len() * percent).div_ceil(100) - 1]
    }
}

/// What was answered from the cache alone, as the layer has told the registry.
pub(crate) fn hits(snapshot: &Snapshot) -> u64 {
    let cached = snapshot.events.iter().filter(|event| event.event == "cache");
    cached.filter(|event| event.reason == "hit").map(|event| event.count).sum()
}

/// The two clients side by side.
pub(crate) fn table(bare: &Outcome, ours: &Outcome) -> String {
    let both = [bare, ours];
    let mut lines = vec![
        line("", ["bare", "palisade"], ""),
        line("calls", both.map(|run| run.answers.len()), ""),
        line(
            "success rate",
            both.map(|run| percent(run.success_rate())),
            "status 2xx, and what was asked for",
        ),
        line("failed", both.map(Outcome::failed), ""),
    ];
    let failures = both.map(Outcome::failures);
    let labels: BTreeSet<_> = failures.iter().flat_map(BTreeMap::keys).collect();
    for label in labels {
        let counts = failures.each_ref().map(|counts| counts.get(label).unwrap_or(&0));
        lines.push(line(&format!("    {label}"), counts, note(label)));
    }
    let upstream = both.map(|run| run.stats.requests() - run.token_requests());
    lines.push(line("upstream requests", upstream, "that reached the API"));
    lines.push(line("  429s", both.map(|run| run.stats.answered(429)), "the API's rate limit"));
    lines.push(line(
        "time p50",
        both.map(|run| millis(run.time(50))),
        "of a call, with all its attempts",
    ));
    lines.push(line(
        "     p95",
        both.map(|run| millis(run.time(95))),
        "and the waits between them",
    ));
    lines.push(line(
        "     p99",
        both.map(|run| millis(run.time(99))),
        "failures are quick, and count",
    ));
    lines.push(line("cache hits", both.map(|run| run.hits), "answered without a request"));
    lines.push(line("token requests", both.map(Outcome::token_requests), ""));
    lines.push(line("breaker transitions", both.map(|run| run.transitions), ""));
    lines.join("\n")
}

fn line(label: &str, [bare, ours]: [impl Display; 2], note: &str) -> String {
    let line = format!("{label:<20}{bare:>10}{ours:>12}   {note}");
    line.trim_end().to_owned()
}

fn note(failure: &str) -> &str {
    match failure {
        "401" => "the token has expired",
        "429" => "too many requests in a second",
        "500" => "now and then",
        "503" => "the API is down",
        "open" => "the breaker was open for too long",
        "timeout" => "there was no answer in time",
        "closed" => "connection closed or reset",
        _ => "",
    }
}

fn percent(rate: f64) -> String {
    // Rounded down, so that a hundred means all.
    format!("{:.2} %", (rate * 1e4).floor() / 1e2)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
