//! An API that is slow, limits rates, wants tokens that expire soon, lets some of its answers be
//! cached, and is down now and then: 2,000 calls to it with hyper's client alone, and the same with
//! palisade's. Both go at once, each to such an API of its own. A table compares them, and a chart
//! shows every call.
//!
//! ```sh
//! cargo run --example tour
//! cargo run --example tour -- --svg tour.svg
//! ```
//!
//! [`client`] is the part to copy.

mod bare;
// What writes down what a breaker tells is that of its own example.
#[expect(dead_code, reason = "that example shows more of it")]
#[path = "../circuit_breaker/changes.rs"]
mod changes;
mod chart;
mod client;
mod options;
mod report;
mod scene;
mod traffic;

use std::{
    fmt::Display,
    fs,
    io::{Write, stdout},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use indicatif::MultiProgress;
use palisade::{
    core::{BoxError, Observer},
    metrics::{Both, Registry},
};
use palisade_testkit::FlakyApi;
use tokio::{signal::ctrl_c, time::Instant};

use crate::{
    bare::Bare,
    changes::{Change, Changes, open_times},
    options::Options,
    report::{Outcome, hits, table},
    traffic::{play, progress_bar},
};

/// Below this share of successes the client has not done what it is for.
const EXPECTED: f64 = 0.999;
/// Below this share of failures of the bare client there was nothing to survive.
const HARDSHIP: f64 = 0.2;
/// What a shell says of who was interrupted.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let bars = MultiProgress::new();
    let shown = tokio::select! {
        shown = show(&options, &bars) => shown,
        _ = ctrl_c() => {
            let _ = bars.clear();
            eprintln!("interrupted: no table, and no chart");
            return ExitCode::from(INTERRUPTED);
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Makes all calls with both clients, and says what became of them.
async fn show(options: &Options, bars: &MultiProgress) -> Result<(), BoxError> {
    let (calls, start) = (scene::calls(options.seed), Instant::now());
    let bare_api = FlakyApi::start(scene::script(options.seed, start)).await;
    let api = FlakyApi::start(scene::script(options.seed, start)).await;

    let bare = Bare::log_in(&origin(&bare_api)).await?;
    let (metrics, changes) = (Registry::new(), Arc::new(Changes::since(start)));
    let observer: Arc<dyn Observer> = Arc::new(Both(metrics.observer(), changes.clone()));
    let client = client::build(&origin(&api), &metrics, observer)?;

    let bar = |name| progress_bar(bars, name, calls.len());
    let (bare_answers, answers) = tokio::join!(
        play(&calls, start, bar("bare"), move |wanted| {
            let bare = bare.clone();
            async move { bare.get(wanted).await }
        }),
        play(&calls, start, bar("palisade"), move |wanted| client::get(client.clone(), wanted)),
    );
    let _ = bars.clear();

    let changes = changes.all();
    let svg = options.svg();
    fs::write(&svg, chart::draw(&bare_answers, &answers, &changes))
        .map_err(|error| format!("cannot write the chart to {}: {error}", svg.display()))?;
    let bare = Outcome { answers: bare_answers, stats: bare_api.stats(), hits: 0, transitions: 0 };
    let ours = Outcome {
        answers,
        stats: api.stats(),
        hits: hits(&metrics.snapshot()),
        transitions: changes.len(),
    };
    let took = start.elapsed().as_secs_f64();
    say(format!("{}\n\n{}", table(&bare, &ours), breaker(&changes)));
    say(format!("The chart is in {}; all took {took:.1} s.", svg.display()));
    check(&bare, &ours)
}

/// How long the breaker has kept calls away.
fn breaker(changes: &[Change]) -> String {
    let times = open_times(changes);
    let sum: Duration = times.iter().sum();
    format!("The breaker was open {} times, for {:.1} s in all.", times.len(), sum.as_secs_f64())
}

/// Whether it has happened what was to be shown.
fn check(bare: &Outcome, ours: &Outcome) -> Result<(), BoxError> {
    if ours.success_rate() < EXPECTED {
        return Err("palisade's client lost calls that it should have saved".into());
    }
    if 1.0 - HARDSHIP < bare.success_rate() {
        return Err("the bare client hardly failed: there was nothing to survive".into());
    }
    Ok(())
}

fn origin(api: &FlakyApi) -> String {
    format!("http://{}", api.addr())
}

/// Whoever closes the pipe has read enough.
fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}
