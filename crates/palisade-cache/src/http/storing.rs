//! What is stored of a response, and when.

use std::sync::Arc;

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, SET_COOKIE, VARY},
    response::Parts,
};
use http_body::SizeHint;
use palisade_core::{Event, is_secret};

use super::{
    entry::{StoredHead, Variant, compacted},
    pieces::Pieces,
    plan::Plan,
    store::{Peek, Store},
};
use crate::rules::{admission::Unstorable, fields, list, partial::Part, range};

/// What is stored once its body is complete.
pub(crate) struct Storing {
    pub(super) head: Arc<StoredHead>,
    common: bool,
    length: Option<u64>,
}

fn names_secret(name: &[u8]) -> bool {
    HeaderName::from_bytes(name).is_ok_and(|name| is_secret(&name))
}

impl<T: Store> Plan<T> {
    /// What is stored of a response, if it may be.
    pub(super) fn admit(&self, parts: &Parts, size: &SizeHint) -> Result<Storing, Unstorable> {
        let options = self.options();
        let settings = &self.core.settings;
        let route = self.ask.route.and_then(|route| settings.routes.get(route));
        let length = content_length(&parts.headers).map_err(|Contradicts| Unstorable::Length)?;
        let least = length.unwrap_or(0).max(size.lower());
        if route.is_some_and(|route| route.refuses(parts.status)) {
            return Err(Unstorable::Status);
        }
        if self.core.store.max_body() < least || !fields::has_room(&parts.headers) {
            return Err(Unstorable::TooLarge);
        }
        let received = settings.now();
        let admitted = self.examine(parts.status, &parts.headers, received, &options)?;
        let mut headers = compacted(&parts.headers);
        fields::to_stored(&mut headers, received, &options);
        // What is marked for all sets no cookies for one, and differs by no credentials: they may
        // be put on further in, so that no request shows them here.
        let common = self.ask.key.partition().is_of_credentials()
            && admitted.policy.is_public()
            && !headers.contains_key(SET_COOKIE)
            && !list::members(&headers, &VARY).any(names_secret);
        let bodiless = matches!(parts.status.as_u16(), 204 | 205 | 304);
        let head = StoredHead {
            status: parts.status,
            version: parts.version,
            headers,
            policy: admitted.policy,
            selector: admitted.selector,
            part: None,
            trailers: None,
            received,
        };
        Ok(Storing { head: Arc::new(head), common, length: length.filter(|_| !bodiless) })
    }

    /// The body is complete: it is stored, if it is as long as it should be.
    pub(crate) fn finish(&mut self, pieces: Option<&Pieces>, trailers: Option<&HeaderMap>) -> bool {
        let whole = self.store(pieces, trailers);
        self.land();
        whole
    }

    fn store(&mut self, pieces: Option<&Pieces>, trailers: Option<&HeaderMap>) -> bool {
        let Some(Storing { head, common, length }) = self.storing.take() else {
            return true;
        };
        // Once it is too large, nobody counts.
        let Some(pieces) = pieces else {
            return true;
        };
        let total = pieces.end();
        if length.is_some_and(|length| length != total) {
            return false;
        }
        if trailers.is_some_and(|trailers| !fields::has_room(trailers)) {
            return true;
        }
        let Some(head) = self.with_part(head, total) else {
            return true;
        };
        let head = with_trailers(head, trailers);
        // A copy: chunks keep the buffers alive that they were read into.
        let mut body = BytesMut::with_capacity(pieces.slices().map(<[u8]>::len).sum());
        pieces.slices().for_each(|piece| body.extend_from_slice(piece));
        let body = body.freeze();
        // The first clone allocates: better now than on a hit.
        drop(body.clone());
        let variant = Variant::new(head, body, self.stamp);
        let for_all = common.then(|| self.key(true).to_key());
        let stored = self.core.store.put(for_all.as_ref().unwrap_or(&self.ask.key), variant);
        if stored {
            self.core.flights.refreshed(&self.ask.key);
        }
        if stored && common {
            self.unhide();
        }
        if let Some(observer) = self.core.settings.observer.get().filter(|_| stored) {
            observer.on_event(self.ask.target(), &Event::Cache { status: "stored" });
        }
        true
    }

    /// What is for this one alone goes before what is for all, and is older now.
    fn unhide(&self) {
        let own = self.key(false);
        let hides = match self.core.store.peek(own) {
            Peek::Found(entry) => entry.select(&self.ask.headers).is_some(),
            Peek::Absent => false,
            // Nobody waits for that.
            Peek::Ask => true,
        };
        if hides {
            self.core.store.invalidate(own);
        }
    }

    /// Which part of the whole a 206 holds. Nothing, if that makes no sense.
    fn with_part(&self, head: Arc<StoredHead>, length: u64) -> Option<Arc<StoredHead>> {
        if head.status != StatusCode::PARTIAL_CONTENT {
            return Some(head);
        }
        let part = Part::of(&self.ask.headers, &head.headers, length)?;
        let mut head = Arc::unwrap_or_clone(head);
        head.part = Some(part);
        if part.is_complete() {
            head.part = None;
            head.status = StatusCode::OK;
            head.headers.remove(CONTENT_RANGE);
            fields::set(&mut head.headers, CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(Arc::new(head))
    }
}

fn with_trailers(head: Arc<StoredHead>, trailers: Option<&HeaderMap>) -> Arc<StoredHead> {
    let Some(trailers) = trailers else {
        return head;
    };
    let mut head = Arc::unwrap_or_clone(head);
    head.trailers = Some(compacted(trailers));
    Arc::new(head)
}

/// What `Content-Length` says, if it is there. What says several things, or none
/// that is a number, is no response to keep: RFC 9112, section 6.3.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Contradicts> {
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    // The same one several times is one.
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let Some(first) = members.next() else {
        return Ok(None);
    };
    let first = range::number(first.trim_ascii()).ok_or(Contradicts)?;
    let same = members.all(|member| range::number(member.trim_ascii()) == Some(first));
    if same { Ok(Some(first)) } else { Err(Contradicts) }
}

/// It has a length that cannot be.
#[derive(Debug)]
struct Contradicts;
