use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade_auth::{
    Auth, AuthLayer, Authenticator, ClientAuth, ClientCredentials, JwtKey, TokenEndpoint,
};
use palisade_core::Origins;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// The server, and what may be ordered of it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Fixture {
    at: Arc<Value>,
    clients: Arc<Value>,
    http: Http,
}

/// Where faults happen.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Token,
    Api,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Api => "api",
        }
    }
}

impl Fixture {
    /// The server that has said this of where it is.
    pub(crate) async fn new(line: &str) -> Self {
        let at = serde_json::from_str(line).expect("the server has said where it is");
        let mut fixture = Self { at: Arc::new(at), clients: Arc::default(), http: http() };
        fixture.clients = Arc::new(fixture.control("clients", json!({})).await);
        fixture
    }

    /// A client of its own, which leaves its connections to nobody.
    pub(crate) fn http(&self) -> Http {
        http()
    }

    pub(crate) fn endpoint(&self) -> TokenEndpoint {
        TokenEndpoint::new(self.address("token_endpoint"), http())
    }

    pub(crate) fn issuer(&self) -> &str {
        self.address("issuer")
    }

    pub(crate) fn api(&self, path: &str) -> Uri {
        format!("{}/{path}", self.address("api")).parse().unwrap()
    }

    pub(crate) fn elsewhere(&self) -> &str {
        self.address("elsewhere")
    }

    /// A client of the protected resource, and of nobody else.
    pub(crate) fn with<A: Authenticator>(&self, credentials: A) -> Auth<Http, A> {
        AuthLayer::new(credentials, Origins::new([self.issuer()])).layer(http())
    }

    /// What the server knows of a client, by the name that it has there.
    pub(crate) fn client(&self, name: &str) -> Known<'_> {
        Known(&self.clients[name])
    }

    /// Tokens of a client that shows who it is by a password.
    pub(crate) fn basic(&self) -> ClientCredentials {
        ClientCredentials::new(self.endpoint(), self.client("basic").auth())
    }

    /// Begins anew, but no token is lost.
    pub(crate) async fn reset(&self) {
        self.control("reset", json!({})).await;
    }

    /// Orders a fault for each of the next requests.
    pub(crate) async fn order(&self, of: Of, faults: &[Value]) {
        self.control("faults", json!({ "of": of.name(), "faults": faults })).await;
    }

    /// Waits until so many requests are held.
    pub(crate) async fn held(&self, of: Of, count: usize) {
        self.control("held", json!({ "of": of.name(), "count": count })).await;
    }

    /// Lets so many of them go on.
    pub(crate) async fn release(&self, of: Of, count: usize) {
        self.control("release", json!({ "of": of.name(), "count": count })).await;
    }

    /// Makes all access tokens invalid, before their time.
    pub(crate) async fn revoke_access(&self) {
        self.control("revoke_access", json!({})).await;
    }

    /// The refresh token of a new login of this client.
    pub(crate) async fn log_in(&self, client: &str) -> String {
        let login = self.control("login", json!({ "client": client })).await;
        login["refresh_token"].as_str().expect("the client may log in").to_owned()
    }

    /// What the user says about a device.
    pub(crate) async fn device(&self, user_code: &str, approve: bool) {
        self.control("device", json!({ "user_code": user_code, "approve": approve })).await;
    }

    /// Ends a login: its next refresh is refused.
    pub(crate) async fn revoke_login(&self, refresh_token: &str) {
        self.control("revoke_login", json!({ "refresh_token": refresh_token })).await;
    }

    pub(crate) async fn counters(&self) -> Counters {
        Counters(self.control("counters", json!({})).await)
    }

    async fn control(&self, command: &str, ask: Value) -> Value {
        let address = format!("{}/{command}", self.address("control"));
        let request = Request::post(address).body(Full::from(ask.to_string())).unwrap();
        let response = self.http.request(request).await.expect("the server is there");
        assert_eq!(response.status(), StatusCode::OK, "{command}");
        json_of(response).await
    }

    fn address(&self, name: &str) -> &str {
        self.at[name].as_str().expect("the server has said where that is")
    }
}

/// A client, as the server knows it.
pub(crate) struct Known<'a>(&'a Value);

impl Known<'_> {
    pub(crate) fn id(&self) -> &str {
        self.text("/id")
    }

    pub(crate) fn secret(&self) -> &str {
        self.text("/secret")
    }

    /// How it shows who it is.
    pub(crate) fn auth(&self) -> ClientAuth {
        match self.text("/auth") {
            "none" => ClientAuth::none(self.id()),
            "client_secret_basic" => ClientAuth::basic(self.id(), self.secret()),
            "client_secret_post" => ClientAuth::post(self.id(), self.secret()),
            "client_secret_jwt" => ClientAuth::secret_jwt(self.id(), self.secret()),
            "private_key_jwt" => ClientAuth::private_key_jwt(self.id(), self.key()),
            other => panic!("{other} is not known here"),
        }
    }

    pub(crate) fn key(&self) -> JwtKey {
        let pem = self.text("/key/pem").as_bytes();
        let key = match self.text("/key/alg") {
            "ES256" => JwtKey::es256(pem),
            "RS256" => JwtKey::rs256(pem),
            _ => JwtKey::ed25519(pem),
        };
        key.unwrap().key_id(self.text("/key/kid"))
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).expect("the server has said so")
    }
}

/// What was asked of the server since the last reset.
#[derive(Debug)]
pub(crate) struct Counters(Value);

impl Counters {
    pub(crate) fn token_requests(&self) -> u64 {
        self.number("/token/requests")
    }

    pub(crate) fn most_at_once(&self) -> u64 {
        self.number("/token/most_at_once")
    }

    pub(crate) fn calls(&self) -> u64 {
        self.number("/api/requests")
    }

    /// How many calls were answered with this status.
    pub(crate) fn answered(&self, status: StatusCode) -> u64 {
        self.number(&format!("/api/by_status/{}", status.as_u16()))
    }

    /// The digests of the bodies that were sent with calls that ended so.
    pub(crate) fn bodies(&self, status: StatusCode) -> Vec<&str> {
        let calls = self.0["api"]["calls"].as_array().expect("calls are listed");
        let ended = calls.iter().filter(|call| call["status"] == status.as_u16());
        ended.map(|call| call["sha256"].as_str().unwrap()).collect()
    }

    pub(crate) fn elsewhere(&self) -> u64 {
        self.number("/elsewhere/requests")
    }

    pub(crate) fn leaks(&self) -> u64 {
        self.number("/elsewhere/leaks")
    }

    /// How often clients showed who they are in each way.
    pub(crate) fn by_auth(&self) -> BTreeMap<&str, u64> {
        let ways = self.0["token"]["by_auth"].as_object().unwrap();
        ways.iter().map(|(way, count)| (&**way, count.as_u64().unwrap())).collect()
    }

    /// What was not counted is zero.
    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).map_or(0, |number| number.as_u64().unwrap())
    }
}

/// Calls the protected resource, and reads what it says.
pub(crate) async fn call<S>(service: &S, request: Request<Full<Bytes>>) -> (StatusCode, Value)
where
    S: Service<Request<Full<Bytes>>, Response = Response<hyper::body::Incoming>> + Clone,
    S::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(request).await.unwrap();
    (response.status(), json_of(response).await)
}

pub(crate) fn get(uri: Uri) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

pub(crate) fn post(uri: Uri, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::POST).uri(uri);
    request.header(CONTENT_TYPE, "text/plain").body(Full::new(body.into())).unwrap()
}

async fn json_of(response: Response<hyper::body::Incoming>) -> Value {
    let body = response.into_body().collect().await.expect("the answer has an end").to_bytes();
    serde_json::from_slice(&body).unwrap_or_default()
}

fn http() -> Http {
    // A small packet that waits for the acknowledgement of another costs 40 milliseconds.
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}
