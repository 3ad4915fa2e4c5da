//! A request that is not answered yet, and the ways that it may go.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    Method, Request, Response,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE},
};
use http_body::Body;
use palisade_core::{BoxError, Deadline, Event};
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    ask::{Ask, Decision, Found, Selected},
    body::CachedBody,
    entry::{StoredHead, Variant},
    fetch::Fetch,
    fill::Fill,
    flights::{Joined, Terms},
    future::Stage,
    key::CacheKey,
    outcome::Heard,
    partition::COMMON,
    plan::{Plan, is_shared},
    respond,
    seat::Seat,
    settings::Core,
    status::CacheStatus,
    store::{Stamp, Store},
};
use crate::{
    Background,
    rules::{
        answer::Answer,
        cache_status::{Forward, Handled},
        fields,
    },
};

/// How many fetches a request waits for of which nothing comes.
const ATTEMPTS: u32 = 3;

/// How long the store is waited for.
const LOOKUP: Duration = Duration::from_millis(250);

/// A fill, and the seat of the one that began it.
type Begun<W> = (Arc<Fill<W>>, Seat<Heard>);

/// What joining comes to, and who did not fetch it.
type Flown<P, W> = (Joined<Begun<W>>, Option<P>);

pub(crate) struct Pending<S, Q, T> {
    pub(crate) core: Arc<Core<T>>,
    pub(crate) ask: Ask,
    inner: S,
    request: Request<Q>,
    found: Found,
    selected: Option<Selected>,
    why: Forward,
    // How long it waits for the store, or for others.
    patience: Option<Pin<Box<Sleep>>>,
    // How many it has waited for in vain.
    attempts: u32,
}

impl<S, Q, T> Pending<S, Q, T> {
    pub(crate) fn new(core: Arc<Core<T>>, inner: S, request: Request<Q>, ask: Ask) -> Self {
        let (found, selected) = (Found::default(), None);
        let why = ask.demand.why_forwarded(ask.writes());
        let (patience, attempts) = (None, 0);
        Self { core, ask, inner, request, found, selected, why, patience, attempts }
    }

    /// Waits until it has waited for the store for long enough, and tells that.
    pub(crate) fn poll_lookup(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOKUP)));
        ready!(patience.as_mut().poll(cx));
        if let Some(observer) = self.core.settings.observer.get() {
            observer.on_event(self.ask.target(), &Event::Cache { status: "slow_store" });
        }
        Poll::Ready(())
    }

    /// Waits until it has waited for others for long enough.
    pub(crate) fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let longest = self.core.settings.collapse.timeout;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        patience.as_mut().poll(cx)
    }
}

impl<S, Q, B, T> Pending<S, Q, T>
where
    S: Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send> + Send + 'static,
    Q: Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
    T: Store,
{
    /// Whether what is stored for all has to be looked for too.
    pub(crate) fn second_look(&self, found: &Found) -> Option<T::Get> {
        let (key, now) = (self.ask.key.borrowed(), self.core.settings.now());
        let both = self.ask.key.partition().is_of_credentials() && !found.looked;
        (both && !found.is_enough(&self.ask.headers, &self.ask.demand, now))
            .then(|| self.core.store.get(&key.within(&COMMON).to_key()))
    }

    /// Goes on with what is found in the store.
    pub(crate) fn decide(mut self, found: Found) -> Stage<S, Q, B, T> {
        self.patience = None;
        let (ask, now) = (&self.ask, self.core.settings.now());
        let decision = Decision::of(&found, &ask.method, &ask.headers, &ask.demand, now);
        self.act(decision, found)
    }

    /// Does what is to be done. What is not looked for is not found either.
    pub(crate) fn act(mut self, decision: Decision, found: Found) -> Stage<S, Q, B, T> {
        match decision {
            Decision::Answer { variant, answer, age, status } => {
                return self.answer(&variant, answer, age, status);
            }
            Decision::Refresh { selected, answer, age } => {
                if let Some(background) = self.core.settings.background.clone() {
                    let variant = selected.variant.clone();
                    let stage = self.answer(&variant, answer, age, CacheStatus::Stale);
                    (self.found, self.selected) = (found, Some(selected));
                    self.refresh(&*background);
                    return stage;
                }
                (self.selected, self.why) = (Some(selected), Forward::Stale);
            }
            Decision::Ask { selected, why } if self.ask.reads() => {
                (self.selected, self.why) = (selected, why);
            }
            Decision::Ask { .. } => {}
            Decision::Unavailable => return self.refuse(),
        }
        self.found = found;
        self.join()
    }

    fn refuse(&self) -> Stage<S, Q, B, T> {
        self.core.settings.tell(&self.ask, CacheStatus::Miss);
        Stage::Answered { response: Some(respond::unavailable()) }
    }

    fn answer(
        &self,
        variant: &Variant,
        answer: Answer,
        age: u32,
        status: CacheStatus,
    ) -> Stage<S, Q, B, T> {
        self.core.settings.tell(&self.ask, status);
        let handled = match status {
            CacheStatus::Hit | CacheStatus::Stale => Handled::Hit,
            _ => respond::forwarded(self.why, false, true),
        };
        let mut response = respond::stored(variant, &self.ask.method, answer, age, status);
        let ttl = Some(variant.head.policy.ttl(self.core.settings.now()));
        let name = self.core.settings.name.as_deref();
        respond::sign(response.headers_mut(), name, handled, ttl, None);
        Stage::Answered { response: Some(response) }
    }

    /// Waits with others, or fetches it, for others too.
    fn join(self) -> Stage<S, Q, B, T> {
        let collapses = self.core.settings.collapse.enabled;
        if !collapses || !self.ask.is_plain() {
            return self.alone();
        }
        match self.fly() {
            (Joined::Leads((fill, seat)), _) => Stage::Leads { began: fill, seat: Some(seat) },
            (Joined::Follows(seat), Some(waits)) => {
                Stage::Follows { seat: Some(seat), pending: Some(Box::new(waits)) }
            }
            (_, waits) => waits.expect("nobody took it").alone(),
        }
    }

    /// Joins who fetches it, or fetches it. Who does not fetch it is still there.
    fn fly(self) -> Flown<Self, Fetch<S, Q, B, T>> {
        let (core, key) = (Arc::clone(&self.core), self.ask.key.clone());
        let store = &core.store;
        let is_current = |key: &CacheKey, asked: Stamp| {
            let key = key.borrowed();
            store.is_current(key, asked)
                && (!key.is_of_credentials() || store.is_current(key.within(&COMMON), asked))
        };
        let (patience, stamp) = (core.settings.collapse.timeout, store.stamp());
        let mut waits = Some(self);
        let joined = core.flights.join(key, Terms { patience, stamp, is_current }, |id| {
            let (fill, seat) = waits.take().expect("it is made once").begin(id);
            ((Arc::clone(&fill), seat), fill)
        });
        (joined, waits)
    }

    /// Fetches it for itself.
    pub(crate) fn alone(self) -> Stage<S, Q, B, T> {
        let (fill, seat) = self.begin(0);
        Stage::Leads { began: fill, seat: Some(seat) }
    }

    fn begin(self, id: u64) -> Begun<Fetch<S, Q, B, T>> {
        let Self { core, ask, inner, mut request, found, selected, why, .. } = self;
        let mut plan = Plan::new(core, ask, &found, selected, why, id);
        plan.prepare(request.headers_mut());
        Fill::begin(Fetch::new(inner, request, plan))
    }

    /// Fetches it for nobody, so that it is there for others.
    fn refresh(mut self, background: &dyn Background) {
        if self.core.flights.rests(&self.ask.key) {
            return;
        }
        if self.ask.method == Method::HEAD {
            *self.request.method_mut() = Method::GET;
            self.ask.method = Method::GET;
        }
        for headers in [self.request.headers_mut(), &mut self.ask.headers] {
            for own in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                headers.remove(own);
            }
        }
        // Nobody waits for it any more.
        self.request.extensions_mut().remove::<Deadline>();
        self.why = Forward::Stale;
        let (core, key) = (Arc::clone(&self.core), self.ask.key.clone());
        // One is enough.
        let (Joined::Leads((_, seat)), _) = self.fly() else {
            return;
        };
        core.flights.rest(&key);
        background.run(Box::pin(async move {
            std::future::poll_fn(|cx| seat.poll_head(cx)).await;
            // What nothing is stored of is not read either.
            while seat.is_kept() {
                let frame = std::future::poll_fn(|cx| seat.poll_frame(cx)).await;
                if !matches!(frame, Some(Ok(_))) {
                    break;
                }
            }
        }));
    }

    /// Goes on with what another request has come to.
    pub(crate) fn hear(mut self, heard: Option<Heard>, seat: Seat<Heard>) -> Stage<S, Q, B, T> {
        let now = self.core.settings.now();
        match heard {
            Some(Heard::Streams(head)) if self.ask.takes(&head, now) => self.share(&head, seat),
            Some(Heard::Stored(variant, status)) if self.takes(&variant, status) => {
                let age = variant.head.policy.age(now);
                let answer = self.ask.answer(&variant);
                let status = match status {
                    CacheStatus::Stale => CacheStatus::Stale,
                    _ => CacheStatus::Collapsed,
                };
                self.answer(&variant, answer, age, status)
            }
            // It was for this one, and is stale by now: who comes later waits for a fresh one.
            Some(Heard::Streams(head)) if self.is_for_this(&head) && self.may_wait_again() => {
                self.core.flights.land_from(&self.ask.key, &seat);
                drop(seat);
                self.join()
            }
            Some(Heard::Streams(_) | Heard::Stored(..) | Heard::Released) => {
                drop(seat);
                self.alone()
            }
            // One of those that waited tries again, and the others wait for that.
            Some(Heard::Failed) | None if self.may_wait_again() => {
                drop(seat);
                self.join()
            }
            // RFC 9111, section 5.2.2.2, has it so: who cannot reach the origin.
            Some(Heard::Failed) | None => self.refuse(),
        }
    }

    fn is_for_this(&self, head: &StoredHead) -> bool {
        is_shared(head) && head.selector.matches(&self.ask.headers)
    }

    /// Whether it waits for another one, after it has waited for one in vain.
    fn may_wait_again(&mut self) -> bool {
        self.patience = None;
        self.attempts += 1;
        self.attempts < ATTEMPTS
    }

    fn takes(&self, variant: &Variant, status: CacheStatus) -> bool {
        let (head, now) = (&variant.head, self.core.settings.now());
        match status {
            CacheStatus::Stale => {
                head.selector.matches(&self.ask.headers)
                    && self.ask.demand.in_place_of_error(&head.policy, now).is_some()
            }
            _ => self.ask.takes(head, now),
        }
    }

    /// The response to another request, which is read together.
    fn share(&self, head: &StoredHead, seat: Seat<Heard>) -> Stage<S, Q, B, T> {
        let status = CacheStatus::Collapsed;
        let settings = &self.core.settings;
        settings.tell(&self.ask, status);
        let mut response = Response::new(CachedBody::shared(seat, status));
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers.clone();
        let now = settings.now();
        fields::write_age(response.headers_mut(), head.policy.age(now));
        let (name, handled) = (settings.name.as_deref(), respond::forwarded(self.why, true, true));
        let ttl = Some(head.policy.ttl(now));
        respond::sign(response.headers_mut(), name, handled, ttl, None);
        Stage::Answered { response: Some(response) }
    }
}
