use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
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
    limits: Vec<Limited>,
    pub(crate) clock: Option<PausedClock>,
    pub(crate) max_requests: usize,
    pub(crate) max_body: usize,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pattern: Pattern,
    plan: Plan,
    requests: AtomicU64,
}

/// A method, unless it is any, and a path.
#[derive(Debug)]
struct Pattern {
    method: Option<Method>,
    path: String,
}

/// A limit, and which requests it counts.
#[derive(Debug)]
struct Limited {
    of: Of,
    limit: Mutex<Limit>,
}

#[derive(Debug)]
enum Of {
    Route(usize),
    Below(Pattern),
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
        Self {
            seed: 0,
            routes: Vec::new(),
            limits: Vec::new(),
            clock: None,
            max_requests: 10_000,
            max_body: 64 * 1024,
        }
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
        self.routes.push(Route {
            name: route.into(),
            pattern: Pattern::parse(route),
            plan: plan.into(),
            requests: AtomicU64::new(0),
        });
        self
    }

    /// Admits `quota` requests per window to a route and answers the others with `429`.
    ///
    /// What ends with an asterisk are all requests whose path begins so, together: `GET /users/*`,
    /// or `/*` for the whole server, with what is not in the script. A request counts towards each
    /// limit that it comes under, in the order of the script, up to the one that refuses it; its
    /// answer tells of that one, or of the one that has the least left.
    ///
    /// The window is fixed and begins with the first request that finds none open. Answers of both
    /// kinds carry `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), and
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` as GitHub means them:
    /// the last is a Unix time. Refusals carry `Retry-After`. Seconds are rounded up and at least
    /// one, also for a shorter window.
    ///
    /// # Panics
    ///
    /// Panics if the route is not in the script, or malformed.
    pub fn limit(mut self, route: &str, quota: u64, window: Duration) -> Self {
        let of = match (route.strip_suffix('*'), self.position(route)) {
            (Some(beginning), _) => Of::Below(Pattern::parse(beginning)),
            (None, Some(position)) => Of::Route(position),
            (None, None) => panic!("route {route:?} is in the script before its limit"),
        };
        self.limits.push(Limited { of, limit: Mutex::new(Limit::new(quota, window)) });
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
            self.routes.iter().position(|Route { pattern, .. }| {
                pattern.path == path && pattern.method.as_ref() == method
            })
        };
        of_method(Some(&parts.method)).or_else(|| of_method(None))
    }

    pub(crate) fn decide(&self, route: Option<usize>, parts: &request::Parts) -> Decision {
        let at_once = |reply, limit| Decision { reply, delay: Duration::ZERO, limit };
        let limit = self.count(route, parts);
        if let Some(verdict) = limit.filter(|verdict| !verdict.admitted) {
            return at_once(Reply::too_many_requests(whole_seconds(verdict.reset)), limit);
        }
        let Some(route) = route.map(|index| &self.routes[index]) else {
            return at_once(Reply::status(404), limit);
        };
        let number = route.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = Random::new(self.seed, &route.name, number);
        let reply = route.plan.reply(&Call { parts, number }, &mut random);
        let delay = reply.delay(&mut random);
        Decision { reply, delay, limit }
    }

    /// Counts a request towards its limits, and returns what the strictest says.
    fn count(&self, route: Option<usize>, parts: &request::Parts) -> Option<Verdict> {
        let now = Instant::now();
        let mut strictest: Option<Verdict> = None;
        for limited in self.limits.iter().filter(|limited| limited.of.counts(route, parts)) {
            let verdict = lock(&limited.limit).take(now);
            if !verdict.admitted {
                return Some(verdict);
            }
            if strictest.is_none_or(|known| verdict.remaining < known.remaining) {
                strictest = Some(verdict);
            }
        }
        strictest
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

impl Pattern {
    fn parse(text: &str) -> Self {
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => {
                let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
                (Some(method), path)
            }
            None => (None, text),
        };
        assert!(path.starts_with('/'), "the path of route {text:?} begins with a slash");
        Self { method, path: path.to_owned() }
    }
}

impl Of {
    /// Whether a request that goes to this route counts.
    fn counts(&self, route: Option<usize>, parts: &request::Parts) -> bool {
        match self {
            Self::Route(index) => route == Some(*index),
            Self::Below(Pattern { method, path }) => {
                parts.uri.path().starts_with(path)
                    && method.as_ref().is_none_or(|method| *method == parts.method)
            }
        }
    }
}
