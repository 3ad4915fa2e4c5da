//! The stack of most clients, of which nothing is switched off: each switch is asked at
//! each poll, and moves the request, the future and the answer.

use std::{pin::Pin, time::Duration};

use tokio::time::Sleep;

use super::{Exchange, Layers, UnpackedBody, top::Finish};
#[cfg(any(feature = "circuit-breaker", feature = "retry"))]
use crate::switch::{Same, Switch};
use crate::{ResponseBody, follow::Follow, timeout::TimeLimit};

type Timed = TimeLimit<Exchange, Sleep>;

#[cfg(feature = "circuit-breaker")]
type Guarded = Switch<
    <super::CircuitBreakerLayer as tower_layer::Layer<Timed>>::Service,
    Timed,
    Same<UnpackedBody>,
>;
#[cfg(not(feature = "circuit-breaker"))]
type Guarded = Timed;

#[cfg(feature = "retry")]
type Retried =
    Switch<palisade_retry::Retry<Guarded, super::RetryRules>, Guarded, Same<UnpackedBody>>;
#[cfg(not(feature = "retry"))]
type Retried = Guarded;

pub(super) type Plain = TimeLimit<Follow<Retried>, Pin<Box<Sleep>>>;

impl Layers {
    /// Whether there is nothing but what is there by default, and maybe less.
    pub(super) fn is_plain(&self) -> bool {
        let off = [
            self.near.is_empty(),
            #[cfg(feature = "metrics")]
            (self.calls.is_off() && self.attempts.is_off()),
            #[cfg(feature = "cache")]
            self.cache.is_off(),
            #[cfg(feature = "rate-limit")]
            (self.rate_limit.is_off() && self.concurrency_limit.is_off()),
            #[cfg(feature = "auth")]
            self.auth.is_off(),
        ];
        !off.contains(&false)
    }

    /// The stack without what is not there by default.
    pub(super) fn plain(&self, exchange: Exchange) -> Plain {
        let timed: Timed = TimeLimit::attempt(exchange, self.attempt);
        #[cfg(feature = "circuit-breaker")]
        let timed: Guarded = self.circuit_breaker.around(timed);
        #[cfg(feature = "retry")]
        let timed: Retried = self.retry.around(timed);
        let followed = Follow::new(timed, self.redirects);
        TimeLimit::call(followed, self.total, self.tells_deadline)
    }
}

/// Of those that have passed none.
#[derive(Clone, Copy)]
pub(super) struct AsPlain;

impl Finish<UnpackedBody> for AsPlain {
    #[inline(always)]
    fn finish(&self, body: UnpackedBody, idle: Option<Duration>) -> ResponseBody {
        ResponseBody::plain(body, idle)
    }
}
