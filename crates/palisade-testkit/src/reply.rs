use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::random::Random;

/// One scripted answer of a [`FlakyApi`](crate::FlakyApi).
///
/// By default the server reads the request body whole, then answers at once, with a
/// `Content-Length`, and keeps the connection. An answer to `HEAD`, a `204` and a `304` end with
/// the head, whatever is said of their body.
#[must_use]
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) fate: Fate,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    pub(crate) chunked: bool,
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) late: Option<Duration>,
    pub(crate) pace: Option<(usize, Duration)>,
    pub(crate) cut: Option<Cut>,
    pub(crate) early: bool,
    pub(crate) close: bool,
}

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answer,
    Reset,
    Never,
}

/// Where the body breaks off, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) after: usize,
    pub(crate) reset: bool,
}

impl Reply {
    /// `200 OK` with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// This status, without a body.
    ///
    /// # Panics
    ///
    /// Panics if `status` is not a final status: 200 to 999.
    pub fn status(status: u16) -> Self {
        assert!(200 <= status, "{status} is not a final status");
        Self {
            fate: Fate::Answer,
            status: StatusCode::from_u16(status).expect("a status has three digits"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            trailers: HeaderMap::new(),
            chunked: false,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            late: None,
            pace: None,
            cut: None,
            early: false,
            close: false,
        }
    }

    /// No byte of an answer: HTTP/1.1 resets the TCP connection (RST), HTTP/2 resets the stream
    /// with `INTERNAL_ERROR` so that the other streams of the connection keep to their own script.
    ///
    /// The reset comes after the request body was read and the [`latency`](Self::latency) has
    /// passed; see [`early`](Self::early).
    pub fn reset() -> Self {
        Self { fate: Fate::Reset, ..Self::status(200) }
    }

    /// No answer at all, for as long as the client keeps the connection or the stream open.
    pub fn never() -> Self {
        Self { fate: Fate::Never, ..Self::status(200) }
    }

    /// Adds a header; earlier ones of the same name stay.
    ///
    /// # Panics
    ///
    /// Panics if name or value are not valid in HTTP.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Debug>,
        V: TryInto<HeaderValue, Error: Debug>,
    {
        append(&mut self.headers, name, value);
        self
    }

    /// Sets the body. Defaults to none.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends these trailers after the body, which is then [`chunked`](Self::chunked).
    ///
    /// They are announced in `Trailer`. Over HTTP/1.1 they are sent only to a client that said `TE:
    /// trailers`.
    ///
    /// # Panics
    ///
    /// Panics if a name or a value is not valid in HTTP.
    pub fn trailers<N, V>(mut self, trailers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: TryInto<HeaderName, Error: Debug>,
        V: TryInto<HeaderValue, Error: Debug>,
    {
        for (name, value) in trailers {
            append(&mut self.trailers, name, value);
        }
        self.chunked = true;
        self
    }

    /// Sends the body without a `Content-Length`: chunked over HTTP/1.1.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Waits this long before the answer. Defaults to zero.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Adds to the [`latency`](Self::latency) a random wait, uniform from zero to `jitter`.
    /// Defaults to zero.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sends the head at once and the body, in packets of its own, this much later.
    pub fn late_body(mut self, delay: Duration) -> Self {
        self.late = Some(delay);
        self
    }

    /// Sends the body in pieces of `len` bytes, with `gap` between them.
    ///
    /// # Panics
    ///
    /// Panics if `len` is zero.
    pub fn slow_body(mut self, len: usize, gap: Duration) -> Self {
        assert_ne!(len, 0, "a piece of the body has at least one byte");
        self.pace = Some((len, gap));
        self
    }

    /// Sends only the first `after` bytes of the body, then closes the connection in good order
    /// (FIN).
    ///
    /// `Content-Length` says more than that: the length of the body, or `after + 1` if the body is
    /// not longer than `after`. Over HTTP/2 the stream ends there, and the connection stays.
    pub fn truncated(mut self, after: usize) -> Self {
        self.cut = Some(Cut { after, reset: false });
        self
    }

    /// Sends only the first `after` bytes of the body, then resets the connection as
    /// [`reset`](Self::reset) does.
    ///
    /// `Content-Length` is that of [`truncated`](Self::truncated). The bytes before the cut arrive
    /// if the socket buffers can hold them: a reset discards what the kernel has not yet delivered.
    pub fn reset_after(mut self, after: usize) -> Self {
        self.cut = Some(Cut { after, reset: true });
        self
    }

    /// Answers without reading the request body.
    ///
    /// What the client still sends is thrown away. Unless all of it is already there, HTTP/1.1
    /// closes the connection after the answer (FIN, not RST), and HTTP/2 resets the stream with
    /// `NO_ERROR`. A client that waits for `100 Continue` gets the answer instead.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Ends the connection after this answer: `Connection: close`, or a `GOAWAY` over HTTP/2.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// How long to wait before the answer.
    pub(crate) fn delay(&self, random: &mut Random) -> Duration {
        self.latency.saturating_add(random.duration(self.jitter))
    }

    /// The length to declare, if any.
    pub(crate) fn declared_len(&self) -> Option<u64> {
        let len = match self.cut {
            Some(cut) => self.body.len().max(cut.after.saturating_add(1)),
            None => self.body.len(),
        };
        // A `usize` has at most 64 bits wherever tokio runs.
        (!self.chunked).then_some(len as u64)
    }

    /// Leaves nothing that follows the head.
    pub(crate) fn drop_body(&mut self) {
        self.body = Bytes::new();
        self.trailers = HeaderMap::new();
        self.late = None;
        self.cut = None;
    }

    /// The announcement of the trailers.
    pub(crate) fn trailer_names(&self) -> Option<HeaderValue> {
        let names: Vec<&str> = self.trailers.keys().map(HeaderName::as_str).collect();
        match names.is_empty() {
            true => None,
            false => HeaderValue::try_from(names.join(", ")).ok(),
        }
    }
}

fn append<N, V>(headers: &mut HeaderMap, name: N, value: V)
where
    N: TryInto<HeaderName, Error: Debug>,
    V: TryInto<HeaderValue, Error: Debug>,
{
    let name = name.try_into().expect("a header name is a token");
    let value = value.try_into().expect("a header value has no control characters");
    headers.append(name, value);
}

impl Reply {
    /// The refusal of a rate limit.
    pub(crate) fn too_many_requests(retry_after: u64) -> Self {
        Self::status(429).header(header::RETRY_AFTER, retry_after)
    }
}
