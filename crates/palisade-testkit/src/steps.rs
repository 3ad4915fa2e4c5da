use std::time::Duration;

use bytes::Bytes;

/// What a [`FaultServer`](crate::FaultServer) does with one connection, step by step.
///
/// After the last step the connection is closed in good order, as by [`close`](Self::close). When
/// the client closes first, the next step that reads or writes ends it.
///
/// ```
/// use std::time::Duration;
///
/// use palisade_testkit::Steps;
///
/// // Half of the body, a pause, then a reset.
/// let steps = Steps::new()
///     .read_head()
///     .write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
///     .wait(Duration::from_millis(1))
///     .reset();
/// ```
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Steps(pub(crate) Vec<Step>);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    ReadHead,
    ReadExact(usize),
    ReadUntilIdle(Duration),
    ReadToEnd,
    Write(Bytes),
    WriteForever(Bytes),
    Wait(Duration),
    Close,
    Reset,
    Stall,
    Http2(Http2),
}

/// How the hand-written HTTP/2 server behaves after it has exchanged settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http2 {
    GoAway,
    GoAwayOnRequest,
    RefuseStreams,
}

impl Steps {
    /// No steps: the connection is accepted and closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads to the end of a request head: the first empty line.
    pub fn read_head(self) -> Self {
        self.then(Step::ReadHead)
    }

    /// Reads so many bytes.
    pub fn read_exact(self, len: usize) -> Self {
        self.then(Step::ReadExact(len))
    }

    /// Reads until nothing has come for so long.
    pub fn read_until_idle(self, idle: Duration) -> Self {
        self.then(Step::ReadUntilIdle(idle))
    }

    /// Reads, and says nothing, until the client closes.
    pub fn read_to_end(self) -> Self {
        self.then(Step::ReadToEnd)
    }

    /// Writes these bytes.
    pub fn write(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Write(bytes.into()))
    }

    /// Writes these bytes again and again until the client closes.
    ///
    /// # Panics
    ///
    /// Panics if there are no bytes.
    pub fn write_forever(self, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        assert!(!bytes.is_empty(), "there is something to write");
        self.then(Step::WriteForever(bytes))
    }

    /// Waits, on tokio's clock, and reads nothing meanwhile.
    pub fn wait(self, delay: Duration) -> Self {
        self.then(Step::Wait(delay))
    }

    /// Closes in good order: FIN, then whatever the client still sends is read and thrown away.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection (RST).
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Neither reads nor writes, until the server stops. [`read_to_end`](Self::read_to_end) stays
    /// silent as well, but takes what comes and notices when the client closes.
    pub fn stall(self) -> Self {
        self.then(Step::Stall)
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

/// Ready-made steps. Those over HTTP/1.1 read the head of the request first, if nothing else is
/// said.
impl Steps {
    /// A proper `200` with this body; the connection is closed after it.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Self::new().read_head().write(head).write(body)
    }

    /// Something that is not HTTP.
    pub fn garbage() -> Self {
        Self::new().read_head().write(&b"\x15\x03\x03\x00\x02\x02\x16 this is not HTTP\r\n\r\n"[..])
    }

    /// Half a head, then a proper close.
    pub fn half_head() -> Self {
        Self::new().read_head().write(HALF_HEAD)
    }

    /// Half a head, then a reset.
    pub fn reset_in_head() -> Self {
        Self::half_head().reset()
    }

    /// A `Content-Length` of 10 for a body of 5 bytes, then a proper close.
    pub fn content_length_too_long() -> Self {
        Self::new().read_head().write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    }

    /// A `Content-Length` of 5 for a body of 10 bytes, `helloworld`, on a connection that stays
    /// open.
    pub fn content_length_too_short() -> Self {
        Self::new()
            .read_head()
            .write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloworld")
            .read_to_end()
    }

    /// A head that never ends.
    pub fn endless_headers() -> Self {
        Self::new()
            .read_head()
            .write("HTTP/1.1 200 OK\r\n")
            .write_forever("x-endless: on and on and on\r\n".repeat(100))
    }

    /// `100 Continue` and `103 Early Hints`, then `200` with the body `hello`.
    pub fn informational() -> Self {
        Self::new()
            .read_head()
            .write("HTTP/1.1 100 Continue\r\n\r\n")
            .write("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
            .write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
    }

    /// A chunked body whose second chunk has no valid size. The first is `hello`.
    pub fn bad_chunk() -> Self {
        Self::new()
            .read_head()
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nfive\r\nworld\r\n0\r\n\r\n")
    }

    /// A whole `200` before anything was read, on a connection that stays open.
    pub fn unsolicited() -> Self {
        Self::new().write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").read_to_end()
    }

    /// A whole `413` to the head of the request. The body is never read, and the connection stays
    /// open.
    pub fn answer_before_body() -> Self {
        Self::new()
            .read_head()
            .write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nhello")
            .stall()
    }

    /// An HTTP/1.0 answer without `Content-Length`: its body, `hello`, ends with the connection.
    pub fn close_delimited() -> Self {
        Self::new().read_head().write("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello")
    }

    /// HTTP/2: `GOAWAY` with `NO_ERROR` and last stream 0 as soon as the client's preface is there,
    /// whether or not a request has come with it.
    pub fn h2_go_away() -> Self {
        Self::new().then(Step::Http2(Http2::GoAway))
    }

    /// HTTP/2: the same `GOAWAY` in answer to the first request, which therefore was not processed.
    pub fn h2_go_away_on_request() -> Self {
        Self::new().then(Step::Http2(Http2::GoAwayOnRequest))
    }

    /// HTTP/2: every stream is reset with `REFUSED_STREAM`.
    pub fn h2_refused_stream() -> Self {
        Self::new().then(Step::Http2(Http2::RefuseStreams))
    }
}

const HALF_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-le";
