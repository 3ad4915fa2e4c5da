use std::{convert::Infallible, future::pending, io::Read, thread};

use http::{Request, Response};
use palisade_client::{
    Body,
    blocking::{Client, InsideRuntime},
};
use palisade_core::{BoxError, find_cause};
use tokio::runtime::{Builder, Runtime};
use tower::service_fn;

use crate::servers::{Server, get, reply};

fn client() -> Client {
    let hello =
        |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) };
    Client::of(palisade_client::Client::builder().build_over(service_fn(hello)).unwrap())
}

fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().enable_all().build().unwrap();
    let several = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    [one, several]
}

fn send(client: &Client) -> Result<Vec<u8>, BoxError> {
    let mut body = client.send(get("http://api.example/"))?.into_body();
    let mut two = [0; 2];
    body.read_exact(&mut two)?;
    Ok([&two[..], &body.bytes()?[..]].concat())
}

#[test]
fn a_call_waits_for_the_answer() {
    let client = client();
    assert_eq!(send(&client).unwrap(), b"hello");
    let threads: Vec<_> = (0..4)
        .map(|_| client.clone())
        .map(|client| thread::spawn(move || send(&client).unwrap()))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), b"hello");
    }
}

#[test]
fn a_server_is_called_over_its_connections() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(|_| reply(200, "hello")));
    let client = Client::of(palisade_client::Client::builder().no_proxy().build().unwrap());
    for _ in 0..3 {
        let body = client.send(get(server.url("/"))).unwrap().into_body();
        assert_eq!(body.bytes().unwrap(), "hello");
    }
}

#[test]
fn inside_of_a_runtime_it_is_an_error() {
    for runtime in runtimes() {
        let error = runtime.block_on(async { send(&client()).unwrap_err() });
        assert!(find_cause::<InsideRuntime>(&*error).is_some());
        let task = async { send(&client()).unwrap_err().to_string() };
        let told = runtime.block_on(async { tokio::spawn(task).await.unwrap() });
        assert!(told.contains("use the asynchronous `Client`"), "{told}");
    }
}

#[test]
fn where_blocking_is_allowed_it_is_no_error() {
    for runtime in runtimes() {
        let sent = runtime.block_on(async {
            tokio::task::spawn_blocking(|| send(&client()).unwrap()).await.unwrap()
        });
        assert_eq!(sent, b"hello");
    }
}

#[test]
fn what_is_dropped_within_a_runtime_does_not_block() {
    for runtime in runtimes() {
        let client = client();
        let response = client.send(get("http://api.example/")).unwrap();
        runtime.block_on(async { drop((client, response)) });
    }
}

#[test]
fn a_call_that_panics_is_an_error_and_the_next_one_works() {
    let panics = |_: Request<Body>| async {
        if true {
            panic!("as it was told");
        }
        pending::<Result<Response<Body>, Infallible>>().await
    };
    let bad =
        Client::of(palisade_client::Client::builder().build_over(service_fn(panics)).unwrap());
    let error = bad.send(get("http://api.example/")).unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
    assert_eq!(send(&client()).unwrap(), b"hello");
}
