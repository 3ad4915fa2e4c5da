use std::sync::atomic::Ordering;

use http::{Method, Response, StatusCode, header::CONTENT_TYPE};
use palisade_core::ErrorKind;
use tokio::time::Instant;

use crate::{
    group::{End, Group, Verdict},
    histogram::nanos,
    layer::Rules,
    store::{GroupId, Place, Store},
    stripes::Pointer,
};

/// A request that has begun, and ends once: when it is told so, or dropped.
#[derive(Debug)]
pub(crate) struct Call<C, N> {
    rules: Pointer<Rules<C, N>>,
    ticket: Option<Ticket>,
    // Set while code of others is at work, and so for ever once it panics.
    at_work: bool,
}

/// What is known of a request that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    place: Place,
    group: GroupId,
    started: Instant,
    // Of a response whose body has not ended.
    head: Option<Head>,
    received: u64,
    // CONNECT turns a connection into a tunnel.
    connects: bool,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    outcome: Verdict,
}

impl<C, N> Call<C, N> {
    /// Begins a request.
    #[inline]
    pub(crate) fn begin(
        rules: Pointer<Rules<C, N>>,
        group: GroupId,
        method: &Method,
        sent: u64,
    ) -> Self {
        let place = rules.place;
        let counts = rules.store().at(place, group).counts.mine();
        counts.in_flight.fetch_add(1, Ordering::Relaxed);
        if sent != 0 {
            counts.sent.fetch_add(sent, Ordering::Relaxed);
        }
        let ticket = Ticket {
            place,
            group,
            started: Instant::now(),
            head: None,
            received: 0,
            connects: method == Method::CONNECT,
        };
        Self { rules, ticket: Some(ticket), at_work: false }
    }

    pub(crate) fn rules(&self) -> &Rules<C, N> {
        &self.rules
    }

    /// Lets others work on it, and remembers if they panic.
    #[inline]
    pub(crate) fn work<T>(&mut self, work: impl FnOnce(&Rules<C, N>) -> T) -> T {
        self.at_work = true;
        let done = work(&self.rules);
        self.at_work = false;
        done
    }

    /// The head of its response is there. What is left of it ends with the
    /// body, unless there is none, or it is no part of the answer.
    #[inline]
    pub(crate) fn answered<B>(
        &mut self,
        response: &Response<B>,
        outcome: Verdict,
        empty: bool,
    ) -> Option<Rest> {
        let mut ticket = self.ticket.take()?;
        let group = self.rules.store().at(ticket.place, ticket.group);
        let took = nanos_since(ticket.started);
        let end = End { status: response.status().as_u16(), error: None };
        if ticket.place == Place::Attempts
            && let Some(series) = group.series(end, outcome)
        {
            series.head.record(took);
        }
        if !empty && !is_stream(response, ticket.connects) {
            ticket.head = Some(Head { status: end.status, outcome });
            return Some(Rest::Body(ticket));
        }
        ticket.finish(group, took, end, outcome);
        if empty {
            return None;
        }
        group.counts.mine().streams.fetch_add(1, Ordering::Relaxed);
        Some(Rest::Stream(ticket.place, ticket.group))
    }

    /// It has failed.
    pub(crate) fn failed(&mut self, error: ErrorKind, outcome: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            ticket.fail(self.rules.store(), error, outcome);
        }
    }
}

/// What is left of a request when its head is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rest {
    Body(Ticket),
    Stream(Place, GroupId),
}

impl Ticket {
    fn finish(&self, group: &Group, took: u64, end: End, outcome: Verdict) {
        if let Some(series) = group.series(end, outcome) {
            series.total.record(took);
        }
        let counts = group.counts.mine();
        if self.received != 0 {
            counts.received.fetch_add(self.received, Ordering::Relaxed);
        }
        counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes of its body have come.
    #[inline]
    pub(crate) fn receive(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Its body is at its end.
    pub(crate) fn complete(self, store: &Store) {
        self.end(store, None);
    }

    /// Its body was given up. Nothing went wrong with it: who wants no more of
    /// a 404 does not read it.
    pub(crate) fn drop_unread(self, store: &Store) {
        store.at(self.place, self.group).counts.mine().unread.fetch_add(1, Ordering::Relaxed);
        self.end(store, None);
    }

    pub(crate) fn fail(self, store: &Store, error: ErrorKind, outcome: Verdict) {
        self.end(store, Some((error, outcome)));
    }

    fn end(self, store: &Store, failure: Option<(ErrorKind, Verdict)>) {
        let group = store.at(self.place, self.group);
        let end = End {
            status: self.head.map_or(0, |head| head.status),
            error: failure.map(|(error, _)| error),
        };
        let outcome =
            failure.map(|(_, outcome)| outcome).or_else(|| self.head.map(|head| head.outcome));
        let outcome = outcome.unwrap_or(Verdict::IGNORED);
        self.finish(group, nanos_since(self.started), end, outcome);
    }
}

impl<C, N> Drop for Call<C, N> {
    fn drop(&mut self) {
        match self.at_work {
            true => self.failed(ErrorKind::Panic, Verdict::FAILED),
            false => self.failed(ErrorKind::Cancelled, Verdict::IGNORED),
        }
    }
}

fn nanos_since(start: Instant) -> u64 {
    nanos(Instant::now().saturating_duration_since(start))
}

/// Whether what follows the head may go on for as long as it likes: an
/// upgraded connection (RFC 9110, section 7.8), a tunnel (section 9.3.6), or a
/// stream of events.
fn is_stream<B>(response: &Response<B>, connects: bool) -> bool {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || connects && status.is_success() {
        return true;
    }
    let kind = response.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| {
        let event_stream = b"text/event-stream";
        kind.get(..event_stream.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(event_stream))
    })
}
