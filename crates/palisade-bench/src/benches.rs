mod auth;
mod cache;
mod circuit_breaker;
mod client;
mod in_process;
mod late_body;
mod metrics;
mod rate_limit;

pub(crate) use self::auth::cold::Gate;
use crate::bench::{Bench, Work};

/// All benches, in the order in which they have to run.
///
/// What pauses time comes late: from then on the whole process pays for the question whether time
/// is paused.
pub fn benches() -> Vec<Bench> {
    use self::circuit_breaker::{closed, keyed, memory, outage, shared};

    let bench = |name, work| Bench { name, work };
    vec![
        bench("auth/cached", Work::Calls(auth::calls::cached)),
        bench("auth/cold-1000", Work::FewCalls(auth::cold::thousand)),
        bench("auth/per-tenant", Work::Calls(auth::tenants::calls)),
        bench("auth/replay-copy", Work::Calls(auth::calls::replay_copy)),
        bench("cache/collapse-1000", Work::FewCalls(cache::collapse::thousand)),
        bench("cache/http-hit-1k", Work::Calls(cache::http::hit)),
        bench("cache/http-hit-16m", Work::FewCalls(cache::http::large_hit)),
        bench("cache/miss", Work::Calls(cache::http::miss)),
        bench("cache/ttl-hit", Work::Calls(cache::ttl::hit)),
        bench("cache/ttl-miss", Work::Calls(cache::ttl::miss)),
        bench("circuit-breaker/count-100", Work::Calls(closed::count)),
        bench("circuit-breaker/time-10s", Work::FewCalls(closed::time)),
        bench("circuit-breaker/time-10s-1m-calls", Work::FewCalls(closed::busy_time)),
        bench("circuit-breaker/keyed-10k", Work::Calls(keyed::calls)),
        bench("circuit-breaker/open", Work::Calls(outage::refusals)),
        bench("circuit-breaker/shared-16-tasks", Work::Tasks(shared::calls)),
        bench("circuit-breaker/outage-after-100k", Work::Scene(outage::begin)),
        bench("circuit-breaker/memory-count-100", Work::Bytes(memory::count)),
        bench("circuit-breaker/memory-time-10s", Work::Bytes(memory::time)),
        bench("circuit-breaker/memory-10k-hosts", Work::Bytes(memory::keyed)),
        bench("client/stack", Work::Calls(client::stack::stack)),
        bench("client/loopback-h1-c64", Work::Loopback(client::loopback::h1_c64)),
        bench("client/loopback-h1-c1", Work::Loopback(client::loopback::h1_c1)),
        bench("client/loopback-h2-c64", Work::Loopback(client::loopback::h2_c64)),
        bench("metrics/attempts", Work::Calls(metrics::layers::attempts)),
        bench("metrics/calls-and-attempts", Work::Calls(metrics::layers::calls_and_attempts)),
        bench("metrics/attempts-2-threads", Work::Tasks(metrics::layers::two_threads)),
        bench("metrics/record", Work::Calls(metrics::record::one_thread)),
        bench("metrics/observer-unset", Work::Calls(metrics::observer::unset)),
        bench("metrics/observer-set", Work::Calls(metrics::observer::set)),
        bench("metrics/memory-one-series", Work::Bytes(metrics::record::memory)),
        bench("rate-limit/concurrency", Work::Calls(rate_limit::concurrency::calls)),
        bench("rate-limit/direct", Work::Calls(rate_limit::direct::calls)),
        bench("rate-limit/keyed-1", Work::Calls(rate_limit::keyed::one)),
        bench("rate-limit/keyed-100k", Work::Calls(rate_limit::keyed::many)),
        bench("rate-limit/feedback-none", Work::Calls(rate_limit::feedback::none)),
        bench("rate-limit/feedback-ietf", Work::Calls(rate_limit::feedback::ietf)),
        bench("rate-limit/fairness-64", Work::Scene(rate_limit::line::fairness)),
        bench("rate-limit/waiters-1000", Work::Scene(rate_limit::line::waiters)),
        bench("retry/get-8-headers", Work::Calls(in_process::get)),
        bench("retry/post-unretryable", Work::Calls(in_process::post)),
        bench("retry/one-retry", Work::Calls(in_process::one_retry)),
        bench("retry/late-body-503", Work::Scene(late_body::short_wait)),
        bench("retry/late-body-503-long-wait", Work::Scene(late_body::long_wait)),
    ]
}
