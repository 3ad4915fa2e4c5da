//! Random requests of some users, with answers that a model of RFC 9111 allows and no others.
//!
//! The model knows what the origin said to whom and when, and looks at every use of it. It is
//! simple, not clever: what it is not sure of, it allows.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use palisade_cache::{ByCredentials, CacheMode, HttpCacheLayer, MemoryStore, Secret, Store};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    byte_store::{ByteStore, settled},
    support::{Ask, Client, Got, Origin, Reply, ask, client, clock, failure, reply},
};

const PATHS: [&str; 2] = ["/plain", "/vary"];
const USERS: [Option<&str>; 3] = [None, Some("alice"), Some("bob")];
const FOOS: [Option<&str>; 3] = [None, Some("1"), Some("2")];

/// What the origin says of its answers.
const SAID: [&str; 8] = [
    "max-age=10",
    "public, max-age=10",
    "no-store",
    "no-cache",
    "max-age=10, stale-if-error=20",
    "private, max-age=10",
    "public, max-age=0",
    "max-age=5, must-revalidate, stale-if-error=20",
];

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Nothing,
    Directive(&'static str),
    Mode(CacheMode),
    Range,
    // Of the last answer of this path that the user got.
    Condition,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get { path: usize, user: usize, kind: usize, wish: Wish },
    Head { path: usize, user: usize, kind: usize },
    Write { path: usize, user: usize, method: &'static str, location: bool },
    Pass(u64),
    // The origin has something else now.
    Change(usize),
    Say { path: usize, said: usize, tags: bool },
    Fail(Option<u16>),
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        12 => Just(Wish::Nothing),
        1 => Just(Wish::Directive("no-cache")),
        1 => Just(Wish::Directive("no-store")),
        1 => Just(Wish::Directive("max-age=0")),
        1 => Just(Wish::Directive("max-stale=20")),
        1 => Just(Wish::Directive("only-if-cached")),
        1 => Just(Wish::Directive("min-fresh=5")),
        1 => Just(Wish::Mode(CacheMode::Reload)),
        1 => Just(Wish::Mode(CacheMode::ForceCache)),
        2 => Just(Wish::Range),
        2 => Just(Wish::Condition),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = (0..PATHS.len(), 0..USERS.len(), 0..FOOS.len());
    let methods = prop_oneof![Just("PUT"), Just("POST"), Just("DELETE"), Just("PATCH")];
    let fails = prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(503))];
    prop_oneof![
        20 => (who.clone(), wish())
            .prop_map(|((path, user, kind), wish)| Step::Get { path, user, kind, wish }),
        2 => who.prop_map(|(path, user, kind)| Step::Head { path, user, kind }),
        2 => (0..PATHS.len(), 0..USERS.len(), methods, any::<bool>())
            .prop_map(|(path, user, method, location)| Step::Write { path, user, method, location }),
        5 => (1..12_u64).prop_map(Step::Pass),
        3 => (0..PATHS.len()).prop_map(Step::Change),
        4 => (0..PATHS.len(), 0..SAID.len(), any::<bool>())
            .prop_map(|(path, said, tags)| Step::Say { path, said, tags }),
        2 => fails.prop_map(Step::Fail),
    ]
}

/// What the origin is.
#[derive(Default)]
struct World {
    versions: [u32; 2],
    said: [usize; 2],
    tags: [bool; 2],
    // No answer, or this one.
    fails: Option<u16>,
    // The status of each call since the last request.
    calls: Vec<Reply>,
}

impl World {
    /// Eight bytes that say what it is: the same for the same tag.
    fn body(&self, path: usize, user: usize, kind: usize) -> String {
        let user = if SAID[self.said[path]].contains("public") { 9 } else { user };
        let kind = if path == 1 { kind } else { 9 };
        format!("{path}{user}{kind}{:05}", self.versions[path])
    }

    fn answer(&mut self, request: &Ask) -> Reply {
        let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        let path = PATHS.iter().position(|path| *path == request.uri().path()).unwrap();
        let user = USERS.iter().position(|user| *user == field("authorization")).unwrap();
        let kind = FOOS.iter().position(|kind| *kind == field("foo")).unwrap();
        let body = self.body(path, user, kind);
        let tag = format!("\"{body}\"");
        let mut fields = vec![("cache-control", SAID[self.said[path]])];
        if self.tags[path] {
            fields.push(("etag", &*tag));
        }
        if path == 1 {
            fields.push(("vary", "foo"));
        }
        let matches = |known: &str| known.split(", ").any(|known| known == tag);
        let matches = self.tags[path] && field("if-none-match").is_some_and(matches);
        let in_range = field("if-range").is_none_or(|known| self.tags[path] && known == tag);
        let range = field("range").filter(|_| in_range && request.method() == "GET");
        let answer = match (self.fails, request.method().is_safe()) {
            (Some(0), _) => failure(),
            (Some(status), _) => reply(status, &[], ""),
            (None, false) => {
                self.versions[path] += 1;
                match request.headers().contains_key("x-location") {
                    true => reply(201, &[("location", PATHS[1 - path])], ""),
                    false => reply(200, &[], ""),
                }
            }
            (None, true) if matches => reply(304, &fields, ""),
            (None, true) => match range {
                Some("bytes=4-7" | "bytes=4-") => {
                    fields.push(("content-range", "bytes 4-7/8"));
                    reply(206, &fields, &body[4..])
                }
                Some("bytes=0-3") => {
                    fields.push(("content-range", "bytes 0-3/8"));
                    reply(206, &fields, &body[..4])
                }
                Some(range) => panic!("nobody asks for {range}"),
                None if request.method() == "HEAD" => reply(200, &fields, ""),
                None => reply(200, &fields, &body),
            },
        };
        self.calls.push(answer.clone());
        answer
    }
}

/// Something that the origin has said to somebody of what is stored, maybe.
#[derive(Clone, Debug)]
struct Said {
    body: String,
    tag: Option<String>,
    path: usize,
    user: usize,
    kind: usize,
    at: Instant,
    said: &'static str,
    // It is about what is stored already, wherever that is.
    confirms: bool,
}

impl Said {
    fn has(&self, directive: &str) -> bool {
        self.said.split(", ").any(|said| said == directive)
    }

    fn is_public(&self) -> bool {
        self.has("public")
    }

    /// By how much it is too old.
    fn late(&self, now: Instant) -> Option<Duration> {
        let lifetime = match () {
            () if self.has("max-age=10") => 10,
            () if self.has("max-age=5") => 5,
            () => 0,
        };
        (now - self.at).checked_sub(Duration::from_secs(lifetime))
    }

    fn version(&self) -> u32 {
        self.body[3..].parse().unwrap()
    }

    /// Whether it may be used for this request at all.
    fn is_for(&self, path: usize, user: usize, kind: usize) -> bool {
        let of_user = self.user == user || self.is_public();
        self.path == path && of_user && (path == 0 || self.kind == kind) && !self.has("no-store")
    }

    /// Whether it may be used without a call.
    fn is_usable(&self, wish: Wish, now: Instant) -> bool {
        let late = self.late(now);
        let insists = self.has("no-cache");
        match wish {
            Wish::Mode(CacheMode::ForceCache) => true,
            Wish::Directive("no-cache" | "no-store" | "max-age=0") => false,
            Wish::Mode(_) => false,
            Wish::Directive("max-stale=20") if !insists && !self.has("must-revalidate") => {
                late.is_none_or(|late| late <= Duration::from_secs(20))
            }
            Wish::Directive("min-fresh=5") => {
                let then = now + Duration::from_secs(5);
                !insists && self.late(then).is_none_or(|late| late.is_zero())
            }
            _ => !insists && late.is_none(),
        }
    }

    /// Whether it may be used in place of an error.
    fn excuses(&self, now: Instant) -> bool {
        let bound = Duration::from_secs(20);
        self.has("stale-if-error=20")
            && !self.has("must-revalidate")
            && self.late(now).is_none_or(|late| late <= bound)
    }
}

#[derive(Default)]
struct Model {
    said: Vec<Said>,
    // For each path, user and kind: what a cache has for certain, if it is as good as any.
    sure: Vec<((usize, usize, usize), Said)>,
    // When it was last seen that nothing is to be stored for each user: for a second nothing is.
    meant: [Option<Instant>; 3],
    // The last tag that each user has seen.
    known: [[Option<String>; 3]; 2],
}

impl Model {
    /// Nothing is valid any more that this user can find, and nothing that is for nobody in
    /// particular.
    fn invalidate(&mut self, path: usize, user: usize) {
        let is_for_all = |said: &Said| said.is_public() && !said.confirms;
        let of_others = |said: &Said| said.user != user && said.user != 0 && !is_for_all(said);
        let stays = |said: &Said| said.path != path || of_others(said);
        self.said.retain(stays);
        self.sure.retain(|(_, said)| stays(said));
    }

    fn is_unsure(&mut self, path: usize, user: usize, kind: usize) {
        self.sure.retain(|(of, _)| *of != (path, user, kind_of(path, kind)));
    }

    fn is_sure(&self, path: usize, user: usize, kind: usize) -> Option<&Said> {
        let of = (path, user, kind_of(path, kind));
        self.sure.iter().find(|(sure, _)| *sure == of).map(|(_, said)| said)
    }
}

fn kind_of(path: usize, kind: usize) -> usize {
    if path == 0 { 0 } else { kind }
}

fn request(method: &str, path: usize, user: usize, kind: usize) -> Ask {
    let mut fields = Vec::new();
    fields.extend(USERS[user].map(|user| ("authorization", user)));
    fields.extend(FOOS[kind].map(|kind| ("foo", kind)));
    ask(method, PATHS[path], &fields)
}

fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

struct Run<S> {
    client: Client<S>,
    world: Arc<Mutex<World>>,
    model: Model,
}

impl<S, B> Run<S>
where
    S: tower::Service<
            Ask,
            Response = http::Response<palisade_cache::CachedBody<B>>,
            Error = palisade_core::BoxError,
        > + Clone,
    B: http_body::Body<Error: Into<palisade_core::BoxError>>,
{
    async fn send(&mut self, request: Ask) -> (Option<Got>, Vec<Reply>) {
        self.world.lock().unwrap().calls.clear();
        let got = self.client.try_send(request).await.ok();
        settled().await;
        (got, std::mem::take(&mut self.world.lock().unwrap().calls))
    }

    async fn get(&mut self, path: usize, user: usize, kind: usize, wish: Wish) {
        let mut request = request("GET", path, user, kind);
        match wish {
            Wish::Nothing => {}
            Wish::Directive(said) => {
                request.headers_mut().insert("cache-control", said.parse().unwrap());
            }
            Wish::Mode(mode) => {
                request.extensions_mut().insert(mode);
            }
            Wish::Range => {
                request.headers_mut().insert("range", "bytes=4-7".parse().unwrap());
            }
            Wish::Condition => {
                let Some(tag) = &self.model.known[path][user] else { return };
                request.headers_mut().insert("if-none-match", tag.parse().unwrap());
            }
        }
        let stores = wish != Wish::Directive("no-store");
        let condition = request.headers().get("if-none-match").cloned();
        let (got, calls) = self.send(request).await;
        assert!(calls.len() <= 1, "one call at most");
        let (now, call) = (Instant::now(), calls.first());
        let fails = call.is_some_and(|call| call.fails || call.status == 503);
        let sure = self.model.is_sure(path, user, kind).cloned();
        if let Some(sure) = sure.as_ref().filter(|_| wish == Wish::Nothing && call.is_some()) {
            assert!(!sure.is_usable(wish, now), "{sure:?} is there, and the origin was asked");
        }
        // What the origin says is known before it is used.
        if let Some(call) = call {
            self.learn(call, path, user, kind, wish, stores, condition.is_some());
        }
        let Some(got) = got else {
            assert!(fails, "an error out of nothing");
            return;
        };
        match got.status.as_u16() {
            504 => {
                assert!(wish == Wish::Directive("only-if-cached") && call.is_none(), "{got:?}");
                return;
            }
            503 => return assert!(fails, "{got:?}"),
            200 | 206 | 304 => {}
            other => panic!("nobody says {other}"),
        }
        let answer = match (got.status.as_u16(), &condition) {
            (304, Some(tag)) => {
                assert_eq!(got.headers.get("etag"), Some(tag));
                tag.to_str().unwrap().trim_matches('"').to_owned()
            }
            (304, None) => panic!("nobody has asked for that: {got:?}"),
            _ => got.text().to_owned(),
        };
        let is_it = |said: &&Said| match got.status.as_u16() {
            206 => said.body[4..] == answer,
            _ => said.body == answer,
        };
        // What came is what is answered, whatever it is.
        let now_there = self.world.lock().unwrap().body(path, user, kind);
        let passed = call.is_some_and(|call| match (call.status, got.status.as_u16()) {
            (200 | 206, 206) => !call.fails && now_there[4..] == answer,
            (200 | 206, _) => !call.fails && now_there == answer,
            (304, 304) => true,
            _ => false,
        });
        let usable = |said: &&Said| match call {
            None => said.is_usable(wish, now),
            Some(_) if fails => said.excuses(now),
            // It was confirmed.
            Some(call) if call.status == 304 => said.at == now,
            Some(_) => false,
        };
        let allowed = self.model.said.iter().filter(|said| said.is_for(path, user, kind));
        let allowed = allowed.filter(is_it).any(|said| usable(&said));
        assert!(passed || allowed, "{answer} for {path} {user} {kind} {wish:?} of {call:?}");
        if got.status == 200 {
            assert_eq!(answer.len(), 8, "{answer}");
            if let (None, Some(sure)) = (call, sure) {
                let version: u32 = answer[3..].parse().unwrap();
                assert!(sure.version() <= version, "{answer} is older than {sure:?}");
            }
            let tag = got.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
            assert!(tag.as_ref().is_none_or(|tag| tag.trim_matches('"') == answer), "{got:?}");
            self.model.known[path][user] = tag;
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a helper of one caller")]
    fn learn(
        &mut self,
        call: &Reply,
        path: usize,
        user: usize,
        kind: usize,
        wish: Wish,
        stores: bool,
        asks: bool,
    ) {
        if call.fails || call.status == 503 {
            return;
        }
        let tag = field(call, "etag").map(str::to_owned);
        let said = field(call, "cache-control").unwrap();
        let said = SAID.iter().find(|known| **known == said).copied().unwrap();
        let body = self.world.lock().unwrap().body(path, user, kind);
        let said = Said {
            body,
            tag,
            path,
            user,
            kind,
            at: Instant::now(),
            said,
            confirms: call.status == 304,
        };
        let kept = !said.has("no-store") && (!said.has("no-cache") || said.tag.is_some());
        let of_use = said.tag.is_some() || !said.has("max-age=0");
        // What is stored for all takes all variants along that are there, and so does what is not stored.
        let for_all = |user: usize, sure: &Said| user == 0 || sure.is_public();
        let takes_all = said.is_public() || !(kept && of_use);
        self.model.sure.retain(|((of_path, of_user, of_kind), sure)| {
            let reached = *of_user == user || for_all(*of_user, sure);
            // What is for nobody in particular is where that for all is.
            let takes = takes_all || user == 0 && *of_kind == kind_of(path, kind);
            !(takes && *of_path == path && reached)
        });
        self.model.is_unsure(path, user, kind);
        if stores {
            let whole = call.status == 200 && !asks && wish != Wish::Range;
            let now = said.at;
            let passes = |meant: Instant| path == 0 && now - meant < Duration::from_secs(1);
            let plain = wish == Wish::Nothing;
            let looked_at = !plain || !self.model.meant[user].is_some_and(passes);
            // What is not looked at does not make it last longer.
            if plain && looked_at && !(kept && of_use) {
                self.model.meant[user] = Some(now);
            }
            if kept && whole && of_use && looked_at {
                self.model.sure.push(((path, user, kind_of(path, kind)), said.clone()));
            }
            self.model.said.push(said);
        }
    }

    async fn head(&mut self, path: usize, user: usize, kind: usize) {
        let (_, calls) = self.send(request("HEAD", path, user, kind)).await;
        assert!(calls.len() <= 1);
        if let Some(call) = calls.first() {
            let before = self.model.said.len();
            self.learn(call, path, user, kind, Wish::Range, true, false);
            self.model.said[before..].iter_mut().for_each(|said| said.confirms = true);
            // Without a validator, it says that whatever there is has not changed.
            if let Some(said) = self.model.said.get(before).filter(|said| said.tag.is_none()) {
                let (at, words) = (said.at, said.said);
                let known = self.model.said.iter().filter(|said| said.is_for(path, user, kind));
                let fresh = known.map(|known| Said {
                    at,
                    said: words,
                    user,
                    confirms: true,
                    ..known.clone()
                });
                let fresh: Vec<_> = fresh.collect();
                self.model.said.extend(fresh);
            }
            // What there is may be another one now, with all its variants, or be for all.
            self.model.sure.retain(|(_, said)| said.path != path);
        }
    }

    async fn write(&mut self, path: usize, user: usize, method: &str, location: bool) {
        let mut request = request(method, path, user, 0);
        if location {
            request.headers_mut().insert("x-location", "1".parse().unwrap());
        }
        let (got, calls) = self.send(request).await;
        assert_eq!(calls.len(), 1, "a write is no business of a cache");
        if got.is_some_and(|got| got.status.is_success()) {
            self.model.invalidate(path, user);
            if location {
                self.model.invalidate(1 - path, user);
            }
        }
    }
}

async fn check<T: Store>(layer: HttpCacheLayer<T>, steps: Vec<Step>) {
    let world = Arc::new(Mutex::new(World { tags: [true; 2], ..World::default() }));
    let of_origin = Arc::clone(&world);
    let origin = Origin::new(move |request| of_origin.lock().unwrap().answer(request));
    let client = client(&layer, &origin);
    let mut run = Run { client, world: Arc::clone(&world), model: Model::default() };
    for step in steps {
        match step {
            Step::Get { path, user, kind, wish } => run.get(path, user, kind, wish).await,
            Step::Head { path, user, kind } => run.head(path, user, kind).await,
            Step::Write { path, user, method, location } => {
                run.write(path, user, method, location).await;
            }
            Step::Pass(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
            Step::Change(path) => world.lock().unwrap().versions[path] += 1,
            Step::Say { path, said, tags } => {
                let mut world = world.lock().unwrap();
                (world.said[path], world.tags[path]) = (said, tags);
                // Other words are for something else.
                world.versions[path] += 1;
            }
            Step::Fail(fails) => world.lock().unwrap().fails = fails,
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(origin.alive(), 0);
}

pub(crate) fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(check);
}

/// So many, if the environment does not say how many.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let said = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig { cases: if said { default.cases } else { cases }, ..default }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn what_is_answered_is_allowed(steps in proptest::collection::vec(step(), 0..60)) {
        run(async {
            check(HttpCacheLayer::private(MemoryStore::new(16 << 20)).clock(clock()), steps).await;
        });
    }

    #[test]
    fn and_so_it_is_of_a_slow_store(steps in proptest::collection::vec(step(), 0..30)) {
        run(async {
            let (secret, clock) = (Secret::new([7; 32]), clock());
            let store = ByteStore::new(secret.clone(), clock.clone());
            let layer = HttpCacheLayer::private(store).clock(clock);
            let layer = layer.partition(ByCredentials::default().secret(&secret));
            check(layer, steps).await;
        });
    }
}
