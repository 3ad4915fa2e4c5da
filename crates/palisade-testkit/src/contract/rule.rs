//! The rules and their breach.

use std::fmt;

use super::drive::Verdict;

/// A promise that every layer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A call goes to the inner instance that said it was ready, and takes the readiness with it.
    Instance,
    /// The inner service's readiness is respected: not ready stays not ready, an error stays an error.
    Readiness,
    /// Whoever polled last is woken.
    Wakers,
    /// A response future or body that is dropped, however far it got, leaves nothing behind, and the next call works.
    Cancellation,
    /// A panic of the inner service passes through or is handled; it leaves nothing behind, and the next call works.
    Panics,
    /// No lock is held while the inner service, its future or its body is polled or called.
    Locks,
    /// After a thousand calls that ended in every way, the next call works.
    Endurance,
    /// Clones, and services made by one layer, share its state.
    SharedState,
    /// The inner error arrives: itself, or as a `source()`.
    Errors,
    /// A call that succeeds at once allocates no more than it says.
    Allocations,
    /// The response future is no larger than it says.
    FutureSize,
    /// A request arrives as it was sent, each time it is tried, and once if it succeeds at once.
    Request,
    /// The head of the response arrives: status, version, headers and extensions.
    Response,
    /// Data and trailers of the response arrive, and the body does not lie about its size and end.
    Body,
    /// Calls that run at the same time on clones get their own answers.
    Concurrency,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "a call must take the inner instance that said it was ready",
            Self::Readiness => "a layer must respect the readiness of the inner service",
            Self::Wakers => "whoever polled last must be woken",
            Self::Cancellation => "a call that is dropped must leave nothing behind",
            Self::Panics => "a panic of the inner service must harm no other call",
            Self::Endurance => "a service must serve for long, however its calls end",
            Self::Locks => "no lock may be held while the inner service is at work",
            Self::SharedState => "clones and services of one layer must share its state",
            Self::Errors => "the inner error must arrive, itself or as a source()",
            Self::Allocations => "a call that succeeds at once must not allocate more than it says",
            Self::FutureSize => "the response future must not be larger than it says",
            Self::Request => "a request must arrive unchanged, and once if it succeeds",
            Self::Response => "the head of the response must arrive unchanged",
            Self::Body => "the response body must arrive unchanged",
            Self::Concurrency => "calls at the same time must get their own answers",
        })
    }
}

/// How a layer's readiness depends on that of the inner service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Not ready while the inner service is not.
    #[default]
    Forwarded,
    /// Ready without the inner service, as a cache is; a call waits for it.
    Independent,
}

/// A rule that a layer has broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    rule: Rule,
    detail: String,
    error: &'static str,
}

impl Violation {
    pub(super) fn of(rule: Rule, error: &'static str, verdict: Verdict) -> Option<Self> {
        let detail = verdict.err()?;
        Some(Self { rule, detail, error })
    }

    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What was seen.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, detail, error } = self;
        write!(f, "{rule}: {detail} (inner error type: {error})")
    }
}
