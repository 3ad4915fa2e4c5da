use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use palisade_cache::{CacheStatus, Collapse, FillError, HttpCacheLayer, MemoryStore};
use palisade_core::find_cause;
use tokio::{task::JoinSet, time::Instant};
use tower::ServiceExt;

use crate::support::{Got, Origin, Step, ask, chunk, client, clock, failure, private, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=600");
const SECOND: Duration = Duration::from_secs(1);

/// A body that takes a second for each of its chunks.
fn slowly(chunks: &[&str]) -> Vec<Step> {
    chunks.iter().flat_map(|text| [Step::Wait(SECOND), chunk(text)]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_one_call() {
    let steps = slowly(&["one", "two", "three"]);
    let origin = Origin::of([reply(200, &[FRESH], "").after(SECOND).body(steps)]);
    let client = client(&private(), &origin);
    let mut all = JoinSet::new();
    for index in 0..1000 {
        let client = client.clone();
        all.spawn(async move {
            // Some come while the body is read already, and some once it is stored.
            tokio::time::sleep(Duration::from_millis(5 * index)).await;
            client.get("/x", &[]).await
        });
    }
    let all = all.join_all().await;
    assert!(all.iter().all(|got| got.text() == "onetwothree"));
    let of = |status| all.iter().filter(|got| got.cache == status).count();
    assert_eq!((of(CacheStatus::Miss), origin.calls(), origin.alive()), (1, 1, 0));
    assert!(700 < of(CacheStatus::Collapsed) && 100 < of(CacheStatus::Hit));
}

/// Without paused time, which needs a single thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_collapse_too() {
    for round in 0..50 {
        let pause = Step::Wait(Duration::from_micros(200));
        let steps = [chunk("a"), pause.clone(), chunk("b"), pause, chunk("c")];
        let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
        let client = client(&HttpCacheLayer::private(MemoryStore::new(1 << 20)), &origin);
        // In every other round nobody leaves, and all begin at once; else one is there from the
        // start, for the last one to leave ends the call.
        let leaves = round % 2 == 1;
        let first = client.service.clone();
        let first = if leaves { Some(first.oneshot(ask("GET", "/x", &[])).await) } else { None };
        let mut all = JoinSet::new();
        for index in 0..64 {
            let client = client.clone();
            all.spawn(async move {
                if leaves && index % 8 == round % 8 {
                    // Who leaves takes nothing along.
                    let patience = Duration::from_micros(150);
                    let _ = tokio::time::timeout(patience, client.get("/x", &[])).await;
                    return None;
                }
                Some(client.get("/x", &[]).await)
            });
        }
        let all = all.join_all().await;
        drop(first);
        assert!(all.iter().flatten().all(|got| got.text() == "abc"));
        assert_eq!(origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_at_any_point_cancels_nobody() {
    // The head after one second, and a chunk each second from then on.
    for leaves in 0..6 {
        let steps = slowly(&["one", "two", "three"]);
        let origin = Origin::of([reply(200, &[FRESH], "").after(SECOND).body(steps)]);
        let client = client(&private(), &origin);
        let leader = client.clone();
        let leader = tokio::spawn(async move { leader.get("/x", &[]).await });
        tokio::task::yield_now().await;
        let mut followers = JoinSet::new();
        for _ in 0..3 {
            let client = client.clone();
            followers.spawn(async move { client.get("/x", &[]).await });
        }
        tokio::time::sleep(leaves * SECOND + SECOND / 2).await;
        leader.abort();
        for got in followers.join_all().await {
            assert_eq!(got.text(), "onetwothree", "{leaves}");
        }
        assert_eq!((origin.calls(), origin.alive()), (1, 0), "{leaves}");
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_one_to_leave_ends_the_call() {
    for leaves in 0..4 {
        let steps = slowly(&["one", "two", "three"]);
        let origin = Origin::of([reply(200, &[FRESH], "").after(SECOND).body(steps)]);
        let layer = private();
        let client = client(&layer, &origin);
        let mut all = JoinSet::new();
        for _ in 0..3 {
            let client = client.clone();
            all.spawn(async move { client.get("/x", &[]).await });
        }
        tokio::time::sleep(leaves * SECOND + SECOND / 2).await;
        assert_eq!(origin.alive(), 1);
        all.shutdown().await;
        assert_eq!(origin.alive(), 0, "{leaves}");
        assert!(layer.store().is_empty());
        assert!(format!("{layer:?}").contains("Flights { keys: 0 }"), "{layer:?}");
        assert_eq!(client.get("/x", &[]).await.text(), "onetwothree");
        assert_eq!(origin.calls(), 2);
    }
}

/// What so many get that ask at once, each on a task of its own.
async fn at_once(
    origin: &Origin,
    layer: &HttpCacheLayer<MemoryStore>,
    count: usize,
) -> Vec<Result<Got, String>> {
    let client = client(layer, origin);
    let mut all = JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        all.spawn(async move {
            client.try_send(ask("GET", "/x", &[])).await.map_err(|error| error.to_string())
        });
        tokio::task::yield_now().await;
    }
    all.join_all().await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_releases_all_at_once() {
    for fields in [
        &[("cache-control", "no-store")][..],
        &[("cache-control", "no-cache"), ("etag", "\"a\"")],
        &[FRESH, ("vary", "*")],
    ] {
        let origin = Origin::of([reply(200, fields, "one").after(SECOND)]);
        let layer = private();
        let start = Instant::now();
        let all = at_once(&origin, &layer, 100).await;
        assert!(all.iter().all(|got| got.as_ref().is_ok_and(|got| got.text() == "one")));
        assert_eq!((origin.calls(), start.elapsed()), (100, 2 * SECOND), "{fields:?}");
        // It is known for a while that waiting is in vain.
        let start = Instant::now();
        at_once(&origin, &layer, 10).await;
        assert_eq!(start.elapsed(), SECOND);
        tokio::time::sleep(3 * SECOND).await;
        let start = Instant::now();
        at_once(&origin, &layer, 10).await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_meant_asks_alone() {
    let origin = Origin::new(|request| {
        let foo = request.headers().get("foo").map_or("-", |foo| foo.to_str().unwrap());
        reply(200, &[FRESH, ("vary", "foo")], foo).after(SECOND)
    });
    let client = client(&private(), &origin);
    let start = Instant::now();
    let mut all = JoinSet::new();
    for foo in ["1", "1", "2", "2", "1"] {
        let client = client.clone();
        all.spawn(async move { (foo, client.get("/x", &[("foo", foo)]).await) });
        tokio::task::yield_now().await;
    }
    for (foo, got) in all.join_all().await {
        assert_eq!(got.text(), foo);
    }
    assert_eq!((origin.calls(), start.elapsed()), (3, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_leaders_and_others_take_turns() {
    let ok = reply(200, &[FRESH], "one").after(SECOND);
    let origin = Origin::of([failure().after(SECOND), failure().after(SECOND), ok]);
    let start = Instant::now();
    let all = at_once(&origin, &private(), 10).await;
    let failed = all.iter().filter(|got| got.is_err()).count();
    assert_eq!((failed, origin.calls(), start.elapsed()), (2, 3, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn failures_that_take_long_do_not_send_all_at_once() {
    let origin = Origin::of([failure().after(6 * SECOND)]);
    let start = Instant::now();
    let layer = private();
    let all = at_once(&origin, &layer, 50).await;
    assert_eq!((origin.calls(), start.elapsed()), (3, 18 * SECOND));
    assert_eq!(all.iter().filter(|got| got.is_err()).count(), 3);
    assert!(all.iter().flatten().all(|got| got.status == 504));
    // Who comes later tries anew.
    assert_eq!(at_once(&origin, &layer, 1).await.len(), 1);
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error_to_all() {
    let steps = [chunk("one"), Step::Wait(SECOND), Step::Fail];
    let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
    let layer = private();
    let client = client(&layer, &origin);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let response = client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap();
        bodies.push(response.into_body());
    }
    for body in bodies {
        let error = body.collect().await.unwrap_err();
        let shared = find_cause::<FillError>(&*error).unwrap();
        assert!(std::error::Error::source(shared).unwrap().to_string().contains("broke off"));
    }
    assert_eq!(origin.calls(), 1);
    assert!(layer.store().is_empty());
    // Who reads alone gets the error itself.
    let error = client.get("/x", &[]).await.body.unwrap_err();
    assert_eq!(error, "the body broke off");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_too_long_asks_alone() {
    let origin = Origin::of([
        reply(200, &[FRESH], "slow").after(100 * SECOND),
        reply(200, &[FRESH], "fast").after(SECOND),
    ]);
    let layer = private().collapse(Collapse::default().timeout(5 * SECOND));
    let start = Instant::now();
    let client = client(&layer, &origin);
    let leader = client.clone();
    let leader = tokio::spawn(async move { leader.get("/x", &[]).await });
    tokio::task::yield_now().await;
    assert_eq!(client.get("/x", &[]).await.text(), "fast");
    assert_eq!(start.elapsed(), 6 * SECOND);
    assert_eq!(leader.await.unwrap().text(), "slow");
    // What was asked for later is what stays.
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "fast"));
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_joined_however_long_it_takes() {
    let steps = (0..20).flat_map(|_| [chunk("x"), Step::Wait(4 * SECOND)]);
    let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
    let client = client(&private().collapse(Collapse::default().timeout(5 * SECOND)), &origin);
    let leader = client.clone();
    let leader = tokio::spawn(async move { leader.get("/x", &[]).await });
    tokio::time::sleep(70 * SECOND).await;
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, got.text().len()), (CacheStatus::Collapsed, 20));
    assert_eq!((leader.await.unwrap().text().len(), origin.calls()), (20, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_on_is_asked_for_once_more() {
    // Neither a head that does not come, nor a body that stops.
    for stuck in [
        reply(200, &[FRESH], "old").after(100 * SECOND),
        reply(200, &[FRESH], "").body([chunk("ol"), Step::Wait(100 * SECOND), chunk("d")]),
    ] {
        let origin = Origin::of([stuck, reply(200, &[FRESH], "new").after(SECOND)]);
        let layer = private().collapse(Collapse::default().timeout(5 * SECOND));
        let first = client(&layer, &origin);
        let first = tokio::spawn(async move { first.get("/x", &[]).await });
        tokio::time::sleep(6 * SECOND).await;
        let all = at_once(&origin, &layer, 10).await;
        assert!(all.iter().flatten().all(|got| got.text() == "new"));
        assert_eq!((first.await.unwrap().text(), origin.calls()), ("old", 2));
        // What was asked for later is what stays.
        let client = client(&layer, &origin);
        let got = client.get("/x", &[]).await;
        assert_eq!((got.cache, got.text()), (CacheStatus::Hit, "new"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_something_else_does_not_join() {
    for (fields, status) in [
        (&[("range", "bytes=0-1")][..], CacheStatus::Miss),
        (&[("if-none-match", "\"a\"")], CacheStatus::Miss),
        (&[("cache-control", "no-cache")], CacheStatus::Miss),
        (&[("cache-control", "max-age=0")], CacheStatus::Miss),
        (&[("cache-control", "no-store")], CacheStatus::Bypass),
        (&[("authorization", "a")], CacheStatus::Miss),
    ] {
        let origin = Origin::of([reply(200, &[FRESH], "one").after(SECOND)]);
        let client = client(&private(), &origin);
        let leader = client.clone();
        let leader = tokio::spawn(async move { leader.get("/x", &[]).await });
        tokio::task::yield_now().await;
        let other = client.get("/x", fields).await;
        assert_eq!(other.cache, status, "{fields:?}");
        leader.await.unwrap();
        assert_eq!(origin.calls(), 2, "{fields:?}");
    }
    let origin = Origin::of([reply(200, &[FRESH], "one").after(SECOND)]);
    at_once(&origin, &private().collapse(Collapse::off()), 5).await;
    assert_eq!(origin.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_to_be_stored_reaches_all_who_keep_up() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20).max_body(100)).clock(clock());
    let steps =
        (0..100).flat_map(|_| [Step::Chunk(Bytes::from(vec![b'x'; 50])), Step::Wait(SECOND)]);
    let origin = Origin::of([reply(200, &[FRESH], "").body(steps)]);
    let client = client(&layer, &origin);
    let open = || async {
        client.service.clone().oneshot(ask("GET", "/x", &[])).await.unwrap().into_body()
    };
    let (mut slow, mut one, mut two) = (open().await, open().await, open().await);
    assert_eq!(origin.calls(), 1);
    assert!(slow.frame().await.unwrap().is_ok());
    let (mut of_one, mut of_two) = (0, 0);
    while let Some(frame) = one.frame().await {
        of_one += frame.unwrap().into_data().unwrap().len();
        let frame = two.frame().await.unwrap();
        of_two += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!((of_one, of_two), (5000, 5000));
    assert!(two.frame().await.is_none());
    // It is told, and does not see a shorter body that ends.
    let rest = slow.collect().await.unwrap_err();
    assert!(find_cause::<FillError>(&*rest).unwrap().is_lagged());
    assert!(layer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_origin_leaves_nothing_behind() {
    let mut panics = reply(200, &[FRESH], "");
    panics.panics = true;
    panics.delay = SECOND;
    let origin = Origin::of([panics, reply(200, &[FRESH], "one")]);
    let client = client(&private(), &origin);
    let leader = client.clone();
    let leader = tokio::spawn(async move {
        use futures_catch::catch;
        catch(leader.get("/x", &[])).await.is_err()
    });
    tokio::task::yield_now().await;
    let follower = client.clone();
    let follower = tokio::spawn(async move { follower.get("/x", &[]).await });
    assert!(leader.await.unwrap());
    assert_eq!(follower.await.unwrap().text(), "one");
    assert_eq!(origin.calls(), 2);
}

mod futures_catch {
    use super::{AssertUnwindSafe, Context, Pin, Poll};

    /// What the future comes to, or that it panicked.
    pub(super) async fn catch<F: Future>(future: F) -> Result<F::Output, ()> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(move |cx: &mut Context<'_>| {
            let future: Pin<&mut F> = future.as_mut();
            let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
            match polled {
                Ok(poll) => poll.map(Ok),
                Err(_) => Poll::Ready(Err(())),
            }
        })
        .await
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_polled_once_for_each_frame() {
    const FRAMES: usize = 10;
    let steps = slowly(&["x"; FRAMES]);
    let origin = Origin::of([reply(200, &[FRESH], "").after(SECOND).body(steps)]);
    let client = client(&private(), &origin);
    let counters: Vec<_> = (0..100).map(|_| Arc::new(Counter::default())).collect();
    let mut heads: Vec<_> = counters
        .iter()
        .map(|_| Some(client.service.clone().oneshot(ask("GET", "/x", &[]))))
        .collect();
    let mut bodies: Vec<_> = heads.iter().map(|_| None).collect();
    let (mut polls, mut frames) = (vec![0; 100], vec![0; 100]);
    let mut woken = vec![1; 100];
    while frames.iter().any(|read| *read < FRAMES) {
        for index in 0..100 {
            let now = counters[index].0.load(Ordering::SeqCst) + 1;
            if woken[index] == now && polls[index] != 0 {
                continue;
            }
            (woken[index], polls[index]) = (now, polls[index] + 1);
            let waker = Waker::from(Arc::clone(&counters[index]));
            let cx = &mut Context::from_waker(&waker);
            if let Some(head) = &mut heads[index] {
                let Poll::Ready(response) = Pin::new(head).poll(cx) else { continue };
                heads[index] = None;
                bodies[index] = Some(Box::pin(response.unwrap().into_body()));
            }
            while let Some(body) = &mut bodies[index] {
                match body.as_mut().poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        frame.unwrap();
                        frames[index] += 1;
                    }
                    Poll::Ready(None) => bodies[index] = None,
                    Poll::Pending => break,
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let most = polls.iter().max().unwrap();
    assert!(*most <= FRAMES + 2, "{most} polls");
    assert_eq!(origin.calls(), 1);
}
