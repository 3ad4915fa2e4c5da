//! A reverse proxy for APIs. What it is asked for passes the layers of a server: metrics, a rate
//! limit that answers 429, a shared HTTP cache, a circuit breaker that answers 503. What it asks the
//! upstream passes those of a client: retries with a budget, credentials, time limits.
//!
//! ```sh
//! cargo run --example gateway                                     # with an upstream to try it on
//! cargo run --example gateway -- examples/gateway/gateway.toml    # that file says all there is to set
//! ```
//!
//! [`route`] is the part to copy. [`proxy`] is what RFC 9110 wants of an intermediary, [`config`] the
//! file, [`server`] the connections. HTTP/1.1 and, with prior knowledge, HTTP/2 are spoken; bodies
//! stream both ways. A caller that goes away cancels what is asked for it.
//!
//! | instead of the upstream's answer | if |
//! |---|---|
//! | 400 | the request is malformed, its path has dot segments, or its body broke off |
//! | 404 | there is no such route |
//! | 413, 414 | the body or the target is too long |
//! | 417, 501 | more is expected than `100-continue`; it is CONNECT or TRACE |
//! | 429 | the rate limit is reached: `Retry-After` says when to try again |
//! | 502 | the upstream cannot be reached, breaks the protocol, or does not admit the gateway |
//! | 503 | the circuit breaker is open: `Retry-After` says for how long |
//! | 504 | the upstream is too slow |
//!
//! An `Upgrade` is not passed on. Ctrl-C and SIGTERM end it: what has begun is finished, for as long
//! as the configuration says; a second one does not wait for that.

mod config;
mod demo;
mod problem;
mod proxy;
mod route;
mod server;
mod signals;

use std::{
    fmt::Display,
    future::pending,
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use http::{Request, Response, StatusCode};
use palisade::{client::Body, core::BoxError, metrics::Registry};
use tokio::{select, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{
    config::Config,
    route::Routes,
    server::{bind, serve},
    signals::Signals,
};

/// Passes requests on to upstreams, with limits, caches, breakers, retries and credentials
#[derive(Debug, Parser)]
struct Options {
    /// What to do, as examples/gateway/gateway.toml does; without it, as with --demo
    config: Option<PathBuf>,
    /// Starts an upstream as well, and says what to try
    #[arg(long, conflicts_with = "config")]
    demo: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.config {
        Some(path) => match Config::read(path) {
            Ok(config) => run(&config, false).await,
            Err(error) => Err(error.into()),
        },
        None => match demo::start().await {
            // The upstream lasts until the gateway has ended.
            Ok((_api, config)) => run(&config, true).await,
            Err(error) => Err(error.into()),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is told to stop.
async fn run(config: &Config, is_demo: bool) -> Result<(), BoxError> {
    let metrics = Registry::new();
    let routes = Routes::new(config, &metrics)?;
    let signals = Signals::listen()?;
    let settings = &config.server;
    let (listener, admin) = (bind(settings.listen.0).await?, bind(settings.admin.0).await?);
    let (address, admin_address) = (listener.local_addr()?, admin.local_addr()?);
    say(format!("gateway: listening on http://{address}/"));
    say(format!("gateway: http://{admin_address}/ has /metrics and /healthz"));
    if is_demo {
        say(demo::advice(address, admin_address));
    }

    let stopping = Arc::new(AtomicBool::new(false));
    let served = metrics.served().endpoints(routes.clone());
    let gateway = ServiceBuilder::new()
        .layer(served)
        .service(service_fn(move |request| routes.clone().answer(request)));
    let head_time = settings.header_timeout.0;
    let work = serve(listener, gateway, head_time, signals.next(), |connections| {
        let limit = settings.shutdown_timeout.0;
        stopping.store(true, Ordering::Relaxed);
        let again = Signals::listen();
        say(format!("gateway: stopping; {connections} connections have {limit:?} to finish"));
        async move {
            match again {
                Ok(again) => select! { () = sleep(limit) => {}, () = again.next() => {} },
                Err(_) => sleep(limit).await,
            }
        }
    });
    let admin = serve_admin(admin, metrics, head_time, Arc::clone(&stopping));
    // Whoever watches the gateway can do so to the end.
    let left = select! { left = work => left, _ = admin => 0 };
    say(match left {
        0 => "gateway: stopped; all that had begun is finished".to_owned(),
        left => format!("gateway: stopped; {left} connections were cut off"),
    });
    Ok(())
}

/// What counts the gateway's work, and says whether it takes more.
async fn serve_admin(
    listener: tokio::net::TcpListener,
    metrics: Registry,
    head_time: Duration,
    stopping: Arc<AtomicBool>,
) -> usize {
    let admin = service_fn(move |request: Request<Body>| {
        let (metrics, stopping) = (metrics.clone(), stopping.load(Ordering::Relaxed));
        async move {
            let answer = |status, text: &'static str| {
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = status;
                response
            };
            Ok(match request.uri().path() {
                "/metrics" => metrics.scrape().oneshot(request).await?.map(Body::from),
                "/healthz" if stopping => answer(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
                "/healthz" => answer(StatusCode::OK, "ok\n"),
                _ => answer(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
            })
        }
    });
    serve(listener, admin, head_time, pending(), |_| pending()).await
}

/// Whoever closes the pipe has read enough.
fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}
