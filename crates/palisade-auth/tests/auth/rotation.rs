//! A login whose refresh token is another one each time.

use std::{
    env,
    fmt::Debug,
    net::SocketAddr,
    path::Path,
    pin::pin,
    process::{Child, Command},
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{join, join_all, join3},
};
use palisade_auth::{
    AuthError, FileTokenStore, MemoryTokenStore, Reason, Record, Recovery, RefreshToken,
    StoreFuture, StoreLock, Token, TokenEndpoint, TokenSource, TokenStore, Version, Wanted,
};
use palisade_core::{Event, Observer, Target};
use proptest::prelude::*;

use crate::{
    directory::Directory,
    faulty_store::{Failing, FaultyStore},
    lease_store::LeaseStore,
    rotating_server::{Fault, RemoteServer, RotatingServer, SEED},
    token_server::{URI, now},
};

const NAME: &str = "alice";

fn source(server: &RotatingServer, store: impl TokenStore) -> RefreshToken {
    RefreshToken::new(server.endpoint(), SEED).store(store, NAME)
}

fn wanted(previous: Option<&Token>) -> Wanted<'_> {
    match previous {
        Some(previous) => Wanted::first(now()).instead_of(previous, Reason::Expiring),
        None => Wanted::first(now()),
    }
}

async fn next(source: &impl TokenSource, previous: Option<&Token>) -> Result<Token, AuthError> {
    source.fetch(wanted(previous)).await
}

fn text(token: &Token) -> &str {
    token.secret().expose()
}

async fn refresh_token(store: &impl TokenStore) -> Option<String> {
    let (_, record) = store.load(NAME).await.unwrap()?;
    record.refresh_token.map(|secret| secret.expose().to_owned())
}

/// Refreshes again and again, as one process of several.
async fn refresh_often(source: RefreshToken, times: u32) {
    let mut previous = None;
    for _ in 0..times {
        previous = Some(next(&source, previous.as_ref()).await.expect("the login works"));
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<&'static str>>);

impl Told {
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Told {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        if let Event::Login { change } = event {
            self.0.lock().unwrap().push(change);
        }
    }
}

#[tokio::test]
async fn what_is_new_is_kept_before_it_is_used() {
    let (server, store) = (RotatingServer::new(), MemoryTokenStore::new());
    let source = source(&server, store.clone());
    let mut previous = None;
    for round in 1..=3 {
        let token = next(&source, previous.as_ref()).await.unwrap();
        assert_eq!(text(&token), format!("canary-a{round}"));
        assert_eq!(refresh_token(&store).await, Some(format!("canary-r{round}")));
        previous = Some(token);
    }
}

#[tokio::test]
async fn the_old_one_is_kept_if_no_new_one_comes() {
    let (server, store) = (RotatingServer::that_keeps(), MemoryTokenStore::new());
    let source = source(&server, store.clone());
    let token = next(&source, None).await.unwrap();
    next(&source, Some(&token)).await.unwrap();
    assert_eq!(refresh_token(&store).await.as_deref(), Some(SEED));
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn what_another_one_has_got_is_taken_over() {
    let (server, store) = (RotatingServer::new(), MemoryTokenStore::new());
    let (one, other) = (source(&server, store.clone()), source(&server, store.clone()));
    let first = next(&one, None).await.unwrap();
    assert_eq!(text(&next(&other, None).await.unwrap()), text(&first));
    let second = next(&other, Some(&first)).await.unwrap();
    assert_eq!(text(&next(&one, Some(&first)).await.unwrap()), text(&second));
    assert_eq!(server.count(), 2);
    // A program that was begun anew goes on with what is there.
    let third = RefreshToken::stored(server.endpoint(), store, NAME);
    assert_eq!(text(&next(&third, None).await.unwrap()), text(&second));
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn many_callers_are_one_refresh() {
    let server = RotatingServer::slow(1000);
    let source = source(&server, MemoryTokenStore::new());
    let tokens = join_all((0..30).map(|_| next(&source, None))).await;
    assert!(tokens.iter().all(|token| text(token.as_ref().unwrap()) == "canary-a1"));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_scope_of_its_own_is_a_token_of_its_own() {
    let (server, store) = (RotatingServer::slow(1), MemoryTokenStore::new());
    let source = source(&server, store.clone());
    let scoped = || source.fetch(Wanted::first(now()).scope(Some("read")));
    let (whole, read, again) = join3(next(&source, None), scoped(), scoped()).await;
    let (whole, read) = (whole.unwrap(), read.unwrap());
    assert_ne!(text(&whole), text(&read));
    assert_eq!(text(&read), text(&again.unwrap()));
    assert_eq!((server.count(), server.most_inside()), (2, 1));
    let (_, record) = store.load(NAME).await.unwrap().unwrap();
    assert_eq!(record.access_token.as_ref(), Some(whole.secret()));
    assert_eq!(record.refresh_token, Some("canary-r2".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "they are to meet")]
async fn two_stores_on_one_file_never_lose_the_login() {
    let (server, directory) = (RotatingServer::slow(2), Directory::new());
    let tasks = [0, 1].map(|_| {
        let store = FileTokenStore::new(directory.file("tokens.json"));
        tokio::spawn(refresh_often(source(&server, store), 500))
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert!(!server.is_revoked());
    assert!(500 <= server.count(), "{}", server.count());
    assert_eq!(server.most_inside(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "they are to meet")]
async fn two_sources_with_leases_never_lose_the_login() {
    let (server, store) = (RotatingServer::slow(2), LeaseStore::default());
    let sources = [0, 1].map(|_| source(&server, store.clone()));
    for task in sources.map(|source| tokio::spawn(refresh_often(source, 50))) {
        task.await.unwrap();
    }
    assert!(!server.is_revoked());
    assert_eq!(server.most_inside(), 1);
}

/// Where the second process finds what it is to do.
const CHILD: &str = "PALISADE_AUTH_CHILD";

fn child(address: SocketAddr, path: &Path, work: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "rotation::is_another_process", "--nocapture"])
        .env(CHILD, format!("{address} {work} {}", path.display()))
        .env("RUST_BACKTRACE", "0")
        .spawn()
        .unwrap()
}

/// What another process does; nothing, if this is not one.
#[tokio::test]
async fn is_another_process() {
    let Ok(told) = env::var(CHILD) else {
        return;
    };
    let mut told = told.splitn(3, ' ');
    let address = told.next().unwrap().parse().unwrap();
    let (work, path) = (told.next().unwrap(), told.next().unwrap());
    let server = RemoteServer { address, abort: work == "abort-when-answered" };
    let store = FileTokenStore::new(path);
    let source = RefreshToken::new(TokenEndpoint::new(URI, server), SEED);
    match work {
        "abort-when-kept" => refresh_often(source.store(AbortWhenKept(store), NAME), 1).await,
        _ => refresh_often(source.store(store, NAME), 500).await,
    }
}

/// Ends the process once something is kept.
struct AbortWhenKept(FileTokenStore);

impl TokenStore for AbortWhenKept {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        self.0.load(name)
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        Box::pin(self.0.swap(name, old, new).map(|_| std::process::abort()))
    }

    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        self.0.lock(name, longest)
    }
}

#[tokio::test]
async fn two_processes_on_one_file_never_lose_the_login() {
    let (server, directory) = (RotatingServer::new(), Directory::new());
    let path = directory.file("tokens.json");
    let mut child = child(server.listen(), &path, "refresh");
    refresh_often(source(&server, FileTokenStore::new(&path)), 500).await;
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    assert!(!server.is_revoked());
    assert!(500 <= server.count(), "{}", server.count());
}

#[tokio::test]
async fn killed_before_the_answer_was_kept_the_login_is_gone_and_nothing_else() {
    let (server, directory) = (RotatingServer::new(), Directory::new());
    let path = directory.file("tokens.json");
    let store = FileTokenStore::new(&path);
    let told = Arc::new(Told::default());
    let source = source(&server, store.clone()).observer(Arc::<Told>::clone(&told));
    let before = next(&source, None).await.unwrap();
    assert!(!child_ends(&server, &path, "abort-when-answered").await);

    // Nobody can tell what was in the answer: somebody has to log in anew.
    let error = next(&source, Some(&before)).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Reauthenticate);
    assert_eq!(error.oauth().unwrap().code(), "invalid_grant");
    assert_eq!(store.load(NAME).await.unwrap(), None);
    assert_eq!(told.take(), ["renewed", "lost"]);

    // Meanwhile, the program has tokens of its own.
    let chain = source.clone().or(server.program());
    assert_eq!(text(&next(&chain, Some(&before)).await.unwrap()), "program");
}

#[tokio::test]
async fn killed_after_the_answer_was_kept_nothing_is_lost() {
    let (server, directory) = (RotatingServer::new(), Directory::new());
    let path = directory.file("tokens.json");
    assert!(!child_ends(&server, &path, "abort-when-kept").await);
    let source = source(&server, FileTokenStore::new(&path));
    let token = next(&source, None).await.unwrap();
    assert_eq!((text(&token), server.count()), ("canary-a1", 1));
    assert_eq!(text(&next(&source, Some(&token)).await.unwrap()), "canary-a2");
}

/// Whether a process comes to its end.
async fn child_ends(server: &RotatingServer, path: &Path, work: &str) -> bool {
    let mut child = child(server.listen(), path, work);
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success()
}

#[tokio::test]
async fn an_answer_that_is_lost_ends_the_login_and_a_chain_goes_on() {
    let (server, store) = (RotatingServer::new(), MemoryTokenStore::new());
    let told = Arc::new(Told::default());
    let source = source(&server, store.clone()).observer(Arc::<Told>::clone(&told));
    let chain = source.or(server.program());
    let token = next(&chain, None).await.unwrap();
    server.fault(Fault::Lost);
    let error = next(&chain, Some(&token)).await.unwrap_err();
    // It may have arrived, or not.
    assert_eq!(error.recovery(), Recovery::Retry { after: None });
    assert_eq!(refresh_token(&store).await.as_deref(), Some("canary-r1"));
    assert_eq!(text(&next(&chain, Some(&token)).await.unwrap()), "program");
    assert_eq!(store.load(NAME).await.unwrap(), None);
    assert_eq!(told.take(), ["renewed", "lost"]);
}

#[tokio::test]
async fn a_server_that_fails_costs_nothing() {
    let (server, store) = (RotatingServer::new(), MemoryTokenStore::new());
    let source = source(&server, store.clone());
    for fault in [Fault::Unsent, Fault::Busy] {
        server.fault(fault);
        let error = next(&source, None).await.unwrap_err();
        assert!(matches!(error.recovery(), Recovery::Retry { .. }), "{error}");
    }
    assert_eq!(text(&next(&source, None).await.unwrap()), "canary-a1");
}

#[tokio::test]
async fn a_store_that_fails_at_any_point_does_not_end_the_login() {
    let failings = [
        (Failing::Lock, false, None),
        (Failing::Load, false, None),
        (Failing::Swap, true, Some("unsaved")),
        (Failing::SwapSaid, true, Some("unsaved")),
        (Failing::SwapAfterRemoval, true, Some("renewed")),
    ];
    for (failing, gives, tells) in failings {
        for rounds in 0..3 {
            let (server, store) = (RotatingServer::new(), FaultyStore::new());
            let told = Arc::new(Told::default());
            let source = source(&server, store.clone()).observer(Arc::<Told>::clone(&told));
            let mut previous = None;
            for _ in 0..rounds {
                previous = Some(next(&source, previous.as_ref()).await.unwrap());
            }
            told.take();
            store.fail(failing);
            match next(&source, previous.as_ref()).await {
                Ok(token) => previous = Some(token),
                Err(error) => assert_eq!(error.recovery(), Recovery::Retry { after: None }),
            }
            let count = rounds + u32::from(gives);
            assert_eq!(server.count(), count, "{failing:?}");
            assert_eq!(told.take(), tells.into_iter().collect::<Vec<_>>(), "{failing:?}");

            let token = next(&source, previous.as_ref()).await.unwrap();
            assert_eq!(text(&token), format!("canary-a{}", count + 1), "{failing:?}");
            assert_eq!(refresh_token(&store).await, Some(format!("canary-r{}", count + 1)));
            assert!(!server.is_revoked());
        }
    }
}

#[tokio::test]
async fn who_gets_no_lock_takes_over_what_there_is() {
    let (server, store) = (RotatingServer::new(), FaultyStore::new());
    let (one, other) = (source(&server, store.clone()), source(&server, store.clone()));
    next(&one, None).await.unwrap();
    store.fail(Failing::Lock);
    assert_eq!(text(&next(&other, None).await.unwrap()), "canary-a1");
}

#[tokio::test]
async fn a_damaged_file_is_fatal_and_left_alone() {
    let (server, directory) = (RotatingServer::new(), Directory::new());
    let path = directory.file("tokens.json");
    std::fs::write(&path, "canary-junk").unwrap();
    let source = source(&server, FileTokenStore::new(&path));
    let error = next(&source, None).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Fatal);
    shows_no_secret(&error);
    assert_eq!(std::fs::read(&path).unwrap(), b"canary-junk");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_login_that_the_server_refuses_gives_way_to_another() {
    let (server, store) = (RotatingServer::new(), MemoryTokenStore::new());
    let mut dead = Record::default();
    dead.refresh_token = Some("canary-dead".into());
    // Of two that the server does not know, one is kept and one is given.
    store.swap(NAME, None, Some(&dead)).await.unwrap();
    server.revoke();
    let source = source(&server, store.clone());
    let error = next(&source, None).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Reauthenticate);
    shows_no_secret(&error);
    assert_eq!(store.load(NAME).await.unwrap(), None);
    // Neither is tried again.
    let error = next(&source, None).await.unwrap_err();
    assert!(error.oauth().is_none());
    assert_eq!(error.recovery(), Recovery::Reauthenticate);

    // Somebody logs in anew.
    let server = RotatingServer::new();
    let source = RefreshToken::stored(server.endpoint(), store.clone(), NAME);
    assert!(source.log_in(&Token::bearer("t").unwrap()).await.is_err());
    let token = Token::bearer("t").unwrap().refresh_token(SEED);
    source.log_in(&token.expires_in(Duration::from_secs(3600), now())).await.unwrap();
    let token = next(&source, None).await.unwrap();
    assert_eq!((text(&token), server.count()), ("t", 0));
    assert_eq!(text(&next(&source, Some(&token)).await.unwrap()), "canary-a1");
    source.log_out().await.unwrap();
    assert_eq!(store.load(NAME).await.unwrap(), None);
    assert_eq!(next(&source, None).await.unwrap_err().recovery(), Recovery::Reauthenticate);
}

#[tokio::test]
async fn a_login_during_a_refresh_is_the_one_that_stays() {
    let (server, store) = (RotatingServer::slow(5), FaultyStore::slow(1));
    let source = source(&server, store.clone());
    let login = Token::bearer("t").unwrap().refresh_token("canary-r1");
    let (fetched, logged_in) = join(next(&source, None), source.log_in(&login)).await;
    assert_eq!(text(&fetched.unwrap()), "canary-a1");
    logged_in.unwrap();
    assert_eq!(refresh_token(&store).await.as_deref(), Some("canary-r1"));
    assert_eq!(text(&next(&source, None).await.unwrap()), "canary-a2");
}

/// Polls this often, and says whether that was enough.
fn poll_times(future: impl Future, times: usize) -> bool {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..times).any(|_| future.as_mut().poll(&mut cx).is_ready())
}

/// A fetch that is dropped after some polls, at each await there is; then another.
fn cancelled_at_each_await(
    mut after: impl FnMut(&dyn Fn() -> RefreshToken, usize) -> (Token, bool),
) {
    for polls in 0.. {
        let (server, store) = (RotatingServer::slow(2), FaultyStore::slow(1));
        let (token, done) = after(&|| source(&server, store.clone()), polls);
        assert!(!server.is_revoked());
        // Nothing was asked for twice: what nobody waited for was for the next one.
        let count = 1 + u32::from(done);
        assert_eq!(server.count(), count, "after {polls} polls");
        assert_eq!(text(&token), format!("canary-a{count}"));
        if done {
            assert!(10 <= polls, "there are more awaits than that");
            return;
        }
    }
}

#[test]
fn cancelled_at_any_await_the_login_is_kept() {
    cancelled_at_each_await(|source, polls| {
        let source = source();
        let done = poll_times(next(&source, None), polls);
        let mut token = None;
        poll_times(async { token = Some(next(&source, None).await.unwrap()) }, 1000);
        (token.expect("it goes on where it was"), done)
    });
}

#[test]
fn cancelled_at_any_await_the_runtime_brings_it_to_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    cancelled_at_each_await(|source, polls| {
        runtime.block_on(async {
            let source = source();
            let done = poll_times(next(&source, None), polls);
            tokio::task::yield_now().await;
            (next(&source, None).await.unwrap(), done)
        })
    });
}

#[test]
fn what_a_runtime_that_ends_has_begun_goes_on_elsewhere() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (server, store) = (RotatingServer::slow(2), FaultyStore::slow(1));
    let source = source(&server, store);
    let first = runtime();
    first.block_on(async { assert!(!poll_times(next(&source, None), 3)) });
    drop(first);
    let token = runtime().block_on(next(&source, None)).unwrap();
    assert_eq!((text(&token), server.count()), ("canary-a1", 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    /// Two sources on one store, whose steps come in any order, and of which any may
    /// be dropped at any time.
    #[test]
    fn no_order_of_steps_loses_the_login(
        steps in proptest::collection::vec((0..2_usize, 0..20_u8), 0..400),
        failing in proptest::collection::vec(0..3_u8, 0..3),
    ) {
        let (server, store) = (RotatingServer::slow(1), FaultyStore::slow(1));
        for failing in failing {
            let failings = [Failing::Lock, Failing::Load, Failing::SwapAfterRemoval];
            store.fail(failings[usize::from(failing)]);
        }
        let sources = [0, 1].map(|_| source(&server, store.clone()));
        let previous = [0, 1].map(|_| Mutex::new(None::<Token>));
        let fetch = |index: usize| {
            let (source, previous) = (&sources[index], &previous[index]);
            async move {
                let before = previous.lock().unwrap().clone();
                if let Ok(token) = next(source, before.as_ref()).await {
                    *previous.lock().unwrap() = Some(token);
                }
            }
            .boxed_local()
        };
        let mut fetches = [0, 1].map(fetch);
        let mut cx = Context::from_waker(Waker::noop());
        for (index, step) in steps {
            let dropped = step == 0;
            if dropped || fetches[index].as_mut().poll(&mut cx).is_ready() {
                fetches[index] = fetch(index);
            }
        }
        // Both go on to their ends, and once more.
        for _ in 0..3 {
            let mut left = [true; 2];
            for _ in 0..10_000 {
                for index in [0, 1] {
                    if left[index] && fetches[index].as_mut().poll(&mut cx).is_ready() {
                        fetches[index] = fetch(index);
                        left[index] = false;
                    }
                }
            }
            prop_assert_eq!(left, [false; 2], "nobody waits for ever");
        }
        prop_assert!(!server.is_revoked());
        prop_assert_eq!(server.most_inside(), 1);
        prop_assert!(previous.iter().all(|token| token.lock().unwrap().is_some()));
    }
}

fn shows_no_secret(shown: &(impl Debug + ?Sized)) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let (server, directory) = (RotatingServer::new(), Directory::new());
    let store = FileTokenStore::new(directory.file("tokens.json"));
    let source = source(&server, store.clone()).param("hint", "canary-hint");
    shows_no_secret(&source);
    let token = next(&source, None).await.unwrap();
    shows_no_secret(&(&source, &token, store.load(NAME).await.unwrap()));
    server.revoke();
    let error = next(&source, Some(&token)).await.unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    shows_no_secret(&error);
}
