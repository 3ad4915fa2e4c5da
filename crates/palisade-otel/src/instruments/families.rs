use Place::{Attempts, Calls, Served};

/// One instrument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) what: What,
    pub(super) description: &'static str,
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

/// Of what kind an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

impl What {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Active(_) | Self::Streams(_) => Kind::UpDownCounter,
            Self::Breakers => Kind::Gauge,
            Self::Times(_) | Self::HeadTimes(_) | Self::EventTimes(_) => Kind::Histogram,
            _ => Kind::Counter,
        }
    }
}

const fn family(
    name: &'static str,
    unit: &'static str,
    what: What,
    description: &'static str,
) -> Family {
    Family { name, unit, what, description }
}

const ACTIVE: &str = "Requests that have not ended.";
const DURATION: &str = "From a request to the end of its response's body, or to its error.";
const HEAD: &str = "From a request to the head of its response.";
const STREAMS: &str = "Event streams, tunnels and upgraded connections that have not ended.";
const SENT: &str = "Bytes of bodies that requests said they have.";
const RECEIVED: &str = "Bytes of responses' bodies that have come.";
const UNREAD: &str = "Responses given up before the end of their body.";

// Units in braces are no part of a name that a collector makes for Prometheus.
pub(super) const FAMILIES: &[Family] = &[
    family("http.client.request.duration", "s", What::Times(Attempts), DURATION),
    family("palisade.response.head.duration", "s", What::HeadTimes(Attempts), HEAD),
    family(
        "palisade.call.duration",
        "s",
        What::Times(Calls),
        "From a call to the end of its response's body, or to its error, all attempts included.",
    ),
    family("http.server.request.duration", "s", What::Times(Served), DURATION),
    family("palisade.served.head.duration", "s", What::HeadTimes(Served), HEAD),
    family(
        "palisade.limiter.wait",
        "s",
        What::EventTimes("waited"),
        "How long requests waited for a limiter, if they had to.",
    ),
    family(
        "palisade.token.refresh.duration",
        "s",
        What::EventTimes("refreshed"),
        "How long it took to fetch a credential anew, by what came of it.",
    ),
    family("http.client.active_requests", "{request}", What::Active(Attempts), ACTIVE),
    family("palisade.active_streams", "{stream}", What::Streams(Attempts), STREAMS),
    family("palisade.request.body", "By", What::Sent(Attempts), SENT),
    family("palisade.response.body", "By", What::Received(Attempts), RECEIVED),
    family("palisade.unread_responses", "{response}", What::Unread(Attempts), UNREAD),
    family(
        "palisade.attempt.outcomes",
        "{attempt}",
        What::Outcomes(Attempts),
        "Attempts by what they mean.",
    ),
    family(
        "palisade.attempt.unready",
        "{failure}",
        What::Unready(Attempts),
        "Failures before the client was ready for an attempt.",
    ),
    family("palisade.active_calls", "{call}", What::Active(Calls), "Calls that have not ended."),
    family("palisade.call.outcomes", "{call}", What::Outcomes(Calls), "Calls by what they mean."),
    family(
        "palisade.call.unready",
        "{failure}",
        What::Unready(Calls),
        "Failures before the stack was ready for a call.",
    ),
    family("http.server.active_requests", "{request}", What::Active(Served), ACTIVE),
    family("palisade.served.streams", "{stream}", What::Streams(Served), STREAMS),
    family("palisade.served.request.body", "By", What::Sent(Served), SENT),
    family("palisade.served.response.body", "By", What::Received(Served), RECEIVED),
    family("palisade.served.unread_responses", "{response}", What::Unread(Served), UNREAD),
    family(
        "palisade.served.outcomes",
        "{request}",
        What::Outcomes(Served),
        "Requests to the server by what they mean.",
    ),
    family(
        "palisade.served.unready",
        "{failure}",
        What::Unready(Served),
        "Failures before the server was ready for a request.",
    ),
    family("palisade.retries", "{retry}", What::Event("retry"), "Retries by what they follow."),
    family(
        "palisade.retries_settled",
        "{call}",
        What::Event("settled"),
        "Calls that were settled by a retry.",
    ),
    family(
        "palisade.retries_given_up",
        "{call}",
        What::Event("gave_up"),
        "Calls given up, by reason.",
    ),
    family(
        "palisade.breaker.transitions",
        "{transition}",
        What::Event("transition"),
        "Changes of a circuit breaker's state.",
    ),
    family(
        "palisade.refusals",
        "{request}",
        What::Event("refused"),
        "Requests that a layer refused to send.",
    ),
    family(
        "palisade.observed_refusals",
        "{request}",
        What::Event("would_refuse"),
        "Requests that a layer would refuse, if it did not only observe.",
    ),
    family("palisade.limiter.pauses", "{pause}", What::Event("paused"), "Pauses of a limiter."),
    family(
        "palisade.cache.requests",
        "{request}",
        What::Event("cache"),
        "What a cache did of requests.",
    ),
    family(
        "palisade.logins",
        "{login}",
        What::Event("login"),
        "What became of logins that are kept in a store.",
    ),
    family(
        "palisade.breaker.state",
        "{breaker}",
        What::Breakers,
        "1 for the state that a circuit breaker is in.",
    ),
    family(
        "palisade.labels_folded",
        "{request}",
        What::Folded,
        "Requests for which a label had no room, so that it says _OTHER.",
    ),
];
