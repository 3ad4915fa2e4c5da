use std::time::Duration;

use http::Method;
use palisade_core::{Cause, Endpoint, Event, Observer, Target};
use tracing::{Level, event};

use crate::group::{OUTCOME_NAMES, Verdict};

/// An observer that logs: each event that a layer tells becomes one of
/// [`tracing`].
///
/// | message | level | fields |
/// |---|---|---|
/// | `retry` | debug | `attempt`, `delay_ms`, `cause`, `outcome` |
/// | `settled` | debug | `attempts`, `delay_ms`, `cause`, `outcome` |
/// | `gave_up` | warn | `attempts`, `delay_ms`, `reason`, `cause`, `outcome` |
/// | `transition` | warn | `from`, `to`, `reason`, `generation` |
/// | `refused` | warn | `kind`, `reason`, `retry_after_ms`, `enforced` |
/// | `would_refuse` | info | the same |
/// | `waited` | debug | `kind`, `waited_ms` |
/// | `paused` | warn | `kind`, `reason`, `delay_ms` |
/// | `cache` | debug | `status` |
/// | `refreshed` | info | `result`, `took_ms` |
/// | `login` | info | `change` |
///
/// All have the target `palisade`, and as far as the layer knows them the
/// fields `method`, `template` of the endpoint, and `authority`. A `cause` is a
/// status or a kind of error, as text. Paths, headers and bodies are never
/// logged.
///
/// ```
/// use std::sync::Arc;
/// use palisade_core::Observer;
/// use palisade_metrics::{Both, Registry, TraceEvents};
///
/// let metrics = Registry::new();
/// // For a layer: it is counted as well as logged.
/// let observer: Arc<dyn Observer> = Arc::new(Both(metrics.clone(), TraceEvents));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceEvents;

impl Observer for TraceEvents {
    fn on_event(&self, target: Target<'_>, event: &Event) {
        let method =
            target.method.or_else(|| target.endpoint.map(Endpoint::method)).map(Method::as_str);
        let template = target.endpoint.map(Endpoint::template);
        let authority = target.authority;
        macro_rules! tell {
            ($level:ident, $message:literal $(, $($fields:tt)*)?) => {
                event!(target: "palisade", Level::$level, method, template, authority, $($($fields)*,)? $message)
            };
        }
        match event {
            Event::Retry { attempt, delay, cause } => {
                let (delay_ms, (cause, outcome)) = (millis(*delay), names(cause));
                tell!(DEBUG, "retry", attempt, delay_ms, cause, outcome);
            }
            Event::Settled { attempts, delay, cause } => {
                let (delay_ms, (cause, outcome)) = (millis(*delay), names(cause));
                tell!(DEBUG, "settled", attempts, delay_ms, cause, outcome);
            }
            Event::GaveUp { attempts, delay, reason, cause } => {
                let (delay_ms, (cause, outcome)) = (millis(*delay), names(cause));
                tell!(WARN, "gave_up", attempts, delay_ms, reason, cause, outcome);
            }
            Event::Breaker { from, to, reason, generation } => {
                tell!(WARN, "transition", from, to, reason, generation);
            }
            Event::Refused { kind, reason, retry_after, enforced } => {
                let (kind, retry_after_ms) = (kind.as_str(), retry_after.map(millis));
                match enforced {
                    true => tell!(WARN, "refused", kind, reason, retry_after_ms, enforced),
                    false => tell!(INFO, "would_refuse", kind, reason, retry_after_ms, enforced),
                }
            }
            Event::Waited { kind, waited } => {
                let (kind, waited_ms) = (kind.as_str(), millis(*waited));
                tell!(DEBUG, "waited", kind, waited_ms);
            }
            Event::Paused { kind, reason, delay } => {
                let (kind, delay_ms) = (kind.as_str(), millis(*delay));
                tell!(WARN, "paused", kind, reason, delay_ms);
            }
            Event::Cache { status } => tell!(DEBUG, "cache", status),
            Event::Refreshed { result, took } => {
                let took_ms = millis(*took);
                tell!(INFO, "refreshed", result, took_ms);
            }
            Event::Login { change } => tell!(INFO, "login", change),
            // What core may add one day.
            _ => tell!(DEBUG, "other"),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn names(cause: &Cause) -> (&str, &'static str) {
    let result = match &cause.result {
        Ok(status) => status.as_str(),
        Err(kind) => kind.as_str(),
    };
    (result, OUTCOME_NAMES[Verdict::of(cause.outcome).index()])
}
