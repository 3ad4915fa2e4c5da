use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use palisade_auth::{
    ApiKey, AuthBypass, AuthError, AuthLayer, Basic, Bearer, ClientAuth, ClientCredentials,
    Recovery, Token, TokenEndpoint, TokenFuture, TokenSource, Tokens, Wanted,
};
use palisade_core::{BoxError, ErrorKind, Origins, Refusal, find_cause};
use palisade_testkit::RecordingObserver;
use tokio::time::{Instant, advance, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn,
    util::BoxCloneSyncService,
};

use crate::support::{Answer, Api, MS, SECOND, Source, URI, clock, get, post};

fn origins() -> Origins {
    Origins::new(["https://api.example"])
}

fn at(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_gets_its_token() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t1"]);
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    for _ in 0..3 {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(api.tokens(), ["t1"; 3]);
    assert_eq!(source.asked(), 1);
    assert!(api.received().iter().all(|received| received.headers[AUTHORIZATION].is_sensitive()));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_requests_ask_once() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t1"]);
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    let calls: Vec<_> =
        (0..1000).map(|_| tokio::spawn(service.clone().oneshot(post("order")))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!((source.asked(), source.most(), api.calls()), (1, 1, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_elsewhere_carries_nothing() {
    let api = Api::new();
    let bearer = Bearer::new("secret").unwrap();
    let service = AuthLayer::new(bearer.clone(), origins()).layer(api.clone());
    let elsewhere = [
        "https://evil.example/users",
        "https://api.example:8443/users",
        "http://api.example/users",
        "https://api.example@evil.example/users",
        "https://api.example./users",
        "https://xn--api-example/users",
        "https://[2001:db8::1]/users",
        "/users",
    ];
    for uri in elsewhere {
        service.clone().oneshot(at(uri)).await.unwrap();
    }
    assert_eq!(api.tokens(), vec!["none"; elsewhere.len()]);

    let observer = Arc::new(RecordingObserver::new());
    let strict = AuthLayer::new(bearer, origins()).fail_outside().observer(observer.clone());
    let error = strict.layer(api.clone()).oneshot(at(elsewhere[0])).await.unwrap_err();
    assert_eq!(error.to_string(), "the request goes to an origin that gets no credentials");
    assert_eq!(find_cause::<AuthError>(&*error).unwrap().recovery(), Recovery::FixRequest);
    assert_eq!(api.calls(), elsewhere.len());
    let told = observer.take();
    assert!(told[0].event.contains("reason: \"outside\""), "{told:?}");
    assert_eq!(told[0].authority.as_deref(), Some("evil.example"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_where_all_can_read_it() {
    let api = Api::new();
    let layer = AuthLayer::new(Bearer::new("secret").unwrap(), Origins::any());
    let service = layer.clone().layer(api.clone());
    let error = service.clone().oneshot(at("http://api.example/")).await.unwrap_err();
    assert_eq!(error.to_string(), "credentials are not sent over plain http: use https");
    service.clone().oneshot(at("http://localhost:8080/")).await.unwrap();
    layer.allow_plain_http().layer(api.clone()).oneshot(at("http://api.example/")).await.unwrap();
    assert_eq!(api.tokens(), ["secret"; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_caller_has_the_last_word() {
    let api = Api::new();
    let layer = AuthLayer::new(Bearer::new("ours").unwrap(), origins());
    let own = || {
        let mut request = get();
        let value = HeaderValue::from_static("Bearer own");
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    };
    let bypassed = || {
        let mut request = get();
        request.extensions_mut().insert(AuthBypass);
        request
    };
    let service = layer.clone().layer(api.clone());
    service.clone().oneshot(own()).await.unwrap();
    service.clone().oneshot(bypassed()).await.unwrap();
    layer.replace_own().layer(api.clone()).oneshot(own()).await.unwrap();
    assert_eq!(api.tokens(), ["own", "none", "ours"]);

    let name = HeaderName::from_static("x-api-key");
    let key = ApiKey::header(name.clone(), "ours").unwrap();
    let service = AuthLayer::new(key, origins()).layer(api.clone());
    let mut request = own();
    request.headers_mut().insert(name.clone(), HeaderValue::from_static("own"));
    service.clone().oneshot(request).await.unwrap();
    service.oneshot(own()).await.unwrap();
    let keys = api.received()[3..].iter().map(|got| got.headers[&name].clone()).collect::<Vec<_>>();
    assert_eq!(keys, ["own", "ours"]);
}

#[tokio::test(start_paused = true)]
async fn fixed_credentials_are_never_sent_twice() {
    let api = Api::new();
    async fn refused<A: palisade_auth::Authenticator>(api: &Api, authenticator: A) {
        let service = AuthLayer::new(authenticator, origins()).layer(api.clone());
        let response = service.oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    refused(&api, Bearer::new("a").unwrap()).await;
    refused(&api, Token::bearer("b").unwrap()).await;
    refused(&api, Basic::new("user", "c").unwrap()).await;
    refused(&api, ApiKey::query("key", "d").unwrap()).await;
    assert_eq!(api.calls(), 4);
    assert_eq!(api.received()[3].uri, format!("{URI}?key=d"));
}

#[tokio::test(start_paused = true)]
async fn no_token_is_an_error_and_no_answer() {
    let (api, source) = (Api::new(), Source::default());
    source.answer(Answer::fails(Recovery::Reauthenticate));
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    for _ in 0..3 {
        let error = service.clone().oneshot(get()).await.unwrap_err();
        let auth = find_cause::<AuthError>(&*error).unwrap();
        assert_eq!(auth.recovery(), Recovery::Reauthenticate);
        assert_eq!(ErrorKind::of(&*error), ErrorKind::Auth);
    }
    assert_eq!((api.calls(), source.asked()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn others_learn_when_there_may_be_a_token() {
    let source = Source::answering(Answer::fails(Recovery::Retry { after: Some(7 * SECOND) }));
    let service = AuthLayer::new(source.tokens(), origins()).layer(Api::new());
    let error = service.oneshot(get()).await.unwrap_err();
    let refusal = find_cause::<Refusal>(&*error).unwrap();
    assert_eq!((refusal.kind(), refusal.retry_after()), (ErrorKind::Auth, Some(7 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_holds_nothing_of_the_service() {
    // One at a time, the request for the token among them.
    struct Through(ServiceOfTokens);
    type ServiceOfTokens =
        BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;
    impl TokenSource for Through {
        fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
            Box::pin(async move {
                let mut request = post("grant");
                request.extensions_mut().insert(AuthBypass);
                let failed =
                    |error: BoxError| AuthError::new("failed", Recovery::Fatal).with_source(error);
                self.0.clone().oneshot(request).await.map_err(failed)?;
                Ok(Token::bearer("t1").unwrap().expires_in(3600 * SECOND, wanted.now))
            })
        }
    }
    // The same stack, which the layer is put around afterwards.
    let api = Api::new();
    api.accept(&["t1"]);
    let limited = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(api.clone());
    let boxed = BoxCloneSyncService::new(ServiceExt::<Request<Full<Bytes>>>::map_err(
        limited.clone(),
        BoxError::from,
    ));
    let source = Through({
        let bypassed = AuthLayer::new(Bearer::new("never").unwrap(), Origins::any());
        BoxCloneSyncService::new(bypassed.layer(boxed))
    });
    let tokens = Tokens::new(source).clock(clock());
    let mut service = AuthLayer::new(tokens, origins()).layer(limited);
    let before = Instant::now();
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    let response = ready.call(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(api.tokens(), ["none", "t1"]);
    assert!(before.elapsed() < SECOND, "nobody waits for himself");
}

#[tokio::test(start_paused = true)]
async fn a_token_may_come_through_the_client_that_waits_for_it() {
    type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;
    let server = service_fn(|request: Request<Full<Bytes>>| async move {
        let answer = match (request.uri().path(), request.headers().get(AUTHORIZATION)) {
            ("/token", None) => r#"{"access_token":"t1","expires_in":3600}"#,
            (_, Some(field)) if field == "Bearer t1" => "fine",
            other => panic!("{other:?}"),
        };
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(answer)))
    });
    let client = Arc::new(OnceLock::<Client>::new());
    let itself = service_fn({
        let client = Arc::clone(&client);
        move |request: Request<Full<Bytes>>| client.get().unwrap().clone().oneshot(request)
    });
    let endpoint = TokenEndpoint::new("https://api.example/token", itself);
    let tokens = Tokens::new(ClientCredentials::new(endpoint, ClientAuth::none("me")));
    let limited = ConcurrencyLimitLayer::new(1).layer(server);
    let layered = AuthLayer::new(tokens.clock(clock()), origins()).layer(limited);
    client.set(BoxCloneSyncService::new(layered)).unwrap();

    let call = client.get().unwrap().clone().oneshot(get());
    let response = timeout(SECOND, call).await.expect("nobody waits for itself").unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "fine");
}

#[tokio::test(start_paused = true)]
async fn a_request_in_the_window_does_not_wait() {
    let (api, source) = (Api::new(), Source::default());
    source.answer(Answer::lifetime(100 * SECOND).after(10 * SECOND));
    api.accept(&["t1", "t2"]);
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    service.clone().oneshot(get()).await.unwrap();
    advance(75 * SECOND).await;
    let before = Instant::now();
    service.clone().oneshot(get()).await.unwrap();
    assert!(before.elapsed() < 2 * MS);
    tokio::time::sleep(Duration::from_secs(11)).await;
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!(api.tokens(), ["t1", "t1", "t2"]);
}
