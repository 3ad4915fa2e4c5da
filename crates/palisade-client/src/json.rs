use std::{
    error::Error as StdError,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{StatusCode, response::Parts};
use http_body::Body as HttpBody;
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;

use crate::{
    Error, Kind, Report, Validate,
    call::Call,
    collect::{Collect, Collected, End},
    decode::{check_type, decode},
    error::{Answer, Fact},
    expiry::Expiry,
    response::{Rules, status_error},
};

pin_project! {
    /// The future of [`Response::json`](crate::Response::json).
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Json<T, B, V = ()> {
        #[pin]
        collect: Collect<B>,
        // The head of the answer, until it is over.
        head: Option<(Parts, Call)>,
        limit: usize,
        purpose: Purpose,
        validate: V,
        value: PhantomData<fn() -> T>,
    }
}

/// What the body is read for.
enum Purpose {
    Value,
    // The status is none of success.
    Status,
    // It is something else than JSON.
    OtherType(Option<String>),
}

impl<T, B: HttpBody> Json<T, B> {
    pub(crate) fn new(head: Parts, body: B, call: Call, rules: Rules, expiry: Expiry) -> Self {
        let purpose = if !head.status.is_success() {
            Purpose::Status
        } else if rules.lenient || body.is_end_stream() {
            Purpose::Value
        } else {
            check_type(&head.headers).map_or_else(Purpose::OtherType, |()| Purpose::Value)
        };
        let collect = match purpose {
            Purpose::Value => Collect::whole(body, rules.limit, expiry),
            Purpose::Status | Purpose::OtherType(_) => Collect::start(body, rules.limit, expiry),
        };
        Self {
            collect,
            head: Some((head, call)),
            limit: rules.limit,
            purpose,
            validate: (),
            value: PhantomData,
        }
    }

    /// Sets what is asked of the value, once it is decoded. Defaults to nothing.
    pub fn valid_by<V: Validate<T>>(self, validate: V) -> Json<T, B, V> {
        let Self { collect, head, limit, purpose, validate: (), value } = self;
        Json { collect, head, limit, purpose, validate, value }
    }
}

impl<T, B, V> Json<T, B, V>
where
    T: DeserializeOwned,
    B: HttpBody<Error: Into<BoxError>>,
    V: Validate<T>,
{
    /// The value, with the head of its answer.
    pub(crate) fn poll_answer(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Parts, T), Error>> {
        let this = self.project();
        let Collected { bytes, end } = ready!(this.collect.poll(cx));
        let (head, call) = this.head.take().expect("polled after it was ready");
        let whole = matches!(end, End::Whole);
        let fact = match (this.purpose, end) {
            (Purpose::Status, _) => {
                return Poll::Ready(Err(status_error(head, call, &bytes, whole)));
            }
            // A 204 with a type is none of another type.
            (Purpose::OtherType(found), _) if !bytes.is_empty() => Fact::ContentType(found.take()),
            (_, End::TooLarge) => Fact::TooLarge(*this.limit),
            (_, End::Broken(error)) => Fact::Body(error),
            (_, End::Whole) => match value_of(&bytes, this.validate) {
                Ok(value) => return Poll::Ready(Ok((head, value))),
                Err(fact) => fact,
            },
        };
        Poll::Ready(Err(Error::new(fact, Some(call), Some(Answer::new(head, &bytes, !whole)))))
    }
}

impl<T, B, V> Future for Json<T, B, V>
where
    T: DeserializeOwned,
    B: HttpBody<Error: Into<BoxError>>,
    V: Validate<T>,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map_ok(|(_, value)| value)
    }
}

fn value_of<T, V>(bytes: &[u8], validate: &V) -> Result<T, Fact>
where
    T: DeserializeOwned,
    V: Validate<T>,
{
    let value = decode(bytes).map_err(Fact::Decode)?;
    let mut report = Report::default();
    validate.validate(&value, &mut report);
    if report.is_empty() { Ok(value) } else { Err(Fact::Validation(report)) }
}

impl<T, B, V> fmt::Debug for Json<T, B, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").finish_non_exhaustive()
    }
}

/// An error of an API, in its own words: see [`Response::json_or`](crate::Response::json_or).
pub struct Refused<E> {
    error: Error,
    value: E,
}

impl<E> Refused<E> {
    /// What the API says.
    pub fn value(&self) -> &E {
        &self.value
    }

    /// What the API says.
    pub fn into_value(self) -> E {
        self.value
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.error.status().unwrap_or_default()
    }

    /// The same as an error that does not know the API.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The same as an error that does not know the API.
    pub fn into_error(self) -> Error {
        self.error
    }
}

impl<E: DeserializeOwned> Refused<E> {
    /// The error of an API, if it is one of those and not another error.
    pub(crate) fn of(error: Error) -> Result<Self, Error> {
        let (Kind::Status, Some(body), false) = (error.kind(), error.body(), error.is_truncated())
        else {
            return Err(error);
        };
        match decode(body) {
            Ok(value) => Ok(Self { error, value }),
            Err(_) => Err(error),
        }
    }
}

/// What an API says may hold secrets.
impl<E> fmt::Debug for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<E> fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E> StdError for Refused<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}
