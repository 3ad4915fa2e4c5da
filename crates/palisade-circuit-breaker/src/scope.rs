use std::{fmt, sync::Arc};

use palisade_core::Target;

use crate::{CircuitBreakerHandle, breaker::Breaker, settings::Settings};

/// Which breakers a layer has: [`Single`], one for all calls, or
/// [`Keyed`](crate::Keyed), one for each key.
pub trait Scope {
    /// What a call holds of its breaker.
    type Lease;

    /// These breakers anew, closed, by this template.
    fn renew(self, template: &Template) -> Self;

    /// The breaker that a lease is of; nothing, if the call has none, and is
    /// admitted without.
    fn leased<'a>(&'a self, lease: &'a Self::Lease) -> Option<&'a CircuitBreakerHandle>;

    /// The breaker that every call gets, if there is only one.
    fn known(&self) -> Option<&CircuitBreakerHandle>;
}

/// Finds the breaker of a request.
pub trait Assign<Req>: Scope {
    /// The breaker of this request.
    fn lease(&self, request: &Req) -> Self::Lease;
}

/// Makes breakers, all by the settings of one layer.
#[derive(Clone)]
pub struct Template {
    settings: Arc<Settings>,
}

impl Template {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A breaker that is closed, and tells the observer of this target.
    pub fn breaker(&self, target: Target<'_>) -> CircuitBreakerHandle {
        CircuitBreakerHandle::new(Arc::new(Breaker::new(Arc::clone(&self.settings), target)))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.settings).finish()
    }
}

/// One breaker for all calls. The default.
#[derive(Clone, Debug)]
pub struct Single {
    breaker: CircuitBreakerHandle,
}

impl Single {
    pub(crate) fn new(template: &Template) -> Self {
        Self { breaker: template.breaker(Target::default()) }
    }

    pub(crate) fn breaker(&self) -> &CircuitBreakerHandle {
        &self.breaker
    }
}

impl Scope for Single {
    type Lease = ();

    fn renew(self, template: &Template) -> Self {
        Self::new(template)
    }

    #[inline]
    fn leased<'a>(&'a self, (): &'a ()) -> Option<&'a CircuitBreakerHandle> {
        Some(&self.breaker)
    }

    #[inline]
    fn known(&self) -> Option<&CircuitBreakerHandle> {
        Some(&self.breaker)
    }
}

impl<Req> Assign<Req> for Single {
    #[inline]
    fn lease(&self, _: &Req) {}
}
