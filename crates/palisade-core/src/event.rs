use std::{fmt::Debug, sync::Arc, time::Duration};

use http::{Method, StatusCode};

use crate::{Endpoint, ErrorKind, Head, Outcome, head::host_and_port};

/// Is told what layers do.
///
/// Every layer takes an `Option<Arc<dyn Observer>>`, and no layer counts or
/// logs by itself. It is called on the task of the request, so it should be
/// quick; it is never called under a lock.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use palisade_core::{Event, Observer, Target};
///
/// #[derive(Debug, Default)]
/// struct Retries(AtomicU32);
///
/// impl Observer for Retries {
///     fn on_event(&self, _: Target<'_>, event: &Event) {
///         if let Event::Retry { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let observer: Arc<dyn Observer> = Arc::new(Retries::default());
/// ```
pub trait Observer: Debug + Send + Sync {
    /// Something happened to a request, or to what serves this target.
    fn on_event(&self, target: Target<'_>, event: &Event);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, target: Target<'_>, event: &Event) {
        (**self).on_event(target, event);
    }
}

/// Where a request goes, in terms fit for labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The endpoint, if the request carries one.
    pub endpoint: Option<&'static Endpoint>,
    /// The method.
    pub method: Option<&'a Method>,
    /// Host and port.
    pub authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// A target of which this is known. What stands before an `@` in the
    /// authority is left out: it may be a password.
    pub fn new(
        endpoint: Option<&'static Endpoint>,
        method: Option<&'a Method>,
        authority: Option<&'a str>,
    ) -> Self {
        Self { endpoint, method, authority: authority.map(host_and_port) }
    }

    /// The target of a request.
    pub fn of(head: Head<'a>) -> Self {
        Self::new(head.endpoint(), Some(head.method), head.authority())
    }
}

/// What a layer did. Each layer adds its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed, and another will follow. One that a layer on this side
    /// refused is made again.
    Retry {
        /// The number of the attempt that failed, from 1; those not counted that
        /// were refused.
        attempt: u32,
        /// How long until the next attempt.
        delay: Duration,
        /// Why it failed.
        cause: Cause,
    },
    /// After more than one attempt, or after waiting for a layer on this side,
    /// one came to a result that calls for no other.
    Settled {
        /// How many attempts were made; those not counted that were refused.
        attempts: u32,
        /// How long was waited for further attempts, in sum.
        delay: Duration,
        /// What the last one came to.
        cause: Cause,
    },
    /// An attempt failed in a way that can be retried, and none will follow.
    GaveUp {
        /// How many attempts were made; those not counted that were refused.
        attempts: u32,
        /// How long was waited for further attempts, in sum.
        delay: Duration,
        /// Why no attempt follows, in snake case.
        reason: &'static str,
        /// Why the last one failed.
        cause: Cause,
    },
    /// A circuit breaker went from one state to another, or into the same one
    /// anew.
    Breaker {
        /// The state that ended, in snake case.
        from: &'static str,
        /// The state that began, in snake case.
        to: &'static str,
        /// Why, in snake case.
        reason: &'static str,
        /// Counts the changes of this breaker. Two threads may tell theirs out
        /// of order; who keeps the latest state goes by this.
        generation: u32,
    },
    /// A layer on this side refused to send a request.
    Refused {
        /// Which kind of layer.
        kind: ErrorKind,
        /// Why, in snake case.
        reason: &'static str,
        /// How long until another try makes sense, if that is known.
        retry_after: Option<Duration>,
        /// Whether it did; if not, the layer only observes, and the request
        /// was sent.
        enforced: bool,
    },
    /// A limiter let a request go after it had to wait.
    Waited {
        /// Which kind of layer.
        kind: ErrorKind,
        /// How long.
        waited: Duration,
    },
    /// A limiter was told by the service, or by somebody here, to let nothing
    /// go for a while.
    Paused {
        /// Which kind of layer.
        kind: ErrorKind,
        /// Who says so, in snake case.
        reason: &'static str,
        /// For how long.
        delay: Duration,
    },
    /// A cache dealt with a request.
    Cache {
        /// How, in snake case, such as `hit`, `stale` or `miss`.
        status: &'static str,
    },
    /// A credential was fetched anew, or could not be.
    Refreshed {
        /// What it came to, in snake case: `fetched`, or why there is none.
        result: &'static str,
        /// How long that took.
        took: Duration,
    },
    /// A login that several processes may share was renewed, or could not be.
    Login {
        /// What became of it, in snake case: `renewed`; `adopted`, as another
        /// one had renewed it; `overtaken`, as another one has logged in
        /// meanwhile; `unsaved`, as it could not be written, and will be lost
        /// with the process; or `lost`, as there is none that works.
        change: &'static str,
    },
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The verdict.
    pub outcome: Outcome,
    /// The status of the response, or the kind of the error.
    pub result: Result<StatusCode, ErrorKind>,
}

impl Cause {
    /// What an attempt came to.
    pub fn new(outcome: Outcome, result: Result<StatusCode, ErrorKind>) -> Self {
        Self { outcome, result }
    }
}
