//! A client under load, and what its metrics say of it, live; at the end, what Prometheus would read.
//!
//! ```sh
//! cargo run --example metrics
//! ```
//!
//! The API fails now and then, and two of its endpoints are slow. While it runs, the same numbers
//! are on `/metrics` of the address that is printed. [`client`] is the part to copy.

mod client;
mod load;
mod table;

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stdout},
    process::ExitCode,
    time::Duration,
};

use axum::{Router, routing::any_service};
use palisade::metrics::{Format, Registry, Snapshot};
use palisade_testkit::FlakyApi;
use tokio::{net::TcpListener, task::JoinSet, time::interval};

/// How often the table is drawn, and how many times.
const TICK: Duration = Duration::from_millis(250);
const TICKS: u32 = 12;

#[tokio::main]
async fn main() -> ExitCode {
    let api = FlakyApi::start(load::script()).await;
    let metrics = Registry::new();
    let client = client::build(&metrics);

    let mut background = JoinSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free on loopback");
    let address = listener.local_addr().expect("the listener is bound");
    // The service to mount wherever Prometheus looks.
    let router = Router::new().route("/metrics", any_service(metrics.scrape()));
    background.spawn(async move { axum::serve(listener, router).await.map_err(drop) });
    say(format!("http://{address}/metrics\n"));
    for _ in 0..8 {
        background.spawn(load::calls(client.clone(), api.url("/")));
    }

    let mut window = metrics.window();
    let mut ticks = interval(TICK);
    ticks.tick().await;
    for drawn in 0..TICKS {
        ticks.tick().await;
        let table = table::draw(&metrics.snapshot(), &window.tick(), TICK);
        if drawn != 0 && stdout().is_terminal() {
            // Up again, over the last one.
            say(format!("\x1b[{}A\r\x1b[J{table}", table.lines().count() + 1));
        } else if stdout().is_terminal() || drawn + 1 == TICKS {
            say(table);
        }
    }
    background.shutdown().await;

    let snapshot = metrics.snapshot();
    let text = snapshot.render(Format::Prometheus);
    say("What Prometheus would read, in part:\n");
    let shown = ["http_client_request_duration_seconds_count{", "palisade_retries_total{"];
    for line in text.lines().filter(|line| shown.iter().any(|shown| line.starts_with(shown))) {
        say(line);
    }
    match check(&snapshot, &api) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever closes the pipe has read enough.
fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Whether the numbers are those of the server, and everything has ended.
fn check(snapshot: &Snapshot, api: &FlakyApi) -> Result<(), String> {
    let attempts = &snapshot.attempts;
    if attempts.in_flight() != 0 || snapshot.calls.in_flight() != 0 {
        return Err("something has not ended".to_owned());
    }
    if attempts.count() == 0 || snapshot.calls.count() == 0 {
        return Err("nothing was called".to_owned());
    }
    for status in [200, 503] {
        // What the server answered as the client went away is told by the server alone.
        let (client, server) = (attempts.status(status), api.stats().answered(status));
        if server < client || client + 8 < server {
            return Err(format!("{client} answers of {status}, and the server says {server}"));
        }
    }
    Ok(())
}
