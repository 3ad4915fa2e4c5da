/// One instrument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
    pub(super) what: What,
}

/// Of what kind an instrument of single values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
}

/// Where in a snapshot its values are.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Active(Place),
    Streams(Place),
    Sent(Place),
    Received(Place),
    Unread(Place),
    Outcomes(Place),
    Unready(Place),
    Event(&'static str),
    Breakers,
    Folded,
    // Of histograms.
    Times(Place),
    HeadTimes(Place),
    EventTimes(&'static str),
}

/// A place of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Attempts,
    Calls,
    Served,
}

use Place::{Attempts, Calls, Served};

const fn family(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    what: What,
    description: &'static str,
) -> Family {
    Family { name, unit, description, kind, what }
}

const fn counter(name: &'static str, unit: &'static str, what: What, says: &'static str) -> Family {
    family(Kind::Counter, name, unit, what, says)
}

const fn level(name: &'static str, unit: &'static str, what: What, says: &'static str) -> Family {
    family(Kind::UpDownCounter, name, unit, what, says)
}

// A histogram is told, not observed, so its kind is not looked at.
const fn seconds(name: &'static str, what: What, says: &'static str) -> Family {
    family(Kind::Counter, name, "s", what, says)
}

const ACTIVE: &str = "Requests that have not ended.";
const DURATION: &str = "From a request to the end of its response's body, or to its error.";
const HEAD: &str = "From a request to the head of its response.";
const STREAMS: &str = "Event streams, tunnels and upgraded connections that have not ended.";
const SENT: &str = "Bytes of bodies that requests said they have.";
const RECEIVED: &str = "Bytes of responses' bodies that have come.";
const UNREAD: &str = "Responses given up before the end of their body.";

pub(super) const HISTOGRAMS: &[Family] = &[
    seconds("http.client.request.duration", What::Times(Attempts), DURATION),
    seconds("palisade.response.head.duration", What::HeadTimes(Attempts), HEAD),
    seconds(
        "palisade.call.duration",
        What::Times(Calls),
        "From a call to the end of its response's body, or to its error, all attempts included.",
    ),
    seconds("http.server.request.duration", What::Times(Served), DURATION),
    seconds("palisade.served.head.duration", What::HeadTimes(Served), HEAD),
    seconds(
        "palisade.limiter.wait",
        What::EventTimes("waited"),
        "How long requests waited for a limiter, if they had to.",
    ),
    seconds(
        "palisade.token.refresh.duration",
        What::EventTimes("refreshed"),
        "How long it took to fetch a credential anew, by what came of it.",
    ),
];

// Units in braces are no part of a name that a collector makes for Prometheus.
pub(super) const VALUES: &[Family] = &[
    level("http.client.active_requests", "{request}", What::Active(Attempts), ACTIVE),
    level("palisade.active_streams", "{stream}", What::Streams(Attempts), STREAMS),
    counter("palisade.request.body", "By", What::Sent(Attempts), SENT),
    counter("palisade.response.body", "By", What::Received(Attempts), RECEIVED),
    counter("palisade.unread_responses", "{response}", What::Unread(Attempts), UNREAD),
    counter(
        "palisade.attempt.outcomes",
        "{attempt}",
        What::Outcomes(Attempts),
        "Attempts by what they mean.",
    ),
    counter(
        "palisade.attempt.unready",
        "{failure}",
        What::Unready(Attempts),
        "Failures before the client was ready for an attempt.",
    ),
    level("palisade.active_calls", "{call}", What::Active(Calls), "Calls that have not ended."),
    counter("palisade.call.outcomes", "{call}", What::Outcomes(Calls), "Calls by what they mean."),
    counter(
        "palisade.call.unready",
        "{failure}",
        What::Unready(Calls),
        "Failures before the stack was ready for a call.",
    ),
    level("http.server.active_requests", "{request}", What::Active(Served), ACTIVE),
    level("palisade.served.streams", "{stream}", What::Streams(Served), STREAMS),
    counter("palisade.served.request.body", "By", What::Sent(Served), SENT),
    counter("palisade.served.response.body", "By", What::Received(Served), RECEIVED),
    counter("palisade.served.unread_responses", "{response}", What::Unread(Served), UNREAD),
    counter(
        "palisade.served.outcomes",
        "{request}",
        What::Outcomes(Served),
        "Requests to the server by what they mean.",
    ),
    counter(
        "palisade.served.unready",
        "{failure}",
        What::Unready(Served),
        "Failures before the server was ready for a request.",
    ),
    counter("palisade.retries", "{retry}", What::Event("retry"), "Retries by what they follow."),
    counter(
        "palisade.retries_settled",
        "{call}",
        What::Event("settled"),
        "Calls that were settled by a retry.",
    ),
    counter(
        "palisade.retries_given_up",
        "{call}",
        What::Event("gave_up"),
        "Calls given up, by reason.",
    ),
    counter(
        "palisade.breaker.transitions",
        "{transition}",
        What::Event("transition"),
        "Changes of a circuit breaker's state.",
    ),
    counter(
        "palisade.refusals",
        "{request}",
        What::Event("refused"),
        "Requests that a layer refused to send.",
    ),
    counter(
        "palisade.observed_refusals",
        "{request}",
        What::Event("would_refuse"),
        "Requests that a layer would refuse, if it did not only observe.",
    ),
    counter("palisade.limiter.pauses", "{pause}", What::Event("paused"), "Pauses of a limiter."),
    counter(
        "palisade.cache.requests",
        "{request}",
        What::Event("cache"),
        "What a cache did of requests.",
    ),
    family(
        Kind::Gauge,
        "palisade.breaker.state",
        "{breaker}",
        What::Breakers,
        "1 for the state that a circuit breaker is in.",
    ),
    counter(
        "palisade.labels_folded",
        "{request}",
        What::Folded,
        "Requests for which a label had no room, so that it says _OTHER.",
    ),
];
