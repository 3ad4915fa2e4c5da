use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, request};
use tokio::time::Instant;

use crate::{
    clock::PausedClock,
    limit::{Limit, Verdict, whole_seconds},
    plan::{Call, Plan},
    random::Random,
    reply::Reply,
    sync::lock,
};

/// What a [`FlakyApi`](crate::FlakyApi) answers, route by route.
///
/// A route that is not in the script answers `404`.
#[must_use]
#[derive(Debug)]
pub struct Script {
    seed: u64,
    routes: Vec<Route>,
    pub(crate) clock: Option<PausedClock>,
    pub(crate) max_requests: usize,
    pub(crate) max_body: usize,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    method: Option<Method>,
    path: String,
    plan: Plan,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    requests: u64,
    limit: Option<Limit>,
}

/// What the script has decided about a request.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) reply: Reply,
    pub(crate) delay: Duration,
    pub(crate) limit: Option<Verdict>,
}

impl Script {
    /// A script without routes.
    pub fn new() -> Self {
        Self { seed: 0, routes: Vec::new(), clock: None, max_requests: 10_000, max_body: 64 * 1024 }
    }

    /// Sets what all randomness derives from. Defaults to 0.
    ///
    /// What is drawn for a request depends on the seed, its route and its number on that route, so
    /// a run repeats however its tasks interleave.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a route: a path, such as `/users`, or a method and a path, such as `POST /users`.
    ///
    /// The path must match exactly, the query is not looked at. A route with a method takes
    /// precedence over one without.
    ///
    /// # Panics
    ///
    /// Panics if the route is malformed or already in the script.
    pub fn route(mut self, route: &str, plan: impl Into<Plan>) -> Self {
        assert!(self.position(route).is_none(), "route {route:?} is in the script already");
        let (method, path) = match route.split_once(' ') {
            Some((method, path)) => {
                let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
                (Some(method), path)
            }
            None => (None, route),
        };
        assert!(path.starts_with('/'), "the path of route {route:?} begins with a slash");
        self.routes.push(Route {
            name: route.into(),
            method,
            path: path.to_owned(),
            plan: plan.into(),
            progress: Mutex::default(),
        });
        self
    }

    /// Admits `quota` requests per window to a route and answers the others with `429`.
    ///
    /// The window is fixed and begins with the first request that finds none open. Answers of both
    /// kinds carry `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), and
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` as GitHub means them:
    /// the last is a Unix time. Refusals carry `Retry-After`. Seconds are rounded up and at least
    /// one, also for a shorter window.
    ///
    /// # Panics
    ///
    /// Panics if the route is not in the script.
    pub fn limit(mut self, route: &str, quota: u64, window: Duration) -> Self {
        let Some(position) = self.position(route) else {
            panic!("route {route:?} is in the script before its limit");
        };
        let progress = Progress { requests: 0, limit: Some(Limit::new(quota, window)) };
        self.routes[position].progress = Mutex::new(progress);
        self
    }

    /// Sets the clock that answers are dated with: `Date` and `X-RateLimit-Reset`. Defaults to the
    /// time of day.
    pub fn clock(mut self, clock: PausedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets how many requests are kept for [`FlakyApi::requests`](crate::FlakyApi::requests): the
    /// first so many. Defaults to 10,000.
    pub fn max_requests(mut self, max: usize) -> Self {
        self.max_requests = max;
        self
    }

    /// Sets how many bytes of each request body are kept: the first so many. Defaults to 64 KiB.
    pub fn max_body(mut self, max: usize) -> Self {
        self.max_body = max;
        self
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The index of the route that takes the request.
    pub(crate) fn find(&self, parts: &request::Parts) -> Option<usize> {
        let path = parts.uri.path();
        let of_method = |method: Option<&Method>| {
            self.routes
                .iter()
                .position(|route| route.path == path && route.method.as_ref() == method)
        };
        of_method(Some(&parts.method)).or_else(|| of_method(None))
    }

    pub(crate) fn decide(&self, route: Option<usize>, parts: &request::Parts) -> Decision {
        let Some(route) = route.map(|index| &self.routes[index]) else {
            return Decision { reply: Reply::status(404), delay: Duration::ZERO, limit: None };
        };
        let (number, limit) = route.progress(Instant::now());
        let Some(number) = number else {
            let retry_after = limit.map_or(1, |verdict| whole_seconds(verdict.reset));
            return Decision {
                reply: Reply::too_many_requests(retry_after),
                delay: Duration::ZERO,
                limit,
            };
        };
        let mut random = Random::new(self.seed, &route.name, number);
        let reply = route.plan.reply(&Call { parts, number }, &mut random);
        let delay = reply.delay(&mut random);
        Decision { reply, delay, limit }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.routes.iter().position(|route| &*route.name == name)
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Route {
    /// The number of the request, unless the limit refuses it.
    fn progress(&self, now: Instant) -> (Option<u64>, Option<Verdict>) {
        let mut progress = lock(&self.progress);
        let limit = progress.limit.as_mut().map(|limit| limit.take(now));
        if limit.is_some_and(|verdict| !verdict.admitted) {
            return (None, limit);
        }
        progress.requests += 1;
        (Some(progress.requests), limit)
    }
}
