use std::fmt;

use crate::{RequestGroup, RequestResult, Requests, Snapshot, Times};

/// Where an export goes: it is told one family of series after the other.
pub(crate) trait Sink {
    /// Begins a family. All of its series follow.
    fn family(&mut self, family: &Family) -> fmt::Result;

    /// A counter or a gauge.
    fn value(&mut self, family: &Family, labels: &Labels<'_>, value: u64) -> fmt::Result;

    /// A histogram.
    fn times(&mut self, family: &Family, labels: &Labels<'_>, times: &Times) -> fmt::Result;
}

/// What a family measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// Without `_total`, whatever it is.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a series; those without a value are left out.
pub(crate) type Labels<'a> = [(&'static str, Option<&'a str>)];

impl Family {
    /// What Prometheus adds to the name.
    pub(crate) fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    /// The unit, if it has one.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit))
    }
}

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, help }
}

/// What is told of the requests at one place of the stack.
struct Names {
    duration: Family,
    active: Family,
    outcomes: Family,
    unready: Family,
}

/// OpenTelemetry's semantic conventions for HTTP clients count what goes over
/// the wire.
const ATTEMPTS: Names = Names {
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
};

const CALLS: Names = Names {
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
};

const HEAD: Family = family(
    "palisade_response_head_duration_seconds",
    Kind::Histogram,
    "From a request to the head of its response.",
);

const STREAMS: Family = family(
    "palisade_active_streams",
    Kind::Gauge,
    "Event streams, tunnels and upgraded connections that have not ended.",
);

type Sum = (Family, fn(&RequestGroup) -> u64);

const SUMS: [Sum; 3] = [
    (
        family("palisade_request_body_bytes", Kind::Counter, "Bytes that requests said they send."),
        |group| group.sent,
    ),
    (
        family("palisade_response_body_bytes", Kind::Counter, "Bytes of bodies that have come."),
        |group| group.received,
    ),
    (
        family(
            "palisade_unread_responses",
            Kind::Counter,
            "Responses given up before the end of their body.",
        ),
        |group| group.unread,
    ),
];

const EVENTS: [(&str, Family); 6] = [
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
];

const BREAKER: Family =
    family("palisade_breaker_state", Kind::Gauge, "1 for the state that a circuit breaker is in.");

const FOLDED: Family = family(
    "palisade_labels_folded",
    Kind::Counter,
    "Requests for which a label had no room, so that it says _OTHER.",
);

pub(crate) fn write_all(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    write_requests(&snapshot.attempts, &ATTEMPTS, sink)?;
    write_times(&snapshot.attempts, &HEAD, |result| &result.head_times, sink)?;
    write_groups(&snapshot.attempts, &STREAMS, |group| group.streams, sink)?;
    for (family, sum) in SUMS {
        write_groups(&snapshot.attempts, &family, sum, sink)?;
    }
    write_requests(&snapshot.calls, &CALLS, sink)?;
    write_events(snapshot, sink)?;
    write_breakers(snapshot, sink)?;
    write_folded(snapshot, sink)
}

fn write_requests(requests: &Requests, names: &Names, sink: &mut impl Sink) -> fmt::Result {
    write_times(requests, &names.duration, |result| &result.times, sink)?;
    write_groups(requests, &names.active, |group| group.in_flight, sink)?;
    sink.family(&names.outcomes)?;
    for group in &requests.groups {
        let target = Target::of(group);
        for (outcome, count) in group.outcomes.iter().filter(|(_, count)| *count != 0) {
            let [method, address, port, template] = target.labels();
            let labels = [method, address, port, template, ("outcome", Some(outcome))];
            sink.value(&names.outcomes, &labels, count)?;
        }
    }
    sink.family(&names.unready)?;
    sink.value(&names.unready, &[], requests.unready)
}

fn write_times(
    requests: &Requests,
    family: &Family,
    times: fn(&RequestResult) -> &Times,
    sink: &mut impl Sink,
) -> fmt::Result {
    sink.family(family)?;
    for group in &requests.groups {
        let target = Target::of(group);
        for result in &group.results {
            let times = times(result);
            if times.count() == 0 {
                continue;
            }
            let status = result.status.map(|status| status.to_string());
            // OpenTelemetry: a status of 400 and above is the error of a client's request.
            let failed = || status.as_deref().filter(|_| 400 <= result.status.unwrap_or_default());
            let error = result.error.as_deref().or_else(failed);
            let [method, address, port, template] = target.labels();
            let status = ("http_response_status_code", status.as_deref());
            let labels = [method, address, port, template, status, ("error_type", error)];
            sink.times(family, &labels, times)?;
        }
    }
    Ok(())
}

fn write_groups(
    requests: &Requests,
    family: &Family,
    value: fn(&RequestGroup) -> u64,
    sink: &mut impl Sink,
) -> fmt::Result {
    sink.family(family)?;
    for group in &requests.groups {
        sink.value(family, &Target::of(group).labels(), value(group))?;
    }
    Ok(())
}

fn write_events(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    for (event, family) in &EVENTS {
        sink.family(family)?;
        for told in snapshot.events.iter().filter(|told| told.event == *event) {
            let given = |text: &'static str, value| Some((text, some(value)));
            let own = match *event {
                "retry" => [Some(("cause", told.cause.as_deref())), None],
                "gave_up" => [given("reason", &told.reason), None],
                "transition" => [given("from", &told.from), given("to", &told.reason)],
                "refused" | "would_refuse" => {
                    [given("kind", &told.from), given("reason", &told.reason)]
                }
                _ => [None, None],
            };
            let target = Target {
                method: told.method.as_deref(),
                endpoint: told.endpoint.as_deref(),
                address: Address::of(told.authority.as_deref()),
            };
            let own = own.into_iter().flatten();
            let labels: Vec<_> = target.labels().into_iter().chain(own).collect();
            sink.value(family, &labels, told.count)?;
        }
    }
    Ok(())
}

fn write_breakers(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    sink.family(&BREAKER)?;
    for breaker in &snapshot.breakers {
        let target = Target {
            method: breaker.method.as_deref(),
            endpoint: breaker.endpoint.as_deref(),
            address: Address::of(breaker.authority.as_deref()),
        };
        let [method, host, port, template] = target.labels();
        // All of them, so that a state that is over is zero and not stale.
        for state in crate::events::STATES {
            let labels = [method, host, port, template, ("state", Some(state))];
            sink.value(&BREAKER, &labels, u64::from(breaker.state == state))?;
        }
    }
    Ok(())
}

fn write_folded(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    let folded = &snapshot.folded;
    sink.family(&FOLDED)?;
    for (label, count) in [
        ("url_template", folded.endpoints),
        ("http_request_method", folded.methods),
        ("server_address", folded.authorities),
        ("all", folded.groups),
        ("event", folded.events),
    ] {
        sink.value(&FOLDED, &[("label", Some(label))], count)?;
    }
    Ok(())
}

/// What a group of requests, an event or a breaker has to do with.
struct Target<'a> {
    method: Option<&'a str>,
    endpoint: Option<&'a str>,
    address: Address<'a>,
}

impl<'a> Target<'a> {
    fn of(group: &'a RequestGroup) -> Self {
        Self {
            method: Some(&group.method),
            endpoint: group.endpoint.as_deref(),
            address: Address::of(group.authority.as_deref()),
        }
    }

    fn labels(&self) -> [(&'static str, Option<&'a str>); 4] {
        [
            ("http_request_method", self.method),
            ("server_address", self.address.host),
            ("server_port", self.address.port),
            ("url_template", self.endpoint),
        ]
    }
}

/// An authority, taken apart.
#[derive(Clone, Copy)]
struct Address<'a> {
    host: Option<&'a str>,
    port: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn of(authority: Option<&'a str>) -> Self {
        // Of an IPv6 address without a port, the last colon is its own.
        let split = authority.and_then(|authority| authority.rsplit_once(':'));
        match split.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
            Some((host, port)) => Self { host: some(host), port: some(port) },
            None => Self { host: authority, port: None },
        }
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
