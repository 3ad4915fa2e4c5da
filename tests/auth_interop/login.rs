//! Logins whose refresh tokens are good for once: the server ends a login of which one is used
//! twice.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, ExitStatus},
    time::Duration,
};

use http::StatusCode;
use palisade_auth::{
    Chain, ClientCredentials, Clock, CoarseClock, FileTokenStore, MemoryTokenStore, Recovery,
    RefreshToken, TokenSource, Tokens, Wanted,
};
use serde_json::json;
use tokio::{process::Command, task::JoinSet};

use crate::{
    ONE_PROCESS, Scenario,
    clock::Later,
    fixture::{Fixture, Of, call, get},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("200 rotations", rotations),
        Scenario::new("two stores on one file", shared_file),
        Scenario::new("two processes on one file", processes),
        Scenario::new("who leads a rotation goes away", leader_dropped),
        Scenario::new("a rotation that comes too late", late),
        Scenario::new("a rotation whose answer is lost", answer_lost),
        Scenario::new("a request for a rotation that is lost", request_lost),
        Scenario::new("a login that was revoked", revoked),
        Scenario::new("a client without a secret", without_secret),
    ]
}

/// Longer than any token of the server lives.
const OVER: Duration = Duration::from_secs(3601);

/// A login of a client, by the name that it has at the server.
pub(crate) async fn log_in(fixture: &Fixture, name: &str) -> RefreshToken {
    let client = fixture.client(name);
    RefreshToken::new(fixture.endpoint(), fixture.log_in(client.id()).await).client(client.auth())
}

async fn rotations(fixture: Fixture) -> String {
    const ROUNDS: u64 = 200;
    let clock = Later::new();
    let tokens = Tokens::new(log_in(&fixture, "login").await).clock(clock.clone());
    let client = fixture.with(tokens.clone());
    for _ in 0..ROUNDS {
        clock.advance(OVER);
        let (status, echo) = call(&client, get(fixture.api("echo"))).await;
        assert_eq!((status, &echo["account"]), (StatusCode::OK, &json!("alice")));
    }
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.calls()), (ROUNDS, ROUNDS));
    format!("{} token requests, and the login is kept", counters.token_requests())
}

async fn shared_file(fixture: Fixture) -> String {
    const ROUNDS: u64 = 50;
    let directory = directory();
    let login = log_in(&fixture, "login").await;
    let clock = Later::new();
    // The stores know nothing of each other, as those of two processes.
    let both = [(); 2].map(|()| {
        let store = FileTokenStore::new(directory.join("logins.json"));
        Tokens::new(login.clone().store(store, "alice")).clock(clock.clone())
    });
    for _ in 0..ROUNDS {
        clock.advance(OVER);
        let mut asking = JoinSet::new();
        for tokens in both.clone() {
            asking.spawn(async move { tokens.token().await.unwrap() });
        }
        let given = asking.join_all().await;
        assert_eq!(given[0].header(), given[1].header());
    }
    fs::remove_dir_all(directory).unwrap();
    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.most_at_once()), (ROUNDS, 1));
    format!("{ROUNDS} rotations, {} token requests", counters.token_requests())
}

/// What a process of the next scenario does with a login. A token for a scope of its own is
/// nobody else's, so that each round is a rotation.
pub(crate) async fn one_process(fixture: &Fixture, file: &str, refresh_token: &str) {
    let client = fixture.client("login").auth();
    let source = RefreshToken::new(fixture.endpoint(), refresh_token).client(client);
    let source = source.store(FileTokenStore::new(file), "alice");
    // Held until the other one is there.
    call(&fixture.http(), get(fixture.api("echo"))).await;
    for _ in 0..PROCESS_ROUNDS {
        let wanted = Wanted::first(CoarseClock.now()).scope(Some("openid read"));
        source.fetch(wanted).await.unwrap();
    }
}

const PROCESS_ROUNDS: u64 = 100;

async fn processes(fixture: Fixture) -> String {
    let directory = directory();
    let file = directory.join("logins.json");
    let refresh_token = fixture.log_in(fixture.client("login").id()).await;
    fixture.order(Of::Api, &[json!({ "before": "hold" }), json!({ "before": "hold" })]).await;
    let mut running = JoinSet::new();
    for _ in 0..2 {
        let mut process = Command::new(env::current_exe().unwrap());
        process.arg(ONE_PROCESS).arg(&file).arg(&refresh_token).kill_on_drop(true);
        running.spawn(async move { process.status().await.unwrap() });
    }
    fixture.held(Of::Api, 2).await;
    fixture.release(Of::Api, 2).await;
    let ended = running.join_all().await;
    assert!(ended.iter().all(ExitStatus::success), "{ended:?}");
    fs::remove_dir_all(directory).unwrap();

    let counters = fixture.counters().await;
    assert_eq!((counters.token_requests(), counters.most_at_once()), (2 * PROCESS_ROUNDS, 1));
    format!("{} rotations, {} at once", counters.token_requests(), counters.most_at_once())
}

fn directory() -> PathBuf {
    env::temp_dir().join(format!("palisade-auth-interop-{}", process::id()))
}

async fn leader_dropped(fixture: Fixture) -> String {
    for step in ["before", "after"] {
        fixture.reset().await;
        fixture.order(Of::Token, &[json!({ step: "hold" })]).await;
        let clock = Later::new();
        let tokens = Tokens::new(log_in(&fixture, "login").await).clock(clock.clone());
        let client = fixture.with(tokens);
        let request = || get(fixture.api("echo"));
        let mut leader = JoinSet::new();
        let (leading, first) = (client.clone(), request());
        leader.spawn(async move { call(&leading, first).await });
        fixture.held(Of::Token, 1).await;
        leader.shutdown().await;
        fixture.release(Of::Token, 1).await;

        assert_eq!(call(&client, request()).await.0, StatusCode::OK);
        assert_eq!(fixture.counters().await.token_requests(), 1, "{step}");
        // What came for nobody is not lost.
        clock.advance(OVER);
        assert_eq!(call(&client, request()).await.0, StatusCode::OK);
    }
    "1 token request, and the login is kept".to_owned()
}

async fn late(fixture: Fixture) -> String {
    let clock = Later::new();
    let tokens = Tokens::new(log_in(&fixture, "login").await).clock(clock.clone());
    let tokens = tokens.load_timeout(Duration::from_millis(1));
    fixture.order(Of::Token, &[json!({ "after": "hold" })]).await;
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error.recovery(), Recovery::Retry { .. }), "{error:?}");
    // It was sent all the same.
    fixture.held(Of::Token, 1).await;
    fixture.release(Of::Token, 1).await;

    let tokens = tokens.load_timeout(Duration::from_secs(30));
    assert!(tokens.token().await.is_ok());
    assert_eq!(fixture.counters().await.token_requests(), 1);
    clock.advance(OVER);
    assert!(tokens.token().await.is_ok());
    format!("{error}; then it is there, and the login is kept")
}

async fn answer_lost(fixture: Fixture) -> String {
    let (clock, client) = (Later::new(), fixture.client("login_or_own"));
    let own = ClientCredentials::new(fixture.endpoint(), client.auth());
    let chain = Chain::new(log_in(&fixture, "login_or_own").await).or(own);
    let tokens = Tokens::new(chain).clock(clock.clone());
    fixture.order(Of::Token, &[json!({ "after": "drop" })]).await;
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error.recovery(), Recovery::Retry { .. }), "{error:?}");

    // Nobody can know the refresh token that was in it.
    clock.advance(Duration::from_secs(30));
    let (status, echo) = call(&fixture.with(tokens), get(fixture.api("echo"))).await;
    assert_eq!((status, &echo["account"]), (StatusCode::OK, &json!(null)));
    format!("{error}; then the program goes on by itself")
}

async fn request_lost(fixture: Fixture) -> String {
    let clock = Later::new();
    let tokens = Tokens::new(log_in(&fixture, "login").await).clock(clock.clone());
    fixture.order(Of::Token, &[json!({ "before": "drop" })]).await;
    assert!(tokens.token().await.is_err());
    clock.advance(Duration::from_secs(30));
    assert!(tokens.token().await.is_ok());
    "an error, and the login is kept".to_owned()
}

async fn revoked(fixture: Fixture) -> String {
    let client = fixture.client("login");
    let refresh = fixture.log_in(client.id()).await;
    let store = MemoryTokenStore::new();
    let source = RefreshToken::new(fixture.endpoint(), &*refresh).client(client.auth());
    let tokens = Tokens::new(source.store(store, "alice"));
    fixture.revoke_login(&refresh).await;
    for _ in 0..20 {
        let error = tokens.token().await.unwrap_err();
        assert_eq!(error.recovery(), Recovery::Reauthenticate);
    }
    assert_eq!(fixture.counters().await.token_requests(), 1);
    "20 callers, 1 token request".to_owned()
}

async fn without_secret(fixture: Fixture) -> String {
    let clock = Later::new();
    let tokens = Tokens::new(log_in(&fixture, "native").await).clock(clock.clone());
    for _ in 0..3 {
        clock.advance(OVER);
        tokens.warm_up().await.unwrap();
    }
    let counters = fixture.counters().await;
    let by_auth = counters.by_auth();
    assert_eq!(by_auth, [("none", 3)].into());
    format!("{by_auth:?}")
}
