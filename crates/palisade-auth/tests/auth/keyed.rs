use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use palisade_auth::{
    Applied, AuthError, AuthLayer, Authenticator, Credential, Recovery, Token, TokenFuture,
    TokenSource, TokensByKey, Wanted,
};
use palisade_core::{Identity, Observed, Observer, Origins, find_cause};
use palisade_testkit::{Random, RecordingObserver};
use tokio::time::advance;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Api, MS, SECOND, Source, clock, get};

/// A source for each tenant.
#[derive(Clone, Default)]
struct Sources(Arc<Mutex<HashMap<String, Source>>>);

impl Sources {
    fn of(&self, tenant: &str) -> Source {
        let mut sources = self.0.lock().unwrap();
        let make = || Source::named(&format!("{tenant}."));
        sources.entry(tenant.to_owned()).or_insert_with(make).clone()
    }

    fn tokens(&self) -> TokensByKey {
        let sources = self.clone();
        TokensByKey::new(move |tenant| sources.of(tenant.unwrap_or("nobody"))).clock(clock())
    }
}

fn of(credential: Credential) -> Request<Full<Bytes>> {
    let mut request = get();
    credential.put(request.extensions_mut());
    request
}

fn by(name: &str, credential: Option<Credential>) -> Request<Full<Bytes>> {
    let mut request = get();
    request.extensions_mut().insert(Identity::new(name));
    if let Some(credential) = credential {
        credential.put(request.extensions_mut());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn who_is_named_no_tenant_is_known_by_identity() {
    let (api, sources) = (Api::new(), Sources::default());
    let layer = AuthLayer::new(sources.tokens(), Origins::any()).send_once();
    for request in [
        by("blue", None),
        by("blue", Some(Credential::default().scope("+read"))),
        by("blue", Some(Credential::tenant("red"))),
    ] {
        layer.layer(api.clone()).oneshot(request).await.unwrap();
    }
    assert_eq!(api.tokens(), ["blue.t1", "blue.t2+read", "red.t1"]);
}

#[test]
fn a_credential_that_is_put_sets_the_identity() {
    let check = |credential: Credential, expected: &str| {
        let mut request = by("before", None);
        credential.put(request.extensions_mut());
        assert_eq!(Identity::of(request.extensions()).map(Identity::name), Some(expected));
    };
    check(Credential::tenant("blue").scope("read"), "blue");
    check(Credential::default().scope("read"), "before");
    check(Credential::token(Token::bearer("abc").unwrap()), "before");
}

#[test]
fn a_token_that_is_put_is_an_identity_of_its_own() {
    let identity = |token: &str| {
        let request = of(Credential::token(Token::bearer(token).unwrap()));
        Identity::of(request.extensions()).cloned().unwrap()
    };
    assert_eq!(identity("blue"), identity("blue"));
    assert_ne!(identity("blue"), identity("red"));
    assert!(!identity("blue").name().contains("blue"));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_no_cache_could_see_is_an_error() {
    let (api, sources) = (Api::new(), Sources::default());
    let layer = AuthLayer::new(sources.tokens(), Origins::any());
    let mut request = get();
    request.extensions_mut().insert(Credential::tenant("blue"));
    let error = layer.layer(api.clone()).oneshot(request).await.unwrap_err();
    let error = find_cause::<AuthError>(&*error).unwrap();
    assert_eq!(error.recovery(), Recovery::FixRequest);
    assert!(api.tokens().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_tenant_has_a_token() {
    let (api, sources) = (Api::new(), Sources::default());
    let layer = AuthLayer::new(sources.tokens(), Origins::any());
    let service = layer.layer(api.clone());
    let token = Token::bearer("literal").unwrap();
    for request in [
        get(),
        of(Credential::tenant("blue")),
        of(Credential::tenant("red")),
        of(Credential::tenant("blue")),
        of(Credential::tenant("blue").scope("+read")),
        of(Credential::default().scope("+read")),
        of(Credential::token(token)),
    ] {
        let mut request = request;
        // So that no answer calls for another token.
        api.status(StatusCode::FORBIDDEN);
        request.headers_mut().insert("x-number", api.calls().into());
        service.clone().oneshot(request).await.unwrap();
    }
    let expected =
        ["nobody.t1", "blue.t1", "red.t1", "blue.t1", "blue.t2+read", "nobody.t2+read", "literal"];
    assert_eq!(api.tokens(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_of_one_tenant() {
    let (api, sources) = (Api::new(), Sources::default());
    api.accept(&["blue.t2", "red.t1"]);
    let service = AuthLayer::new(sources.tokens(), Origins::any()).layer(api.clone());
    for tenant in ["red", "blue", "red", "blue"] {
        let response = service.clone().oneshot(of(Credential::tenant(tenant))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(api.tokens(), ["red.t1", "blue.t1", "blue.t2", "red.t1", "blue.t2"]);
    let literal = Credential::token(Token::bearer("literal").unwrap());
    let response = service.clone().oneshot(of(literal)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(api.calls(), 6, "a token that the request brings is not replaced");
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_stays() {
    let (api, sources) = (Api::new(), Sources::default());
    api.accept(&["a.t1", "b.t1"]);
    let tokens = sources.tokens().max_keys(2);
    let service = AuthLayer::new(tokens.clone(), Origins::any()).layer(api.clone());
    let call = |tenant: &'static str| {
        tokio::spawn(service.clone().oneshot(of(Credential::tenant(tenant))))
    };
    let (one, other) = (call("a"), call("b"));
    tokio::task::yield_now().await;
    let error = call("c").await.unwrap().unwrap_err();
    assert!(find_cause::<AuthError>(&*error).unwrap().to_string().contains("room"));
    for call in [one, other] {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!((sources.of("a").asked(), sources.of("b").asked()), (1, 1));
    api.accept(&["c.t1"]);
    assert_eq!(call("c").await.unwrap().unwrap().status(), StatusCode::OK, "now there is room");
    assert_eq!(tokens.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_token_is_sent_for_another_tenant() {
    let (api, sources) = (Api::new(), Sources::default());
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        sources.of(name).answer(Answer::lifetime(2 * SECOND).after(20 * MS));
    }
    let tokens = sources.tokens().max_keys(3);
    let service = AuthLayer::new(tokens.clone(), Origins::any()).layer(api.clone());
    let mut random = Random::seeded(7);
    let mut calls = Vec::new();
    for number in 0..600_u64 {
        let tenant = names[(random.number() % 6) as usize];
        let mut request = of(Credential::tenant(tenant));
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        calls.push(tokio::spawn(service.clone().oneshot(request)));
        if number % 3 == 0 {
            advance(Duration::from_millis(random.number() % 40)).await;
        }
        assert!(tokens.len() <= 3);
    }
    for call in calls {
        let _ = call.await.unwrap();
    }
    let received = api.received();
    assert!(100 < received.len(), "{}", received.len());
    for received in received {
        let tenant = received.headers["x-tenant"].to_str().unwrap();
        let token = received.token().unwrap();
        assert!(token.starts_with(&format!("Bearer {tenant}.")), "{token} for {tenant}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_keeps_its_tokens() {
    let sources = Sources::default();
    let tokens = sources.tokens().max_keys(1);
    let blue = tokens.tokens(&Credential::tenant("blue")).unwrap();
    blue.warm_up().await.unwrap();
    assert!(tokens.tokens(&Credential::tenant("red")).is_none());
    let mut request = of(Credential::tenant("blue"));
    assert!(matches!(tokens.apply(&mut request), Applied::Done(_)));
    drop(blue);
    assert!(tokens.tokens(&Credential::tenant("red")).is_some());
}

#[test]
fn no_debug_shows_a_tenant() {
    let credential = Credential::tenant("canary").scope("read");
    let shown = format!("{credential:?}");
    assert!(shown.contains("read") && !shown.contains("canary"), "{shown}");
}

/// Counts whom it is given to tell.
#[derive(Clone, Default)]
struct Told(Arc<AtomicUsize>);

impl TokenSource for Told {
    fn fetch<'a>(&'a self, _: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async { Ok(Token::bearer("t0ken").unwrap()) })
    }

    fn or_observer(&self, _: &Arc<dyn Observer>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_sources_of_tenants_tell_whom_the_layer_tells_by_default() {
    let observer: Arc<dyn Observer> = Arc::new(RecordingObserver::new());
    for (is_given, sources) in [(true, 2), (false, 0)] {
        let (api, told) = (Api::new(), Told::default());
        let source = told.clone();
        let tokens = TokensByKey::new(move |_| source.clone()).clock(clock());
        let mut layer = AuthLayer::new(tokens, Origins::any());
        if is_given {
            layer = layer.or_observer(Arc::clone(&observer));
        }
        let client = layer.layer(api);
        for tenant in ["blue", "red", "blue"] {
            client.clone().oneshot(of(Credential::tenant(tenant))).await.unwrap();
        }
        assert_eq!(told.0.load(Ordering::Relaxed), sources);
    }
}
