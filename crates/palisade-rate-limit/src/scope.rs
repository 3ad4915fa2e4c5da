use std::{fmt, iter, ops::Deref, sync::Arc};

use palisade_core::{Observer, Target};

use crate::{Limit, Limiter, Quota, Wait, shared::Settings};

/// Which limiters a layer has: [`Single`], one for all requests, or
/// [`Keyed`](crate::Keyed), one for each key.
pub trait Scope {
    /// What these limiters are.
    type Limiter: Limit;

    /// These limiters anew, with all of their tokens, by this template.
    fn renew(self, template: &Template) -> Self;
}

/// Finds the limiter of a request.
pub trait Assign<Req>: Scope {
    /// The limiter of this request.
    fn limiter<'a>(&'a self, request: &Req) -> Found<'a, Self::Limiter>;

    /// Takes so many tokens for this request, if that needs no limiter. By
    /// default, it needs one.
    ///
    /// # Errors
    ///
    /// The limiter to take them from.
    #[inline]
    fn take<'a>(&'a self, request: &Req, cost: u32) -> Result<(), Found<'a, Self::Limiter>> {
        let _ = cost;
        Err(self.limiter(request))
    }
}

/// A limiter that was found: borrowed, or owned.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it is complete by nature")]
pub enum Found<'a, L = Limiter> {
    /// It belongs to the layer.
    One(&'a L),
    /// It belongs to a key, whose limiters come and go.
    Own(L),
}

impl<L> Deref for Found<'_, L> {
    type Target = L;

    #[inline]
    fn deref(&self) -> &L {
        match self {
            Self::One(limiter) => limiter,
            Self::Own(limiter) => limiter,
        }
    }
}

/// Makes limiters, all by the settings of one layer.
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

    /// Whether a limiter is no more than a bucket, as long as nobody waits.
    pub(crate) fn is_plain(&self) -> bool {
        self.settings.others.is_empty() && self.settings.learned.is_none()
    }

    /// The quotas of the layer: one, and those that were added.
    pub fn quotas(&self) -> impl Iterator<Item = Quota> {
        iter::once(self.settings.quota).chain(self.settings.others.iter().copied())
    }

    /// Whether requests wait, and how.
    pub fn wait(&self) -> Wait {
        self.settings.wait
    }

    /// Who is told of waits, refusals and pauses.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.settings.observer.get()
    }

    /// A limiter with all of its tokens, that tells the observer of this target.
    pub fn limiter(&self, target: Target<'_>) -> Limiter {
        Limiter::of(Arc::clone(&self.settings), target)
    }

    /// The same with this quota in place of all of the layer's.
    pub fn limiter_with(&self, quota: Quota, target: Target<'_>) -> Limiter {
        let settings = Settings { quota, others: Vec::new(), ..Settings::clone(&self.settings) };
        Limiter::of(Arc::new(settings), target)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.settings).finish()
    }
}

/// One limiter for all requests. The default.
#[derive(Clone, Debug)]
pub struct Single {
    limiter: Limiter,
}

impl Single {
    pub(crate) fn new(template: &Template) -> Self {
        Self { limiter: template.limiter(Target::default()) }
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }
}

impl Scope for Single {
    type Limiter = Limiter;

    fn renew(self, template: &Template) -> Self {
        Self::new(template)
    }
}

impl<Req> Assign<Req> for Single {
    #[inline]
    fn limiter<'a>(&'a self, _: &Req) -> Found<'a> {
        Found::One(&self.limiter)
    }
}
