use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, global,
    propagation::{Injector, TextMapPropagator},
    trace::{TraceContextExt, TraceFlags},
};

/// Writes a span into the header fields of its request, so that the server goes
/// on with the trace.
///
/// Every [`TextMapPropagator`] does. Fields that the caller has set are never
/// overwritten: if one of its fields is there, it writes none.
pub trait Propagate {
    /// Writes the span of this context.
    fn propagate(&self, context: &Context, headers: &mut HeaderMap);
}

impl<P: TextMapPropagator> Propagate for P {
    fn propagate(&self, context: &Context, headers: &mut HeaderMap) {
        inject_with(self, context, headers);
    }
}

/// Writes `traceparent` and `tracestate` ([W3C Trace Context][w3c]), and no
/// baggage.
///
/// [w3c]: https://www.w3.org/TR/trace-context/
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceContext;

impl Propagate for TraceContext {
    fn propagate(&self, context: &Context, headers: &mut HeaderMap) {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() || headers.contains_key(PARENT) || headers.contains_key(STATE) {
            return;
        }
        // What other flags mean, no one knows yet (section 3.2.2.5.2).
        let flags = span.trace_flags() & TraceFlags::SAMPLED;
        let parent = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
        set(headers, PARENT, &parent);
        set(headers, STATE, &span.trace_state().header());
    }
}

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Writes what the global propagator of OpenTelemetry writes: nothing, if there
/// is none, and baggage as well, if it is told to.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalPropagator;

impl Propagate for GlobalPropagator {
    fn propagate(&self, context: &Context, headers: &mut HeaderMap) {
        global::get_text_map_propagator(|propagator| inject_with(propagator, context, headers));
    }
}

fn inject_with<P>(propagator: &P, context: &Context, headers: &mut HeaderMap)
where
    P: TextMapPropagator + ?Sized,
{
    if !propagator.fields().any(|field| headers.contains_key(field)) {
        propagator.inject_context(context, &mut Fields(headers));
    }
}

struct Fields<'h>(&'h mut HeaderMap);

impl Injector for Fields<'_> {
    fn set(&mut self, key: &str, value: String) {
        set(self.0, key, &value);
    }
}

/// What is no header field is left out, and what is empty says nothing.
fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let field = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
    if let Some((name, value)) = field
        && !value.is_empty()
    {
        // A map that is full does without.
        let _ = headers.try_insert(name, value);
    }
}
