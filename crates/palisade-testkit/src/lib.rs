//! What palisade's own tests, examples and benchmarks share: servers that misbehave on purpose, the
//! contract that every layer keeps, a clock, an observer.
//!
//! ```
//! use palisade_testkit::{FlakyApi, Reply, Script};
//! use tokio::{
//!     io::{AsyncReadExt, AsyncWriteExt},
//!     net::TcpStream,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // The first request is turned away, the second breaks off, the third and all others succeed.
//! let script = Script::new().route(
//!     "GET /users",
//!     [
//!         Reply::status(503).header("retry-after", 1),
//!         Reply::reset(),
//!         Reply::ok("[]"),
//!     ],
//! );
//! let api = FlakyApi::start(script).await;
//!
//! for end in ["503 Service Unavailable", "connection reset", "200 OK"] {
//!     let mut stream = TcpStream::connect(api.addr()).await?;
//!     stream
//!         .write_all(b"GET /users HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")
//!         .await?;
//!     let mut answer = String::new();
//!     match stream.read_to_string(&mut answer).await {
//!         Ok(_) => assert!(answer.starts_with(&format!("HTTP/1.1 {end}\r\n"))),
//!         Err(error) => assert_eq!(error.kind().to_string(), end),
//!     }
//! }
//!
//! let stats = api.stats();
//! assert_eq!(stats.requests_on("GET /users"), 3);
//! assert_eq!(stats.answered(200), 1);
//! assert_eq!(api.requests()[2].headers()["host"], "api");
//! # Ok(())
//! # }
//! ```
//!
//! | to test | use |
//! |---|---|
//! | statuses, latency, broken bodies, rate limits | [`FlakyApi`] with a [`Script`] of [`Plan`]s and [`Reply`]s |
//! | what arrived at the server | [`FlakyApi::requests`] and [`FlakyApi::stats`] |
//! | what no proper HTTP server says | [`FaultServer`] with [`Steps`] |
//! | a server that is not there | [`refused_addr`] |
//! | dates under paused time | [`PausedClock`] |
//! | that a layer is a good layer | [`contract!`] |
//! | what a layer tells | [`RecordingObserver`] |

mod body;
mod clock;
mod connection;
mod contract;
mod fault;
mod flaky;
mod limit;
mod loopback;
mod observer;
mod plan;
mod probe;
mod random;
mod refused;
mod reply;
mod script;
mod stats;
mod steps;
mod sync;

pub use self::{
    clock::PausedClock,
    contract::{Contract, Readiness, Rule, Subject, Violation},
    fault::{FaultServer, FaultStats},
    flaky::FlakyApi,
    observer::{Recorded, RecordingObserver},
    plan::{Call, Plan},
    probe::{
        Answer, LocalProbe, Offence, Pace, Payload, Probe, ProbeBody, ProbeError, ProbeFuture,
        ProbeHandle, ProbePanic, ProbePlan, ProbeRequest, probe_request,
    },
    random::Random,
    refused::refused_addr,
    reply::Reply,
    script::Script,
    stats::{Received, Stats},
    steps::Steps,
};
