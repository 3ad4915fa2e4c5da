use http::{Method, Request, Response, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue, StringValue,
    trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use palisade_core::{Attempt, ErrorKind, Head, is_stream};

use crate::{
    Propagate,
    layer::{Common, Rules},
    semconv::{
        ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_REQUEST_RESEND_COUNT,
        HTTP_RESPONSE_STATUS_CODE, NETWORK_PROTOCOL_VERSION, OTHER, SERVER_ADDRESS, SERVER_PORT,
        URL_FULL, URL_SCHEME, URL_TEMPLATE,
    },
    server::Server,
};

/// The span of a request that has not been answered. It ends once: when it is
/// told so, or dropped.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    // Nothing, where telemetry is suppressed.
    context: Option<Context>,
    // Whether it is still to be ended, and anyone will read it.
    open: bool,
    // Set while the service is at work, and so for ever once it panics.
    at_work: bool,
    // CONNECT turns a connection into a tunnel.
    connects: bool,
}

impl RequestSpan {
    /// Starts the span of a request, as a child of the current one, and writes
    /// it into the header fields, if the request goes to where that may be told.
    pub(crate) fn start<T, P, C, B>(rules: &Rules<T, P, C>, request: &mut Request<B>) -> Self
    where
        T: Tracer<Span: Send + Sync + 'static>,
        P: Propagate,
    {
        let connects = request.method() == Method::CONNECT;
        let parent = Context::current();
        if parent.is_telemetry_suppressed() {
            return Self { context: None, open: false, at_work: false, connects };
        }
        let common = &rules.common;
        let head = Head::of(request);
        let mut span = rules.tracer.build_with_context(describe(common, head), &parent);
        let open = span.is_recording();
        if open {
            span.set_attributes(details(common, head));
        }
        let context = parent.with_span(span);
        if common.propagate.contains(request.uri()) {
            rules.propagator.propagate(&context, request.headers_mut());
        }
        Self { context: Some(context), open, at_work: false, connects }
    }

    /// Lets the service work within the span, and remembers if it panics.
    pub(crate) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.at_work = true;
        let done = within(self.context.as_ref(), work);
        self.at_work = false;
        done
    }

    /// The request has failed. Whoever says how may panic as well.
    pub(crate) fn failed(&mut self, kind: impl FnOnce() -> ErrorKind) {
        if self.open {
            let kind = self.work(kind);
            self.end(kind);
        }
    }

    fn end(&mut self, error: ErrorKind) {
        if let Some(context) = self.take() {
            Rest { context, status: None }.end(Some(error));
        }
    }

    /// The head of its response is there. Returns what the body is polled
    /// within, and what is left of the span, unless it ends here.
    pub(crate) fn answered<B>(
        &mut self,
        response: &Response<B>,
    ) -> (Option<Context>, Option<Rest>) {
        let stream = is_stream(response, self.connects);
        let rest = self.take().map(|context| {
            context.span().set_attributes(answer(response));
            Rest { context, status: Some(response.status()) }
        });
        match (stream, rest) {
            (false, rest) => (self.context.take(), rest),
            (true, rest) => {
                rest.into_iter().for_each(|rest| rest.end(None));
                // What comes later is no part of it.
                (None, None)
            }
        }
    }

    fn take(&mut self) -> Option<Context> {
        std::mem::take(&mut self.open).then(|| self.context.clone())?
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        self.end(if self.at_work { ErrorKind::Panic } else { ErrorKind::Cancelled });
    }
}

/// What is left of a span when the head of the response is there.
#[derive(Debug)]
pub(crate) struct Rest {
    context: Context,
    status: Option<StatusCode>,
}

impl Rest {
    /// Ends the span.
    pub(crate) fn end(self, error: Option<ErrorKind>) {
        let span = self.context.span();
        if let Some(error) = error_type(error, self.status) {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error));
            // Nothing is said that the attributes do not say: texts of errors tell too much.
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Does this with the context as the current one.
pub(crate) fn within<T>(context: Option<&Context>, work: impl FnOnce() -> T) -> T {
    // Taken back before anything else is polled, and by a panic as well.
    let _attached = context.map(|context| context.clone().attach());
    work()
}

/// What a sampler may go by.
fn describe(common: &Common, head: Head<'_>) -> SpanBuilder {
    let method = common.methods.name(head.method);
    let template = head.endpoint().map(|endpoint| endpoint.template());
    let scheme = head.uri.scheme_str();
    let server = head.authority().map(|authority| Server::of(authority, scheme));

    let verb = method.as_deref().unwrap_or("HTTP");
    let name = match (template, &method) {
        (Some(template), _) => format!("{verb} {template}").into(),
        (None, None) => "HTTP".into(),
        (None, Some(method)) => method.clone(),
    };
    let mut attributes = Vec::with_capacity(10);
    let mut add = |key, value: opentelemetry::Value| attributes.push(KeyValue::new(key, value));
    add(HTTP_REQUEST_METHOD, method.map_or_else(|| OTHER.into(), Into::into));
    if let Some(server) = server {
        add(SERVER_ADDRESS, server.address.to_owned().into());
        if let Some(port) = server.port {
            add(SERVER_PORT, i64::from(port).into());
        }
    }
    if let Some(url) = common.redact.url(head.uri) {
        add(URL_FULL, url.into());
    }
    if let Some(scheme) = scheme {
        add(URL_SCHEME, scheme_name(scheme));
    }
    if let Some(template) = template {
        add(URL_TEMPLATE, template.into());
    }
    SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_attributes(attributes)
}

fn scheme_name(scheme: &str) -> opentelemetry::Value {
    match scheme {
        "https" => "https".into(),
        "http" => "http".into(),
        other => other.to_owned().into(),
    }
}

/// What is added if the span is recorded.
fn details(common: &Common, head: Head<'_>) -> impl Iterator<Item = KeyValue> {
    let original = common
        .methods
        .name(head.method)
        .is_none()
        .then(|| KeyValue::new(HTTP_REQUEST_METHOD_ORIGINAL, head.method.as_str().to_owned()));
    let resends = Attempt::of(head.extensions).resends();
    let resends =
        (resends != 0).then(|| KeyValue::new(HTTP_REQUEST_RESEND_COUNT, i64::from(resends)));
    original.into_iter().chain(resends)
}

fn answer<B>(response: &Response<B>) -> impl Iterator<Item = KeyValue> {
    let status = i64::from(response.status().as_u16());
    let version = version(response.version());
    let version = version.map(|version| KeyValue::new(NETWORK_PROTOCOL_VERSION, version));
    [KeyValue::new(HTTP_RESPONSE_STATUS_CODE, status)].into_iter().chain(version)
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// A word of which there are few. To a client, a status from 400 on is an error.
fn error_type(error: Option<ErrorKind>, status: Option<StatusCode>) -> Option<StringValue> {
    let status = || status.filter(|status| 400 <= status.as_u16());
    match error {
        Some(kind) => Some(kind.as_str().into()),
        None => status().map(|status| status.as_str().to_owned().into()),
    }
}
