use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version, request};
use tokio::sync::watch;

use crate::{
    script::Script,
    sync::{lock, wait_for},
};

/// What a [`FlakyApi`](crate::FlakyApi) has seen so far.
#[derive(Clone, Debug)]
pub struct Stats {
    connections: u64,
    open_connections: u64,
    requests: u64,
    in_flight: u64,
    by_route: Vec<(Arc<str>, u64)>,
    by_status: BTreeMap<u16, u64>,
    bodies_whole: u64,
    bodies_incomplete: u64,
    body_bytes: u64,
}

impl Stats {
    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        self.open_connections
    }

    /// Requests whose head has arrived, on whatever route.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests whose head has arrived and whose answer has not begun. Those the client has given
    /// up are not among them.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Requests on a route, named as in the script. Those refused by a rate limit are counted.
    ///
    /// # Panics
    ///
    /// Panics if the script has no such route.
    pub fn requests_on(&self, route: &str) -> u64 {
        match self.by_route.iter().find(|(name, _)| &**name == route) {
            Some((_, requests)) => *requests,
            None => panic!("route {route:?} is not in the script"),
        }
    }

    /// Answers of this status that were begun.
    pub fn answered(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// Request bodies that were read to their end. Requests without a body are not counted.
    pub fn bodies_whole(&self) -> u64 {
        self.bodies_whole
    }

    /// Request bodies that broke off, or that an [early](crate::Reply::early) answer left unread.
    pub fn bodies_incomplete(&self) -> u64 {
        self.bodies_incomplete
    }

    /// Bytes of request bodies that were read.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

/// A request as it arrived at a [`FlakyApi`](crate::FlakyApi).
#[derive(Clone, Debug)]
pub struct Received {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: BytesMut,
    body_len: u64,
    trailers: Option<HeaderMap>,
    complete: bool,
    connection: u64,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target as it arrived: usually path and query over HTTP/1.1, a whole URI over HTTP/2.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What was read of the body, up to the [limit](crate::Script::max_body).
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// How many bytes of the body were read.
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// The trailers, if there were any.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Whether the body was read to its end. A request without a body is complete from the start.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The number of its connection, from 1 in the order they were accepted.
    pub fn connection(&self) -> u64 {
        self.connection
    }
}

/// Where a server writes down what it sees.
#[derive(Debug)]
pub(crate) struct Recorder {
    stats: watch::Sender<Stats>,
    requests: Mutex<Vec<Received>>,
    max_requests: usize,
    max_body: usize,
}

impl Recorder {
    pub(crate) fn new(script: &Script) -> Self {
        let stats = Stats {
            connections: 0,
            open_connections: 0,
            requests: 0,
            in_flight: 0,
            by_route: script.routes().map(|route| (Arc::clone(&route.name), 0)).collect(),
            by_status: BTreeMap::new(),
            bodies_whole: 0,
            bodies_incomplete: 0,
            body_bytes: 0,
        };
        Self {
            stats: watch::Sender::new(stats),
            requests: Mutex::default(),
            max_requests: script.max_requests,
            max_body: script.max_body,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.borrow().clone()
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        lock(&self.requests).clone()
    }

    pub(crate) async fn wait_for(&self, condition: impl FnMut(&Stats) -> bool) -> Stats {
        wait_for(&self.stats, condition).await
    }

    /// Counts a connection and returns its number.
    pub(crate) fn connected(&self) -> u64 {
        let mut number = 0;
        self.stats.send_modify(|stats| {
            stats.connections += 1;
            stats.open_connections += 1;
            number = stats.connections;
        });
        number
    }

    pub(crate) fn disconnected(&self) {
        self.stats.send_modify(|stats| stats.open_connections -= 1);
    }

    /// Counts a request, which is in flight for as long as the result lives.
    pub(crate) fn request(
        self: &Arc<Self>,
        parts: &request::Parts,
        route: Option<usize>,
        connection: u64,
        has_body: bool,
    ) -> RequestRecord {
        let index = {
            let mut requests = lock(&self.requests);
            let index = requests.len();
            if index < self.max_requests {
                requests.push(Received {
                    method: parts.method.clone(),
                    uri: parts.uri.clone(),
                    version: parts.version,
                    headers: parts.headers.clone(),
                    body: BytesMut::new(),
                    body_len: 0,
                    trailers: None,
                    complete: !has_body,
                    connection,
                });
            }
            index
        };
        self.stats.send_modify(|stats| {
            stats.requests += 1;
            stats.in_flight += 1;
            if let Some(route) = route {
                stats.by_route[route].1 += 1;
            }
        });
        RequestRecord { recorder: Arc::clone(self), index, unread_body: has_body }
    }
}

/// The entry of one request. Dropped before the body was read, it counts the body as incomplete.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    recorder: Arc<Recorder>,
    index: usize,
    unread_body: bool,
}

impl RequestRecord {
    pub(crate) fn data(&self, data: &Bytes) {
        let max_body = self.recorder.max_body;
        self.update(|received| {
            let kept = data.len().min(max_body - received.body.len());
            received.body.extend_from_slice(&data[..kept]);
            received.body_len += data.len() as u64;
        });
        let stats = &self.recorder.stats;
        stats.send_modify(|stats| stats.body_bytes += data.len() as u64);
    }

    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        self.update(|received| received.trailers = Some(trailers));
    }

    pub(crate) fn body_read(&mut self) {
        if self.unread_body {
            self.unread_body = false;
            self.update(|received| received.complete = true);
            self.recorder.stats.send_modify(|stats| stats.bodies_whole += 1);
        }
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let stats = &self.recorder.stats;
        stats.send_modify(|stats| *stats.by_status.entry(status.as_u16()).or_default() += 1);
    }

    fn update(&self, update: impl FnOnce(&mut Received)) {
        // Only the first requests are kept.
        if let Some(received) = lock(&self.recorder.requests).get_mut(self.index) {
            update(received);
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.recorder.stats.send_modify(|stats| {
            stats.in_flight -= 1;
            stats.bodies_incomplete += u64::from(self.unread_body);
        });
    }
}
