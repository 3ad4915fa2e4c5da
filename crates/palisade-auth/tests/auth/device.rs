use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_auth::{AuthError, ClientAuth, DeviceFlow, Recovery, TokenEndpoint};
use palisade_core::Idempotent;
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

use crate::{
    support::{SECOND, clock},
    token_server::URI,
};

const DEVICE: &str = r#"{
    "device_code":"canary-device","user_code":"CANARY-CODE","expires_in":60,"interval":5,
    "verification_uri":"https://as.example/device",
    "verification_uri_complete":"https://as.example/device?user_code=CANARY-CODE"
}"#;
const PENDING: (u16, &str) = (400, r#"{"error":"authorization_pending"}"#);
const SLOWER: (u16, &str) = (400, r#"{"error":"slow_down"}"#);
const TOKEN: (u16, &str) =
    (200, r#"{"access_token":"canary-token","expires_in":3600,"refresh_token":"canary-refresh"}"#);

/// Says when it was asked, and answers after a while.
#[derive(Clone)]
struct Server {
    began: Instant,
    takes: Duration,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What it was asked, and in which second.
type Asked = (u64, Request<Bytes>);

impl Server {
    /// First of what is answered is the code of the device.
    fn new(answers: impl IntoIterator<Item = (u16, &'static str)>) -> Self {
        let answers = [(200, DEVICE)].into_iter().chain(answers).collect();
        let (answers, asked) = (Arc::new(Mutex::new(answers)), Arc::default());
        Self { began: Instant::now(), takes: Duration::ZERO, answers, asked }
    }

    /// Nothing is answered with status 0.
    fn flow(&self) -> DeviceFlow {
        let server = self.clone();
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let asked = (server.began.elapsed().as_secs(), Request::from_parts(parts, body));
                server.asked.lock().unwrap().push(asked);
                let (status, body) = server.answers.lock().unwrap().pop_front().unwrap();
                sleep(server.takes).await;
                match status {
                    0 => Err(io::Error::other("no network")),
                    _ => {
                        let body = Full::<Bytes>::from(body);
                        Ok(Response::builder().status(status).body(body).unwrap())
                    }
                }
            }
        });
        let endpoint = TokenEndpoint::new(URI, service);
        let client = ClientAuth::post("tv", "canary-secret");
        DeviceFlow::new(endpoint, "https://as.example/device/auth", client).clock(clock())
    }

    /// When it was asked, in seconds.
    fn times(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    fn form(&self, number: usize) -> String {
        String::from_utf8(self.asked.lock().unwrap()[number].1.body().to_vec()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_asks_until_the_user_has_agreed() {
    let server = Server::new([PENDING, SLOWER, PENDING, TOKEN]);
    let login = server.flow().scope("read").param("extra", "x").begin().await.unwrap();
    assert_eq!(login.user_code(), "CANARY-CODE");
    assert_eq!(login.verification_uri(), "https://as.example/device");
    assert!(login.verification_uri_complete().unwrap().ends_with("?user_code=CANARY-CODE"));
    assert_eq!(login.lifetime(), 60 * SECOND);

    let token = login.token().await.unwrap();
    assert_eq!(token.header(), "Bearer canary-token");
    assert_eq!(token.renewal().unwrap().expose(), "canary-refresh");
    // RFC 8628, section 3.5: five seconds, and five more from `slow_down` on.
    assert_eq!(server.times(), [0, 5, 10, 20, 30]);
    assert_eq!(server.form(0), "scope=read&extra=x&client_id=tv&client_secret=canary-secret");
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let form = format!(
        "grant_type={grant}&device_code=canary-device&client_id=tv&client_secret=canary-secret"
    );
    assert_eq!(server.form(4), form);
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked[0].1.uri(), "https://as.example/device/auth");
    assert_eq!(asked[4].1.uri(), URI);
    assert!(!Idempotent::is(asked[4].1.extensions()));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_asked_about_less_often() {
    let server = Server::new([(0, ""), (503, ""), PENDING, TOKEN]);
    let login = server.flow().begin().await.unwrap();
    login.token().await.unwrap();
    assert_eq!(server.times(), [0, 5, 15, 35, 55]);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_an_end() {
    let again = Recovery::Reauthenticate;
    for (answers, recovery, asked) in [
        (vec![PENDING, (400, r#"{"error":"access_denied"}"#)], again, 3),
        (vec![(400, r#"{"error":"expired_token"}"#)], again, 2),
        (vec![(401, r#"{"error":"invalid_client"}"#)], Recovery::FixRequest, 2),
        // By its own clock.
        (vec![PENDING; 20], again, 12),
    ] {
        let server = Server::new(answers);
        let login = server.flow().begin().await.unwrap();
        for _ in 0..2 {
            assert_eq!(login.token().await.unwrap_err().recovery(), recovery);
            assert_eq!(server.times().len(), asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_where_it_is_dropped() {
    let server = Server { takes: 2 * SECOND, ..Server::new([PENDING, TOKEN]) };
    let login = server.flow().begin().await.unwrap();
    let mut dropped = 0;
    // At each second, and so within each request.
    let token = loop {
        match timeout(SECOND, login.token()).await {
            Ok(token) => break token.unwrap(),
            Err(_) => dropped += 1,
        }
    };
    assert_eq!(token.header(), "Bearer canary-token");
    assert!(10 < dropped, "{dropped}");
    assert_eq!(server.times().len(), 3);
    // And again, without a request.
    let again = login.clone().token().now_or_never().unwrap();
    assert_eq!(again.unwrap().header(), token.header());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_not_waited_for() {
    let server = Server { takes: 1000 * SECOND, ..Server::new([TOKEN]) };
    server.answers.lock().unwrap().push_back(TOKEN);
    let login = server.flow().begin().await.unwrap();
    let error = login.token().await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Reauthenticate);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_code_is_an_error() {
    for (status, body, recovery) in [
        (200, "{}", Recovery::Fatal),
        (200, r#"{"device_code":"canary"}"#, Recovery::Fatal),
        (200, "<html>canary", Recovery::Fatal),
        (400, r#"{"error":"invalid_scope"}"#, Recovery::FixRequest),
        (503, "canary", Recovery::Retry { after: None }),
    ] {
        let server = Server::new([]);
        *server.answers.lock().unwrap() = [(status, body)].into();
        let error: AuthError = server.flow().begin().await.unwrap_err();
        assert_eq!(error.recovery(), recovery, "{body}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_shows_a_code_or_a_token() {
    let echo = r#"{"error":"access_denied","error_description":"of canary-device"}"#;
    let server = Server::new([(400, echo)]);
    let flow = server.flow().param("key", "canary-param");
    let login = flow.begin().await.unwrap();
    let error = login.token().await.unwrap_err();
    let shown = format!("{flow:?} {flow:#?} {login:?} {login:#?} {error} {error:?}");
    assert!(!shown.to_lowercase().contains("canary"), "{shown}");
    assert!(shown.contains("https://as.example/device"), "{shown}");
}
