//! The API that misbehaves, and what is asked of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use palisade_testkit::{Random, Reply, Script};

const MESSAGES: &str = "/messages";

/// What the server will do, and the requests that it will do it to, their URIs still without a host.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) script: Script,
    pub(crate) requests: Vec<Request<Full<Bytes>>>,
}

impl Scene {
    /// The same scene for the same seed, in whatever order the requests arrive: each resource has
    /// replies of its own.
    pub(crate) fn new(seed: u64, calls: usize) -> Self {
        let mut dice = Random::seeded(seed);
        let requests: Vec<_> = (0..calls).map(|id| request(id, &mut dice)).collect();

        let sent = requests.iter().filter(|request| request.uri() == MESSAGES);
        // What a window refuses, the next one admits: it has room for at least half of all.
        let quota = (sent.count() * 3).div_ceil(4) as u64;
        let script = Script::new().seed(seed).route(MESSAGES, slow(done())).limit(
            MESSAGES,
            quota,
            Duration::from_secs(1),
        );

        let flaky = requests.iter().filter(|request| request.uri() != MESSAGES);
        let script = flaky.fold(script, |script, request| {
            let route = format!("{} {}", request.method(), request.uri());
            script.route(&route, replies(&mut dice))
        });
        Self { script, requests }
    }
}

fn request(id: usize, dice: &mut Random) -> Request<Full<Bytes>> {
    let post = |path| Request::post(path).header(header::CONTENT_TYPE, "application/json");
    let order = || post(format!("/carts/{id}/order"));
    let request = match percent(dice) {
        0..60 => Request::get(format!("/users/{id}")).body(Full::default()),
        // The server takes an order once, however often it is sent with this key.
        60..80 => order()
            .header("idempotency-key", format!("order-{id}"))
            .body(Full::from(r#"{"pay":"card"}"#)),
        // Somebody forgot the key. When such an order fails, nobody knows whether it was taken.
        80..84 => order().body(Full::from(r#"{"pay":"card"}"#)),
        // No key either. But the only failure here is 429, which says that nothing was done.
        _ => post(MESSAGES.to_owned()).body(Full::from(r#"{"text":"hello"}"#)),
    };
    request.expect("the parts of the request are valid")
}

/// What one resource answers, attempt by attempt: never more than two failures, as the retry layer
/// makes three attempts.
fn replies(dice: &mut Random) -> Vec<Reply> {
    let replies = match percent(dice) {
        0..14 => vec![Reply::status(503), done()],
        14..18 => vec![Reply::status(503), Reply::status(502), done()],
        18..26 => vec![Reply::reset(), done()],
        26..40 => vec![done().late_body(Duration::from_millis(20))],
        _ => vec![done()],
    };
    replies.into_iter().map(slow).collect()
}

fn done() -> Reply {
    Reply::ok(r#"{"done":true}"#)
}

fn slow(reply: Reply) -> Reply {
    let latency = Duration::from_millis(5);
    reply.latency(latency).jitter(4 * latency)
}

/// From 0 to 99.
fn percent(dice: &mut Random) -> u64 {
    dice.number() % 100
}
