use super::{Family, Kind};
use crate::RequestGroup;

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, help }
}

/// What is told of the requests at one place of the stack.
pub(super) struct Names {
    /// The label of the endpoint.
    pub(super) template: &'static str,
    /// The first status that is an error.
    pub(super) fails_from: u16,
    pub(super) duration: Family,
    pub(super) active: Family,
    pub(super) outcomes: Family,
    pub(super) unready: Family,
    // Of what is measured where the bytes are.
    pub(super) wire: Option<Wire>,
}

pub(super) type Sum = (Family, fn(&RequestGroup) -> u64);

pub(super) struct Wire {
    pub(super) head: Family,
    pub(super) streams: Family,
    pub(super) sums: [Sum; 3],
}

const fn wire(head: &'static str, streams: &'static str, sums: [&'static str; 3]) -> Wire {
    let [sent, received, unread] = sums;
    Wire {
        head: family(head, Kind::Histogram, "From a request to the head of its response."),
        streams: family(
            streams,
            Kind::Gauge,
            "Event streams, tunnels and upgraded connections that have not ended.",
        ),
        sums: [
            (
                family(sent, Kind::Counter, "Bytes of bodies that requests said they have."),
                |group| group.sent,
            ),
            (
                family(received, Kind::Counter, "Bytes of responses' bodies that have come."),
                |group| group.received,
            ),
            (
                family(unread, Kind::Counter, "Responses given up before the end of their body."),
                |group| group.unread,
            ),
        ],
    }
}

/// OpenTelemetry's semantic conventions for HTTP clients count what goes over
/// the wire.
pub(super) const ATTEMPTS: Names = Names {
    template: "url_template",
    fails_from: 400,
    duration: family(
        "http_client_request_duration_seconds",
        Kind::Histogram,
        "From a request to the end of its response's body, or to its error.",
    ),
    active: family("http_client_active_requests", Kind::Gauge, "Requests that have not ended."),
    outcomes: family("palisade_attempt_outcomes", Kind::Counter, "Attempts by what they mean."),
    unready: family(
        "palisade_attempt_unready",
        Kind::Counter,
        "Failures before the client was ready for an attempt.",
    ),
    wire: Some(wire(
        "palisade_response_head_duration_seconds",
        "palisade_active_streams",
        [
            "palisade_request_body_bytes",
            "palisade_response_body_bytes",
            "palisade_unread_responses",
        ],
    )),
};

pub(super) const CALLS: Names = Names {
    template: "url_template",
    fails_from: 400,
    duration: family(
        "palisade_call_duration_seconds",
        Kind::Histogram,
        "From a call to the end of its response's body, or to its error, all attempts included.",
    ),
    active: family("palisade_active_calls", Kind::Gauge, "Calls that have not ended."),
    outcomes: family("palisade_call_outcomes", Kind::Counter, "Calls by what they mean."),
    unready: family(
        "palisade_call_unready",
        Kind::Counter,
        "Failures before the stack was ready for a call.",
    ),
    wire: None,
};

pub(super) const SERVED: Names = Names {
    template: "http_route",
    fails_from: 500,
    duration: family(
        "http_server_request_duration_seconds",
        Kind::Histogram,
        "From a request to the end of its response's body, or to its error.",
    ),
    active: family("http_server_active_requests", Kind::Gauge, "Requests that have not ended."),
    outcomes: family(
        "palisade_served_outcomes",
        Kind::Counter,
        "Requests to the server by what they mean.",
    ),
    unready: family(
        "palisade_served_unready",
        Kind::Counter,
        "Failures before the server was ready for a request.",
    ),
    wire: Some(wire(
        "palisade_served_head_duration_seconds",
        "palisade_served_streams",
        [
            "palisade_served_request_body_bytes",
            "palisade_served_response_body_bytes",
            "palisade_served_unread_responses",
        ],
    )),
};

pub(super) const EVENTS: [(&str, Family); 11] = [
    ("retry", family("palisade_retries", Kind::Counter, "Retries by what they follow.")),
    (
        "settled",
        family("palisade_retries_settled", Kind::Counter, "Calls that were settled by a retry."),
    ),
    ("gave_up", family("palisade_retries_given_up", Kind::Counter, "Calls given up, by reason.")),
    (
        "transition",
        family(
            "palisade_breaker_transitions",
            Kind::Counter,
            "Changes of a circuit breaker's state.",
        ),
    ),
    (
        "refused",
        family("palisade_refusals", Kind::Counter, "Requests that a layer refused to send."),
    ),
    (
        "would_refuse",
        family(
            "palisade_observed_refusals",
            Kind::Counter,
            "Requests that a layer would refuse, if it did not only observe.",
        ),
    ),
    (
        "waited",
        family(
            "palisade_limiter_wait_seconds",
            Kind::Histogram,
            "How long requests waited for a limiter, if they had to.",
        ),
    ),
    ("paused", family("palisade_limiter_pauses", Kind::Counter, "Pauses of a limiter.")),
    ("cache", family("palisade_cache_requests", Kind::Counter, "What a cache did of requests.")),
    (
        "refreshed",
        family(
            "palisade_token_refresh_duration_seconds",
            Kind::Histogram,
            "How long it took to fetch a credential anew, by what came of it.",
        ),
    ),
    (
        "login",
        family("palisade_logins", Kind::Counter, "What became of logins that are kept in a store."),
    ),
];

pub(super) const BREAKER: Family =
    family("palisade_breaker_state", Kind::Gauge, "1 for the state that a circuit breaker is in.");

pub(super) const FOLDED: Family = family(
    "palisade_labels_folded",
    Kind::Counter,
    "Requests for which a label had no room, so that it says _OTHER.",
);
