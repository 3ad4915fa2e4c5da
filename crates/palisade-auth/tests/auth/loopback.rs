use std::{collections::HashMap, convert::Infallible};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::join};
use http::{Request, Response, Uri};
use http_body_util::Full;
use palisade_auth::{
    AuthError, ClientAuth, CodeFlow, CodeLogin, MemoryTokenStore, Recovery, RefreshToken, Token,
    TokenStore,
};
use palisade_core::find_cause;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{support::SECOND, token_server::TokenServer};

fn flow(server: &TokenServer) -> CodeFlow {
    CodeFlow::new(server.endpoint(), "https://as.example/authorize?tenant=1", "cli")
        .issuer("https://as.example")
}

/// What the page of a login is told.
fn asked(login: &CodeLogin) -> HashMap<String, String> {
    let (page, query) = login.url().split_once('?').unwrap();
    assert_eq!(page, "https://as.example/authorize");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn address(login: &CodeLogin) -> String {
    let redirect: Uri = asked(login)["redirect_uri"].parse().unwrap();
    redirect.authority().unwrap().to_string()
}

/// What a browser shows.
async fn browse(login: &CodeLogin, path: &str) -> String {
    let mut stream = TcpStream::connect(address(login)).await.unwrap();
    // In two pieces, as from afar.
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    let (one, other) = request.split_at(9);
    stream.write_all(one.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(other.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

/// The browser comes back with this and the state of the login.
async fn answer(login: &CodeLogin, query: &str) -> (Result<Token, AuthError>, String) {
    let path = format!("/callback?{query}&state={}", asked(login)["state"]);
    join(login.token(), browse(login, &path)).await
}

#[tokio::test]
async fn a_browser_brings_a_code() {
    let server = TokenServer::new()
        .answer(200, r#"{"access_token":"t1","expires_in":3600,"refresh_token":"r1"}"#);
    let flow = flow(&server).scope("read").resource("https://api.example").param("prompt", "login");
    let login = flow.begin().await.unwrap();
    let asked = asked(&login);
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "cli"),
        ("scope", "read"),
        ("resource", "https://api.example"),
        ("prompt", "login"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], value);
    }
    assert!(asked["redirect_uri"].starts_with("http://127.0.0.1:"));

    let (token, page) = answer(&login, "code=c%2F1&iss=https%3A%2F%2Fas.example").await;
    let token = token.unwrap();
    assert_eq!(token.header(), "Bearer t1");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("You are logged in"));
    assert!(page.contains("\r\ncache-control: no-store\r\n"), "{page}");

    assert_eq!(server.param("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(server.param("code").as_deref(), Some("c/1"));
    assert_eq!(server.param("client_id").as_deref(), Some("cli"));
    assert_eq!(server.param("resource").as_deref(), Some("https://api.example"));
    assert_eq!(server.param("redirect_uri").as_ref(), Some(&asked["redirect_uri"]));
    let digest = Sha256::digest(server.param("code_verifier").unwrap());
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(digest), asked["code_challenge"]);

    // It is what a login is kept by.
    let store = MemoryTokenStore::new();
    let source = RefreshToken::stored(server.endpoint(), store.clone(), "me");
    source.log_in(&token).await.unwrap();
    let (_, record) = store.load("me").await.unwrap().unwrap();
    assert_eq!(record.refresh_token, Some("r1".into()));
}

#[tokio::test]
async fn a_client_may_have_a_secret() {
    let server = TokenServer::new();
    let login = flow(&server).client(ClientAuth::basic("cli", "s")).begin().await.unwrap();
    answer(&login, "code=c").await.0.unwrap();
    assert_eq!(server.last().headers()["authorization"], "Basic Y2xpOnM=");
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_ends_nothing() {
    let server = TokenServer::new();
    let login = flow(&server).begin().await.unwrap();
    // A browser opens connections that it may not need, and some never say all.
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address(&login)).await.unwrap();
        stream.write_all(b"GET /callb").await.unwrap();
        idle.push(stream);
    }
    drop(TcpStream::connect(address(&login)).await.unwrap());
    let others = async {
        for (path, status) in [
            ("/favicon.ico", "404"),
            ("/callback?code=evil&state=wrong", "400"),
            ("/callback?code=evil", "400"),
            ("/callback?error=access_denied&state=", "400"),
        ] {
            let page = browse(&login, path).await;
            assert!(page.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {page}");
            assert!(!page.contains("evil"));
        }
        assert_eq!(server.count(), 0);
        let long = "x".repeat(20_000);
        let mut stream = TcpStream::connect(address(&login)).await.unwrap();
        let _ = stream.write_all(format!("GET /{long}").as_bytes()).await;
        let mut page = Vec::new();
        let _ = stream.read_to_end(&mut page).await;
        assert!(page.is_empty());
        browse(&login, &format!("/callback?code=c&state={}", asked(&login)["state"])).await
    };
    let (token, page) = join(login.token(), others).await;
    assert_eq!(token.unwrap().header(), "Bearer t1");
    assert!(page.contains("You are logged in"));
    assert_eq!((server.count(), server.param("code").as_deref()), (1, Some("c")));
    // One is taken.
    assert!(TcpStream::connect(address(&login)).await.is_err());
    assert!(login.token().now_or_never().unwrap().is_ok());
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_login_that_fails_says_so_on_the_page_too() {
    for (query, recovery, text) in [
        ("error=access_denied", Recovery::Reauthenticate, "the login was denied: access_denied"),
        (
            "code=c&iss=https%3A%2F%2Fevil.example",
            Recovery::Fatal,
            "another server has answered than the one that was asked",
        ),
        ("x=1", Recovery::Fatal, "the server has answered with neither a code nor an error"),
    ] {
        let server = TokenServer::new();
        let login = flow(&server).begin().await.unwrap();
        let (error, page) = answer(&login, query).await;
        let error = error.unwrap_err();
        assert_eq!((error.recovery(), &*error.to_string()), (recovery, text));
        assert!(page.contains("The login has failed"), "{page}");
        assert_eq!(server.count(), 0);
    }
    let server = TokenServer::new().answer(400, r#"{"error":"invalid_grant"}"#);
    let login = flow(&server).begin().await.unwrap();
    let (error, page) = answer(&login, "code=c").await;
    assert_eq!(error.unwrap_err().recovery(), Recovery::Reauthenticate);
    assert!(page.contains("The login has failed"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_for_ever() {
    let login = flow(&TokenServer::new()).timeout(60 * SECOND).begin().await.unwrap();
    let start = Instant::now();
    let error = login.token().await.unwrap_err();
    assert_eq!(error.to_string(), "nobody has logged in in time");
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn it_goes_on_where_it_was_dropped() {
    let server = TokenServer::new();
    let login = flow(&server).begin().await.unwrap();
    let mut stream = TcpStream::connect(address(&login)).await.unwrap();
    let request = format!("GET /callback?code=c&state={} HTTP/1.1\r\n\r\n", asked(&login)["state"]);
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        assert!(server.count() == 0);
        // Polled once, and dropped.
        let _ = login.token().now_or_never();
    }
    assert_eq!(login.token().await.unwrap().header(), "Bearer t1");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_port_is_closed_with_its_login() {
    let server = TokenServer::new();
    let login = flow(&server).begin().await.unwrap();
    let address = address(&login);
    let port = address.parse::<std::net::SocketAddr>().unwrap().port();
    let error = flow(&server).port(port).begin().await.unwrap_err();
    assert!(find_cause::<std::io::Error>(&error).is_some());
    drop(login);
    assert!(TcpStream::connect(&address).await.is_err());
}

#[test]
fn pages_are_not_asked_for_in_the_clear() {
    let service = tower::service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let endpoint = palisade_auth::TokenEndpoint::new("https://as.example/token", service);
    assert!(CodeFlow::try_new(endpoint, "http://as.example/authorize", "cli").is_err());
}

#[tokio::test]
async fn nothing_shows_a_code_or_a_state() {
    let echo = r#"{"error":"invalid_grant","error_description":"canary-code is used"}"#;
    let server = TokenServer::new().answer(400, echo);
    let flow = flow(&server).param("hint", "canary-param");
    let flow = flow.client(ClientAuth::post("cli", "canary-secret"));
    let login = flow.begin().await.unwrap();
    let state = asked(&login)["state"].clone();
    let (error, page) = answer(&login, "code=canary-code").await;
    let error = error.unwrap_err();
    let verifier = server.param("code_verifier").unwrap();
    let shown = format!("{flow:?} {flow:#?} {login:?} {login:#?} {error} {error:?} {page}");
    for secret in ["canary", &*state, &*verifier] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn a_browser_may_send_fields_in_any_letters() {
    let server = TokenServer::new();
    let login = flow(&server).begin().await.unwrap();
    let browser = async {
        let mut stream = TcpStream::connect(address(&login)).await.unwrap();
        let state = &asked(&login)["state"];
        let line = format!("GET /callback?code=c&state={state} HTTP/1.1\r\n");
        // RFC 9110, section 5.5: a value may have such bytes, as of cookies of others.
        stream
            .write_all(&[line.as_bytes(), b"cookie: name=J\xfcrgen\r\n\r\n"].concat())
            .await
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    };
    let login = tokio::time::timeout(5 * SECOND, login.token());
    let (token, page) = join(login, browser).await;
    assert_eq!(token.expect("it is an answer").unwrap().header(), "Bearer t1");
    assert!(page.contains("You are logged in"));
}
