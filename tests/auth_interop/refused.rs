//! Tokens that the protected resource refuses.

use http::{Request, StatusCode};
use palisade_auth::{TokenSource, Tokens};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Scenario,
    fixture::{Fixture, Of, call, get, post},
    login::log_in,
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("8 staggered refusals of a revoked token", |fixture| async move {
            staggered(&fixture, fixture.basic()).await
        }),
        Scenario::new("8 staggered refusals of a token of a login", |fixture| async move {
            staggered(&fixture, log_in(&fixture, "login").await).await
        }),
        Scenario::new("a refusal without a reason", bare),
        Scenario::new("a new token that is refused as well", refused_again),
        Scenario::new("a scope that is missing", insufficient_scope),
    ]
}

async fn staggered(fixture: &Fixture, source: impl TokenSource) -> String {
    const CALLS: usize = 8;
    let tokens = Tokens::new(source);
    tokens.warm_up().await.unwrap();
    fixture.revoke_access().await;
    fixture.order(Of::Api, &vec![json!({ "after": "hold" }); CALLS]).await;

    let client = fixture.with(tokens);
    let mut calls = JoinSet::new();
    for index in 0..CALLS {
        let request = post(fixture.api("echo"), format!("{index}").repeat(10_000 + index));
        let client = client.clone();
        calls.spawn(async move { call(&client, request).await });
    }
    fixture.held(Of::Api, CALLS).await;
    for _ in 0..CALLS {
        // The next refusal comes when all is well for the one before.
        fixture.release(Of::Api, 1).await;
        assert_eq!(calls.join_next().await.unwrap().unwrap().0, StatusCode::OK);
    }

    let counters = fixture.counters().await;
    let mut bodies =
        [StatusCode::UNAUTHORIZED, StatusCode::OK].map(|status| counters.bodies(status));
    bodies.iter_mut().for_each(|bodies| bodies.sort_unstable());
    let [refused, replayed] = bodies;
    assert_eq!(refused, replayed);
    assert_eq!(refused.len(), CALLS);
    // One for the first token.
    assert_eq!((counters.token_requests(), counters.most_at_once()), (2, 1));
    format!("1 token request, {} replays with the same bodies", replayed.len())
}

async fn bare(fixture: Fixture) -> String {
    let client = fixture.with(Tokens::new(fixture.basic()));
    let refusal =
        json!({ "status": 401, "headers": { "www-authenticate": "Bearer realm=\"api\"" } });
    fixture.order(Of::Api, &[refusal]).await;
    assert_eq!(call(&client, get(fixture.api("echo"))).await.0, StatusCode::OK);
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.calls()), (2, 2));
    "1 other token, 1 replay".to_owned()
}

async fn refused_again(fixture: Fixture) -> String {
    const CALLS: u64 = 20;
    let client = fixture.with(Tokens::new(fixture.basic()));
    let challenge = json!({ "www-authenticate": r#"Bearer error="invalid_token""# });
    let refusal = json!({ "status": 401, "headers": challenge });
    fixture.order(Of::Api, &vec![refusal; usize::try_from(CALLS).unwrap() + 1]).await;
    for _ in 0..CALLS {
        let (status, _) = call(&client, get(fixture.api("echo"))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let counters = fixture.counters().await;
    // The first was sent twice.
    assert_eq!((counters.token_requests(), counters.calls()), (2, CALLS + 1));
    format!("{CALLS} requests, {} calls, 1 other token", counters.calls())
}

async fn insufficient_scope(fixture: Fixture) -> String {
    let client = fixture.with(Tokens::new(fixture.basic().scope("read")));
    let request: Request<_> = get(fixture.api("write"));
    let (status, _): (_, Value) = call(&client, request).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.calls()), (1, 1));
    "the answer stands, and the token".to_owned()
}
