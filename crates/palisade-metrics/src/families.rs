mod names;

use std::fmt;

use self::names::{ATTEMPTS, BREAKER, CALLS, EVENTS, FOLDED, Names, SERVED};
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

pub(crate) fn write_all(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    ATTEMPTS.write(&snapshot.attempts, sink)?;
    CALLS.write(&snapshot.calls, sink)?;
    // What is no server has nothing to say of one.
    if snapshot.served != Requests::default() {
        SERVED.write(&snapshot.served, sink)?;
    }
    write_events(snapshot, sink)?;
    write_breakers(snapshot, sink)?;
    write_folded(snapshot, sink)
}

impl Names {
    fn write(&self, requests: &Requests, sink: &mut impl Sink) -> fmt::Result {
        self.write_times(requests, &self.duration, |result| &result.times, sink)?;
        self.write_groups(requests, &self.active, |group| group.in_flight, sink)?;
        if let Some(wire) = &self.wire {
            self.write_times(requests, &wire.head, |result| &result.head_times, sink)?;
            self.write_groups(requests, &wire.streams, |group| group.streams, sink)?;
            for (family, sum) in &wire.sums {
                self.write_groups(requests, family, *sum, sink)?;
            }
        }
        sink.family(&self.outcomes)?;
        for group in &requests.groups {
            for (outcome, count) in group.outcomes.iter().filter(|(_, count)| *count != 0) {
                let [method, address, port, template] = self.labels(group);
                let labels = [method, address, port, template, ("outcome", Some(outcome))];
                sink.value(&self.outcomes, &labels, count)?;
            }
        }
        sink.family(&self.unready)?;
        sink.value(&self.unready, &[], requests.unready)
    }

    fn write_times(
        &self,
        requests: &Requests,
        family: &Family,
        times: fn(&RequestResult) -> &Times,
        sink: &mut impl Sink,
    ) -> fmt::Result {
        sink.family(family)?;
        for group in &requests.groups {
            for result in &group.results {
                let times = times(result);
                if times.count() == 0 {
                    continue;
                }
                let status = result.status.map(|status| status.to_string());
                let failed = self.fails(result.status).then_some(status.as_deref()).flatten();
                let error = result.error.as_deref().or(failed);
                let [method, address, port, template] = self.labels(group);
                let status = ("http_response_status_code", status.as_deref());
                let labels = [method, address, port, template, status, ("error_type", error)];
                sink.times(family, &labels, times)?;
            }
        }
        Ok(())
    }

    /// OpenTelemetry: a status of 400 and above is the error of a client's
    /// request, that of a server begins at 500.
    fn fails(&self, status: Option<u16>) -> bool {
        status.is_some_and(|status| self.fails_from <= status)
    }

    fn write_groups(
        &self,
        requests: &Requests,
        family: &Family,
        value: fn(&RequestGroup) -> u64,
        sink: &mut impl Sink,
    ) -> fmt::Result {
        sink.family(family)?;
        for group in &requests.groups {
            sink.value(family, &self.labels(group), value(group))?;
        }
        Ok(())
    }

    /// The labels that all requests of a group have.
    fn labels<'a>(&self, group: &'a RequestGroup) -> [(&'static str, Option<&'a str>); 4] {
        let target = Target {
            method: Some(&group.method),
            template: self.template,
            endpoint: group.endpoint.as_deref(),
            address: Address::of(group.authority.as_deref(), group.port),
        };
        target.labels()
    }
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
                "refused" | "would_refuse" | "paused" => {
                    [given("kind", &told.from), given("reason", &told.reason)]
                }
                "waited" => [given("kind", &told.from), None],
                "cache" => [given("status", &told.reason), None],
                "refreshed" => [given("result", &told.reason), None],
                "login" => [given("change", &told.reason), None],
                _ => [None, None],
            };
            let target = Target {
                method: told.method.as_deref(),
                template: "url_template",
                endpoint: told.endpoint.as_deref(),
                address: Address::of(told.authority.as_deref(), told.port),
            };
            let own = own.into_iter().flatten();
            let labels: Vec<_> = target.labels().into_iter().chain(own).collect();
            match family.kind {
                Kind::Histogram => sink.times(family, &labels, &told.times)?,
                _ => sink.value(family, &labels, told.count)?,
            }
        }
    }
    Ok(())
}

fn write_breakers(snapshot: &Snapshot, sink: &mut impl Sink) -> fmt::Result {
    sink.family(&BREAKER)?;
    for breaker in &snapshot.breakers {
        let target = Target {
            method: breaker.method.as_deref(),
            template: "url_template",
            endpoint: breaker.endpoint.as_deref(),
            address: Address::of(breaker.authority.as_deref(), breaker.port),
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
    template: &'static str,
    endpoint: Option<&'a str>,
    address: Address<'a>,
}

impl<'a> Target<'a> {
    fn labels(&self) -> [(&'static str, Option<&'a str>); 4] {
        [
            ("http_request_method", self.method),
            ("server_address", self.address.host),
            ("server_port", self.address.port),
            (self.template, self.endpoint),
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
    fn of(authority: Option<&'a str>, port: Option<u16>) -> Self {
        // Of an IPv6 address without a port, the last colon is its own.
        let split = authority.and_then(|authority| authority.rsplit_once(':'));
        match split.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
            Some((host, port)) => Self { host: some(host), port: some(port) },
            None => Self { host: authority, port: port.and_then(default_port_name) },
        }
    }
}

/// What no authority has to name.
fn default_port_name(port: u16) -> Option<&'static str> {
    match port {
        80 => Some("80"),
        443 => Some("443"),
        _ => None,
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
