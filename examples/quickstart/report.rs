//! The table, and the sentence below it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    time::Duration,
};

use http::StatusCode;

use crate::run::Answer;

/// What one client came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) attempts: u64,
    /// Only the scripted server counts them.
    pub(crate) connections: Option<u64>,
    pub(crate) stops: BTreeMap<&'static str, u64>,
}

impl Outcome {
    fn calls(&self) -> u64 {
        self.answers.len() as u64
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures().values().sum()
    }

    /// Calls that failed although the retry layer was free to send them again.
    pub(crate) fn lost(&self) -> u64 {
        let forbidden = self.stops.get("not_idempotent");
        self.failed() - forbidden.copied().unwrap_or(0)
    }

    fn failures(&self) -> BTreeMap<&str, u64> {
        let mut failures = BTreeMap::new();
        for answer in &self.answers {
            if let Err(kind) = &answer.result {
                *failures.entry(&**kind).or_default() += 1;
            }
        }
        failures
    }

    /// How long a call took that so many percent of all calls were no slower than.
    fn time(&self, percent: usize) -> Duration {
        let mut times: Vec<_> = self.answers.iter().map(|answer| answer.elapsed).collect();
        times.sort_unstable();
        times[(times.len() * percent).div_ceil(100) - 1]
    }
}

/// The table: what is counted, both counts, and what that means.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<String>,
}

impl Table {
    pub(crate) fn new(bare: &Outcome, retried: &Outcome) -> Self {
        let both = [bare, retried];
        let mut table = Self::default();
        table.row("", ["bare", "with retry"], "");
        table.row("calls", both.map(Outcome::calls), "");
        let succeeded = both.map(|run| run.calls() - run.failed());
        table.row("  succeeded", succeeded, "status 2xx, and the whole body");
        table.row("  failed", both.map(Outcome::failed), "anything else");
        table.breakdown(&both.map(Outcome::failures), failure);
        let attempts = both.map(|run| run.attempts);
        table.row("attempts", attempts, "requests sent, retries included");
        let connections = both.map(|run| match run.connections {
            Some(connections) => connections.to_string(),
            None => "-".to_owned(),
        });
        table.row("connections", connections, "accepted by the server");
        for (label, percent, note) in [
            ("time p50", 50, "of a call, with all its attempts"),
            ("     p95", 95, "and the waits between them"),
            ("     max", 100, ""),
        ] {
            table.row(label, both.map(|run| millis(run.time(percent))), note);
        }
        let stopped = both.map(|run| run.stops.values().sum::<u64>());
        table.row("retries stopped", stopped, "failed calls not sent again");
        let stops = both.map(|run| run.stops.iter().map(|(k, v)| (&**k, *v)).collect());
        table.breakdown(&stops, reason);
        table
    }

    fn row(&mut self, label: &str, cells: [impl Display; 2], note: &str) {
        let [bare, retried] = cells;
        let line = format!("{label:<20}{bare:>9}{retried:>12}   {note}");
        self.lines.push(line.trim_end().to_owned());
    }

    fn breakdown(&mut self, counts: &[BTreeMap<&str, u64>; 2], note: fn(&str) -> &str) {
        let labels: BTreeSet<_> = counts.iter().flat_map(BTreeMap::keys).collect();
        for label in labels {
            let cells = counts.each_ref().map(|counts| counts.get(label).unwrap_or(&0));
            self.row(&format!("    {label}"), cells, note(label));
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

fn failure(kind: &str) -> &str {
    let status: Option<StatusCode> = kind.parse().ok();
    let note = status.and_then(|status| status.canonical_reason());
    note.unwrap_or(match kind {
        "closed" => "connection closed or reset",
        "connect" => "no connection could be made",
        "timeout" => "no answer in time",
        _ => "",
    })
}

fn reason(stop: &str) -> &str {
    match stop {
        "attempts" => "all attempts were made",
        "budget" => "the budget was spent",
        "deadline" => "too late for another attempt",
        "hint" => "the server asks to wait too long",
        "not_idempotent" => "POSTs without an Idempotency-Key",
        _ => "",
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// What retry bought.
pub(crate) fn sentence(bare: &Outcome, retried: &Outcome) -> String {
    let (before, after) = (bare.failed(), retried.failed());
    let (calls, attempts) = (retried.calls(), retried.attempts);
    if after < before {
        return format!(
            "Retry brought failures down from {before} to {after}, \
             and requests up from {calls} to {attempts}."
        );
    }
    if calls < attempts {
        return format!(
            "Retry bought nothing this time: {before} calls failed without it, {after} with it."
        );
    }
    "Retry had nothing to do: no call failed in a way that it retries.".to_owned()
}
