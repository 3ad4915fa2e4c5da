//! That the seam holds: for a store in another place, which has to be waited for and holds nothing
//! but bytes, and for the one in memory.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use palisade_cache::{
    ByCredentials, CacheKey, CachePartition, CacheStatus, Collapse, HttpCacheLayer, InMemory,
    MemoryStore, Secret, Store,
};
use tower::{Layer, ServiceExt};

use crate::{
    byte_store::{ByteStore, Tiers, settled},
    support::{Fields, Origin, ask, client, clock, pass, reply},
};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn secret() -> Secret {
    Secret::new([7; 32])
}

/// A store, and a private cache over it.
fn remote() -> (ByteStore, HttpCacheLayer<ByteStore>) {
    let clock = clock();
    let store = ByteStore::new(secret(), clock.clone());
    (store.clone(), private(store).clock(clock))
}

fn private<T: Store>(store: T) -> HttpCacheLayer<T> {
    HttpCacheLayer::private(store).partition(ByCredentials::default().secret(&secret()))
}

#[tokio::test(start_paused = true)]
async fn a_store_may_hold_bytes_and_take_its_time() {
    let fields = [("cache-control", "max-age=5"), ("etag", "\"a\"")];
    let origin = Origin::new(move |request| match request.headers().get("if-none-match") {
        Some(_) => reply(304, &[], ""),
        None => reply(200, &fields, "one"),
    });
    let client = client(&remote().1, &origin);
    for (user, after, method, status) in [
        (&[][..], 0, "GET", CacheStatus::Miss),
        (&[], 1, "GET", CacheStatus::Hit),
        (&[], 10, "GET", CacheStatus::Revalidated),
        (&[], 1, "GET", CacheStatus::Hit),
        (&[], 1, "HEAD", CacheStatus::Hit),
        (&[("authorization", "a")], 1, "GET", CacheStatus::Miss),
        (&[("authorization", "a")], 1, "GET", CacheStatus::Hit),
        (&[], 0, "POST", CacheStatus::Bypass),
        (&[], 1, "GET", CacheStatus::Miss),
        (&[("range", "bytes=1-")], 1, "GET", CacheStatus::Hit),
    ] {
        pass(after).await;
        let got = client.send(ask(method, "/x", user)).await;
        assert_eq!(got.cache, status, "{method} {after}");
        settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_public_is_found_in_a_slow_store_too() {
    let origin = Origin::of([reply(200, &[("cache-control", "public, max-age=60")], "one")]);
    let client = client(&remote().1, &origin);
    for user in ["a", "b", "c"] {
        assert_eq!(client.get("/x", &[("authorization", user)]).await.text(), "one");
        settled().await;
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_collapse_over_a_slow_store() {
    let origin = Origin::of([reply(200, &[FRESH], "one").after(Duration::from_secs(1))]);
    let client = client(&remote().1, &origin);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { client.get("/x", &[]).await.body });
    }
    assert!(all.join_all().await.iter().all(|body| body.as_deref() == Ok("one")));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn variants_are_kept_side_by_side_as_bytes() {
    let origin = Origin::new(|request| {
        let foo = request.headers().get("foo").map_or("-", |foo| foo.to_str().unwrap());
        reply(200, &[FRESH, ("vary", "Foo")], foo)
    });
    let (store, layer) = remote();
    let client = client(&layer, &origin);
    for _ in 0..2 {
        for foo in ["1", "2", "3"] {
            assert_eq!(client.get("/x", &[("foo", foo)]).await.text(), foo);
            settled().await;
        }
    }
    assert_eq!(origin.calls(), 3);
    // The oldest go, and leave nothing behind.
    for foo in 10..30 {
        client.get("/x", &[("foo", foo.to_string().as_str())]).await;
        settled().await;
    }
    assert_eq!(client.get("/x", &[("foo", "29")]).await.cache, CacheStatus::Hit);
    assert_eq!(client.get("/x", &[("foo", "1")]).await.cache, CacheStatus::Miss);
    assert_eq!(names(&store, b'b').len(), 8);
}

/// The names of one kind.
fn names(store: &ByteStore, kind: u8) -> Vec<Vec<u8>> {
    let remote = store.remote.lock().unwrap();
    remote.values.keys().filter(|name| name[16] == kind).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_304_rewrites_the_head_alone() {
    let origin = Origin::new(|request| {
        let fields = [("cache-control", "max-age=5"), ("etag", "\"a\""), ("x-a", "1")];
        match request.headers().get("if-none-match") {
            Some(_) => reply(304, &[("x-a", "2")], ""),
            None => reply(200, &fields, "one"),
        }
    });
    let (store, layer) = remote();
    let client = client(&layer, &origin);
    client.get("/x", &[]).await;
    settled().await;
    store.remote.lock().unwrap().written.clear();
    pass(10).await;
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Revalidated);
    settled().await;
    let written = std::mem::take(&mut store.remote.lock().unwrap().written);
    assert!(written.iter().any(|name| name[16] == b'h'));
    assert!(written.iter().all(|name| name[16] != b'b'));
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "one"));
    assert_eq!(got.headers["x-a"], "2");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_earlier_does_not_take_the_place_of_what_is_there() {
    for processes in [1, 2] {
        // The first is the slowest.
        let mut calls = 0;
        let origin = Origin::new(move |_| {
            calls += 1;
            reply(200, &[FRESH], &calls.to_string()).after(Duration::from_secs(10 / calls))
        });
        let (store, layer) = remote();
        let other = private(store.of_process(1)).clock(clock()).collapse(Collapse::off());
        let layer = layer.collapse(Collapse::off());
        let slow = client(&layer, &origin);
        let quick = client(if processes == 1 { &layer } else { &other }, &origin);
        let first = tokio::spawn({
            let slow = slow.clone();
            async move { slow.get("/x", &[]).await.body }
        });
        pass(1).await;
        let second = quick.get("/x", &[]).await.body.unwrap();
        settled().await;
        assert_ne!(first.await.unwrap().unwrap(), second);
        settled().await;
        assert_eq!(slow.get("/x", &[]).await.text(), second, "{processes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_invalid_while_it_was_fetched_is_not_stored() {
    for processes in [1, 2] {
        let origin = Origin::of([reply(200, &[FRESH], "one").after(Duration::from_secs(5))]);
        let (store, layer) = remote();
        let other = private(store.of_process(1)).clock(clock());
        let reads = client(&layer, &origin);
        let writes = client(if processes == 1 { &layer } else { &other }, &origin);
        let fetched = tokio::spawn({
            let reads = reads.clone();
            async move { reads.get("/x", &[]).await.cache }
        });
        pass(1).await;
        writes.send(ask("POST", "/x", &[])).await;
        assert_eq!(fetched.await.unwrap(), CacheStatus::Miss);
        settled().await;
        assert_eq!(reads.get("/x", &[]).await.cache, CacheStatus::Miss, "{processes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_process_makes_invalid_is_so_for_all() {
    let origin = Origin::of([reply(200, &[FRESH], "one")]);
    let (store, layer) = remote();
    let other = private(store.of_process(1)).clock(clock());
    let (one, other) = (client(&layer, &origin), client(&other, &origin));
    one.get("/x", &[]).await;
    settled().await;
    pass(1).await;
    assert_eq!(other.get("/x", &[]).await.cache, CacheStatus::Hit);
    other.send(ask("DELETE", "/x", &[])).await;
    // Who did it knows at once.
    let soon = other.get("/x", &[]).await.cache;
    assert_eq!(soon, CacheStatus::Miss);
    settled().await;
    pass(1).await;
    other.send(ask("DELETE", "/x", &[])).await;
    settled().await;
    assert_eq!(one.get("/x", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn processes_with_one_secret_share_what_is_private_to_a_user() {
    let (store, layer) = remote();
    let origin = Origin::new(|request| {
        let user = request.headers().get("authorization");
        reply(200, &[FRESH], user.map_or("nobody", |user| user.to_str().unwrap()))
    });
    let process = |number, secret: [u8; 32]| {
        let partition = ByCredentials::default().secret(&Secret::new(secret));
        let store = store.of_process(number);
        client(&HttpCacheLayer::private(store).partition(partition).clock(clock()), &origin)
    };
    let (same, other) = (process(1, [7; 32]), process(2, [8; 32]));
    let one = client(&layer, &origin);
    let users: [Fields<'_>; 3] = [&[], &[("authorization", "alice")], &[("authorization", "bob")]];
    for user in users {
        let expected = user.first().map_or("nobody", |(_, user)| user);
        assert_eq!(one.get("/x", user).await.cache, CacheStatus::Miss);
        settled().await;
        let shared = same.get("/x", user).await;
        assert_eq!((shared.cache, shared.text()), (CacheStatus::Hit, expected));
        // Who does not know the secret finds nothing of anybody in particular.
        let apart = other.get("/x", user).await;
        let status = if user.is_empty() { CacheStatus::Hit } else { CacheStatus::Miss };
        assert_eq!((apart.cache, apart.text()), (status, expected));
        settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn processes_with_one_secret_know_a_body_again() {
    let (store, _) = remote();
    let process = |number, secret: [u8; 32]| {
        let bodies = InMemory::new(100).secret(&Secret::new(secret));
        let layer = private(store.of_process(number)).clock(clock()).bodies(bodies);
        layer.layer(tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok::<_, std::convert::Infallible>(response.body(request.into_body()).unwrap())
        }))
    };
    for (number, secret, body, status) in [
        (1, 7, "a", CacheStatus::Miss),
        (2, 7, "a", CacheStatus::Hit),
        (2, 7, "b", CacheStatus::Miss),
        (3, 8, "a", CacheStatus::Miss),
    ] {
        let request = Request::post("http://a.example/q").body(Full::new(Bytes::from(body)));
        let got = process(number, [secret; 32]).oneshot(request.unwrap()).await.unwrap();
        assert_eq!(got.body().cache_status(), status, "{number} {body}");
        assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), body);
        settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_found_in_a_store_that_makes_no_sense_is_a_miss() {
    type Spoil = fn(&[u8], &[u8]) -> Vec<u8>;
    let spoil: [Spoil; 9] = [
        |_, _| Vec::new(),
        |_, _| b"garbage".to_vec(),
        |_, _| vec![0xff; 5000],
        |value, _| value[..value.len() - 1].to_vec(),
        |value, _| value[..value.len() / 2].to_vec(),
        |value, _| [value, b"x"].concat(),
        // An older and a newer version: what has none is too long then.
        |value, _| set(value, 4, 0),
        |value, _| set(value, 4, 2),
        // What belongs to another key.
        |_, other| other.to_vec(),
    ];
    for kind in [b'k', b's', b'h', b'b'] {
        for (index, spoil) in spoil.iter().enumerate() {
            let origin =
                Origin::new(|request| reply(200, &[FRESH], &format!("body of {}", request.uri())));
            let (store, layer) = remote();
            let client = client(&layer, &origin);
            client.get("/other/and/longer", &[]).await;
            settled().await;
            let others = names(&store, kind);
            client.get("/x", &[]).await;
            settled().await;
            {
                let values = &mut store.remote.lock().unwrap().values;
                let other = values[&others[0]].clone();
                let own =
                    values.iter_mut().find(|(name, _)| name[16] == kind && **name != others[0]);
                let (_, value) = own.unwrap();
                *value = spoil(value, &other);
            }
            let got = client.get("/x", &[]).await;
            // Of a list, the slots that are whole are still there.
            let read = kind == b's' && matches!(index, 5..=8);
            let status = if read { got.cache } else { CacheStatus::Miss };
            assert_eq!(got.cache, status, "{} {index}", char::from(kind));
            assert_eq!(got.text(), "body of http://a.example/x");
            settled().await;
            // And in its place there is something that does.
            let got = client.get("/x", &[]).await;
            assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "body of http://a.example/x"));
        }
    }
}

fn set(value: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = value.to_vec();
    match changed.get_mut(at) {
        Some(place) if value.starts_with(b"PLC") => *place = byte,
        _ => changed.push(byte),
    }
    changed
}

/// A cache over memory in front of a store elsewhere.
fn tiers(remote: &ByteStore, process: u64) -> HttpCacheLayer<Tiers> {
    let (memory, remote) = (MemoryStore::new(1 << 20), remote.of_process(process));
    private(Tiers { memory, remote }).clock(clock())
}

#[tokio::test(start_paused = true)]
async fn memory_stands_in_front_of_a_store_elsewhere() {
    let origin = Origin::new(move |request| match request.headers().get("if-none-match") {
        Some(_) => reply(304, &[], ""),
        None => reply(200, &[("cache-control", "max-age=5"), ("etag", "\"a\"")], "one"),
    });
    let remote = remote().0;
    let (one, two) = (tiers(&remote, 1), tiers(&remote, 2));
    for (layer, after, method, status, in_memory) in [
        (&one, 0, "GET", CacheStatus::Miss, [1, 0]),
        (&one, 1, "GET", CacheStatus::Hit, [1, 0]),
        (&two, 1, "GET", CacheStatus::Hit, [1, 1]),
        (&two, 10, "GET", CacheStatus::Revalidated, [1, 1]),
        (&two, 1, "GET", CacheStatus::Hit, [1, 1]),
        (&two, 1, "PUT", CacheStatus::Bypass, [1, 0]),
        (&two, 1, "GET", CacheStatus::Miss, [1, 1]),
    ] {
        pass(after).await;
        let got = client(layer, &origin).send(ask(method, "/x", &[])).await;
        assert_eq!(got.cache, status, "{method} {after}");
        settled().await;
        assert_eq!([&one, &two].map(|layer| layer.store().memory.len()), in_memory);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_fetch_of_what_was_made_invalid_elsewhere_in_the_process() {
    let mut calls = 0;
    let origin = Origin::new(move |_| {
        calls += 1;
        reply(200, &[FRESH], &calls.to_string()).after(Duration::from_secs(5))
    });
    let (store, layer) = remote();
    let client = client(&layer, &origin);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.get("/x", &[]).await.body }
    });
    pass(1).await;
    let key = CacheKey::new(CachePartition::common(), "http://a.example/x".parse().unwrap());
    store.invalidate(key.borrowed());
    assert_eq!(client.get("/x", &[]).await.text(), "2");
    assert_eq!(first.await.unwrap().unwrap(), "1");
    settled().await;
    assert_eq!(client.get("/x", &[]).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_invalid_comes_into_no_tier() {
    let origin = Origin::of([reply(200, &[FRESH], "one").after(Duration::from_secs(5))]);
    let remote = remote().0;
    let layer = tiers(&remote, 1);
    let reads = client(&layer, &origin);
    let fetched = tokio::spawn({
        let reads = reads.clone();
        async move { reads.get("/x", &[]).await.cache }
    });
    pass(1).await;
    client(&layer, &Origin::of([reply(204, &[], "")])).send(ask("PUT", "/x", &[])).await;
    assert_eq!(fetched.await.unwrap(), CacheStatus::Miss);
    settled().await;
    assert!(layer.store().memory.is_empty());
    assert_eq!(reads.get("/x", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_shared_cache_serves_nothing_that_a_private_one_has_stored() {
    async fn check<T: Store>(store: T) {
        let mut calls = 0;
        let origin = Origin::new(move |_| {
            calls += 1;
            let fields =
                [("cache-control", "private, max-age=60"), ("set-cookie", "id=1"), ("vary", "foo")];
            reply(200, &fields, &calls.to_string())
        });
        let one = client(&private(store.clone()).clock(clock()), &origin);
        let all = client(&HttpCacheLayer::shared(store).clock(clock()), &origin);
        for (cache, text) in [(true, "1"), (false, "2"), (true, "1"), (false, "3")] {
            let got = if cache { one.get("/x", &[]).await } else { all.get("/x", &[]).await };
            assert_eq!(got.text(), text);
            settled().await;
        }
    }
    check(MemoryStore::new(1 << 20)).await;
    check(remote().0).await;
}

async fn fill(layer: &HttpCacheLayer<MemoryStore>, uri: &str, size: usize) {
    let service = tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok::<_, std::convert::Infallible>(
            response.body(Full::new(Bytes::from(vec![b'x'; size]))).unwrap(),
        )
    });
    let response = layer.layer(service).oneshot(ask("GET", uri, &[])).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_largest_body_fits_and_the_budget_is_kept() {
    for (budget, largest) in [(16 << 20, 1 << 20), (1 << 20, 64 << 10), (4 << 20, 1 << 20)] {
        let layer = HttpCacheLayer::private(MemoryStore::new(budget).max_body(largest as u64));
        for _ in 0..2 {
            fill(&layer, "/largest", largest).await;
            assert_eq!(layer.store().len(), 1, "{budget}");
        }
        layer.store().clear();
        fill(&layer, "/larger", largest + 1).await;
        assert!(layer.store().is_empty());
        for index in 0..200 {
            fill(&layer, &format!("/{index}"), largest / 3).await;
            assert!(layer.store().weight() <= budget, "{budget}");
        }
        assert!(budget / 2 < layer.store().weight(), "{}", layer.store().weight());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_gone() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    fill(&layer, "/x", 0).await;
    fill(&layer, "/y", 1).await;
    assert_eq!(layer.store().len(), 2);
    layer.store().remove(&"http://a.example/x".parse().unwrap());
    assert_eq!(layer.store().len(), 1);
    layer.store().clear();
    assert!(layer.store().is_empty() && layer.store().weight() == 0);
}

#[tokio::test(start_paused = true)]
async fn every_variant_is_weighed_and_so_is_what_has_no_body() {
    let origin = Origin::new(|request| {
        let foo = request.headers().get("foo").map_or("", |foo| foo.to_str().unwrap());
        reply(200, &[FRESH, ("vary", "foo")], &foo.repeat(1000))
    });
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    let client = client(&layer, &origin);
    let mut before = 0;
    for foo in ["1", "22", "333", "4444"] {
        client.get("/x", &[("foo", foo)]).await;
        let now = layer.store().weight();
        assert!(before + 1000 * foo.len() as u64 + 256 <= now && layer.store().len() == 1);
        before = now;
    }
    for index in 0..5000 {
        client.get(&format!("/{index}"), &[]).await;
        let store = layer.store();
        assert!(store.weight() <= 1 << 20 && store.len() as u64 * 384 <= store.weight());
    }
    assert!(1000 < layer.store().len());
    assert_eq!(client.get("/4999", &[]).await.cache, CacheStatus::Hit);
}

#[test]
fn a_key_keeps_nothing_alive_but_itself() {
    let info = allocation_counter::measure(|| {
        let layer = HttpCacheLayer::private(MemoryStore::new(8 << 20));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for index in 0..500 {
            // As a server reads it: in the middle of much else.
            let uri = format!("http://a.example/{index}");
            let mut read = vec![b' '; 64 << 10];
            read[..uri.len()].copy_from_slice(uri.as_bytes());
            let uri = Uri::from_maybe_shared(Bytes::from(read).split_to(uri.len())).unwrap();
            let mut request = ask("GET", "/", &[]);
            *request.uri_mut() = uri;
            let origin = Origin::of([reply(200, &[FRESH], "x")]);
            runtime.block_on(client(&layer, &origin).send(request));
        }
        assert_eq!(layer.store().len(), 500);
        let kept = layer.store().clone();
        drop((layer, runtime));
        std::mem::forget(kept);
    });
    assert!(info.bytes_current < 4 << 20, "{} bytes are held", info.bytes_current);
}

#[tokio::test(start_paused = true)]
async fn names_of_partitions_are_weighed() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    let client = client(&layer, &Origin::of([reply(200, &[FRESH], "x")]));
    let mut request = ask("GET", "/x", &[]);
    request.extensions_mut().insert(CachePartition::named("x".repeat(10_000)));
    client.send(request).await;
    assert!(10_000 < layer.store().weight());
}
