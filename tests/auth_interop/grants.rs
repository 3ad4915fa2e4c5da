//! What the server makes of requests for tokens.

use std::slice;

use http::StatusCode;
use palisade_auth::{
    Claims, ClientAuth, ClientCredentials, JwtBearer, Recovery, SelfSigned, TokenExchange,
    TokenSource, Tokens,
};
use serde_json::{Value, json};

use crate::{
    Scenario,
    fixture::{Fixture, Of, call, get},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("clients show who they are", clients),
        Scenario::new("assertions are for the issuer", issuer),
        Scenario::new("odd passwords are encoded", odd),
        Scenario::new("a wrong secret is asked about once", wrong_secret),
        Scenario::new("scope and resource", scope_and_resource),
        Scenario::new("token exchange", token_exchange),
        Scenario::new("JWT bearer", jwt_bearer),
        Scenario::new("lifetimes that are missing or text", lifetimes),
        Scenario::new("answers that are no tokens", no_tokens),
    ]
}

/// What the protected resource says of the token of a source.
async fn echo(fixture: &Fixture, source: impl TokenSource) -> Value {
    let (status, echo) = call(&fixture.with(Tokens::new(source)), get(fixture.api("echo"))).await;
    assert_eq!(status, StatusCode::OK);
    echo
}

async fn clients(fixture: Fixture) -> String {
    for name in ["basic", "odd", "post", "secret_jwt", "es256", "rs256", "eddsa"] {
        let client = fixture.client(name);
        // Twice: what is signed is good for once.
        for _ in 0..2 {
            let source = ClientCredentials::new(fixture.endpoint(), client.auth());
            assert_eq!(echo(&fixture, source).await["client"], client.id());
        }
    }
    let counters = fixture.counters().await;
    let by_auth = counters.by_auth();
    assert_eq!(by_auth, [("assertion", 8), ("basic", 4), ("post", 2)].into());
    format!("{by_auth:?}")
}

async fn issuer(fixture: Fixture) -> String {
    let client = fixture.client("es256");
    for (audience, fine) in [(fixture.issuer(), true), ("https://other.example", false)] {
        let auth = client.auth().audience(audience);
        let tokens = Tokens::new(ClientCredentials::new(fixture.endpoint(), auth));
        assert_eq!(tokens.warm_up().await.is_ok(), fine, "{audience}");
    }
    "and for no other".to_owned()
}

async fn odd(fixture: Fixture) -> String {
    let client = fixture.client("odd");
    let raw = ClientAuth::basic(client.id(), client.secret()).raw();
    let tokens = Tokens::new(ClientCredentials::new(fixture.endpoint(), raw));
    let error = tokens.warm_up().await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::FixRequest);
    format!("as they are, {error}")
}

async fn wrong_secret(fixture: Fixture) -> String {
    let client = ClientAuth::basic(fixture.client("basic").id(), "wrong");
    let tokens = Tokens::new(ClientCredentials::new(fixture.endpoint(), client));
    for _ in 0..100 {
        let error = tokens.token().await.unwrap_err();
        assert_eq!(error.oauth().unwrap().code(), "invalid_client");
        assert_eq!(error.recovery(), Recovery::FixRequest);
    }
    let counters = fixture.counters().await;
    assert_eq!(counters.token_requests(), 1);
    "100 callers, 1 token request".to_owned()
}

async fn scope_and_resource(fixture: Fixture) -> String {
    let source = fixture.basic().scope("read").resource("https://api.example/");
    let echo = echo(&fixture, source).await;
    assert_eq!(
        (&echo["scope"], &echo["audience"]),
        (&json!("read"), &json!("https://api.example/"))
    );
    format!("{} of {}", echo["scope"], echo["audience"])
}

async fn token_exchange(fixture: Fixture) -> String {
    let actor = ClientCredentials::new(fixture.endpoint(), fixture.client("post").auth());
    let subject = fixture.basic().scope("read write");
    let source = TokenExchange::new(fixture.endpoint(), subject)
        .client(fixture.client("exchange").auth())
        .actor(actor, TokenExchange::ACCESS_TOKEN)
        .requested_type(TokenExchange::ACCESS_TOKEN)
        .scope("read")
        .audience("https://api.example/");
    let echo = echo(&fixture, source).await;
    let seen = [&echo["account"], &echo["actor"], &echo["scope"], &echo["audience"]];
    assert_eq!(seen, ["basic", "post", "read", "https://api.example/"]);
    format!("{} acts for {}", echo["actor"], echo["account"])
}

async fn jwt_bearer(fixture: Fixture) -> String {
    let client = fixture.client("bearer");
    let claims = Claims::new().issuer(client.id()).subject("robot").audience(fixture.issuer());
    let source = || {
        let assertions = SelfSigned::new(client.key(), claims.clone());
        JwtBearer::new(fixture.endpoint(), assertions).client(client.auth()).scope("read")
    };
    for _ in 0..2 {
        assert_eq!(echo(&fixture, source()).await["account"], "robot");
    }
    "twice".to_owned()
}

async fn lifetimes(fixture: Fixture) -> String {
    let mut seen = Vec::new();
    for (change, seconds) in [
        (json!({}), Some(3600)),
        (json!({ "strip": ["expires_in"] }), None),
        (json!({ "set": { "expires_in": "300" } }), Some(300)),
    ] {
        fixture.order(Of::Token, &[change]).await;
        let token = Tokens::new(fixture.basic()).token().await.unwrap();
        assert_eq!(token.lifetime().map(|lifetime| lifetime.as_secs()), seconds);
        seen.push(token.lifetime());
    }
    format!("{seen:?}")
}

async fn no_tokens(fixture: Fixture) -> String {
    let html = json!({ "content-type": "text/html" });
    for (answer, code, again) in [
        // A gateway repeats what it was told once: no verdict.
        (json!({ "status": 503, "body": { "error": "invalid_grant" } }), None, true),
        (json!({ "status": 502, "headers": html, "body": "<html>" }), None, true),
        (json!({ "status": 200, "headers": html, "body": "<html>" }), None, false),
        (json!({ "set": { "error": "invalid_scope" } }), Some("invalid_scope"), false),
        (json!({ "set": { "access_token": "a\nb" } }), None, false),
    ] {
        fixture.order(Of::Token, slice::from_ref(&answer)).await;
        let error = Tokens::new(fixture.basic()).token().await.unwrap_err();
        if let Some(code) = code {
            assert_eq!(error.oauth().map(|said| said.code()), Some(code), "{answer}");
        }
        let retried = matches!(error.recovery(), Recovery::Retry { .. });
        assert_eq!(retried, again, "{answer}: {error:?}");
    }
    "5 errors".to_owned()
}
