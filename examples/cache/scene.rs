//! The API, and what is asked of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};
use http_body_util::Full;
use palisade_testkit::{Call, FlakyApi, Plan, Random, Reply, Script};

/// What the API has under one path.
struct Resource {
    path: &'static str,
    // How many of a hundred requests are for it.
    share: u64,
    cache_control: &'static str,
    len: usize,
    latency: Duration,
    // What the answer depends on, beside the path.
    by: Option<HeaderName>,
}

const QUICK: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(250);

static RESOURCES: [Resource; 6] = [
    resource("/users", 35, "max-age=1", 16 << 10, QUICK, None),
    resource("/news", 25, "max-age=1", 32 << 10, QUICK, Some(header::ACCEPT_LANGUAGE)),
    resource("/report", 10, "max-age=1", 128 << 10, SLOW, None),
    // It does not say that it varies, as many do not: a private cache keeps users apart by itself.
    resource("/me", 15, "max-age=1", 2 << 10, QUICK, Some(header::AUTHORIZATION)),
    // To be asked for every time, but sent only when it has changed.
    resource("/prices", 10, "no-cache", 8 << 10, QUICK, None),
    resource("/token", 5, "no-store", 1 << 10, QUICK, None),
];

/// A server, and how much of bodies it has sent.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) server: FlakyApi,
    sent: Arc<AtomicU64>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let script = RESOURCES.iter().fold(Script::new(), |script, resource| {
            let sent = Arc::clone(&sent);
            script.route(resource.path, Plan::with(move |call| resource.reply(call, &sent)))
        });
        Self { server: FlakyApi::start(script).await, sent }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Resource {
    fn reply(&self, call: &Call<'_>, sent: &AtomicU64) -> Reply {
        let text = self.text(call.headers());
        let tag = format!("\"{}\"", text.replace(' ', "-"));
        let known = call.headers().get(header::IF_NONE_MATCH);
        // There may be several; each stands in quotes, so none is found in another.
        let known =
            known.and_then(|tags| tags.to_str().ok()).is_some_and(|tags| tags.contains(&tag));
        let reply = match known {
            true => Reply::status(304),
            false => {
                sent.fetch_add(self.len as u64, Ordering::Relaxed);
                let mut body = text.into_bytes();
                body.resize(self.len, b' ');
                Reply::ok(body)
            }
        };
        let reply = reply
            .header(header::CACHE_CONTROL, self.cache_control)
            .header(header::ETAG, tag)
            .latency(self.latency);
        match &self.by {
            Some(name) if *name != header::AUTHORIZATION => {
                reply.header(header::VARY, name.as_str())
            }
            _ => reply,
        }
    }

    /// What the body of the answer to such a request begins with; the rest is padding.
    fn text(&self, headers: &HeaderMap) -> String {
        let value = self.by.as_ref().and_then(|name| headers.get(name)?.to_str().ok());
        format!("{} {}", self.path, value.unwrap_or("for all"))
    }
}

/// The next request of a task, its URI still without a host, and what a right answer begins with.
pub(crate) fn request(task: usize, dice: &mut Random) -> (Request<Full<Bytes>>, String) {
    let mut drawn = dice.number() % 100;
    let resource = RESOURCES.iter().find(|resource| match drawn.checked_sub(resource.share) {
        Some(left) => {
            drawn = left;
            false
        }
        None => true,
    });
    let resource = resource.expect("the shares add up to a hundred");
    let mut request = Request::get(resource.path);
    match &resource.by {
        Some(name) if *name == header::AUTHORIZATION => {
            request = request.header(name, format!("Bearer user-{}", task % 8));
        }
        Some(name) => request = request.header(name, ["de", "en", "fr"][task % 3]),
        None => {}
    }
    let request = request.body(Full::default()).expect("the parts of the request are valid");
    let text = resource.text(request.headers());
    (request, text)
}

const fn resource(
    path: &'static str,
    share: u64,
    cache_control: &'static str,
    len: usize,
    latency: Duration,
    by: Option<HeaderName>,
) -> Resource {
    Resource { path, share, cache_control, len, latency, by }
}
