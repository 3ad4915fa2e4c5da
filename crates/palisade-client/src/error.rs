use std::{error::Error as StdError, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use palisade_core::{
    BoxError, ErrorKind, Fault, Refusal, RetryAfter, SystemClock, WallClock, find_cause,
};

use crate::{DecodeError, Problem, Report, blocking::CannotWait, call::Call, invalid::Invalid};

/// What went wrong with a request, or with its answer.
///
/// The text names what was asked for by its route template, never by its path
/// or query, and quotes no body: it may be logged. What it was caused by is
/// in [`source`](StdError::source), and the start of the answer in
/// [`body`](Self::body).
pub struct Error {
    inner: Box<Inner>,
}

/// At what an [`Error`] arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request could not be made as it was described; nothing was sent.
    Request,
    /// The service had no answer: see [`Error::service_kind`].
    Service,
    /// The answer's status is none of success.
    Status,
    /// The answer's body broke off, or came too late.
    Body,
    /// The answer's body is longer than the limit.
    TooLarge,
    /// The answer is of another type than was asked for.
    ContentType,
    /// The answer's body is no JSON, or not that of the type.
    Decode,
    /// The answer was decoded, and is not valid.
    Validation,
    /// The thread cannot block: it drives a runtime, or the one that would do the work
    /// could not be started. See [`blocking`](crate::blocking).
    Blocking,
}

impl Kind {
    /// Its name in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Service => "service",
            Self::Status => "status",
            Self::Body => "body",
            Self::TooLarge => "too_large",
            Self::ContentType => "content_type",
            Self::Decode => "decode",
            Self::Validation => "validation",
            Self::Blocking => "blocking",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

struct Inner {
    fact: Fact,
    call: Option<Call>,
    answer: Option<Answer>,
    index: Option<usize>,
}

pub(crate) enum Fact {
    Request(Invalid),
    Service(BoxError),
    Status(Option<Problem>),
    Body(BoxError),
    TooLarge(usize),
    ContentType(Option<String>),
    Decode(DecodeError),
    Validation(Report),
    Blocking(CannotWait),
}

/// What is known of an answer that is an error.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) truncated: bool,
}

impl Error {
    pub(crate) fn new(fact: Fact, call: Option<Call>, answer: Option<Answer>) -> Self {
        Self { inner: Box::new(Inner { fact, call, answer, index: None }) }
    }

    /// What a service has said; what it has of this crate stays what it is.
    pub(crate) fn of_service(error: BoxError, call: Call) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::new(Fact::Service(error), Some(call), None),
        }
    }

    /// The same, of one of many requests.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.inner.index = Some(index);
        self
    }

    /// At what it arose.
    pub fn kind(&self) -> Kind {
        match self.inner.fact {
            Fact::Request(_) => Kind::Request,
            Fact::Service(_) => Kind::Service,
            Fact::Status(_) => Kind::Status,
            Fact::Body(_) => Kind::Body,
            Fact::TooLarge(_) => Kind::TooLarge,
            Fact::ContentType(_) => Kind::ContentType,
            Fact::Decode(_) => Kind::Decode,
            Fact::Validation(_) => Kind::Validation,
            Fact::Blocking(_) => Kind::Blocking,
        }
    }

    /// What kind of failure the service or the body had, if that is what went wrong.
    pub fn service_kind(&self) -> Option<ErrorKind> {
        match &self.inner.fact {
            Fact::Service(error) | Fact::Body(error) => Some(ErrorKind::of(&**error)),
            _ => None,
        }
    }

    /// What went wrong in one word, for logs and metrics, of which there are few: the
    /// status as a number, [what the service or the body failed by](ErrorKind::as_str),
    /// or else the [kind](Kind::as_str).
    pub fn label(&self) -> &str {
        match (&self.inner.fact, &self.inner.answer) {
            (Fact::Status(_), Some(answer)) => answer.status.as_str(),
            _ => match self.service_kind() {
                Some(kind) => kind.as_str(),
                None => self.kind().as_str(),
            },
        }
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        self.service_kind() == Some(ErrorKind::Timeout)
    }

    /// Whether no connection came about: the name, the address, or TLS.
    pub fn is_connect(&self) -> bool {
        matches!(self.service_kind(), Some(ErrorKind::Connect | ErrorKind::Dns | ErrorKind::Tls))
    }

    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.answer.as_ref().map(|answer| answer.status)
    }

    /// The header fields of the answer, if there was one.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.inner.answer.as_ref().map(|answer| &answer.headers)
    }

    /// The body of the answer, or its start: at most 64 KiB. It may hold secrets.
    pub fn body(&self) -> Option<&Bytes> {
        self.inner.answer.as_ref().map(|answer| &answer.body)
    }

    /// Whether there is more of the answer than [`body`](Self::body) has.
    pub fn is_truncated(&self) -> bool {
        self.inner.answer.as_ref().is_some_and(|answer| answer.truncated)
    }

    /// How long to wait before another try makes sense, as the answer's
    /// `Retry-After` says, or the layer that refused the request.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.inner.fact {
            Fact::Service(error) => find_cause::<Refusal>(&**error)?.retry_after(),
            _ => RetryAfter::delay_of(self.headers()?, || SystemClock.now()),
        }
    }

    /// What the answer says went wrong: RFC 9457.
    pub fn problem(&self) -> Option<&Problem> {
        match &self.inner.fact {
            Fact::Status(problem) => problem.as_ref(),
            _ => None,
        }
    }

    /// Where and why the body did not decode.
    pub fn decode(&self) -> Option<&DecodeError> {
        match &self.inner.fact {
            Fact::Decode(error) => Some(error),
            _ => None,
        }
    }

    /// What is not valid in what was decoded.
    pub fn report(&self) -> Option<&Report> {
        match &self.inner.fact {
            Fact::Validation(report) => Some(report),
            _ => None,
        }
    }

    /// Where the request went, if it could be made; of an answer, where that [comes
    /// from](crate::Response::uri). Path and query may hold secrets.
    pub fn uri(&self) -> Option<&Uri> {
        self.inner.call.as_ref().map(|call| &call.uri).filter(|uri| uri.authority().is_some())
    }

    /// Which of many requests it was, counted from 0: see
    /// [`ClientOf::fetch_all`](crate::ClientOf::fetch_all).
    pub fn index(&self) -> Option<usize> {
        self.inner.index
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        let call = CallName(inner.call.as_ref());
        match &inner.fact {
            Fact::Request(invalid) => write!(f, "cannot make the request {call}: {invalid}"),
            Fact::Service(_) => write!(f, "no answer to {call}"),
            Fact::Status(_) => {
                write!(f, "answer to {call} has status ")?;
                match self.status() {
                    Some(status) => write!(f, "{status}")?,
                    None => f.write_str("unknown")?,
                }
                match self.retry_after() {
                    Some(delay) => write!(f, ": try again in {} s", delay.as_secs_f32().ceil()),
                    None => Ok(()),
                }
            }
            Fact::Body(_) => write!(f, "body of the answer to {call} broke off"),
            Fact::TooLarge(limit) => write!(
                f,
                "answer to {call} is longer than {limit} bytes: raise `body_limit`, or read it piece by piece from `into_body`"
            ),
            Fact::ContentType(found) => {
                write!(f, "answer to {call} is ")?;
                match found {
                    Some(found) => write!(f, "`{found}`")?,
                    None => f.write_str("of no known type")?,
                }
                f.write_str(" and not JSON: check the URL, or be `lenient`")
            }
            Fact::Decode(error) => {
                write!(f, "answer to {call} does not decode at {}", error.place())
            }
            Fact::Validation(_) => write!(f, "answer to {call} decodes, and is not valid"),
            Fact::Blocking(CannotWait::InsideRuntime) => write!(
                f,
                "cannot block inside of a runtime for {call}: use the asynchronous `Client`, or `spawn_blocking`"
            ),
            Fact::Blocking(CannotWait::NoThread(_)) => {
                write!(f, "cannot block for {call}: no thread could be started for its connections")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind());
        if let Some(call) = &self.inner.call {
            debug.field("call", &format_args!("{}", CallName(Some(call))));
        }
        if let Some(status) = self.status() {
            debug.field("status", &status.as_u16());
        }
        if let Some(index) = self.inner.index {
            debug.field("index", &index);
        }
        // What others say may hold a secret: of that the kind alone.
        match &self.inner.fact {
            Fact::Service(_) | Fact::Body(_) => debug.field("cause", &self.service_kind()),
            Fact::Request(invalid) => debug.field("cause", invalid),
            Fact::Decode(error) => debug.field("cause", error),
            Fact::Validation(report) => debug.field("cause", report),
            Fact::Blocking(CannotWait::NoThread(error)) => debug.field("cause", &error.kind()),
            Fact::Status(_)
            | Fact::TooLarge(_)
            | Fact::ContentType(_)
            | Fact::Blocking(CannotWait::InsideRuntime) => &mut debug,
        };
        debug.finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.inner.fact {
            Fact::Request(invalid) => invalid.cause(),
            Fact::Service(error) | Fact::Body(error) => Some(&**error),
            Fact::Decode(error) => Some(error),
            Fact::Validation(report) => Some(report),
            Fact::ContentType(_) => Some(&ErrorKind::Protocol),
            Fact::Blocking(CannotWait::NoThread(error)) => Some(error),
            Fact::Status(_) | Fact::TooLarge(_) | Fact::Blocking(CannotWait::InsideRuntime) => None,
        }
    }
}

/// The fact that a deadline has passed.
pub(crate) fn expired() -> BoxError {
    Fault::new(ErrorKind::Timeout, "the deadline of the request has passed").into()
}

struct CallName<'c>(Option<&'c Call>);

impl fmt::Display for CallName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(call) => fmt::Display::fmt(call, f),
            None => f.write_str("a request"),
        }
    }
}
