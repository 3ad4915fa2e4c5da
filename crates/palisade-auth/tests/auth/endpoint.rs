use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full, StreamBody};
use palisade_auth::{
    AuthBypass, AuthError, ClientAuth, ClientCredentials, CustomGrant, JwtSigner, Recovery,
    RefreshToken, Token, TokenEndpoint, TokenSource, UnexpectedResponse, Wanted,
};
use palisade_core::{BoxError, ErrorKind, Idempotent, Refusal, find_cause};
use tower::service_fn;

use crate::token_server::{TokenServer, URI, now};

async fn ask(endpoint: TokenEndpoint) -> Result<Token, AuthError> {
    let source = ClientCredentials::new(endpoint, ClientAuth::none("me"));
    source.fetch(Wanted::first(now())).await
}

/// Asks a server by the name and secret of a client.
async fn ask_as(server: &TokenServer, client: ClientAuth) -> Result<Token, AuthError> {
    ClientCredentials::new(server.endpoint(), client).fetch(Wanted::first(now())).await
}

#[tokio::test]
async fn a_form_is_posted_there() {
    let server = TokenServer::new();
    let token = ask(server.endpoint()).await.unwrap();
    assert_eq!(token.header(), "Bearer t1");
    assert!(token.header().is_sensitive());

    let request = server.last();
    assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, URI.to_owned()));
    assert_eq!(request.headers()["accept"], "application/json");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(server.form(), "grant_type=client_credentials&client_id=me");
    assert!(request.extensions().get::<AuthBypass>().is_some());
}

#[tokio::test]
async fn what_must_not_be_sent_twice_is_not_marked() {
    let server = TokenServer::new();
    let marked = || Idempotent::is(server.last().extensions());
    for (client, idempotent) in [
        (ClientAuth::none("me"), true),
        (ClientAuth::basic("me", "secret"), true),
        (ClientAuth::post("me", "secret"), true),
        // A server that has seen a `jti` refuses it.
        (ClientAuth::private_key_jwt("me", Signer), false),
        (ClientAuth::custom(|_| Ok(())), false),
    ] {
        ask_as(&server, client.clone()).await.unwrap();
        assert_eq!(marked(), idempotent, "{client:?}");
    }
    let code = CustomGrant::new(server.endpoint(), "authorization_code");
    code.fetch(Wanted::first(now())).await.unwrap();
    assert!(!marked());
    code.idempotent().fetch(Wanted::first(now())).await.unwrap();
    assert!(marked());
}

#[tokio::test]
async fn a_client_shows_who_it_is() {
    let server = TokenServer::new();
    let (id, secret) = ("cc:odd id", "p%+ :/?&=s");
    for (client, authorization, form) in [
        (ClientAuth::none(id), None, "&client_id=cc%3Aodd+id"),
        (
            ClientAuth::basic(id, secret),
            // cc%3Aodd%20id:p%25%2B%20%3A%2F%3F%26%3Ds
            Some("Basic Y2MlM0FvZGQlMjBpZDpwJTI1JTJCJTIwJTNBJTJGJTNGJTI2JTNEcw=="),
            "",
        ),
        // cc:odd id:p%+ :/?&=s
        (ClientAuth::basic(id, secret).raw(), Some("Basic Y2M6b2RkIGlkOnAlKyA6Lz8mPXM="), ""),
        (
            ClientAuth::post(id, secret),
            None,
            "&client_id=cc%3Aodd+id&client_secret=p%25%2B+%3A%2F%3F%26%3Ds",
        ),
        (
            ClientAuth::custom(|request| {
                let at = request.now().wall().duration_since(std::time::UNIX_EPOCH).unwrap();
                request.param("host", request.uri().host().unwrap().to_owned());
                request.param("at", at.as_secs().to_string());
                request.headers_mut().insert("x-key", "k".parse().unwrap());
                Ok(())
            }),
            None,
            "&host=as.example&at=1800000000",
        ),
    ] {
        ask_as(&server, client.clone()).await.unwrap();
        assert_eq!(server.form(), format!("grant_type=client_credentials{form}"), "{client:?}");
        let field = server.last().headers().get("authorization").cloned();
        assert_eq!(field.as_ref().map(|value| value.to_str().unwrap()), authorization);
        assert!(field.is_none_or(|field| field.is_sensitive()));
    }
    assert_eq!(server.last().headers()["x-key"], "k");
}

#[tokio::test]
async fn a_client_that_cannot_show_who_it_is_does_not_ask() {
    let server = TokenServer::new();
    let refuse = |_: &mut _| Err(AuthError::new("no key today", Recovery::FixRequest));
    let error = ask_as(&server, ClientAuth::custom(refuse)).await.unwrap_err();
    assert_eq!(error.to_string(), "no key today");

    let error = ask_as(&server, ClientAuth::private_key_jwt("me", Broken)).await.unwrap_err();
    assert_eq!(error.to_string(), "a token was not signed");
    assert_eq!(error.recovery(), Recovery::Fatal);
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_signed_assertion_is_for_the_endpoint_and_for_one_use() {
    let server = TokenServer::new();
    let client = ClientAuth::private_key_jwt("me", Signer);
    let mut seen = Vec::new();
    for (client, audience) in [
        (client.clone(), URI),
        (client.clone(), URI),
        (client.audience("https://as.example"), "https://as.example"),
    ] {
        ask_as(&server, client).await.unwrap();
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(server.param("client_assertion_type").as_deref(), Some(kind));
        assert_eq!(server.param("client_id").as_deref(), Some("me"));
        let assertion = server.param("client_assertion").unwrap();
        let claims = claims(&assertion);
        let times = (claims["iat"].as_u64(), claims["exp"].as_u64());
        assert_eq!(times, (Some(1_799_999_990), Some(1_800_000_060)));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"me".into(), &"me".into()));
        assert_eq!(claims["aud"], audience);
        assert!(!seen.contains(&claims["jti"]));
        seen.push(claims["jti"].clone());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Response::builder()
            .status(status)
            .header("location", "https://evil.example/token")
            .body(Full::from(r#"{"access_token":"canary"}"#))
            .unwrap();
        let server = TokenServer::new().answer_with(elsewhere);
        let error = ask(server.endpoint()).await.unwrap_err();
        assert_eq!(error.recovery(), Recovery::FixRequest);
        assert_eq!(error.to_string(), "the token endpoint redirects, which is not followed");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn so_much_of_a_body_is_read_and_no_more() {
    let longest = 256 * 1024;
    let token = r#"{"access_token":"t"}"#;
    let body = |length: usize| format!("{token}{}", " ".repeat(length - token.len()));
    for (length, works) in [(longest, true), (longest + 1, false)] {
        let server = TokenServer::new().answer(200, body(length));
        assert_eq!(ask(server.endpoint()).await.is_ok(), works);
    }
    // One that never ends.
    let endless = TokenEndpoint::new(
        URI,
        service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(Response::new(Endless)) }),
    );
    let error = ask(endless).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Fatal);
    let unexpected = find_cause::<UnexpectedResponse>(&error).unwrap();
    assert_eq!(unexpected.to_string(), "status 200 with a body of more than 256 KiB");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_may_be_reached_later() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let down = TokenEndpoint::new(
        URI,
        service_fn(move |_: Request<Full<Bytes>>| async move {
            Err::<Response<Empty<Bytes>>, _>(refused())
        }),
    );
    let error = ask(down).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Retry { after: None });
    assert!(find_cause::<io::Error>(&error).is_some());

    // A breaker in the stack says when.
    let after = Some(Duration::from_secs(3));
    let open = TokenEndpoint::new(
        URI,
        service_fn(move |_: Request<Full<Bytes>>| async move {
            let refusal = Refusal::new(ErrorKind::Open).after(Duration::from_secs(3));
            Err::<Response<Empty<Bytes>>, BoxError>(refusal.into())
        }),
    );
    assert_eq!(ask(open).await.unwrap_err().recovery(), Recovery::Retry { after });

    // So is one whose answer breaks off.
    let broken = TokenEndpoint::new(
        URI,
        service_fn(|_: Request<Full<Bytes>>| async {
            let frames = [
                Ok(Frame::data(Bytes::from_static(br#"{"access_token":"canary"#))),
                Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            ];
            Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
        }),
    );
    let error = ask(broken).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Retry { after: None });
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn the_body_of_a_request_is_what_the_service_takes() {
    #[derive(Debug)]
    struct Theirs(Bytes);

    impl From<Bytes> for Theirs {
        fn from(bytes: Bytes) -> Self {
            Self(bytes)
        }
    }

    let endpoint = TokenEndpoint::new(
        URI,
        service_fn(|request: Request<Theirs>| async move {
            assert_eq!(request.body().0, "grant_type=client_credentials&client_id=me");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("access_token=t")))
        }),
    );
    assert_eq!(ask(endpoint).await.unwrap().header(), "Bearer t");
}

#[tokio::test]
async fn an_endpoint_is_called_when_it_is_ready() {
    let limited = tower::limit::ConcurrencyLimit::new(TokenServer::new(), 1);
    let endpoint = TokenEndpoint::new(URI, limited);
    let (one, other) = tokio::join!(ask(endpoint.clone()), ask(endpoint));
    assert!(one.is_ok() && other.is_ok());
}

#[tokio::test]
async fn the_scheme_of_a_server_can_be_set_right() {
    let server = TokenServer::new().answer(200, r#"{"access_token":"t","token_type":"user"}"#);
    let token = ask(server.endpoint().scheme("Bearer")).await.unwrap();
    assert_eq!(token.header(), "Bearer t");
}

#[test]
#[should_panic(expected = "must start with `https://`")]
fn secrets_are_not_sent_in_the_clear() {
    let _ = TokenEndpoint::new("http://as.example/token", TokenServer::new());
}

#[test]
fn an_address_from_outside_may_be_none() {
    let endpoint = |uri| TokenEndpoint::try_new(uri, TokenServer::new());
    assert!(endpoint("http://127.0.0.1:8080/token").is_ok());
    let error = endpoint("http://as.example/token").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the address of the endpoint must start with `https://`: plain http is for loopback alone"
    );
}

/// What is sent to a server, and what it sends, is nobody else's business, whatever
/// the server does with it.
#[tokio::test]
async fn no_error_shows_what_was_sent_or_answered() {
    let echo = r#"{"error":"invalid_grant","error_description":"secret canary-sent is bad","error_uri":"https://a/?canary-sent"}"#;
    let code = r#"{"error":"canary-sent"}"#;
    for (status, body) in [
        (400, echo),
        (200, echo),
        (503, echo),
        (401, code),
        (200, r#"{"access_token":"canary\n"}"#),
        (200, r#"{"access_token":"canary","token_type":"N_A"}"#),
        (200, r#"{"refresh_token":"canary"}"#),
        (200, "<html>canary</html>"),
        (500, "canary"),
        (302, "canary"),
        (200, "access_token=canary%0A"),
        (400, r#"{"error":{"message":"canary"}}"#),
    ] {
        for client in [
            ClientAuth::basic("me", "canary-sent"),
            ClientAuth::post("me", "canary-sent"),
            ClientAuth::custom(|request| {
                request.param("key", "canary-sent");
                Ok(())
            }),
        ] {
            let server = TokenServer::new().answer(status, body);
            let source = ClientCredentials::new(server.endpoint(), client.clone())
                .param("assertion", "canary-sent");
            let error = source.fetch(Wanted::first(now())).await.unwrap_err();
            let causes: Vec<_> = palisade_core::causes(&error).map(ToString::to_string).collect();
            let shown = format!("{error} {error:?} {error:#?} {causes:?} {source:?} {client:?}");
            assert!(!shown.contains("canary"), "{status} {body}: {shown}");
        }
    }
}

/// Nor is a part of it, where a text is cut off, or in the form in which it was sent.
#[tokio::test]
async fn no_error_shows_a_part_of_what_was_sent() {
    let long = "canary".repeat(200);
    for text in [long.clone(), format!("{}{long}", "x".repeat(490)), format!("{}...", &long[..20])]
    {
        let body = format!(r#"{{"error":"invalid_grant","error_description":"{text}"}}"#);
        let server = TokenServer::new().answer(400, body);
        let source = RefreshToken::new(server.endpoint(), long.clone());
        let error = source.fetch(Wanted::first(now())).await.unwrap_err();
        assert_eq!(error.to_string(), "the login is gone: invalid_grant");
    }
    // `me:canary-sent`
    let body = r#"{"error":"invalid_client","error_description":"Basic bWU6Y2FuYXJ5LXNlbnQ="}"#;
    let server = TokenServer::new().answer(400, body);
    let client = ClientAuth::basic("me", "canary-sent");
    let source = ClientCredentials::new(server.endpoint(), client);
    let error = source.fetch(Wanted::first(now())).await.unwrap_err();
    assert_eq!(error.to_string(), "the token endpoint refuses the request: invalid_client");
}

/// The claims of a token.
pub(crate) fn claims(token: &str) -> serde_json::Value {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// Signs nothing.
pub(crate) struct Signer;

impl JwtSigner for Signer {
    fn algorithm(&self) -> &str {
        "none"
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(b"signature".to_vec())
    }
}

struct Broken;

impl JwtSigner for Broken {
    fn algorithm(&self) -> &str {
        "ES256"
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
        Err("the token is not in its slot".into())
    }
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 1000])))))
    }
}
