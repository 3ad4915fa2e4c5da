use std::{
    cell::RefCell,
    convert::Infallible,
    future::pending,
    io::{self, Read},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::repeat_with;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use palisade_client::{
    Body, Error, Kind,
    blocking::{self, Client},
    validate_fn,
};
use palisade_core::BoxError;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle, Runtime};
use tower::service_fn;

use crate::{
    api::{answer, pieces, sent},
    servers::{Server, get, reply},
};

/// A client of an API that answers by a function, over the layers of a client.
fn client<A>(answer: A) -> Client
where
    A: Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let api = service_fn(move |request| {
        let response = answer(request);
        async { Ok::<_, Infallible>(response) }
    });
    let builder = palisade_client::Client::builder().base_url("https://api.example/v1");
    Client::of(builder.build_over(api).unwrap())
}

fn hello() -> Client {
    client(|_| answer(200, "application/json", r#""hello""#))
}

/// A client whose API does this.
fn over<F>(call: impl Fn() -> F + Clone + Send + Sync + 'static) -> Client
where
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let api = service_fn(move |_: Request<Body>| call());
    let builder = palisade_client::Client::builder().base_url("https://api.example/v1").no_retry();
    Client::of(builder.build_over(api).unwrap())
}

fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().enable_all().build().unwrap();
    let several = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    [one, several]
}

fn say(client: &Client) -> Result<String, Error> {
    client.get("/hello").send()?.json()
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct User {
    id: u32,
}

#[test]
fn requests_are_made_as_those_of_the_other_client() {
    let client = client(|request| {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://api.example/v1/users/7?page=2");
        assert_eq!(request.headers()["idempotency-key"], "k");
        assert_eq!(request.extensions().get(), Some(&'x'));
        let read = Builder::new_current_thread().build().unwrap();
        let body = thread::spawn(move || read.block_on(sent(request))).join().unwrap();
        answer(200, "application/json", body)
    });
    let request = client.post("/users/{id}").path("id", 7).query(&[("page", 2)]);
    let request = request.idempotency_key("k").extension('x').json(&User { id: 7 });
    assert_eq!(request.send().unwrap().json::<User>().unwrap(), User { id: 7 });

    let error = client.get("/users/{id}").send().unwrap_err();
    assert_eq!(error.kind(), Kind::Request);
    assert!(Client::new("api.example").is_err());
}

#[test]
fn answers_are_read_as_those_of_the_other_client() {
    let json = "application/json";
    let user = |status, body: &'static str| {
        let client = client(move |_| answer(status, json, body));
        client.get("/users").send().unwrap()
    };
    assert_eq!(user(200, r#"{"id":1}"#).json::<User>().unwrap(), User { id: 1 });
    assert_eq!(user(200, "1").text().unwrap(), "1");
    assert_eq!(user(500, "1").bytes().unwrap(), "1");
    assert_eq!(user(200, "1").error_for_status().unwrap().text().unwrap(), "1");
    assert_eq!(user(200, "{}").json::<User>().unwrap_err().kind(), Kind::Decode);
    assert_eq!(user(404, "{}").json::<User>().unwrap_err().kind(), Kind::Status);
    assert_eq!(user(404, "x").error_for_status().unwrap_err().body().unwrap(), "x");
    assert_eq!(user(200, "1234").body_limit(3).bytes().unwrap_err().kind(), Kind::TooLarge);
    let refused = user(422, r#"{"id":9}"#).json_or::<User, User>().unwrap().unwrap_err();
    assert_eq!(refused.value(), &User { id: 9 });

    let odd = validate_fn(|user: &User, report: &mut palisade_client::Report| {
        if user.id.is_multiple_of(2) {
            report.add("id", "is even");
        }
    });
    let valid = |body| user(200, body).json_valid_by::<User, _>(odd);
    assert_eq!(valid(r#"{"id":1}"#).unwrap(), User { id: 1 });
    assert_eq!(valid(r#"{"id":2}"#).unwrap_err().kind(), Kind::Validation);
}

#[test]
fn a_body_is_read_as_it_comes_and_then_as_a_whole() {
    let client =
        client(|_| answer(200, "", pieces(vec![Ok(b"he"), Ok(b""), Ok(b"llo, wo"), Ok(b"rld")])));
    let mut response = client.get("/hello").send().unwrap();
    let mut four = [0; 4];
    response.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"hell");
    assert_eq!(response.text().unwrap(), "o, world");

    let mut body = client.get("/hello").send().unwrap().into_body();
    body.read_exact(&mut four).unwrap();
    assert_eq!(body.bytes().unwrap(), "o, world");

    let mut whole = String::new();
    client.get("/hello").send().unwrap().read_to_string(&mut whole).unwrap();
    assert_eq!(whole, "hello, world");
}

#[test]
fn a_body_that_breaks_off_is_an_error_of_reading() {
    let client = client(|_| answer(200, "", pieces(vec![Ok(b"he"), Err("reset")])));
    let mut response = client.get("/hello").send().unwrap();
    let error = io::copy(&mut response, &mut io::sink()).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(inner.kind(), Kind::Body);
    assert_eq!(inner.to_string(), "body of the answer to GET /hello broke off");
}

#[test]
fn a_server_is_called_over_its_connections() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(|_| reply(200, "hello")));
    let client = palisade_client::Client::builder().no_proxy().base_url(server.url("/"));
    let client = Client::of(client.build().unwrap());
    let threads: Vec<_> = (0..4)
        .map(|_| client.clone())
        .map(|client| {
            thread::spawn(move || {
                for _ in 0..3 {
                    assert_eq!(client.get("/").send().unwrap().text().unwrap(), "hello");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.send(get(server.url("/"))).unwrap().into_body().bytes().unwrap(), "hello");
    assert_eq!(server.seen().len(), 13);
}

#[test]
fn a_deadline_ends_the_call_and_the_reading() {
    let limit = Duration::from_millis(20);
    let hangs = over(|| async { pending().await });
    let error = hangs.get("/").timeout(limit).send().unwrap_err();
    assert!(error.is_timeout(), "{error:?}");

    let stalls = client(|_| answer(200, "", Body::stream(Ends { told: None })));
    // One that never keeps anybody waiting, too.
    let empty = client(|_| {
        let nothing = repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::new())));
        answer(200, "", Body::stream(StreamBody::new(nothing)))
    });
    for client in [stalls, empty] {
        let mut response = client.get("/").timeout(limit).send().unwrap();
        let error = response.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

fn check_refused(error: &Error) {
    assert_eq!(error.kind(), Kind::Blocking);
    let told = error.to_string();
    assert!(told.starts_with("cannot block inside of a runtime for "), "{told}");
    assert!(told.ends_with(": use the asynchronous `Client`, or `spawn_blocking`"), "{told}");
}

#[test]
fn inside_of_a_runtime_it_is_an_error() {
    for runtime in runtimes() {
        let client = hello();
        let error = runtime.block_on(async { say(&client).unwrap_err() });
        check_refused(&error);
        assert!(error.to_string().contains("GET /hello"), "{error}");
        let task = async { say(&hello()).unwrap_err() };
        check_refused(&runtime.block_on(async { tokio::spawn(task).await.unwrap() }));
        let raw = async { client.send(get("https://api.example/")).unwrap_err() };
        check_refused(&runtime.block_on(raw));

        // What was begun elsewhere can go on there.
        let response = client.get("/hello").send().unwrap();
        check_refused(&runtime.block_on(async { response.json::<String>().unwrap_err() }));
        let mut response = client.get("/hello").send().unwrap();
        let error = runtime.block_on(async { response.read(&mut [0]).unwrap_err() });
        check_refused(error.get_ref().unwrap().downcast_ref().unwrap());
        assert_eq!(response.json::<String>().unwrap(), "hello");

        let requests = || (0..3).map(|_| client.get("/hello"));
        let mut many = client.fetch_all(requests(), 2).json::<String>();
        runtime.block_on(async {
            check_refused(&many.next().unwrap().unwrap_err());
            assert!(many.next().is_none());
        });
        let mut many = client.fetch_all(requests(), 2).json::<String>().unordered();
        assert!(many.next().unwrap().1.is_ok());
        let (index, result) = runtime.block_on(async { many.next().unwrap() });
        check_refused(&result.unwrap_err());
        assert_eq!(index, many.progress().begun);
    }
}

#[test]
fn where_blocking_is_allowed_it_is_no_error() {
    for runtime in runtimes() {
        let said = runtime.block_on(async {
            tokio::task::spawn_blocking(|| say(&hello()).unwrap()).await.unwrap()
        });
        assert_eq!(said, "hello");
        // A thread that may start tasks drives none.
        let _entered = runtime.enter();
        assert_eq!(say(&hello()).unwrap(), "hello");
    }
    let [_, several] = runtimes();
    let within = || tokio::task::block_in_place(|| say(&hello()).unwrap());
    let said = several.block_on(async { tokio::spawn(async move { within() }).await.unwrap() });
    assert_eq!(said, "hello");
}

/// Says hello when it is dropped.
struct Parting(Client, std::sync::mpsc::Sender<Result<String, Error>>);

impl Drop for Parting {
    fn drop(&mut self) {
        self.1.send(say(&self.0)).unwrap();
    }
}

#[test]
fn a_call_in_a_drop_works_where_any_call_does() {
    thread_local!(static LAST: RefCell<Option<Parting>> = const { RefCell::new(None) });

    let (tell, told) = std::sync::mpsc::channel();
    let parting = || Parting(hello(), tell.clone());
    drop(parting());
    assert_eq!(told.recv().unwrap().unwrap(), "hello");
    // At the end of a thread, and while it unwinds.
    let last = parting();
    thread::spawn(|| LAST.set(Some(last))).join().unwrap();
    assert_eq!(told.recv().unwrap().unwrap(), "hello");
    let unwound = parting();
    let panics = move || {
        let _unwound = unwound;
        std::panic::resume_unwind(Box::new("as it was told"));
    };
    thread::spawn(panics).join().unwrap_err();
    assert_eq!(told.recv().unwrap().unwrap(), "hello");
    for runtime in runtimes() {
        let parting = parting();
        runtime.block_on(async { drop(parting) });
        check_refused(&told.recv().unwrap().unwrap_err());
    }
}

/// A body that never comes, and whose end tells whether there is a runtime.
struct Ends {
    told: Option<std::sync::mpsc::Sender<bool>>,
}

impl http_body::Body for Ends {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(told) = &self.told {
            told.send(Handle::try_current().is_ok()).unwrap();
        }
    }
}

#[test]
fn what_is_dropped_does_not_block_and_finds_a_runtime() {
    let (tell, told) = std::sync::mpsc::channel();
    let told_by = tell.clone();
    let client =
        client(move |_| answer(200, "", Body::stream(Ends { told: Some(told_by.clone()) })));
    drop(client.get("/").send().unwrap());
    assert!(told.recv().unwrap());
    drop(client.get("/").send().unwrap().into_body());
    assert!(told.recv().unwrap());
    for runtime in runtimes() {
        let client = client.clone();
        let response = client.get("/").send().unwrap();
        runtime.block_on(async { drop((client, response)) });
        assert!(told.recv().unwrap());
    }

    // Of many, what is under way.
    let calls = Arc::new(AtomicUsize::new(0));
    let client = over(move || {
        let ends = Ends { told: Some(tell.clone()) };
        let is_third = calls.fetch_add(1, Ordering::Relaxed) == 2;
        async move {
            let _ends = ends;
            if is_third {
                return Ok(answer(200, "", "1"));
            }
            pending().await
        }
    });
    let many = client.fetch_all((0..9).map(|_| client.get("/")), 3).responses();
    let mut many = many.unordered();
    assert_eq!(many.next().unwrap().0, 2);
    assert!(told.recv().unwrap());
    drop(many);
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [true, true]);
}

#[test]
fn a_panic_below_comes_to_the_caller_and_the_next_call_works() {
    let bad = client(|_| panic!("as it was told"));
    let caller = thread::spawn(move || say(&bad));
    assert_eq!(caller.join().unwrap_err().downcast_ref(), Some(&"as it was told"));
    assert_eq!(say(&hello()).unwrap(), "hello");
}

#[test]
fn many_are_fetched_in_order_or_as_they_come() {
    let client = client(|request| {
        let id = request.uri().path().rsplit('/').next().unwrap().to_owned();
        answer(200, "application/json", id)
    });
    // The source is asked by the thread that iterates.
    let asked = Rc::new(RefCell::new(0));
    let requests = || {
        let asked = Rc::clone(&asked);
        let client = &client;
        (1..=20).map(move |id| {
            *asked.borrow_mut() += 1;
            client.get("/squares/{id}").path("id", id)
        })
    };
    let mut done = Vec::new();
    let numbers = client.fetch_all(requests(), 4).on_progress(|progress| done.push(progress.done));
    let mut numbers = numbers.json::<u32>();
    assert_eq!(*asked.borrow(), 0);
    assert_eq!(numbers.next().unwrap().unwrap(), 1);
    assert!(*asked.borrow() <= 5);
    assert_eq!(numbers.size_hint().1, Some(19));
    let rest: Result<Vec<u32>, Error> = numbers.by_ref().collect();
    assert_eq!(rest.unwrap(), Vec::from_iter(2..=20));
    assert_eq!(numbers.progress().done, 20);
    drop(numbers);
    assert_eq!(done, Vec::from_iter(1..=20));

    let unordered = client.fetch_all(requests(), 4).json::<usize>().unordered();
    let mut unordered: Vec<_> = unordered.map(|(index, id)| (index, id.unwrap())).collect();
    unordered.sort_unstable();
    assert_eq!(unordered, Vec::from_iter((0..20).map(|index| (index, index + 1))));

    let responses = client.fetch_all(requests(), 4).responses();
    let texts: Vec<_> = responses.map(|response| response.unwrap().text().unwrap()).collect();
    assert_eq!(texts[19], "20");
}

#[test]
fn all_can_be_sent_to_other_threads() {
    fn sends<T: Send>() {}
    sends::<Client>();
    sends::<blocking::RequestBuilder>();
    sends::<blocking::Response>();
    sends::<blocking::ResponseBody>();
}
