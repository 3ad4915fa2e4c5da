//! What becomes of a response that comes: whether it is stored, confirms what is, or is replaced.

use std::{sync::Arc, time::SystemTime};

use http::{
    HeaderMap, Method, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE},
    response::Parts,
};
use http_body::SizeHint;

use super::{
    ask::{Ask, Decision, Found, Selected},
    entry::{Entry, StoredHead, Variant},
    key::CacheKeyRef,
    partition::COMMON,
    settings::Core,
    splice::{Splice, ask_for_rest, can_complete},
    status::CacheStatus,
    store::{Stamp, Store},
    storing::Storing,
    write,
};
use crate::rules::{
    admission::{Admitted, Unstorable, admit, is_for_none},
    cache_status::Forward,
    conditional,
    etag::EntityTag,
    fields,
    lookup::{Demand, Lookup},
    options::Options,
    policy::Exchange,
    status,
};

/// A request that goes to the origin, and what is known of what it asks for.
pub(crate) struct Plan<T: Store> {
    pub(crate) core: Arc<Core<T>>,
    pub(crate) ask: Ask,
    pub(crate) why: Forward,
    pub(super) selected: Option<Selected>,
    // A part of what is asked for, of which the rest is fetched.
    part: Option<Variant>,
    // The whole of which a part is asked for that cannot be cut out of it.
    whole: Option<Variant>,
    splice: Option<Splice>,
    // Others that the origin may choose from.
    pub(super) offered: Option<Entry>,
    validates: bool,
    asked: SystemTime,
    pub(super) stamp: Stamp,
    started: bool,
    // Others may join it by this id, if it is not zero.
    id: u64,
    // What is stored once its body is complete.
    pub(super) storing: Option<Storing>,
    // Why it is not.
    unstored: Option<Unstorable>,
    // The next answer will most likely not be stored either.
    meant: bool,
}

/// What is answered.
pub(crate) enum Judged {
    /// What has come.
    Pass,
    /// The same, and it is stored.
    Store(Arc<StoredHead>),
    /// What is stored.
    Answer(Variant, CacheStatus),
    /// The origin makes no sense.
    Confused,
}

impl<T: Store> Plan<T> {
    pub(crate) fn new(
        core: Arc<Core<T>>,
        ask: Ask,
        found: &Found,
        selected: Option<Selected>,
        why: Forward,
        id: u64,
    ) -> Self {
        let (mut part, mut whole) = (None, None);
        let selected = match selected {
            // What is no answer is neither confirmed nor better than an error.
            Some(Selected { variant, common }) if why == Forward::Partial => {
                let place = if variant.head.part.is_some() { &mut part } else { &mut whole };
                *place = Some(variant).filter(|_| !common);
                None
            }
            selected => selected,
        };
        let part = part.filter(|part| can_complete(&ask, part));
        let has = |name| ask.headers.contains_key(name);
        // What the client knows is what it asks about, unless there is something better.
        let asks_itself = || has(IF_NONE_MATCH) || has(IF_MODIFIED_SINCE);
        // Asked about one alone, an origin that forgets the tag in its 304 is understood too.
        let knows = |selected: &Selected| selected.variant.head.policy.has_validator();
        let offers = |_: &&Entry| {
            ask.method == Method::GET
                && !has(RANGE)
                && selected.as_ref().map_or_else(|| !asks_itself(), |selected| !knows(selected))
        };
        let offered = found.own.as_ref().filter(offers).cloned();
        Self {
            core,
            ask,
            why,
            selected,
            part,
            whole,
            splice: None,
            offered,
            validates: false,
            asked: SystemTime::UNIX_EPOCH,
            stamp: Stamp::default(),
            started: false,
            id,
            storing: None,
            unstored: None,
            meant: false,
        }
    }

    /// The request is about to be sent. Says what was stored meanwhile, and is
    /// the answer.
    pub(crate) fn start(&mut self) -> Option<Variant> {
        if std::mem::replace(&mut self.started, true) {
            return None;
        }
        self.asked = self.core.settings.now();
        self.stamp = self.core.store.stamp();
        self.look_again()
    }

    /// Makes the request ask only for what is not stored already.
    pub(crate) fn prepare(&mut self, request: &mut HeaderMap) {
        self.ask.demand.tell(request);
        // There would be no room for conditions.
        if !fields::has_room(request) {
            return;
        }
        let asks_for_rest = self.part.as_ref().is_some_and(|part| ask_for_rest(request, part));
        if asks_for_rest || self.ask.method != Method::GET {
            return;
        }
        let selected = self.selected.as_ref().map(|selected| &*selected.variant.head);
        let offered = self.offered.iter().flat_map(|entry| entry.variants());
        let mut others = offered.map(|variant| &*variant.head).filter(|head| head.part.is_none());
        let known = selected.is_some_and(|head| head.policy.has_validator());
        if known || others.clone().any(|head| head.policy.has_validator()) {
            let others = others.by_ref().map(|head| &head.headers);
            self.validates =
                conditional::validate(request, selected.map(|head| &head.headers), others);
        }
    }

    /// Looks once more, now that others can join: what was fetched by another
    /// one meanwhile is answered.
    fn look_again(&mut self) -> Option<Variant> {
        if self.id == 0 || !self.ask.demand.reads() {
            return None;
        }
        let (key, demand) = (&self.ask.key, &self.ask.demand);
        let now = self.asked;
        let found = Found::peek(&self.core.store, key.borrowed(), &self.ask.headers, demand, now)?;
        match Decision::of(&found, &self.ask.method, &self.ask.headers, demand, now) {
            Decision::Answer { variant, status: CacheStatus::Hit, .. } => {
                self.land();
                Some(variant)
            }
            _ => None,
        }
    }

    /// What is answered in place of an error.
    pub(crate) fn fail(&mut self) -> Judged {
        self.land();
        self.in_place_of_error().unwrap_or(Judged::Pass)
    }

    fn in_place_of_error(&self) -> Option<Judged> {
        let selected = self.selected.as_ref()?;
        let now = self.core.settings.now();
        self.ask.demand.in_place_of_error(&selected.variant.head.policy, now)?;
        Some(Judged::Answer(selected.variant.clone(), CacheStatus::Stale))
    }

    /// Decides on a response. One that is a stream is passed on.
    pub(crate) fn judge(&mut self, parts: &mut Parts, size: &SizeHint, stream: bool) -> Judged {
        let judged = match self.part.take() {
            // That there is no rest is no answer to who asks for the whole.
            Some(part) if matches!(parts.status.as_u16(), 206 | 416) => self.complete(&part, parts),
            _ => self.judge_head(parts, size, stream),
        };
        match &judged {
            // Nobody may use it before the origin says so again.
            Judged::Store(head) if !is_shared(head) => self.pass(),
            Judged::Store(_) => {}
            Judged::Pass => self.pass(),
            Judged::Answer(_, CacheStatus::Revalidated) => {
                self.core.flights.refreshed(&self.ask.key);
                self.land();
            }
            Judged::Answer(..) | Judged::Confused => self.land(),
        }
        judged
    }

    fn judge_head(&mut self, parts: &Parts, size: &SizeHint, stream: bool) -> Judged {
        let Parts { status, headers, .. } = parts;
        if self.ask.writes() {
            self.invalidate(*status, headers);
        }
        if *status == StatusCode::NOT_MODIFIED && self.validates {
            return self.not_modified(headers);
        }
        let better = if status::is_failure(*status) { self.in_place_of_error() } else { None };
        if let Some(judged) = better {
            return judged;
        }
        if self.ask.method == Method::HEAD {
            self.learn_from_head(*status, headers);
            return Judged::Pass;
        }
        if stream || !self.ask.demand.stores() || self.is_cut(*status, headers) {
            return Judged::Pass;
        }
        match self.admit(parts, size) {
            Ok(storing) => {
                let head = Arc::clone(&storing.head);
                self.storing = Some(storing);
                Judged::Store(head)
            }
            Err(why) => {
                self.unstored = Some(why);
                // By a route it may be stored for who asks otherwise.
                self.meant =
                    self.ask.route.is_none() && is_for_none(*status, headers, &self.options());
                // It is what is there now, and what is stored is not.
                if let Some(selected) = self.selected.take().filter(|_| status.is_success()) {
                    self.core.store.invalidate(self.key(selected.common));
                }
                Judged::Pass
            }
        }
    }

    /// Whether it is a part of what is stored as a whole, and must not take the
    /// place of that.
    fn is_cut(&self, status: StatusCode, part: &HeaderMap) -> bool {
        let whole = self.whole.as_ref().filter(|_| status == StatusCode::PARTIAL_CONTENT);
        whole.is_some_and(|whole| {
            let tags = EntityTag::of(&whole.head.headers).zip(EntityTag::of(part));
            tags.is_none_or(|(whole, part)| whole.weak_eq(part))
        })
    }

    /// The rest of what is stored has come.
    fn complete(&mut self, part: &Variant, parts: &mut Parts) -> Judged {
        let splice = self.splice(part, parts);
        let storing = splice.as_ref().and_then(|splice| self.admit(parts, &splice.size()).ok());
        let Some(storing) = storing else {
            // Without the part, the next request gets an answer.
            self.core.store.invalidate(self.key(false));
            return Judged::Confused;
        };
        let head = Arc::clone(&storing.head);
        (self.splice, self.storing) = (splice, Some(storing));
        Judged::Store(head)
    }

    /// What the body is spliced with.
    pub(crate) fn take_splice(&mut self) -> Option<Splice> {
        self.splice.take()
    }

    pub(super) fn examine(
        &self,
        status: StatusCode,
        response: &HeaderMap,
        received: SystemTime,
        options: &Options<'_>,
    ) -> Result<Admitted, Unstorable> {
        // What HEAD says is said of GET.
        let method = if self.ask.method == Method::HEAD { &Method::GET } else { &self.ask.method };
        let exchange = Exchange {
            method,
            uri: &self.ask.uri,
            request: &self.ask.headers,
            status,
            response,
            asked: self.asked,
            received,
        };
        admit(&exchange, options)
    }

    pub(super) fn options(&self) -> Options<'_> {
        self.core.settings.options(self.ask.route, self.ask.key.body().is_some())
    }

    fn invalidate(&mut self, status: StatusCode, headers: &HeaderMap) {
        let Ask { method, uri, key, .. } = &self.ask;
        write::invalidate(&self.core, method, uri, key.partition(), status, headers);
        // What it is answered with is newer.
        self.stamp = self.core.store.stamp();
    }

    pub(super) fn key(&self, common: bool) -> CacheKeyRef<'_> {
        let key = self.ask.key.borrowed();
        if common { key.within(&COMMON) } else { key }
    }

    /// What is told of a response that comes from the origin.
    pub(crate) fn status(&self) -> CacheStatus {
        let cached = self.ask.demand.stores() || self.ask.demand.reads();
        match cached && self.why != Forward::Method {
            true => CacheStatus::Miss,
            false => CacheStatus::Bypass,
        }
    }

    /// Why what has come is not stored, where it was looked at for that.
    pub(crate) fn unstored(&self) -> Option<Unstorable> {
        self.unstored
    }

    pub(crate) fn tell(&self, status: CacheStatus) {
        self.core.settings.tell(&self.ask, status);
    }

    /// Nobody can join it any more.
    pub(crate) fn land(&mut self) {
        let id = std::mem::take(&mut self.id);
        if id != 0 {
            self.core.flights.land(&self.ask.key, id);
        }
    }

    /// The same, and who asks for it does not wait for others for a while.
    fn pass(&mut self) {
        let id = std::mem::take(&mut self.id);
        let meant = self.meant && self.ask.is_plain();
        if id != 0 || meant {
            let remember = self.core.settings.collapse.remember;
            self.core.flights.pass(&self.ask.key, id, meant, remember);
        }
    }
}

/// Whether other requests may be answered with it too, when it comes.
pub(super) fn is_shared(head: &StoredHead) -> bool {
    let lookup = Demand::default().look_up(&head.policy, head.received);
    matches!(lookup, Lookup::Fresh { .. }) && head.status != StatusCode::PARTIAL_CONTENT
}

impl<T: Store> Drop for Plan<T> {
    fn drop(&mut self) {
        self.land();
    }
}
