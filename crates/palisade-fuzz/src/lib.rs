//! What the fuzz targets share: messages written as text, and an inner service that answers with
//! them.
//!
//! Inputs are text where they can be, so that a seed or a finding can be read.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Ready, ready},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Empty;
use tokio::time::Instant;
use tower_service::Service;

/// Reads `name: value` lines, and leaves out those that are none. A name after `!` has a sensitive
/// value.
pub fn fields<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let (sensitive, line) = match line.strip_prefix(b"!") {
            Some(line) => (true, line),
            None => (false, line),
        };
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().map(HeaderName::from_bytes);
        let value = halves.next().map(|value| HeaderValue::from_bytes(value.trim_ascii()));
        if let (Some(Ok(name)), Some(Ok(mut value))) = (name, value) {
            value.set_sensitive(sensitive);
            // A map that is full keeps what it has.
            let _ = fields.try_append(name, value);
        }
    }
    fields
}

/// Reads the [fields] of two messages, with an empty line between them.
pub fn two_heads<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> (HeaderMap, HeaderMap) {
    let mut lines = lines.into_iter();
    let first = fields(lines.by_ref().take_while(|line| !line.is_empty()));
    (first, fields(lines))
}

/// Reads numbers with a space between them. What is none is 0.
pub fn numbers<const N: usize>(line: &[u8]) -> [u64; N] {
    let mut words = line.split(|byte| *byte == b' ').map(|word| str::from_utf8(word).ok());
    std::array::from_fn(|_| words.next().flatten().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// An inner service that is always ready, answers at once, and remembers what it was asked.
#[derive(Clone, Default)]
pub struct Upstream {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Default)]
struct Shared {
    answers: VecDeque<Response<()>>,
    calls: Vec<(Instant, Request<()>)>,
}

impl Upstream {
    /// Gives these answers, and 200 after them.
    pub fn new(answers: impl IntoIterator<Item = Response<()>>) -> Self {
        let upstream = Self::default();
        upstream.shared.borrow_mut().answers.extend(answers);
        upstream
    }

    /// The requests until now, and when they came.
    pub fn calls(&self) -> Vec<(Instant, Request<()>)> {
        self.shared.borrow().calls.clone()
    }
}

impl<B> Service<Request<B>> for Upstream {
    type Response = Response<Empty<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut shared = self.shared.borrow_mut();
        shared.calls.push((Instant::now(), request.map(|_| ())));
        let answer = shared.answers.pop_front().unwrap_or_default();
        ready(Ok(answer.map(|()| Empty::new())))
    }
}
