use opentelemetry::KeyValue;
use palisade_metrics::{
    BreakerState, EventCount, RequestGroup, RequestResult, Requests, Snapshot, Times,
};

use super::families::{Place, What};
use crate::{
    semconv::{
        ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, SERVER_ADDRESS,
        SERVER_PORT, URL_TEMPLATE,
    },
    server::Server,
};

/// Tells each value that there is of this, with its attributes.
pub(super) fn values(what: What, snapshot: &Snapshot, tell: &mut dyn FnMut(u64, &[KeyValue])) {
    match what {
        What::Active(place) => place.groups(snapshot, |group| group.in_flight, tell),
        What::Streams(place) => place.groups(snapshot, |group| group.streams, tell),
        What::Sent(place) => place.groups(snapshot, |group| group.sent, tell),
        What::Received(place) => place.groups(snapshot, |group| group.received, tell),
        What::Unread(place) => place.groups(snapshot, |group| group.unread, tell),
        What::Outcomes(place) => {
            for group in &place.requests(snapshot).groups {
                for (outcome, count) in group.outcomes.iter().filter(|(_, count)| *count != 0) {
                    let mut attributes = place.attributes(group);
                    attributes.push(KeyValue::new("outcome", outcome));
                    tell(count, &attributes);
                }
            }
        }
        // What is no server has nothing to say of one.
        What::Unready(Place::Served) if snapshot.served == Requests::default() => {}
        What::Unready(place) => tell(place.requests(snapshot).unready, &[]),
        What::Event(name) => {
            for event in snapshot.events.iter().filter(|event| event.event == name) {
                tell(event.count, &event_attributes(event));
            }
        }
        What::Breakers => breakers(snapshot, tell),
        What::Folded => folded(snapshot, tell),
        What::Times(_) | What::HeadTimes(_) | What::EventTimes(_) => {}
    }
}

/// Tells all durations that there are of this, with their attributes.
pub(super) fn times(what: What, snapshot: &Snapshot, tell: &mut dyn FnMut(&Times, &[KeyValue])) {
    match what {
        What::Times(place) => place.results(snapshot, |result| &result.times, tell),
        What::HeadTimes(place) => place.results(snapshot, |result| &result.head_times, tell),
        What::EventTimes(name) => {
            for event in snapshot.events.iter().filter(|event| event.event == name) {
                tell(&event.times, &event_attributes(event));
            }
        }
        _ => {}
    }
}

impl Place {
    fn requests(self, snapshot: &Snapshot) -> &Requests {
        match self {
            Self::Attempts => &snapshot.attempts,
            Self::Calls => &snapshot.calls,
            Self::Served => &snapshot.served,
        }
    }

    fn groups(
        self,
        snapshot: &Snapshot,
        value: fn(&RequestGroup) -> u64,
        tell: &mut dyn FnMut(u64, &[KeyValue]),
    ) {
        for group in &self.requests(snapshot).groups {
            tell(value(group), &self.attributes(group));
        }
    }

    fn results(
        self,
        snapshot: &Snapshot,
        times: fn(&RequestResult) -> &Times,
        tell: &mut dyn FnMut(&Times, &[KeyValue]),
    ) {
        for group in &self.requests(snapshot).groups {
            for result in group.results.iter().filter(|result| times(result).count() != 0) {
                let mut attributes = self.attributes(group);
                if let Some(status) = result.status {
                    attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
                }
                if let Some(error) = self.error_type(result) {
                    attributes.push(KeyValue::new(ERROR_TYPE, error));
                }
                tell(times(result), &attributes);
            }
        }
    }

    /// A status is the error of a client's request from 400 on, that of a server
    /// from 500 on.
    fn error_type(self, result: &RequestResult) -> Option<String> {
        let least = if self == Self::Served { 500 } else { 400 };
        let failed = || result.status.filter(|status| least <= *status);
        result.error.clone().or_else(|| failed().map(|status| status.to_string()))
    }

    fn attributes(self, group: &RequestGroup) -> Vec<KeyValue> {
        let template = if self == Self::Served { HTTP_ROUTE } else { URL_TEMPLATE };
        let endpoint = group.endpoint.as_deref().map(|endpoint| (template, endpoint));
        target(Some(&group.method), group.authority.as_deref(), group.port, endpoint)
    }
}

fn event_attributes(event: &EventCount) -> Vec<KeyValue> {
    let (method, authority) = (event.method.as_deref(), event.authority.as_deref());
    let endpoint = event.endpoint.as_deref().map(|endpoint| (URL_TEMPLATE, endpoint));
    let mut attributes = target(method, authority, event.port, endpoint);
    let mut add = |name, value: &str| {
        if !value.is_empty() {
            attributes.push(KeyValue::new(name, value.to_owned()));
        }
    };
    match &*event.event {
        "retry" => add("cause", event.cause.as_deref().unwrap_or_default()),
        "gave_up" => add("reason", &event.reason),
        "transition" => {
            add("from", &event.from);
            add("to", &event.reason);
        }
        "refused" | "would_refuse" | "paused" => {
            add("kind", &event.from);
            add("reason", &event.reason);
        }
        "waited" => add("kind", &event.from),
        "cache" => add("status", &event.reason),
        "refreshed" => add("result", &event.reason),
        "login" => add("change", &event.reason),
        _ => {}
    }
    attributes
}

fn breakers(snapshot: &Snapshot, tell: &mut dyn FnMut(u64, &[KeyValue])) {
    for breaker in &snapshot.breakers {
        let (method, authority) = (breaker.method.as_deref(), breaker.authority.as_deref());
        let endpoint = breaker.endpoint.as_deref().map(|endpoint| (URL_TEMPLATE, endpoint));
        // All of them, so that a state that is over is zero and not stale.
        for state in BreakerState::STATES {
            let mut attributes = target(method, authority, breaker.port, endpoint);
            attributes.push(KeyValue::new("state", state));
            tell(u64::from(breaker.state == state), &attributes);
        }
    }
}

fn folded(snapshot: &Snapshot, tell: &mut dyn FnMut(u64, &[KeyValue])) {
    let folded = &snapshot.folded;
    for (label, count) in [
        ("url_template", folded.endpoints),
        ("http_request_method", folded.methods),
        ("server_address", folded.authorities),
        ("all", folded.groups),
        ("event", folded.events),
    ] {
        tell(count, &[KeyValue::new("label", label)]);
    }
}

fn target(
    method: Option<&str>,
    authority: Option<&str>,
    port: Option<u16>,
    endpoint: Option<(&'static str, &str)>,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(6);
    let mut add = |name, value: &str| attributes.push(KeyValue::new(name, value.to_owned()));
    if let Some(method) = method {
        add(HTTP_REQUEST_METHOD, method);
    }
    if let Some((name, endpoint)) = endpoint {
        add(name, endpoint);
    }
    if let Some(authority) = authority {
        let server = Server::of(authority, None);
        let port = server.port.or(port);
        add(SERVER_ADDRESS, server.address);
        if let Some(port) = port {
            attributes.push(KeyValue::new(SERVER_PORT, i64::from(port)));
        }
    }
    attributes
}
