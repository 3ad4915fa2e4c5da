use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use opentelemetry::{
    Value,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracer, SdkTracerProvider, SpanData,
};
use palisade_core::{HttpClassify, Typed};
use palisade_otel::{TraceContext, TraceLayer};

pub(crate) type Layer<M = Typed> = TraceLayer<SdkTracer, TraceContext, HttpClassify<M>>;

/// A provider that keeps the spans that ended.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self::sampled(Sampler::AlwaysOn)
    }

    pub(crate) fn sampled(sampler: Sampler) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_simple_exporter(exporter.clone())
            .build();
        Self { exporter, provider }
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer_with_scope(palisade_otel::scope())
    }

    pub(crate) fn layer<M>(&self) -> Layer<M> {
        TraceLayer::new().tracer(self.tracer())
    }

    /// The spans that have ended, in that order.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// The span that has ended.
    pub(crate) fn span(&self) -> SpanData {
        let [span] = self.spans().try_into().expect("one span has ended");
        assert_eq!(span.span_kind, SpanKind::Client);
        span
    }

    /// One has ended: with this error, if with one.
    pub(crate) fn check_ended(&self, error: Option<&str>) {
        let span = self.span();
        let expected = if error.is_some() { Status::error("") } else { Status::Unset };
        assert_eq!(text(&span, "error.type").as_deref(), error);
        assert_eq!(span.status, expected);
    }
}

/// The value of an attribute, which is there no more than once.
pub(crate) fn value(span: &SpanData, name: &str) -> Option<Value> {
    let mut values = span.attributes.iter().filter(|attribute| attribute.key.as_str() == name);
    let value = values.next().map(|attribute| attribute.value.clone());
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

pub(crate) fn text(span: &SpanData, name: &str) -> Option<String> {
    value(span, name).map(|value| value.to_string())
}

pub(crate) type Call = Request<Empty<Bytes>>;

pub(crate) fn request(method: &str, uri: &str) -> Call {
    Request::builder().method(method).uri(uri).body(Empty::new()).unwrap()
}

/// A body of these frames, one with each poll.
#[derive(Debug, Default)]
pub(crate) struct Frames(VecDeque<Next>);

#[derive(Debug)]
pub(crate) enum Next {
    Data(&'static str),
    Fail,
    Panic,
}

impl Frames {
    pub(crate) fn new(frames: impl IntoIterator<Item = Next>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(|next| match next {
            Next::Data(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
            Next::Fail => Err(io::ErrorKind::ConnectionReset.into()),
            Next::Panic => panic!("the body panics"),
        }))
    }
}

pub(crate) fn response(status: u16) -> Response<Frames> {
    Response::builder().status(status).body(Frames::new([Next::Data("hello")])).unwrap()
}
