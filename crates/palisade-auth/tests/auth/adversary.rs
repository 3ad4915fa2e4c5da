//! What servers, clocks, runtimes and callers do at their worst.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use http_body::{Body, Frame};
use http_body_util::Full;
use palisade_auth::{
    ApiKey, AuthError, AuthLayer, ClientAuth, Clock, MemoryTokenStore, Moment, Record, Recovery,
    RefreshToken, StoreFuture, Token, TokenEndpoint, TokenFuture, TokenSource, TokenStore, Tokens,
    Version, Wanted,
};
use palisade_core::{Origins, find_cause};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, advance, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    support::{Answer, Api, MS, SECOND, Source, clock, get},
    token_server::{TokenServer, URI, now},
};

fn origins() -> Origins {
    Origins::new(["https://api.example"])
}

/// Calls a function for each token.
#[derive(Clone)]
struct Asks<F>(F);

impl<F> TokenSource for Asks<F>
where
    F: Fn(Moment) -> Result<Token, AuthError> + Send + Sync + 'static,
{
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(ready((self.0)(wanted.now)))
    }
}

#[test]
fn on_a_runtime_that_has_ended_nothing_goes_round_for_ever() {
    let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let source = Asks({
        let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
        move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            // The way out of a loop.
            1000.. => {
                stop.store(true, Ordering::Relaxed);
                Token::bearer("late").map_err(AuthError::from)
            }
            _ => Err(AuthError::new("no token", Recovery::Retry { after: None })),
        }
    });
    let tokens = Tokens::new(source);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _entered = handle.enter();
    let failed = futures_util::FutureExt::now_or_never(tokens.token());
    assert!(!stop.load(Ordering::Relaxed), "it went round");
    assert!(failed.is_some_and(|token| token.is_err()));
    assert!(asked.load(Ordering::Relaxed) <= 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_source_that_hangs_gets_what_is_primed() {
    let source = Source::answering(Answer::default().after(3600 * SECOND));
    let tokens = source.tokens();
    let waiting = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.token().await }
    });
    tokio::task::yield_now().await;
    assert_eq!(source.asked(), 1);
    tokens.prime(Token::bearer("primed").unwrap()).unwrap();
    let token = timeout(SECOND, waiting).await.expect("it need not wait any more");
    assert_eq!(token.unwrap().unwrap().secret().expose(), "primed");
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_takes_the_token_from_nobody() {
    let source = Source::default();
    let tokens = source.tokens().on_change(|_| std::panic::resume_unwind(Box::new("scripted")));
    let both = futures_util::future::join(tokens.token(), tokens.token()).await;
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert_eq!(source.asked(), 1);
}

#[test]
fn a_key_in_a_cookie_leaves_the_other_cookies() {
    let mut request = get();
    for cookie in ["a=b", "c=d"] {
        request.headers_mut().append(COOKIE, HeaderValue::from_static(cookie));
    }
    let key = ApiKey::cookie("session", "k3y").unwrap();
    let applied = palisade_auth::Authenticator::apply(&key, &mut request);
    assert!(matches!(applied, palisade_auth::Applied::Done(_)));
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=b; c=d; session=k3y"]);
}

#[tokio::test]
async fn nothing_of_a_long_secret_is_shown_where_a_text_is_cut() {
    // Longer than what is shown of a text; with letters that a form escapes.
    for secret in ["canary-7f3a9c".repeat(60), "/+canary+/=".repeat(4)] {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for said in [&secret, &encoded] {
            for (field, text) in [
                ("error_description", format!("the token {said} is not known")),
                ("error_uri", format!("https://as.example/?{said}")),
            ] {
                let body = format!(r#"{{"error":"invalid_grant","{field}":"{text}"}}"#);
                let server = TokenServer::new().answer(400, body);
                let source = RefreshToken::new(server.endpoint(), secret.clone())
                    .client(ClientAuth::none("cli"));
                let error = source.fetch(Wanted::first(now())).await.unwrap_err();
                assert_eq!(error.recovery(), Recovery::Reauthenticate);
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("canary"), "{shown}");
            }
        }
    }
}

/// A body of frames without data, which never ends and is always ready.
struct Hollow(Arc<AtomicUsize>);

impl Body for Hollow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            // The way out of a loop.
            1_000_000.. => Poll::Ready(None),
            _ => Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
        }
    }
}

#[tokio::test]
async fn a_body_of_nothing_that_never_ends_is_too_long() {
    let polls = Arc::new(AtomicUsize::new(0));
    let service = service_fn({
        let polls = Arc::clone(&polls);
        move |_: Request<Full<Bytes>>| {
            ready(Ok::<_, Infallible>(Response::new(Hollow(Arc::clone(&polls)))))
        }
    });
    let source =
        RefreshToken::new(TokenEndpoint::new(URI, service), "r").client(ClientAuth::none("cli"));
    assert!(source.fetch(Wanted::first(now())).await.is_err());
    assert!(polls.load(Ordering::Relaxed) < 1_000_000);
}

#[tokio::test]
async fn a_record_that_never_expires_is_taken_over() {
    let server = TokenServer::new();
    let store = MemoryTokenStore::new();
    let mut record = Record::default();
    record.refresh_token = Some("r".into());
    record.access_token = Some("kept".into());
    record.expires_at = Some(u64::MAX);
    store.swap("alice", None, Some(&record)).await.unwrap();
    let source =
        RefreshToken::stored(server.endpoint(), store, "alice").client(ClientAuth::none("cli"));
    let token = source.fetch(Wanted::first(now())).await.unwrap();
    assert_eq!(token.secret().expose(), "kept");
}

/// A time of day that is set by hand, and a steady clock that stands still.
#[derive(Clone, Debug, Default)]
struct Frozen(Arc<AtomicU64>);

impl Clock for Frozen {
    fn now(&self) -> Moment {
        let wall = Duration::from_secs(1_800_000_000 + self.0.load(Ordering::Relaxed));
        Moment::new(SystemTime::UNIX_EPOCH + wall, SECOND)
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_clock_that_stands_still_does_not_make_a_rest_endless() {
    let clock = Frozen::default();
    let source = Source::answering(Answer::lifetime(3600 * SECOND));
    let tokens = Tokens::new(source.clone()).clock(clock.clone());
    tokens.warm_up().await.unwrap();
    // In the window, in which the first try fails.
    clock.0.store(3300, Ordering::Relaxed);
    source.then(Answer::transient());
    tokens.warm_up().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(source.asked(), 2);
    // Longer than any rest after that.
    clock.0.store(3340, Ordering::Relaxed);
    tokens.warm_up().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(source.asked(), 3);
}

/// A body that never ends, and holds a place among those that are on their way.
struct Stalled {
    _permit: OwnedSemaphorePermit,
    ends: bool,
}

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ends { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_never_ends_does_not_hold_up_its_own_token() {
    // One request at a time, tokens among them, until the end of its answer.
    let one = Arc::new(Semaphore::new(1));
    struct Same(Arc<Semaphore>, AtomicUsize);
    impl TokenSource for Same {
        fn fetch<'a>(&'a self, _: Wanted<'a>) -> TokenFuture<'a> {
            Box::pin(async {
                let _permit = self.0.acquire().await.unwrap();
                sleep(10 * MS).await;
                let count = self.1.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(Token::bearer(format!("t{count}")).unwrap())
            })
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn({
        let (one, calls) = (Arc::clone(&one), Arc::clone(&calls));
        move |_: Request<Full<Bytes>>| {
            let (one, calls) = (Arc::clone(&one), Arc::clone(&calls));
            async move {
                let permit = one.acquire_owned().await.unwrap();
                let again = calls.fetch_add(1, Ordering::Relaxed) > 0;
                let mut response = Response::new(Stalled { _permit: permit, ends: again });
                if !again {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let tokens = Tokens::new(Same(one, AtomicUsize::new(0))).clock(clock());
    let start = Instant::now();
    let response = AuthLayer::new(tokens, origins()).layer(service).oneshot(get()).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_at_once_is_not_hammered() {
    let after = Some(Duration::ZERO);
    let source = Source::answering(Answer::fails(Recovery::Retry { after }).after(Duration::ZERO));
    let tokens = source.tokens();
    for _ in 0..6_000 {
        assert!(tokens.token().await.is_err());
        advance(10 * MS).await;
    }
    // Once every 50 milliseconds would be 1200 times.
    assert!(source.asked() <= 60, "{}", source.asked());
}

#[test]
fn ten_thousand_callers_on_real_threads_ask_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Slow(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>);
    impl TokenSource for Slow {
        fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
            Box::pin(async move {
                let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
                let at_once = self.1.fetch_add(1, Ordering::SeqCst) + 1;
                self.2.fetch_max(at_once, Ordering::SeqCst);
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                self.1.fetch_sub(1, Ordering::SeqCst);
                Ok(Token::bearer(format!("t{count}"))
                    .unwrap()
                    .expires_in(3600 * SECOND, wanted.now))
            })
        }
    }
    let tokens = Tokens::new(Slow(Arc::clone(&asked), now, Arc::clone(&most)));
    let seen = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (tokens, seen) = (tokens.clone(), Arc::clone(&seen));
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let callers = (0..2500).map(|index| {
                        let tokens = tokens.clone();
                        tokio::spawn(async move {
                            if index % 3 == 0 {
                                // Gone before it is answered.
                                let _ = futures_util::FutureExt::now_or_never(tokens.token());
                                return None;
                            }
                            Some(tokens.token().await.unwrap().secret().expose().to_owned())
                        })
                    });
                    for caller in futures_util::future::join_all(callers).await {
                        seen.lock().unwrap().extend(caller.unwrap());
                    }
                });
            });
        }
    });
    // A runtime that ends may take one with it, for which another one comes.
    assert!(asked.load(Ordering::SeqCst) <= 4, "{asked:?}");
    assert!(seen.lock().unwrap().len() <= asked.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_asks_once_in_ten_seconds() {
    let (api, source) = (Api::new(), Source::default());
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    for _ in 0..30 {
        let storm = (0..300).map(|_| service.clone().oneshot(get()));
        for response in futures_util::future::join_all(storm).await {
            assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
        }
        advance(SECOND).await;
    }
    // The first one, and one for each ten seconds.
    assert!(source.asked() <= 5, "{}", source.asked());
    assert!(api.calls() <= 2 * 30 * 300);
}

#[test]
fn no_address_that_looks_alike_gets_credentials() {
    for uri in [
        "https://api.example.",
        "https://api.example:4430/",
        "https://api.example%2e/",
        "https://api%2eexample/",
        "https://xn--api-example/",
        "https://api.example@evil.example/",
        "https://api.example:443@evil.example/",
        "https://evil.example?.api.example/",
        "https://evil.example/@api.example",
        "https://[::ffff:127.0.0.1]/",
        "http://api.example:443/",
        "wss://api.example/",
        "https://api.example:0443/",
        "https://api.example:65979/",
        "/users",
        "*",
        "//api.example/",
    ] {
        let Ok(parsed) = uri.parse::<http::Uri>() else { continue };
        if uri == "https://api.example:0443/" {
            // The same port, written at length.
            continue;
        }
        assert!(!origins().contains(&parsed), "{uri}");
    }
}

#[tokio::test]
async fn no_error_of_a_request_shows_its_credentials() {
    let failing = TokenEndpoint::new(
        URI,
        service_fn(|_: Request<Full<Bytes>>| {
            ready(Err::<Response<Full<Bytes>>, _>(std::io::Error::other("connection lost")))
        }),
    );
    let source = RefreshToken::new(failing, "canary").client(ClientAuth::post("me", "canary"));
    let tokens = Tokens::new(source.clone());
    let layer = AuthLayer::new(tokens.clone(), origins());
    let error = layer.layer(Api::new()).oneshot(get()).await.unwrap_err();
    let auth = find_cause::<AuthError>(&*error).unwrap();
    let causes: Vec<_> = palisade_core::causes(auth).map(ToString::to_string).collect();
    let shown = format!("{error} {error:?} {causes:?} {source:?} {tokens:?} {layer:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// A store in which another one has always been quicker.
#[derive(Clone, Default)]
struct Contended(Arc<AtomicU64>);

impl TokenStore for Contended {
    fn load<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        let version = Version(self.0.fetch_add(1, Ordering::Relaxed));
        let mut record = Record::default();
        record.refresh_token = Some("r".into());
        Box::pin(ready(Ok(Some((version, record)))))
    }

    fn swap<'a>(
        &'a self,
        _: &'a str,
        old: Option<Version>,
        _: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        // The way out of a loop.
        let ends = 10_000 < self.0.load(Ordering::Relaxed);
        Box::pin(ready(Ok(old.filter(|_| ends))))
    }
}

#[tokio::test]
async fn a_store_in_which_others_are_always_quicker_is_not_written_for_ever() {
    let store = Contended::default();
    let source = RefreshToken::stored(TokenServer::new().endpoint(), store.clone(), "alice")
        .client(ClientAuth::none("cli"));
    let token = Token::bearer("t").unwrap().refresh_token("r2");
    for error in [source.log_in(&token).await.unwrap_err(), source.log_out().await.unwrap_err()] {
        assert_eq!(error.recovery(), Recovery::Retry { after: None });
    }
    // The token that comes is good all the same.
    assert!(source.fetch(Wanted::first(now())).await.is_ok());
    assert!(store.0.load(Ordering::Relaxed) < 1000);
}

#[test]
fn what_is_dropped_of_an_error_may_look_again() {
    struct Resets(Tokens);
    impl Drop for Resets {
        fn drop(&mut self) {
            self.0.reset();
        }
    }
    impl std::fmt::Debug for Resets {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Resets")
        }
    }
    impl std::fmt::Display for Resets {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("it resets")
        }
    }
    impl std::error::Error for Resets {}

    let other = Arc::new(Mutex::new(None::<Tokens>));
    let tokens = Tokens::new(Asks({
        let other = Arc::clone(&other);
        move |_| {
            let tokens = other.lock().unwrap().clone().unwrap();
            let error = AuthError::new("no token", Recovery::Retry { after: None });
            Err(error.with_source(Resets(tokens)))
        }
    }));
    *other.lock().unwrap() = Some(tokens.clone());
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let failed = futures_util::FutureExt::now_or_never(tokens.token());
        drop(failed);
        // The last one that knows of the error is the slot.
        tokens.reset();
        done.send(()).unwrap();
    });
    assert!(told.recv_timeout(5 * SECOND).is_ok(), "it waits for itself");
}

#[cfg(all(unix, not(target_os = "macos")))]
#[tokio::test]
async fn a_pipe_in_place_of_a_file_of_logins_is_none() {
    let directory = crate::directory::Directory::new();
    let path = directory.file("tokens.json");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|made| made.success()) {
        return;
    }
    let store = palisade_auth::FileTokenStore::new(&path);
    let loaded = timeout(5 * SECOND, store.load("alice")).await;
    if loaded.is_err() {
        // So that the thread that waits for it can end.
        drop(std::fs::OpenOptions::new().write(true).open(&path));
    }
    assert!(loaded.expect("it is not waited for").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_time_leaves_the_next_one_its_token() {
    // Before it waits, while it does, while it is refused, and while it is sent again.
    for polls in 0..30 {
        let (api, source) = (Api::new(), Source::default());
        api.accept(&["t2", "t3"]);
        api.delays([10 * MS; 4]);
        let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
        let mut call = Box::pin(service.clone().oneshot(get()));
        for _ in 0..polls {
            if futures_util::FutureExt::now_or_never(&mut call).is_some() {
                break;
            }
            sleep(10 * MS).await;
        }
        drop(call);
        let response = service.oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{polls}");
        assert_eq!((source.asked(), source.most()), (2, 1), "{polls}");
        assert!(api.calls() <= 4, "{polls}");
    }
}
