//! One request for a token at a time, whatever becomes of it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::StatusCode;
use palisade_auth::{AuthLayer, Recovery, Tokens};
use palisade_core::Origins;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer, service_fn};

use crate::{
    Scenario,
    clock::Later,
    fixture::{Fixture, Of, call, get},
    told::Told,
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("1,000 cold callers", cold),
        Scenario::new("who leads goes away", leader_dropped),
        Scenario::new("a late answer", late),
        Scenario::new("503 while there is a token", unavailable_warm),
        Scenario::new("503 while there is none", unavailable_cold),
        Scenario::new("a lost request or answer", lost),
        Scenario::new("a redirect of the token endpoint", redirect),
    ]
}

/// So late that a token of an hour is refreshed, and is good for five minutes yet.
const DUE: Duration = Duration::from_secs(55 * 60);

async fn cold(fixture: Fixture) -> String {
    const CALLERS: u64 = 1000;
    fixture.order(Of::Token, &[json!({ "after": "hold" })]).await;

    // Connections are for the calls, and so are their limits.
    let (http, free) = (fixture.http(), Arc::new(Semaphore::new(64)));
    let bounded = service_fn(move |request| {
        let (http, free) = (http.clone(), Arc::clone(&free));
        async move {
            let _permit = free.acquire().await.unwrap();
            Ok::<_, Infallible>(http.request(request).await.unwrap())
        }
    });
    let origins = Origins::new([fixture.issuer()]);
    let client = AuthLayer::new(Tokens::new(fixture.basic()), origins).layer(bounded);
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, request) = (client.clone(), get(fixture.api("echo")));
        calls.spawn(async move { call(&client, request).await.0 });
    }
    fixture.held(Of::Token, 1).await;
    fixture.release(Of::Token, 1).await;
    let statuses = calls.join_all().await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK));

    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.most_at_once()), (1, 1));
    assert_eq!(counters.answered(StatusCode::OK), CALLERS);
    format!("{} token request, {} at once", counters.token_requests(), counters.most_at_once())
}

async fn leader_dropped(fixture: Fixture) -> String {
    for step in ["before", "after"] {
        fixture.reset().await;
        fixture.order(Of::Token, &[json!({ step: "hold" })]).await;
        let client = fixture.with(Tokens::new(fixture.basic()));
        let request = || get(fixture.api("echo"));
        let mut leader = JoinSet::new();
        let (leading, first) = (client.clone(), request());
        leader.spawn(async move { call(&leading, first).await });
        fixture.held(Of::Token, 1).await;
        leader.shutdown().await;
        fixture.release(Of::Token, 1).await;

        assert_eq!(call(&client, request()).await.0, StatusCode::OK);
        let counters = fixture.counters().await;
        assert_eq!((counters.token_requests(), counters.calls()), (1, 1), "{step}");
    }
    "1 token request, and 1 call by who came next".to_owned()
}

async fn late(fixture: Fixture) -> String {
    const CALLS: u64 = 20;
    let clock = Later::new();
    let client = fixture.with(Tokens::new(fixture.basic()).clock(clock.clone()));
    assert_eq!(call(&client, get(fixture.api("echo"))).await.0, StatusCode::OK);

    clock.advance(DUE);
    fixture.order(Of::Token, &[json!({ "after": "hold" })]).await;
    for _ in 0..CALLS {
        assert_eq!(call(&client, get(fixture.api("echo"))).await.0, StatusCode::OK);
    }
    fixture.held(Of::Token, 1).await;
    fixture.release(Of::Token, 1).await;
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.most_at_once()), (2, 1));
    assert_eq!(counters.answered(StatusCode::OK), CALLS + 1);
    format!("{CALLS} calls with the old token, 1 token request")
}

fn unavailable(seconds: u64) -> Value {
    json!({ "status": 503, "headers": { "retry-after": seconds.to_string() } })
}

async fn unavailable_warm(fixture: Fixture) -> String {
    let (clock, (told, mut results)) = (Later::new(), Told::new());
    let tokens = Tokens::new(fixture.basic()).clock(clock.clone()).observer(Arc::new(told));
    let client = fixture.with(tokens);
    let calls = async |count| {
        for _ in 0..count {
            assert_eq!(call(&client, get(fixture.api("echo"))).await.0, StatusCode::OK);
        }
        fixture.counters().await.token_requests()
    };
    assert_eq!(calls(1).await, 1);
    assert_eq!(results.recv().await, Some("fetched"));

    clock.advance(DUE);
    fixture.order(Of::Token, &[unavailable(30)]).await;
    calls(1).await;
    let failed = results.recv().await.unwrap();
    assert_ne!(failed, "fetched");
    clock.advance(Duration::from_secs(25));
    assert_eq!(calls(20).await, 2);
    clock.advance(Duration::from_secs(10));
    calls(1).await;
    assert_eq!(results.recv().await, Some("fetched"));
    assert_eq!(calls(20).await, 3);
    format!("all calls served, 1 token request that failed ({failed}), 1 when the time had come")
}

async fn unavailable_cold(fixture: Fixture) -> String {
    let clock = Later::new();
    let tokens = Tokens::new(fixture.basic()).clock(clock.clone());
    fixture.order(Of::Token, &[unavailable(7)]).await;
    for _ in 0..100 {
        let error = tokens.token().await.unwrap_err();
        let after = error.retry_after().expect("the server has said when");
        assert!(after <= Duration::from_secs(7) && Duration::from_secs(5) < after, "{after:?}");
    }
    assert_eq!(fixture.counters().await.token_requests(), 1);
    clock.advance(Duration::from_secs(7));
    assert!(tokens.token().await.is_ok());
    "100 callers, 1 token request until the time has come".to_owned()
}

async fn lost(fixture: Fixture) -> String {
    for step in ["before", "after"] {
        fixture.reset().await;
        let clock = Later::new();
        let tokens = Tokens::new(fixture.basic()).clock(clock.clone());
        fixture.order(Of::Token, &[json!({ step: "drop" })]).await;
        let error = tokens.token().await.unwrap_err();
        assert!(matches!(error.recovery(), Recovery::Retry { .. }), "{step}: {error:?}");
        assert_eq!(fixture.counters().await.token_requests(), 1);
        // The longest that is waited for by itself.
        clock.advance(Duration::from_secs(30));
        assert!(tokens.token().await.is_ok());
    }
    "an error, and a token later".to_owned()
}

async fn redirect(fixture: Fixture) -> String {
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/token", fixture.elsewhere());
        let answer = json!({ "status": status, "headers": { "location": location } });
        fixture.order(Of::Token, &[answer]).await;
        let error = Tokens::new(fixture.basic()).token().await.unwrap_err();
        assert!(!matches!(error.recovery(), Recovery::Retry { .. }), "{error:?}");
    }
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.elsewhere(), counters.leaks()), (5, 0, 0));
    "5 errors, 0 leaks".to_owned()
}
