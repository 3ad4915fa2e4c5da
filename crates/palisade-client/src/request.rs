mod credentials;
mod finish;

use std::{
    convert::identity,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header,
};
use http_body::Body as HttpBody;
use palisade_core::{BoxError, Idempotent};
use serde::Serialize;
use tower_service::Service;

use crate::{
    Body, ClientOf, Error, Multipart, ResponseFuture, Route, call::Call, error::Fact, fields,
    invalid::Invalid, template::Values,
};

/// A request in the making. What is wrong with it is told when it is sent.
#[must_use]
pub struct RequestBuilder<S> {
    client: ClientOf<S>,
    method: Method,
    route: Route,
    values: Values,
    query: String,
    headers: HeaderMap,
    type_by: TypeBy,
    extensions: Extensions,
    body: Body,
    patience: Option<Patience>,
    // The first thing that was wrong.
    invalid: Option<Invalid>,
}

/// Who says of what type the body is, if anybody does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypeBy {
    User,
    Body,
    // It names the boundary.
    Form,
}

/// How long an answer is waited for.
#[derive(Clone, Copy)]
enum Patience {
    For(Duration),
    Until(Instant),
}

impl<S> RequestBuilder<S> {
    pub(crate) fn new(client: ClientOf<S>, method: Method, route: Route) -> Self {
        Self {
            client,
            method,
            route,
            values: Values::default(),
            query: String::new(),
            headers: HeaderMap::new(),
            type_by: TypeBy::User,
            extensions: Extensions::new(),
            body: Body::empty(),
            patience: None,
            invalid: None,
        }
    }

    /// Gives the value that stands in the route for `{name}`.
    ///
    /// It stays in its segment, whatever it holds: all but letters, digits and
    /// `-._~` is percent-encoded. It is an error if it is empty, has a part
    /// that is `.` or `..`, or if the route has no place for it.
    pub fn path(self, name: &'static str, value: impl fmt::Display) -> Self {
        self.and_then(|request| request.values.push(name, &value))
    }

    /// Appends to the query: a struct, a map or pairs. A list becomes a pair
    /// for each of its values, and what is `None` is left out.
    pub fn query(self, pairs: &(impl Serialize + ?Sized)) -> Self {
        self.and_then(|request| {
            let start = request.query.len();
            request.query.push('&');
            let pairs = serde_html_form::to_string(pairs)
                .map_err(|error| Invalid::because("the query cannot be serialized", error))?;
            request.query.push_str(&pairs);
            if pairs.is_empty() {
                request.query.truncate(start);
            }
            Ok(())
        })
    }

    /// Adds a header field, in place of the client's default.
    ///
    /// What a request may have once, such as `content-type` or `host`, takes the place of a
    /// former one, and so do credentials, whose names [say so](palisade_core::is_secret).
    /// Of all else, such as `accept`, there may be several. Cookies are joined in one field.
    ///
    /// A `content-type` that is set here goes before that of [`json`](Self::json) and
    /// [`form`](Self::form), but not before that of [`multipart`](Self::multipart). A
    /// `content-length` is best left out: it is an error if it is not that of the body, and a
    /// stream is held to it as by [`Body::stream_with_length`].
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        self.and_then(|request| {
            let name = name.try_into().map_err(|_| Invalid::new("a header has no valid name"))?;
            let Ok(value) = value.try_into() else {
                return Err(Invalid::new(format!("the value of the header `{name}` is not valid")));
            };
            request.put(name, value)
        })
    }

    /// Sets header fields, in place of those of the same names; each goes by the rules of
    /// [`header`](Self::header).
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.and_then(|request| {
            let mut last = None;
            for (next, value) in headers {
                // A name comes with the first of its values.
                if let Some(name) = next {
                    // Whose type stands is known further in.
                    if name != header::CONTENT_TYPE {
                        request.headers.remove(&name);
                    }
                    last = Some(name);
                }
                if let Some(name) = &last {
                    request.put(name.clone(), value)?;
                }
            }
            Ok(())
        })
    }

    /// Sets the body. What [`json`](Self::json) and its like have said of another one's
    /// type goes with that.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.set_body(body.into());
        self
    }

    /// Sets a body that is read as it is sent, and can be sent once: see [`Body::stream`].
    ///
    /// To send it takes part of [the time](crate::ClientBuilder::attempt_timeout) that the
    /// answer is waited for, as it does with any body: give a long one a
    /// [`timeout`](Self::timeout) that it fits into.
    pub fn stream<B>(self, body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.body(Body::stream(body))
    }

    /// Sets a body of JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        self.and_then(|request| {
            let json = serde_json::to_vec(value)
                .map_err(|error| Invalid::because("the body cannot be serialized", error))?;
            request.set_typed(json.into(), "application/json")
        })
    }

    /// Sets a body of form fields, as `application/x-www-form-urlencoded`.
    pub fn form(self, fields: &(impl Serialize + ?Sized)) -> Self {
        self.and_then(|request| {
            let form = serde_html_form::to_string(fields)
                .map_err(|error| Invalid::because("the form cannot be serialized", error))?;
            request.set_typed(form.into(), "application/x-www-form-urlencoded")
        })
    }

    /// Sets a body of several parts: a form with files. Its type stands, whatever else is
    /// set: it cannot be read without its boundary.
    pub fn multipart(self, form: Multipart) -> Self {
        self.and_then(|request| {
            let (content_type, body) = form.finish()?;
            request.set_body(body);
            request.put(header::CONTENT_TYPE, content_type)?;
            request.type_by = TypeBy::Form;
            Ok(())
        })
    }

    /// Sets how long the answer is waited for, its body included, from when it
    /// is sent. Layers see it as a [`Deadline`](palisade_core::Deadline). Defaults
    /// to what the service allows. A body that is taken out of the response goes
    /// without. The timer is tokio's, so the answer has to be awaited in its runtime.
    ///
    /// A [`Client`](crate::Client) goes by it in place of its limits of [a
    /// call](crate::ClientBuilder::total_timeout) and of [an
    /// attempt](crate::ClientBuilder::attempt_timeout), be they shorter or longer: so an answer
    /// that is long in coming, or a body that is long in going, is not cut off. To have
    /// attempts cut off before, and made again, give the request a
    /// [`Timeouts::attempt`](crate::Timeouts::attempt) by [`extension`](Self::extension).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.patience = Some(Patience::For(timeout));
        self
    }

    /// Sets when the answer is of no use any more, as [`timeout`](Self::timeout) does. A
    /// client's limit of an attempt stays: it says nothing of how long an answer takes.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.patience = Some(Patience::Until(deadline));
        self
    }

    /// Says that it may be sent twice, whatever its method: see [`Idempotent`].
    pub fn idempotent(self) -> Self {
        self.extension(Idempotent)
    }

    /// Sets the `Idempotency-Key`, by which the server knows a request that it
    /// has had. So it may be sent twice.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header(HeaderName::from_static("idempotency-key"), key)
    }

    /// Puts something into the request's extensions: what a layer reads there.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// The request as it would be sent.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong with it.
    pub fn build(self) -> Result<Request<Body>, Error> {
        self.finish()
            .1
            .map_err(|(invalid, call)| Error::new(Fact::Request(invalid), Some(call), None))
    }

    /// Sends it by another service, once that is ready.
    pub(crate) fn send_by<N, R>(self, other: impl FnOnce(S) -> N) -> ResponseFuture<N, N::Future>
    where
        N: Service<Request<Body>, Response = Response<R>>,
    {
        let rules = self.client.settings.rules;
        match self.finish() {
            (service, Ok(request)) => ResponseFuture::new(other(service), request, rules),
            (_, Err((invalid, call))) => {
                ResponseFuture::failed(Error::new(Fact::Request(invalid), Some(call), None), rules)
            }
        }
    }

    /// What an error tells of it before it is made.
    pub(crate) fn call(&self) -> Call {
        let endpoint = self.route.endpoint(&self.method);
        Call { method: self.method.clone(), endpoint, uri: Uri::default() }
    }

    /// Takes a field, as if the user had set it.
    fn put(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Invalid> {
        if name == header::CONTENT_TYPE {
            if self.type_by == TypeBy::Form {
                return Ok(());
            }
            self.type_by = TypeBy::User;
        }
        fields::put(&mut self.headers, name, value)
    }

    fn set_body(&mut self, body: Body) {
        self.body = body;
        if self.type_by != TypeBy::User {
            self.headers.remove(header::CONTENT_TYPE);
            self.type_by = TypeBy::User;
        }
    }

    /// Sets a body that has a type, unless the user has said of which it is.
    fn set_typed(&mut self, body: Body, content_type: &'static str) -> Result<(), Invalid> {
        self.set_body(body);
        if !self.headers.contains_key(header::CONTENT_TYPE) {
            self.put(header::CONTENT_TYPE, HeaderValue::from_static(content_type))?;
            self.type_by = TypeBy::Body;
        }
        Ok(())
    }

    /// Takes the next step, if nothing was wrong so far.
    fn and_then(mut self, step: impl FnOnce(&mut Self) -> Result<(), Invalid>) -> Self {
        if self.invalid.is_none() {
            self.invalid = step(&mut self).err();
        }
        self
    }
}

impl<S, R> RequestBuilder<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
{
    /// Sends it by a clone of the service, once that is ready.
    ///
    /// # Cancel safety
    ///
    /// What the service does when its future is dropped happens when this one is.
    pub fn send(self) -> ResponseFuture<S, S::Future> {
        self.send_by(identity)
    }
}

impl<S> fmt::Debug for RequestBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("route", &self.route)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
