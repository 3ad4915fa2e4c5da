//! Credentials of the gateway, which its callers neither have nor see.

use std::{env, sync::LazyLock};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade_testkit::{Call, FlakyApi, Plan, Reply, Script};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Scenario,
    gateway::{Answer, Gateway},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("a bearer token is put on, and not shown", bearer),
        Scenario::new("an API key takes the place of the caller's", api_key),
        Scenario::new("a refusal of the gateway is no matter of its caller", refused),
        Scenario::new("OAuth: one token for many callers", client_credentials),
        Scenario::new("OAuth: a token that is revoked is replaced", revoked),
        Scenario::new("OAuth: no token is no answer", no_token),
    ]
}

/// Says yes to who has this field, and 401 to others.
fn guarded(name: &'static str, value: &'static str) -> Script {
    let judge = move |call: &Call<'_>| {
        let fields: Vec<_> = call.headers().get_all(name).iter().collect();
        match fields == [value] {
            true => Reply::ok("hello").header("cache-control", "max-age=600"),
            false => Reply::status(401).header("www-authenticate", "Bearer realm=\"inside\""),
        }
    };
    Script::new().route("/a", Plan::with(judge))
}

fn route(upstream: &str, auth: &str) -> String {
    format!("[[routes]]\nprefix = \"/\"\nupstream = \"{upstream}\"\n[routes.cache]\n{auth}\n")
}

async fn bearer(name: &str) {
    let api = FlakyApi::start(guarded("authorization", "Bearer t0ps3cret")).await;
    let auth = "[routes.auth.bearer]\ntoken = { env = \"GATEWAY_TOKEN\" }";
    let route = route(&format!("http://{}", api.addr()), auth);
    let variables = [("GATEWAY_TOKEN", "t0ps3cret\n")];
    let gateway = Gateway::with(name, "", &route, &variables).await;
    // What a caller has is of no use there, and keeps nothing out of the cache.
    for own in [None, Some("Bearer own"), None] {
        let request = Request::get(gateway.url("/a"));
        let request = match own {
            Some(own) => request.header("authorization", own),
            None => request,
        };
        let answer = gateway.send(request.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status, &*answer.body), (200, "hello"));
        assert!(!format!("{answer:?}").contains("t0ps3cret"));
    }
    assert_eq!(api.stats().requests(), 1);
    assert!(!gateway.admin("/metrics").await.body.contains("t0ps3cret"));
}

async fn api_key(name: &str) {
    let api = FlakyApi::start(guarded("x-api-key", "k3y")).await;
    let auth = "[routes.auth.api_key]\nheader = \"x-api-key\"\nkey = { env = \"GATEWAY_KEY\" }";
    let route = route(&format!("http://{}", api.addr()), auth);
    let gateway = Gateway::with(name, "", &route, &[("GATEWAY_KEY", "k3y")]).await;
    let request = Request::get(gateway.url("/a")).header("x-api-key", "own");
    assert_eq!(gateway.send(request.body(Full::default()).unwrap()).await.status, 200);
}

async fn refused(name: &str) {
    let api = FlakyApi::start(guarded("authorization", "Bearer other")).await;
    let auth = "[routes.auth.bearer]\ntoken = { env = \"GATEWAY_TOKEN\" }";
    let route = route(&format!("http://{}", api.addr()), auth);
    let gateway = Gateway::with(name, "", &route, &[("GATEWAY_TOKEN", "t0ps3cret")]).await;
    let answer = gateway.get("/a").await;
    answer.problem(502);
    assert!(!answer.headers.contains_key("www-authenticate"));
}

/// Where the OAuth server is.
static OAUTH: LazyLock<Value> = LazyLock::new(|| {
    let line = env::var("PALISADE_OAUTH").expect("`cargo xtask interop gateway` says where it is");
    serde_json::from_str(&line).unwrap()
});

fn oauth(name: &str) -> &'static str {
    OAUTH[name].as_str().unwrap()
}

async fn control(command: &str, ask: Value) -> Value {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{}/{command}", oauth("control")));
    let request = request.body(Full::<Bytes>::from(ask.to_string())).unwrap();
    let answer = Answer::read(http.request(request).await.expect("the server is there")).await;
    assert_eq!(answer.status, 200, "{command}");
    serde_json::from_str(&answer.body).unwrap()
}

/// A gateway in front of the resource server, whose client has this secret.
async fn with_login(name: &str, secret: &str) -> Gateway {
    control("reset", json!({})).await;
    let auth = format!(
        "[routes.auth.client_credentials]\ntoken_url = \"{}\"\nclient_id = \"basic\"\n\
         client_secret = {{ env = \"GATEWAY_SECRET\" }}\nscope = \"read\"",
        oauth("token_endpoint")
    );
    let route = route(oauth("api"), &auth);
    Gateway::with(name, "", &route, &[("GATEWAY_SECRET", secret)]).await
}

async fn client_credentials(name: &str) {
    let gateway = with_login(name, "basic-secret").await;
    let mut callers = JoinSet::new();
    let http: crate::gateway::Http = Client::builder(TokioExecutor::new()).build_http();
    for caller in 0..20 {
        let request = http.get(gateway.url(&format!("/echo?caller={caller}")));
        callers.spawn(async move { Answer::read(request.await.unwrap()).await });
    }
    for answer in callers.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&echo["client"], &echo["scope"]), (&json!("basic"), &json!("read")));
        assert!(!answer.headers.contains_key("authorization"));
    }
    let counters = control("counters", json!({})).await;
    assert_eq!(counters["token"]["requests"], 1);
    assert_eq!(counters["api"]["by_status"], json!({ "200": 20 }));
    assert!(!gateway.admin("/metrics").await.body.contains("basic-secret"));
}

async fn revoked(name: &str) {
    let gateway = with_login(name, "basic-secret").await;
    assert_eq!(gateway.get("/echo").await.status, 200);
    control("revoke_access", json!({})).await;

    // A body as well: it is kept until it is accepted.
    let post = Request::post(gateway.url("/echo")).body(Full::from("some text")).unwrap();
    let answer = gateway.send(post).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let echo: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(echo["length"], 9);
    let counters = control("counters", json!({})).await;
    assert_eq!(counters["token"]["requests"], 2);
    assert_eq!(counters["api"]["by_status"], json!({ "200": 2, "401": 1 }));
}

async fn no_token(name: &str) {
    let gateway = with_login(name, "wrong").await;
    let answer = gateway.get("/echo").await;
    answer.problem(502);
    assert!(!answer.body.contains("invalid_client") && !answer.body.contains("wrong"));
    assert_eq!(control("counters", json!({})).await["api"]["requests"], 0);
}
