//! A token server that rotates, and the API that its tokens are for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use palisade_testkit::Random;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep},
};

/// For how long a token is good.
const LIFETIME: Duration = Duration::from_secs(2);
/// How often older tokens are revoked before their time.
const REVOKED_EACH: Duration = Duration::from_secs(3);
/// What older means.
const OLDER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) origin: String,
    pub(crate) refresh_token: String,
    shared: Arc<Shared>,
    // Ends with it.
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    logins: Mutex<Logins>,
    token_requests: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Logins {
    dice: Random,
    next: u64,
    // By the number of the login: of the refresh token that works.
    refresh: HashMap<u64, u64>,
    // The login of each token, and when it was issued.
    access: HashMap<String, (u64, Instant)>,
}

/// What a token request is answered with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) expires_in: u64,
    token_type: String,
}

impl Server {
    /// Listens on loopback, with one login to begin with.
    pub(crate) async fn start(seed: u64) -> Self {
        let (refresh, access) = (HashMap::new(), HashMap::new());
        let mut logins = Logins { dice: Random::seeded(seed), next: 0, refresh, access };
        let refresh_token = logins.log_in(Instant::now()).refresh_token;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            logins: Mutex::new(logins),
            token_requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/token", post(token))
            .route("/data", get(data))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
        let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It never ends by itself.
            let _ = axum::serve(listener, router).await;
        });
        Self { origin, refresh_token, shared, _serving: serving }
    }

    pub(crate) fn token_requests(&self) -> u64 {
        self.shared.token_requests.load(Ordering::Relaxed)
    }

    /// How many requests it has answered with 401.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// How many logins it has ended, for a refresh token was used twice.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_good(&self, token: &str) -> bool {
        let (Some(&(_, issued)), now) = (self.logins().access.get(token), Instant::now()) else {
            return false;
        };
        let since = now - self.start;
        let revoked =
            now - Duration::from_nanos((since.as_nanos() % REVOKED_EACH.as_nanos()) as u64);
        let old = REVOKED_EACH <= since && issued + OLDER < revoked;
        now - issued < LIFETIME && !old
    }
}

impl Logins {
    fn log_in(&mut self, now: Instant) -> Issued {
        self.next += 1;
        self.refresh.insert(self.next, 0);
        self.issue(self.next, now)
    }

    fn issue(&mut self, login: u64, now: Instant) -> Issued {
        let number = self.refresh.entry(login).or_default();
        *number += 1;
        let refresh_token = format!("{login}.{number}");
        let access_token = format!("{login}.{:016x}", self.dice.number());
        self.access.retain(|_, (_, issued)| now - *issued < LIFETIME);
        self.access.insert(access_token.clone(), (login, now));
        let (expires_in, token_type) = (LIFETIME.as_secs(), "Bearer".to_owned());
        Issued { access_token, refresh_token, expires_in, token_type }
    }

    /// A new token for a refresh token; if that was used before, it may be stolen, and the login ends
    /// (RFC 9700, section 4.14.2).
    fn refresh(&mut self, token: &str, now: Instant) -> Result<Issued, Ended> {
        let (login, number) = token.split_once('.').ok_or(Ended::Before)?;
        let (login, number): (u64, u64) = match (login.parse(), number.parse()) {
            (Ok(login), Ok(number)) => (login, number),
            _ => return Err(Ended::Before),
        };
        match self.refresh.get(&login) {
            None => Err(Ended::Before),
            Some(known) if *known == number => Ok(self.issue(login, now)),
            Some(_) => {
                self.refresh.remove(&login);
                self.access.retain(|_, (of, _)| *of != login);
                Err(Ended::Now)
            }
        }
    }
}

/// When a login has ended.
enum Ended {
    Before,
    Now,
}

async fn token(State(shared): State<Arc<Shared>>, form: String) -> Response {
    shared.token_requests.fetch_add(1, Ordering::Relaxed);
    let latency = shared.logins().dice.number() % 40;
    sleep(Duration::from_millis(20 + latency)).await;
    let mut fields = form.split('&').filter_map(|field| field.split_once('='));
    let token = fields.find(|(name, _)| *name == "refresh_token").map(|(_, value)| value);
    let now = Instant::now();
    let issued = match token {
        Some(token) => shared.logins().refresh(token, now),
        None => Ok(shared.logins().log_in(now)),
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    match issued {
        Ok(issued) => {
            let body = serde_json::to_string(&issued).expect("it is plain text");
            (json, body).into_response()
        }
        Err(ended) => {
            shared.lost.fetch_add(u64::from(matches!(ended, Ended::Now)), Ordering::Relaxed);
            (StatusCode::BAD_REQUEST, json, r#"{"error":"invalid_grant"}"#).into_response()
        }
    }
}

async fn data(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    sleep(Duration::from_millis(5)).await;
    let field = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = field.and_then(|field| field.strip_prefix("Bearer "));
    if token.is_some_and(|token| shared.is_good(token)) {
        return "hello".into_response();
    }
    shared.refused.fetch_add(1, Ordering::Relaxed);
    let challenge = [(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)];
    (StatusCode::UNAUTHORIZED, challenge).into_response()
}
