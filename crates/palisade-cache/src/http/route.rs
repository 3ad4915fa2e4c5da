//! What users say of some of their routes.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode, Uri};
use palisade_core::{Endpoint, Head};

use crate::rules::{options, query::QueryKeys};

/// What holds for some requests, whatever their responses say. The first route
/// that a request matches counts.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use palisade_cache::{Route, RouteTtl};
///
/// let quotes = Route::prefix("/v1/quotes")
///     .ttl(RouteTtl::Force(Duration::from_secs(5)))
///     .negative(StatusCode::NOT_FOUND, Duration::from_secs(2));
/// # let _ = quotes;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Route {
    matcher: Matcher,
    pub(crate) ttl: Option<RouteTtl>,
    pub(crate) statuses: Vec<StatusCode>,
    pub(crate) negative: Vec<(StatusCode, u32)>,
    pub(crate) vary_ignored: Vec<HeaderName>,
    pub(crate) vary_added: Vec<HeaderName>,
    query: Option<Query>,
}

#[derive(Clone)]
enum Matcher {
    Prefix(String),
    Endpoint(&'static Endpoint),
    // Routes are a list, and so none can be of a type of its own.
    Function(Arc<dyn Fn(Head<'_>) -> bool + Send + Sync>),
}

#[derive(Clone)]
enum Query {
    Only(Vec<String>),
    Except(Vec<String>),
}

/// How long responses live that succeed, or redirect for good, in seconds: parts
/// of one are rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteTtl {
    /// For so long, whatever they say: even with `no-store` or `no-cache`. What
    /// is `private`, or for one authorization, stays so.
    Force(Duration),
    /// For so long, if they do not say it themselves.
    Default(Duration),
    /// For so long at most.
    Cap(Duration),
}

impl RouteTtl {
    pub(crate) fn rule(self) -> options::Ttl {
        match self {
            Self::Force(ttl) => options::Ttl::Force(seconds(ttl)),
            Self::Default(ttl) => options::Ttl::Default(seconds(ttl)),
            Self::Cap(ttl) => options::Ttl::Cap(seconds(ttl)),
        }
    }
}

impl Route {
    /// Requests whose path starts like this, at the border of a segment.
    pub fn prefix(path: impl Into<String>) -> Self {
        Self::new(Matcher::Prefix(path.into()))
    }

    /// Requests to an endpoint.
    pub fn endpoint(endpoint: &'static Endpoint) -> Self {
        Self::new(Matcher::Endpoint(endpoint))
    }

    /// Requests that a function says yes to.
    pub fn matching(matches: impl Fn(Head<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Matcher::Function(Arc::new(matches)))
    }

    fn new(matcher: Matcher) -> Self {
        Self {
            matcher,
            ttl: None,
            statuses: Vec::new(),
            negative: Vec::new(),
            vary_ignored: Vec::new(),
            vary_added: Vec::new(),
            query: None,
        }
    }

    /// Sets how long responses live. Defaults to what they say.
    pub fn ttl(mut self, ttl: RouteTtl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the statuses of responses that are stored. Defaults to all that
    /// HTTP lets be stored.
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Sets how long a response with this status lives that does not say so
    /// itself. Defaults to not at all, but for those that HTTP knows better.
    pub fn negative(mut self, status: StatusCode, ttl: Duration) -> Self {
        self.negative.push((status, seconds(ttl)));
        self
    }

    /// Sets fields that do not matter, whatever `Vary` says. Defaults to none.
    pub fn ignore_vary(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.vary_ignored = names.into_iter().collect();
        self
    }

    /// Sets fields that matter, even if `Vary` forgets them. Defaults to none.
    pub fn add_vary(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.vary_added = names.into_iter().collect();
        self
    }

    /// Sets the parameters of the query that matter. Defaults to all.
    pub fn only_query<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.query = Some(Query::Only(names.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets the parameters of the query that do not matter. Defaults to none.
    pub fn except_query<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.query = Some(Query::Except(names.into_iter().map(Into::into).collect()));
        self
    }

    pub(crate) fn matches(&self, head: Head<'_>) -> bool {
        match &self.matcher {
            Matcher::Prefix(prefix) => {
                let rest = head.uri.path().strip_prefix(&**prefix);
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
                })
            }
            Matcher::Endpoint(endpoint) => {
                head.endpoint().is_some_and(|known| std::ptr::eq(known, *endpoint))
            }
            Matcher::Function(matches) => matches(head),
        }
    }

    /// Whether a request of which no more is known than this may be one of the route's.
    pub(crate) fn may_match(&self, head: Head<'_>) -> bool {
        match &self.matcher {
            Matcher::Prefix(_) => self.matches(head),
            Matcher::Endpoint(_) | Matcher::Function(_) => true,
        }
    }

    /// The URI without what does not matter. Nothing, if all of it does.
    pub(crate) fn reduce(&self, uri: &Uri) -> Option<Uri> {
        let keys = match self.query.as_ref()? {
            Query::Only(names) => QueryKeys::Only(names),
            Query::Except(names) => QueryKeys::Except(names),
        };
        keys.reduce(uri)
    }

    pub(crate) fn refuses(&self, status: StatusCode) -> bool {
        !self.statuses.is_empty() && !self.statuses.contains(&status)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matcher: &dyn fmt::Debug = match &self.matcher {
            Matcher::Prefix(prefix) => prefix,
            Matcher::Endpoint(endpoint) => endpoint,
            Matcher::Function(_) => &"..",
        };
        f.debug_struct("Route")
            .field("matcher", matcher)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// HTTP counts whole seconds: less than one counts as one.
pub(crate) fn seconds(duration: Duration) -> u32 {
    let started = u64::from(duration.subsec_nanos() != 0);
    u32::try_from(duration.as_secs().saturating_add(started)).unwrap_or(u32::MAX)
}
