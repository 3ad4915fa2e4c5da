use std::sync::atomic::Ordering;

use http::{Method, Response, StatusCode};
use palisade_core::{ErrorKind, is_stream};

use crate::{
    group::{End, Group, SeriesId, Verdict},
    store::{GroupId, Place, Store},
    stripes::Pointer,
};

/// A request that has begun, and ends once: when it is told so, or dropped.
#[derive(Debug)]
pub(crate) struct Call {
    ticket: Option<Ticket>,
    // Set while code of others is at work, and so for ever once it panics.
    at_work: bool,
}

/// What is known of a request that has not ended.
#[derive(Debug)]
pub(crate) struct Ticket {
    store: Pointer<Store>,
    place: Place,
    group: GroupId,
    started: u64,
    received: u64,
    // CONNECT turns a connection into a tunnel.
    connects: bool,
}

/// What is left of a request when its head is there.
#[derive(Debug)]
pub(crate) enum Rest {
    /// Its body, its status, and where it counts if nothing goes wrong any more.
    Body(Ticket, StatusCode, SeriesId),
    Stream(Ticket),
}

impl Call {
    /// Begins a request.
    #[inline]
    pub(crate) fn begin(
        store: Pointer<Store>,
        place: Place,
        group: GroupId,
        method: &Method,
        sent: u64,
    ) -> Self {
        let counts = store.at(place, group).counts.mine();
        counts.in_flight.fetch_add(1, Ordering::Relaxed);
        if sent != 0 {
            counts.sent.fetch_add(sent, Ordering::Relaxed);
        }
        let connects = method == Method::CONNECT;
        let started = store.clock.now();
        let ticket = Ticket { store, place, group, started, received: 0, connects };
        Self { ticket: Some(ticket), at_work: false }
    }

    /// Lets others work on it, and remembers if they panic.
    #[inline]
    pub(crate) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.at_work = true;
        let done = work();
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
        let ticket = self.ticket.take()?;
        let group = ticket.store.at(ticket.place, ticket.group);
        let took = ticket.store.clock.since(ticket.started);
        let status = response.status();
        let series = group.series(End::of(Ok(status)), outcome);
        if ticket.place != Place::Calls {
            group.at(series).head.record_nanos(took);
        }
        if !empty && !is_stream(response, ticket.connects) {
            return Some(Rest::Body(ticket, status, series));
        }
        ticket.finish_at(group, series, took);
        if empty {
            return None;
        }
        group.counts.mine().streams.fetch_add(1, Ordering::Relaxed);
        Some(Rest::Stream(ticket))
    }

    /// It has failed.
    pub(crate) fn failed(&mut self, error: ErrorKind, outcome: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            ticket.fail(End::of(Err(error)), outcome);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.at_work {
            true => self.failed(ErrorKind::Panic, Verdict::FAILED),
            false => self.failed(ErrorKind::Cancelled, Verdict::IGNORED),
        }
    }
}

impl Rest {
    /// Bytes of its body have come.
    #[inline]
    pub(crate) fn receive(&mut self, bytes: usize) {
        match self {
            Self::Body(ticket, ..) => ticket.received += bytes as u64,
            Self::Stream(ticket) => {
                let received = &ticket.group().counts.mine().received;
                received.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    }

    /// Its body is at its end, or is given up. Nothing went wrong with what was
    /// given up: who wants no more of a 404 does not read it.
    #[inline]
    pub(crate) fn end(self, unread: bool) {
        match self {
            Self::Body(ticket, _, series) => {
                let group = ticket.group();
                if unread {
                    group.counts.mine().unread.fetch_add(1, Ordering::Relaxed);
                }
                ticket.finish(group, series);
            }
            Self::Stream(ticket) => ticket.end_stream(),
        }
    }

    /// Its body has failed.
    pub(crate) fn fail(self, error: ErrorKind, outcome: Verdict) {
        match self {
            Self::Body(ticket, status, _) => {
                ticket.fail(End { status: status.as_u16(), error: Some(error) }, outcome);
            }
            Self::Stream(ticket) => ticket.end_stream(),
        }
    }
}

impl Ticket {
    #[inline]
    fn group(&self) -> &Group {
        self.store.at(self.place, self.group)
    }

    fn fail(self, end: End, outcome: Verdict) {
        let group = self.group();
        self.finish(group, group.series(end, outcome));
    }

    #[inline]
    fn finish(&self, group: &Group, series: SeriesId) {
        self.finish_at(group, series, self.store.clock.since(self.started));
    }

    #[inline]
    fn finish_at(&self, group: &Group, series: SeriesId, took: u64) {
        group.at(series).total.record_nanos(took);
        let counts = group.counts.mine();
        if self.received != 0 {
            counts.received.fetch_add(self.received, Ordering::Relaxed);
        }
        counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn end_stream(&self) {
        self.group().counts.mine().streams.fetch_sub(1, Ordering::Relaxed);
    }
}
