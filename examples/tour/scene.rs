//! The API, and what is asked of it.

use std::{ops::Range, time::Duration};

use http::header;
use palisade_testkit::{Call, Plan, Random, Reply, Script};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(crate) const CALLS: u32 = 2_000;
/// When the API answers 503 and nothing else.
pub(crate) const OUTAGES: [Range<Duration>; 2] =
    [millis(3_000)..millis(4_300), millis(8_800)..millis(9_800)];
/// For how long a token is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(6);

/// Calls come in waves: so many, each with a crest and a trough of a second.
const WAVES: u32 = 7;
const WAVE: Duration = Duration::from_secs(2);
/// Which part of a wave's calls is in its crest.
const CREST: f64 = 0.8;
/// How many of a hundred calls are for orders.
const ORDERS: u64 = 45;
/// How many requests for orders are admitted in a second.
const QUOTA: u64 = 80;
const ARTICLES: u64 = 40;
/// How long an article may be kept.
const CACHE_CONTROL: &str = "max-age=2";

/// What a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// Good for two seconds, and for everybody.
    Article(u64),
    /// A page of them, for who has a token, and so many in a second.
    Orders(u64),
}

/// What it is answered with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: u64,
    text: String,
}

/// What a token request is answered with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    token_type: String,
    expires_in: u64,
}

/// All calls, and when each is made.
pub(crate) fn calls(seed: u64) -> Vec<(Duration, Wanted)> {
    let mut dice = Random::seeded(seed);
    let mut wanted = || match dice.number() % 100 < ORDERS {
        true => Wanted::Orders(dice.number() % 1_000),
        false => Wanted::Article(dice.number() % ARTICLES),
    };
    (0..CALLS).map(|number| (time_of(number), wanted())).collect()
}

fn time_of(number: u32) -> Duration {
    let waves = f64::from(number * WAVES) / f64::from(CALLS);
    let within = match waves.fract() {
        crest if crest < CREST => crest / CREST / 2.0,
        trough => 0.5 + (trough - CREST) / (1.0 - CREST) / 2.0,
    };
    WAVE.mul_f64(waves.floor() + within)
}

/// The API, which counts its time from a start.
pub(crate) fn script(seed: u64, start: Instant) -> Script {
    let orders = move |call: &Call<'_>| match is_good(call, start) {
        true => reply(seed, call, start, page_of(call)),
        false => {
            Reply::status(401).header(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)
        }
    };
    let script = Script::new()
        .seed(seed)
        .route("POST /token", Plan::with(move |_| issue(start)))
        .route("GET /orders", Plan::with(orders))
        .limit("GET /orders", QUOTA, Duration::from_secs(1));
    (0..ARTICLES).fold(script, |script, id| {
        let plan = move |call: &Call<'_>| {
            let reply = reply(seed ^ (id + 1) << 32, call, start, id);
            reply.header(header::CACHE_CONTROL, CACHE_CONTROL)
        };
        script.route(&format!("GET /articles/{id}"), Plan::with(plan))
    })
}

fn reply(seed: u64, call: &Call<'_>, start: Instant, id: u64) -> Reply {
    let now = start.elapsed();
    if OUTAGES.iter().any(|outage| outage.contains(&now)) {
        return Reply::status(503).latency(millis(100));
    }
    let item = Item { id, text: "What was asked for. ".repeat(20) };
    let reply = json(&item).latency(millis(15)).jitter(millis(30));
    match Random::seeded(seed.wrapping_add(call.number())).number() % 100 {
        0 | 1 => Reply::status(500).latency(millis(15)),
        2 => Reply::reset().latency(millis(15)),
        3..=5 => reply.latency(millis(400)),
        _ => reply,
    }
}

/// A token that says when it was issued, which is enough for an example.
fn issue(start: Instant) -> Reply {
    json(&Issued {
        access_token: start.elapsed().as_millis().to_string(),
        token_type: "Bearer".to_owned(),
        expires_in: LIFETIME.as_secs(),
    })
    .latency(millis(30))
}

fn is_good(call: &Call<'_>, start: Instant) -> bool {
    let field = call.headers().get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    let issued = field.and_then(|field| field.strip_prefix("Bearer ")?.parse().ok());
    issued.is_some_and(|issued| start.elapsed() < millis(issued) + LIFETIME)
}

fn page_of(call: &Call<'_>) -> u64 {
    let page = call.uri().query().and_then(|query| query.strip_prefix("page=")?.parse().ok());
    page.unwrap_or_default()
}

fn json(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("it has plain fields");
    Reply::ok(body).header(header::CONTENT_TYPE, "application/json")
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
