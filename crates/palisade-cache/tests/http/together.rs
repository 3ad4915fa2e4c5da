//! Many at once, in whatever order: nobody gets what is for others, or what is older than what
//! they have written, and nobody waits for ever.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use palisade_cache::{ByCredentials, HttpCacheLayer, MemoryStore, Secret, Store, background_fn};
use proptest::prelude::*;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    byte_store::ByteStore,
    model::{cases, run},
    support::{Ask, Origin, Reply, Step as Part, ask, client, clock, failure, reply},
};

const USERS: [Option<&str>; 3] = [None, Some("alice"), Some("bob")];
const FOOS: [&str; 2] = ["1", "2"];

const SAID: [&str; 6] = [
    "max-age=3",
    "public, max-age=3",
    "no-store",
    "max-age=1, stale-while-revalidate=6",
    "public, max-age=1, stale-while-revalidate=6, stale-if-error=9",
    "no-cache",
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Get { user: usize, kind: usize, layer: usize },
    Write { user: usize, layer: usize },
    // Of those that are under way.
    Drop(usize),
    Pass(u64),
}

/// What the origin does with one call after the other.
#[derive(Clone, Copy, Debug)]
struct Act {
    said: usize,
    tag: bool,
    delay: u64,
    // In the middle of the body.
    waits: u64,
    // 0: an error, 1: in the middle of the body, 2: a 503.
    fails: usize,
    // 0: right, 1: too short.
    length: Option<usize>,
}

fn act() -> impl Strategy<Value = Act> {
    let times = (0..3000_u64, 0..3000_u64);
    let length = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 1 => Just(Some(1))];
    (0..SAID.len(), any::<bool>(), times, 0..20_usize, length).prop_map(
        |(said, tag, (delay, waits), fails, length)| Act { said, tag, delay, waits, fails, length },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3_usize, 0..2_usize, 0..2_usize)
            .prop_map(|(user, kind, layer)| Step::Get { user, kind, layer }),
        1 => (0..3_usize, 0..2_usize).prop_map(|(user, layer)| Step::Write { user, layer }),
        3 => any::<usize>().prop_map(Step::Drop),
        6 => (0..2500_u64).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct World {
    version: usize,
    calls: usize,
}

impl World {
    fn answer(&mut self, request: &Ask, acts: &[Act]) -> Reply {
        let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        let act = acts[self.calls % acts.len()];
        self.calls += 1;
        let delay = Duration::from_millis(act.delay);
        if request.method() == "PUT" {
            self.version += 1;
            return reply(200, &[("x-version", &self.version.to_string())], "").after(delay);
        }
        let public = SAID[act.said].contains("public");
        let user = if public { "all" } else { field("authorization").unwrap_or("nobody") };
        let body = format!("{user} {} {}", field("foo").unwrap(), self.version);
        let tag = format!("\"{}\"", body.replace(' ', "-"));
        let mut fields = vec![("cache-control", SAID[act.said]), ("vary", "foo")];
        if act.tag {
            fields.push(("etag", &tag));
        }
        match act.fails {
            0 => return failure().after(delay),
            2 => return reply(503, &[], "down").after(delay),
            _ => {}
        }
        if field("if-none-match").is_some_and(|known| known.split(", ").any(|known| known == tag)) {
            return reply(304, &fields, "").after(delay);
        }
        let length = (body.len() + act.length.unwrap_or(0)).to_string();
        if act.length.is_some() {
            fields.push(("content-length", &length));
        }
        let chunk = |text: &str| crate::support::chunk(text);
        let (one, two) = body.split_at(3);
        let mut parts = vec![chunk(one), Part::Wait(Duration::from_millis(act.waits))];
        parts.push(if act.fails == 1 { Part::Fail } else { chunk(two) });
        reply(200, &fields, "").after(delay).body(parts)
    }
}

struct Asked {
    user: usize,
    kind: usize,
    // What this user had written when it was asked for.
    written: usize,
    task: JoinHandle<Option<String>>,
}

/// Looks at what came, if all of it did.
async fn look(asked: Asked) {
    let answer = timeout(Duration::from_secs(600), asked.task).await.expect("it ends");
    let Some(answer) = answer.unwrap() else { return };
    let words: Vec<_> = answer.split(' ').collect();
    let [user, kind, version] = *words else { panic!("it is cut off: {answer}") };
    assert!(user == "all" || user == USERS[asked.user].unwrap_or("nobody"), "{answer}");
    assert_eq!(kind, FOOS[asked.kind]);
    assert!(asked.written <= version.parse().unwrap(), "{answer} after {}", asked.written);
}

async fn check<T: Store>(layers: [HttpCacheLayer<T>; 2], acts: Vec<Act>, steps: Vec<Step>) {
    let world = Arc::new(Mutex::new(World::default()));
    let origin = Origin::new(move |request| world.lock().unwrap().answer(request, &acts));
    let clients = layers.map(|layer| {
        let spawn = background_fn(|task| drop(tokio::spawn(task)));
        client(&layer.background(spawn), &origin)
    });
    let written = Arc::new(Mutex::new([0; 3]));
    let (mut asked, mut writes) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Get { user, kind, layer } => {
                let mut fields = vec![("foo", FOOS[kind])];
                fields.extend(USERS[user].map(|user| ("authorization", user)));
                let (client, request) = (clients[layer].clone(), ask("GET", "/x", &fields));
                let before = written.lock().unwrap()[user];
                let task = tokio::spawn(async move {
                    let got = client.try_send(request).await.ok()?;
                    // What is no success says nothing; what is cut off is an error, but for the
                    // one that it came for.
                    let whole = got.body.ok().filter(|_| got.status == 200)?;
                    let said = got.headers.get("content-length");
                    let length = said.map(|said| said.to_str().unwrap().parse::<usize>().unwrap());
                    let leads = got.cache == palisade_cache::CacheStatus::Miss;
                    let lies = length.is_some_and(|length| length != whole.len());
                    assert!(leads || !lies, "{whole} is not of {length:?}");
                    Some(whole)
                });
                asked.push(Asked { user, kind, written: before, task });
            }
            Step::Write { user, layer } => {
                let fields: Vec<_> =
                    USERS[user].map(|user| ("authorization", user)).into_iter().collect();
                let (client, request) = (clients[layer].clone(), ask("PUT", "/x", &fields));
                let written = Arc::clone(&written);
                writes.push(tokio::spawn(async move {
                    let got = client.send(request).await;
                    let version: usize =
                        got.headers["x-version"].to_str().unwrap().parse().unwrap();
                    let known = &mut written.lock().unwrap()[user];
                    *known = version.max(*known);
                }));
            }
            Step::Drop(number) if !asked.is_empty() => {
                let gone: Asked = asked.remove(number % asked.len());
                gone.task.abort();
            }
            Step::Drop(_) => {}
            Step::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }
    for asked in asked {
        look(asked).await;
    }
    for write in writes {
        timeout(Duration::from_secs(600), write).await.expect("it ends").unwrap();
    }
    // What is done in the background ends as well.
    let end = Instant::now() + Duration::from_secs(60);
    tokio::time::sleep_until(end).await;
    assert_eq!(origin.alive(), 0);
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn nobody_is_mixed_up_or_left_waiting(
        acts in proptest::collection::vec(act(), 1..20),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        run(async {
            let store = MemoryStore::new(16 << 20);
            let (by, clock) = (ByCredentials::default(), clock());
            let layers = [0, 1].map(|_| {
                let layer = HttpCacheLayer::private(store.clone()).partition(by.clone());
                layer.clock(clock.clone())
            });
            check(layers, acts, steps).await;
        });
    }

    #[test]
    fn nor_is_anybody_over_a_slow_store(
        acts in proptest::collection::vec(act(), 1..10),
        steps in proptest::collection::vec(step(), 0..30),
    ) {
        run(async {
            let (secret, clock) = (Secret::new([7; 32]), clock());
            let store = ByteStore::new(secret.clone(), clock.clone());
            let by = ByCredentials::default().secret(&secret);
            let layers = [0, 1].map(|_| {
                let layer = HttpCacheLayer::private(store.clone()).partition(by.clone());
                layer.clock(clock.clone())
            });
            check(layers, acts, steps).await;
        });
    }
}
