//! What a client does unless it is told otherwise: all of it stands here.

use std::time::Duration;

#[cfg(feature = "retry")]
use crate::keep::KeepBody;

/// How long a connection may take to stand.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long an attempt may take, to the head of its response.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(30);
/// How long a call may take in all, to the head of its response.
pub(crate) const TOTAL: Duration = Duration::from_secs(60);
/// How long nothing may come of a response's body.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);
/// How long a connection that nobody uses stays open.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(90);
/// How many connections that nobody uses stay open for each host. With a limit, calls that
/// are more at once than it close connections and open others all the time.
pub(crate) const POOL_IDLE_PER_HOST: usize = usize::MAX;
/// After how long without a frame a connection over HTTP/2 is asked whether it is alive, if
/// requests wait for it. With half of that for the answer, another attempt has time left.
pub(crate) const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// After how long without a byte TCP asks whether a connection is alive, and how far apart.
pub(crate) const TCP_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many times TCP asks before a connection is dead.
pub(crate) const TCP_PROBES: u32 = 3;
/// How many redirects are followed for one request.
pub(crate) const REDIRECTS: usize = 10;
/// How much of a body that streams is kept in case it is sent again.
pub(crate) const REPLAY: usize = 64 * 1024;
/// How many times a request is sent at most.
#[cfg(feature = "retry")]
pub(crate) const ATTEMPTS: u32 = 3;
/// Who asks.
pub(crate) const USER_AGENT: &str = concat!("palisade/", env!("CARGO_PKG_VERSION"));

#[cfg(feature = "retry")]
pub(crate) fn retry() -> crate::stack::RetryLayer {
    palisade_retry::RetryLayer::http().attempts(ATTEMPTS).bodies(KeepBody)
}

#[cfg(feature = "circuit-breaker")]
pub(crate) fn circuit_breaker(attempt: Option<Duration>) -> crate::stack::CircuitBreakerLayer {
    use palisade_circuit_breaker::{CircuitBreakerLayer, OnCancel};

    let layer = CircuitBreakerLayer::http().keyed(palisade_core::ByAuthority);
    // A limit outside drops a call that hangs: that says something of the host only if
    // it had the time of an attempt.
    match attempt {
        Some(attempt) => layer.on_cancel(OnCancel::FailureAfter(attempt)),
        None => layer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_says_what_the_code_does() {
        let table = include_str!("lib.rs");
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        let most = |count: usize| match count {
            usize::MAX => "no limit".to_owned(),
            count => count.to_string(),
        };
        let rows = [
            ("time of a call, to the head of its response", seconds(TOTAL)),
            ("time of an attempt, to the head of its response", seconds(ATTEMPT)),
            ("time without any of a response's body", seconds(BODY_IDLE)),
            ("time of a look-up, a connection and its handshake", seconds(CONNECT)),
            ("time that a connection is kept unused", seconds(POOL_IDLE)),
            ("connections kept unused for each host", most(POOL_IDLE_PER_HOST)),
            (
                "time without a frame of HTTP/2, after which a ping is sent",
                seconds(HTTP2_KEEP_ALIVE),
            ),
            (
                "time without a byte, after which TCP sends probes",
                format!("{}, and {TCP_PROBES} probes", seconds(TCP_KEEP_ALIVE)),
            ),
            (
                "body of a request that streams, kept for further attempts",
                format!("{} KiB", REPLAY / 1024),
            ),
            ("redirects", format!("{REDIRECTS}, which take no secrets to another origin")),
            #[cfg(feature = "retry")]
            (
                "retries",
                format!("{ATTEMPTS} attempts, which begin before the time of the call is over"),
            ),
            (
                "circuit breaker",
                format!(
                    "one for each authority; a call that is dropped after {} has failed",
                    seconds(ATTEMPT)
                ),
            ),
            ("`user-agent`", format!("`{USER_AGENT}`")),
        ];
        for (what, default) in rows {
            let row = format!("//! | {what} | {default} | ");
            assert!(table.contains(&row), "no row `{row}`");
        }
    }
}
