use allocation_counter::measure;
use http::{HeaderName, Request, Response, StatusCode};
use palisade_circuit_breaker::{
    Backoff, Breakers, CircuitBreaker, CircuitBreakerLayer, HalfOpen, Jitter, Keyed, Open, State,
    Trip, Window,
};
use palisade_core::{BoxError, ByAuthority, ByHeader, HttpClassify, KeyBy, find_cause};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::api::{End, OK, SECOND, TRIPPED, pass};

type Inner = tower::util::BoxCloneSyncService<Request<()>, Response<()>, BoxError>;
type Client<K> = CircuitBreaker<Inner, HttpClassify<palisade_core::Boxed>, Keyed<K>>;

/// Hosts whose name begins with "bad" fail.
fn hosts<K: KeyBy>(keyed: Keyed<K>) -> (Client<K>, Breakers<K>) {
    let hosts = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(());
        if request.uri().host().is_some_and(|host| host.starts_with("bad")) {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        Ok::<_, BoxError>(response)
    });
    let layer = CircuitBreakerLayer::http()
        .trip(Trip::consecutive(3))
        .open_for(Backoff::constant(5 * SECOND).jitter(Jitter::None))
        .half_open(HalfOpen::permits(1))
        .scope(keyed);
    let breakers = layer.breakers();
    (layer.layer(Inner::new(hosts)), breakers)
}

async fn call<K: KeyBy>(client: &Client<K>, host: &str) -> End
where
    Client<K>: Service<Request<()>, Response = Response<()>, Error = BoxError>,
{
    let request = Request::get(format!("https://{host}/")).header("tenant", host).body(()).unwrap();
    match client.clone().oneshot(request).await {
        Ok(response) => End::Answered(response.status().as_u16()),
        Err(error) => End::Refused(find_cause::<Open>(&*error).unwrap().reason()),
    }
}

async fn open<K: KeyBy>(client: &Client<K>, host: &str)
where
    Client<K>: Service<Request<()>, Response = Response<()>, Error = BoxError>,
{
    for _ in 0..3 {
        assert_eq!(call(client, host).await, End::Answered(502));
    }
    assert_eq!(call(client, host).await, TRIPPED);
}

fn key(host: &str) -> Option<String> {
    Some(host.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_leaves_the_others_alone() {
    let (client, breakers) = hosts(Keyed::by(ByAuthority));
    open(&client, "bad.example").await;
    for host in ["good.example", "good.example:8080"] {
        assert_eq!(call(&client, host).await, OK);
    }
    assert_eq!(call(&client, "bad.example:8080").await, End::Answered(502));
    assert_eq!(breakers.len(), 4);
    let bad = breakers.get(&key("bad.example")).unwrap();
    assert_eq!(bad.state(), State::Open);
    let open = breakers.all().into_iter().filter(|(_, breaker)| breaker.state() == State::Open);
    assert_eq!(open.map(|(key, _)| key).collect::<Vec<_>>(), [key("bad.example")]);
}

#[tokio::test(start_paused = true)]
async fn keys_by_what_the_user_says() {
    let by_tenant = ByHeader::new(HeaderName::from_static("tenant"));
    let (client, breakers) = hosts(Keyed::by(by_tenant));
    open(&client, "bad.example").await;
    let breaker = breakers.get(&Some(b"bad.example".to_vec())).unwrap();
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_than_were_allowed() {
    let (client, breakers) = hosts(Keyed::by(ByAuthority).max_keys(10));
    for number in 0..1000 {
        assert_eq!(call(&client, &format!("good-{number}.example")).await, OK);
        assert!(breakers.len() <= 10);
    }
    assert_eq!((breakers.len(), breakers.all().len()), (10, 10));
    assert_eq!(breakers.overflowed(), 0, "each found the place of one that was closed");
}

// More than the hand passes at once.
#[tokio::test(start_paused = true)]
async fn a_newcomer_finds_a_place_among_many_that_are_busy() {
    for keys in [250, 500, 2000] {
        let (client, breakers) = hosts(Keyed::by(ByAuthority).max_keys(keys));
        for round in 0..20 {
            for number in 0..keys - 1 {
                assert_eq!(call(&client, &format!("busy-{number}.example")).await, OK);
            }
            assert_eq!(call(&client, &format!("new-{round}.example")).await, OK);
        }
        assert_eq!((breakers.len(), breakers.overflowed()), (keys, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_open_keeps_its_place() {
    let (client, breakers) = hosts(Keyed::by(ByAuthority).max_keys(4));
    let bad = ["bad-1.example", "bad-2.example"];
    for host in bad {
        open(&client, host).await;
    }
    for number in 0..1000 {
        assert_eq!(call(&client, &format!("good-{number}.example")).await, OK);
    }
    for host in bad {
        assert_eq!(call(&client, host).await, TRIPPED);
    }
    assert_eq!((breakers.len(), breakers.overflowed()), (4, 0));

    // A state that nobody comes to end is forgotten in time.
    pass(5 * SECOND).await;
    for number in 0..1000 {
        assert_eq!(call(&client, &format!("good-{number}.example")).await, OK);
    }
    assert!(bad.iter().all(|host| breakers.get(&key(host)).is_none()));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_admitted_and_counted() {
    let (client, breakers) = hosts(Keyed::by(ByAuthority).max_keys(2));
    for host in ["bad-1.example", "bad-2.example"] {
        open(&client, host).await;
    }
    for _ in 0..10 {
        assert_eq!(call(&client, "bad-3.example").await, End::Answered(502));
    }
    assert_eq!((breakers.len(), breakers.overflowed()), (2, 10));
    assert!(breakers.get(&key("bad-3.example")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_somebody_holds_keeps_its_place() {
    let (client, breakers) = hosts(Keyed::by(ByAuthority).max_keys(1));
    assert_eq!(call(&client, "good.example").await, OK);
    let held = breakers.get(&key("good.example")).unwrap();
    assert_eq!(call(&client, "bad.example").await, End::Answered(502));
    assert_eq!(breakers.overflowed(), 1);
    // An order reaches the calls.
    held.force_open();
    assert_ne!(call(&client, "good.example").await, OK);
    drop(held);
    call(&client, "bad.example").await;
    assert_eq!(breakers.overflowed(), 2, "and stays in force");
}

#[tokio::test(start_paused = true)]
async fn the_idle_make_room() {
    let keyed = Keyed::by(ByAuthority).max_keys(1000).idle(60 * SECOND);
    let (client, breakers) = hosts(keyed);
    for number in 0..100 {
        call(&client, &format!("good-{number}.example")).await;
    }
    // Twice, as the first time it is seen that they have been used.
    for number in 0..200 {
        pass(SECOND).await;
        call(&client, &format!("other-{number}.example")).await;
        call(&client, "busy.example").await;
    }
    let left =
        breakers.all().into_iter().filter(|(key, _)| key.as_ref().unwrap().starts_with("good"));
    assert_eq!(left.count(), 0);
    assert!(breakers.get(&key("busy.example")).is_some());
    assert!(breakers.len() < 150, "{}", breakers.len());
}

// Ten thousand hosts take no more than 4 MB, all included.
#[tokio::test(start_paused = true)]
async fn many_keys_take_little_memory() {
    for window in [Window::count(100), Window::time(10 * SECOND).buckets(10)] {
        let trip = Trip::consecutive(5).or(Trip::failure_rate(0.5).window(window));
        let layer = CircuitBreakerLayer::http().trip(trip).keyed(ByAuthority);
        let hosts = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
        let mut client = layer.layer(hosts);
        let memory = measure(|| {
            for number in 0..10_000 {
                let uri = format!("https://host-{number}.example.org/");
                drop(client.call(Request::get(uri).body(()).unwrap()));
            }
        });
        assert_eq!(layer.breakers().len(), 10_000);
        assert!(memory.bytes_current < 4_000_000, "{} bytes", memory.bytes_current);
    }
}
