//! A reverse proxy that is a cache, for `cargo xtask interop cache`: what reaches it goes through
//! one stack to the origin.
//!
//! `cache-proxy --mode shared|private ORIGIN` says on which port of the loopback interface it
//! listens. It ends when its standard input does, so that it never outlives who started it.

mod front;

use std::{env, error::Error, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::uri::Authority;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade_cache::{BoxTask, HttpCacheLayer, MemoryStore, OnePartition, background_fn};
use tokio::{io, net::TcpListener, select};
use tower::ServiceBuilder;

/// Far beyond what the origin takes for anything, and less than the client waits.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Who is behind the cache.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Many users.
    Shared,
    /// One.
    Private,
}

/// What the suite wants of a cache, where it may choose: nothing is served stale without a word
/// but for what is lost with its connection, and cookies are stored.
fn store() -> MemoryStore {
    MemoryStore::new(64 << 20)
}

/// For how long something stale is better than a lost connection.
const STALE_IF_ERROR: Duration = Duration::from_secs(600);

/// There is one user, whatever cookies are sent.
fn private() -> HttpCacheLayer<MemoryStore, OnePartition> {
    let layer = HttpCacheLayer::private(store()).partition(OnePartition);
    layer.stale_if_error(STALE_IF_ERROR).background(background_fn(spawn))
}

fn shared() -> HttpCacheLayer<MemoryStore, OnePartition> {
    let layer = HttpCacheLayer::shared(store()).store_cookies(true);
    layer.stale_if_error(STALE_IF_ERROR).background(background_fn(spawn))
}

fn cache(mode: Mode) -> HttpCacheLayer<MemoryStore, OnePartition> {
    match mode {
        Mode::Shared => shared(),
        Mode::Private => private(),
    }
}

#[allow(clippy::disallowed_methods, reason = "it is not a layer")]
fn spawn(work: BoxTask) {
    tokio::spawn(work);
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mode, origin) = match arguments[..] {
        ["--mode", "shared", origin] => (Mode::Shared, origin.parse()),
        ["--mode", "private", origin] => (Mode::Private, origin.parse()),
        _ => {
            eprintln!("usage: cache-proxy --mode shared|private ORIGIN");
            return ExitCode::FAILURE;
        }
    };
    let result = match origin {
        Ok(origin) => run(cache(mode), origin).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cache-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    cache: HttpCacheLayer<MemoryStore, OnePartition>,
    origin: Authority,
) -> Result<(), Box<dyn Error>> {
    // A small packet that waits for the acknowledgement of another costs 40 milliseconds.
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // The origin closes what is unused for five seconds, and a request that meets that end would
    // fail: there is no retry here. So each has a connection of its own.
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, Full<Bytes>>(connector);
    let stack = ServiceBuilder::new().layer(cache).timeout(ANSWERED_WITHIN).service(client);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("Listening on http://{}/", listener.local_addr()?);
    let (mut input, mut nowhere) = (io::stdin(), io::sink());
    select! {
        result = front::serve(listener, origin, stack) => result?,
        result = io::copy(&mut input, &mut nowhere) => drop(result?),
    }
    Ok(())
}
