//! The API, and who calls it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use palisade::core::Endpoint;
use palisade_testkit::{Plan, Reply, Script};
use tower::ServiceExt;

use crate::client::ApiClient;

static LIST_USERS: Endpoint = Endpoint::new(Method::GET, "/users");
static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
static SEARCH: Endpoint = Endpoint::new(Method::GET, "/search");

/// An API of which one answer in eight is a failure.
pub(crate) fn script() -> Script {
    let ok = |millis| Reply::ok("hello").latency(Duration::from_millis(millis));
    let reply = move |number: u64, millis: u64| match number % 8 {
        7 => Reply::status(503),
        _ => ok(millis + number % 5),
    };
    Script::new()
        .route("GET /users", Plan::with(move |call| reply(call.number(), 10)))
        .route("GET /users/7", Plan::with(move |call| reply(call.number(), 2)))
        .route("GET /search", Plan::with(move |call| reply(call.number(), 40)))
}

/// Calls one endpoint after the other, for ever.
pub(crate) async fn calls(client: ApiClient, base: Uri) -> Result<(), ()> {
    let endpoints = [(&LIST_USERS, "users"), (&GET_USER, "users/7"), (&SEARCH, "search")];
    for (endpoint, path) in endpoints.into_iter().cycle() {
        let mut request =
            Request::get(format!("{base}{path}")).body(Full::<Bytes>::default()).map_err(drop)?;
        endpoint.put_into(request.extensions_mut());
        if let Ok(response) = client.clone().oneshot(request).await {
            let _ = response.into_body().collect().await;
        }
    }
    Ok(())
}
