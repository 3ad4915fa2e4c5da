//! The chart, and what stands below it.

use std::{fmt::Display, time::Duration};

use palisade_testkit::Stats;

use crate::{
    changes::Change,
    scene::OUTAGE,
    traffic::{Answer, End},
};

pub(crate) const HEADING: &str = "\
Calls through the breaker:  o succeeded   x failed   . refused, the API never saw it

  time   API    calls        sent   failed   refused   success   breaker";

/// A row of the chart.
pub(crate) fn row(begin: Duration, calls: &[Answer], states: &str) -> String {
    let api = if OUTAGE.contains(&begin) { "down" } else { "up" };
    let marks: String = calls.iter().map(|answer| mark(answer.end)).collect();
    let [succeeded, failed, refused] = ENDS.map(|end| count(calls, end));
    let sent = succeeded + failed;
    let rate = (succeeded * 100).checked_div(sent);
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate} %"));
    let time = seconds(begin);
    format!("{time}   {api:<4}   {marks} {sent:>6} {failed:>8} {refused:>9} {rate:>9}   {states}")
}

const ENDS: [End; 3] = [End::Succeeded, End::Failed, End::Refused];

fn mark(end: End) -> char {
    match end {
        End::Succeeded => 'o',
        End::Failed => 'x',
        End::Refused => '.',
    }
}

fn count(answers: &[Answer], end: End) -> usize {
    answers.iter().filter(|answer| answer.end == end).count()
}

/// All changes, each with how long the state lasted that it ended.
pub(crate) fn list(changes: &[Change]) -> String {
    let mut lines = vec!["What the breaker did:".to_owned(), String::new()];
    let mut began = Duration::ZERO;
    for Change { at, from, to, reason } in changes {
        let (time, lasted) = (seconds(*at), seconds(*at - began));
        lines.push(format!("{time}   {from:>9} -> {to:<9}   after {lasted}   {reason}"));
        began = *at;
    }
    lines.join("\n")
}

/// What the calls through one client came to.
#[derive(Debug)]
pub(crate) struct Sum {
    ends: [usize; 3],
    /// How many requests came to the API while it was down.
    pub(crate) outage_requests: u64,
    /// How long all callers waited, in sum.
    pub(crate) waited: Duration,
    /// Calls that were refused although the API was up again.
    late_refusals: usize,
}

impl Sum {
    pub(crate) fn of(answers: &[Answer], stats: &Stats) -> Self {
        let late = |answer: &&Answer| answer.end == End::Refused && OUTAGE.end <= answer.sent;
        Self {
            ends: ENDS.map(|end| count(answers, end)),
            outage_requests: stats.answered(503),
            waited: answers.iter().map(|answer| answer.took).sum(),
            late_refusals: answers.iter().filter(late).count(),
        }
    }
}

/// The two clients side by side.
pub(crate) fn table(bare: &Sum, sum: &Sum) -> String {
    let both = [bare, sum];
    let ends = |index| both.map(|sum: &Sum| sum.ends[index]);
    [
        line("", ["bare", "with breaker"], ""),
        line("calls", both.map(|sum| sum.ends.iter().sum::<usize>()), ""),
        line("  succeeded", ends(0), ""),
        line("  failed", ends(1), "status 503, after a quarter of a second"),
        line("  refused", ends(2), "by the breaker, at once"),
        line("requests while down", both.map(|sum| sum.outage_requests), "that reached the API"),
        line("callers waited", both.map(|sum| seconds(sum.waited)), "in sum"),
    ]
    .join("\n")
}

fn line(label: &str, [bare, with_breaker]: [impl Display; 2], note: &str) -> String {
    let line = format!("{label:<20}{bare:>9}{with_breaker:>15}   {note}");
    line.trim_end().to_owned()
}

/// What the breaker bought, and at what price.
pub(crate) fn sentences(bare: &Sum, sum: &Sum) -> String {
    format!(
        "While it was down, the API was left alone: {} requests instead of {}. Callers waited {} \
         in all,\ninstead of {}. The price: {} calls were refused when it was up again, until the \
         breaker\nhad found out and let more and more in.",
        sum.outage_requests,
        bare.outage_requests,
        seconds(sum.waited).trim(),
        seconds(bare.waited).trim(),
        sum.late_refusals,
    )
}

fn seconds(time: Duration) -> String {
    format!("{:>5.2} s", time.as_secs_f64())
}
