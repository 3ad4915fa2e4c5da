//! What servers say: drawn at random while there is a storm, and good when it is over.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Method, Uri, header::AUTHORIZATION};
use palisade_testkit::{Random, Reply};

/// What begins a secret, and nothing else.
pub(crate) const SECRET: &str = "s3cret";

/// What both servers of a world go by: the one whose API it is, and another one.
pub(crate) struct Script {
    random: Mutex<Random>,
    storm: AtomicBool,
    panics: bool,
    // Those that know of seconds have a clock that is paused.
    seconds: bool,
    origins: OnceLock<[String; 2]>,
    issued: AtomicU64,
    revoked: AtomicU64,
    demands: bool,
    arrived: [AtomicU64; 2],
    offences: Mutex<BTreeSet<String>>,
}

/// What a request is answered with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// How many pieces it comes in.
    pub(crate) pieces: usize,
    pub(crate) fate: Fate,
    /// How long it takes, in hundredths of a unit.
    pub(crate) latency: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Whole,
    /// The body breaks off after its first bytes.
    Broken,
    /// There is no connection.
    Unsent,
    /// The connection is reset.
    Reset,
    /// The code of the client panics.
    Panics,
}

impl Script {
    /// A script of a seed. Where there are panics or seconds, they are in it too.
    pub(crate) fn new(seed: u64, panics: bool, seconds: bool, demands: bool) -> Self {
        Self {
            random: Mutex::new(Random::seeded(seed)),
            storm: AtomicBool::new(false),
            panics,
            seconds,
            origins: OnceLock::new(),
            issued: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            demands,
            arrived: Default::default(),
            offences: Mutex::default(),
        }
    }

    /// Sets where the servers are: the API, and another one.
    pub(crate) fn place(&self, origins: [String; 2]) {
        self.origins.set(origins).unwrap();
    }

    pub(crate) fn uri(&self, foreign: bool, path: &str) -> Uri {
        let origin = &self.origins.get().unwrap()[usize::from(foreign)];
        format!("{origin}{path}").parse().unwrap()
    }

    pub(crate) fn storm(&self, storm: bool) {
        self.storm.store(storm, Ordering::Relaxed);
    }

    pub(crate) fn is_storm(&self) -> bool {
        self.storm.load(Ordering::Relaxed)
    }

    pub(crate) fn draw(&self, of: u64) -> u64 {
        self.random.lock().unwrap().number() % of
    }

    /// A token that was never issued before.
    pub(crate) fn token(&self) -> String {
        format!("{SECRET}-{}", self.issued.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many requests have arrived at both.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// What should not have happened.
    pub(crate) fn offends(&self, what: String) {
        self.offences.lock().unwrap().insert(what);
    }

    pub(crate) fn offences(&self) -> Vec<String> {
        self.offences.lock().unwrap().iter().cloned().collect()
    }

    /// Holds the body of a request against what was sent.
    pub(crate) fn check_upload(&self, method: &Method, headers: &HeaderMap, body: &[u8]) {
        // RFC 9110, section 15.4.4: who is led elsewhere by 303 takes nothing along.
        if *method == Method::GET && body.is_empty() {
            return;
        }
        let length = headers.get("x-length").map_or("0", |value| value.to_str().unwrap());
        if length != body.len().to_string() || !body.iter().all(|byte| *byte == b'u') {
            self.offends(format!("{} bytes arrived of {length}", body.len()));
        }
    }

    /// The answer to a request that has just arrived.
    pub(crate) fn answer(
        &self,
        foreign: bool,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Answer {
        self.arrived[usize::from(foreign)].fetch_add(1, Ordering::Relaxed);
        let has_secret = |text: &[u8]| String::from_utf8_lossy(text).contains(SECRET);
        let is_told = headers.values().any(|value| has_secret(value.as_bytes()))
            || has_secret(uri.to_string().as_bytes());
        if foreign && is_told {
            self.offends(format!("a secret came to another origin: {headers:?}"));
        }
        let letter = uri.path().trim_start_matches('/');
        let whole = Answer {
            status: 200,
            fields: vec![("content-type", "application/json".to_owned())],
            body: body_of(letter),
            pieces: 1,
            ..Answer::default()
        };
        if !self.is_storm() {
            return whole;
        }
        if self.demands && !foreign && !self.accepts(headers) {
            return refused();
        }
        self.drawn(foreign, method, uri, headers, whole)
    }

    fn drawn(
        &self,
        foreign: bool,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        mut whole: Answer,
    ) -> Answer {
        let mut add = |name, value: &str| whole.fields.push((name, value.to_owned()));
        let [latency, kind, detail] = [30, 100, 4].map(|of| self.draw(of));
        let (etag, gzip) = ("\"1\"", headers.get("accept-encoding").is_some());
        let failed = |status| Answer {
            status,
            body: b"\"no\"".to_vec(),
            pieces: 1,
            fields: match (self.seconds, detail) {
                (true, 0) => vec![("retry-after", "1".to_owned())],
                _ => Vec::new(),
            },
            ..Answer::default()
        };
        let mut answer = match kind {
            0..12 => Answer { pieces: 3, ..whole },
            12..24 if *method == Method::GET => {
                let age = (detail * 4).to_string();
                add("cache-control", &format!("max-age={age}, stale-while-revalidate=1"));
                add("etag", etag);
                if headers.get("if-none-match").is_some() {
                    whole.status = 304;
                    whole.body.clear();
                }
                whole
            }
            24..34 => failed([503, 502, 500, 504][detail as usize]),
            34..37 => failed(429),
            37..40 => failed(404),
            40..43 => Answer { fate: Fate::Unsent, ..whole },
            43..46 => Answer { fate: Fate::Reset, ..whole },
            46..50 => Answer { fate: Fate::Broken, pieces: 3, ..whole },
            50..57 => {
                let status = [301, 302, 303, 307][detail as usize];
                // There and back, and not for ever.
                let to = self.uri((kind < 54) != foreign, &format!("{}?led=1", uri.path()));
                let is_led = uri.query().is_some_and(|query| query.contains("led"));
                let location = vec![("location", to.to_string())];
                match is_led && self.draw(2) == 0 {
                    true => whole,
                    false => Answer { fields: location, ..failed(status) },
                }
            }
            57..61 if gzip => {
                add("content-encoding", "gzip");
                Answer { body: gzipped(&whole.body), ..whole }
            }
            61..63 => Answer { status: 204, body: Vec::new(), ..whole },
            63..66 if self.panics => Answer { fate: Fate::Panics, pieces: 3, ..whole },
            66..69 => Answer { latency: 800, ..whole },
            69..71 => {
                let issued = self.issued.load(Ordering::Relaxed);
                self.revoked.store(issued, Ordering::Relaxed);
                refused()
            }
            _ => whole,
        };
        answer.latency = answer.latency.max(latency as u32);
        answer
    }

    fn accepts(&self, headers: &HeaderMap) -> bool {
        let field = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let number = field.and_then(|field| field.strip_prefix("Bearer ")?.rsplit('-').next());
        let number = number.and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| self.revoked.load(Ordering::Relaxed) < number)
    }
}

/// Whom nobody knows.
fn refused() -> Answer {
    let field = ("www-authenticate", "Bearer error=\"invalid_token\"".to_owned());
    Answer { status: 401, fields: vec![field], pieces: 1, ..Answer::default() }
}

/// What a resource is: JSON, so that it decodes.
pub(crate) fn body_of(letter: &str) -> Vec<u8> {
    format!("\"{}\"", letter.repeat(40)).into_bytes()
}

/// One block that is stored as it is (RFC 1951, section 3.2.4; RFC 1952).
pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut zipped = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = u16::try_from(bytes.len()).unwrap();
    zipped.extend(length.to_le_bytes());
    zipped.extend((!length).to_le_bytes());
    zipped.extend(bytes);
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let crc = crc ^ u32::from(*byte);
        (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    zipped.extend((!crc).to_le_bytes());
    zipped.extend(u32::from(length).to_le_bytes());
    zipped
}

impl Answer {
    /// The same from a server of the testkit.
    pub(crate) fn reply(self, unit: Duration) -> Reply {
        let piece = self.body.len().div_ceil(self.pieces.max(1)).max(1);
        let reply = Reply::status(self.status).body(self.body);
        let fields = self.fields.into_iter();
        let reply = fields.fold(reply, |reply, (name, value)| reply.header(name, value));
        let reply = match self.pieces {
            0 | 1 => reply,
            _ => reply.slow_body(piece, Duration::ZERO),
        };
        let reply = match self.fate {
            Fate::Whole => reply,
            Fate::Broken => reply.truncated(3),
            Fate::Unsent | Fate::Reset | Fate::Panics => Reply::reset(),
        };
        reply.latency(unit * self.latency / 100)
    }
}
