//! The API that goes down, and how often it is called.

use std::{ops::Range, time::Duration};

use palisade_testkit::{Plan, Reply, Script};
use tokio::time::Instant;

/// A call is made so often.
pub(crate) const PACE: Duration = Duration::from_millis(25);
/// So many make a row of the chart.
pub(crate) const CALLS: u32 = 10;
/// How long a row takes.
pub(crate) const ROW: Duration = PACE.saturating_mul(CALLS);
/// So many rows make the chart.
pub(crate) const ROWS: u32 = 24;

/// When the API is down.
pub(crate) const OUTAGE: Range<Duration> = Duration::from_secs(1)..Duration::from_millis(3250);

/// An API that takes its time to fail while it is down.
pub(crate) fn script(start: Instant) -> Script {
    let reply = move || match OUTAGE.contains(&start.elapsed()) {
        true => Reply::status(503).latency(Duration::from_millis(250)),
        false => Reply::ok("hello").latency(Duration::from_millis(5)),
    };
    Script::new().route("GET /", Plan::with(move |_| reply()))
}
