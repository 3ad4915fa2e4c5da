//! A stored part of a body, and the rest of it that is fetched: RFC 9111, section 3.4.

use std::task::Poll;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
    },
    response::Parts,
};
use http_body::{Frame, SizeHint};

use super::{ask::Ask, entry::Variant, error::FillError, plan::Plan, seat::Polled, store::Store};
use crate::rules::{etag::EntityTag, fields, partial, partial::Part, range::Slice, update};

/// What stands before and after the rest that is fetched, which has so many
/// bytes.
pub(crate) struct Splice {
    before: Option<Bytes>,
    after: Option<Bytes>,
    rest: u64,
    whole: u64,
    ended: bool,
}

impl Splice {
    pub(crate) fn size(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }

    /// Puts what is stored before and after what comes.
    pub(crate) fn poll_frame(&mut self, rest: impl FnOnce() -> Polled) -> Polled {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        // A body that has ended is not polled again.
        match if self.ended { Poll::Ready(None) } else { rest() } {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let left = self.rest.checked_sub(data.len() as u64);
                    self.rest = left.unwrap_or(0);
                    let error = || Err(FillError::truncated().into());
                    return Poll::Ready(Some(left.map_or_else(error, |_| Ok(Frame::data(data)))));
                }
                // Trailers are about the part.
                Err(_) => self.ended = true,
            },
            Poll::Ready(None) => self.ended = true,
            other => return other,
        }
        if self.rest != 0 {
            return Poll::Ready(Some(Err(FillError::truncated().into())));
        }
        Poll::Ready(self.after.take().map(|after| Ok(Frame::data(after))))
    }
}

/// Whether a stored part can be completed for a request that wants the whole.
pub(crate) fn can_complete(ask: &Ask, variant: &Variant) -> bool {
    let own = [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE];
    let plain = ask.method == Method::GET && !own.iter().any(|name| ask.headers.contains_key(name));
    let part = variant.head.part.filter(|_| plain);
    part.is_some_and(|part| part.is_sound() && part.missing().is_some())
        && EntityTag::of(&variant.head.headers).is_some_and(EntityTag::is_strong)
}

/// Asks for the rest alone, if it is still the rest of the same.
pub(crate) fn ask_for_rest(request: &mut HeaderMap, variant: &Variant) -> bool {
    let missing = variant.head.part.and_then(|part| part.missing());
    let (Some(missing), Some(tag)) = (missing, variant.head.headers.get(ETAG)) else {
        return false;
    };
    request.insert(RANGE, missing);
    request.insert(IF_RANGE, tag.clone());
    true
}

impl<T: Store> Plan<T> {
    /// Makes the head of the whole out of that of the rest. Nothing, if they are
    /// not of the same.
    pub(super) fn splice(&self, variant: &Variant, parts: &mut Parts) -> Option<Splice> {
        let stored = &variant.head;
        let (slice, _) = Slice::of(&parts.headers)?;
        let rest = Part::of(&HeaderMap::new(), &parts.headers, slice.len())?;
        let whole = stored.part?.combine(&rest).filter(Part::is_complete)?.held().len();
        // What is held of it reaches up to the rest, and not into it.
        let apart = stored.part?.held().len() + slice.len() == whole;
        if !apart || !partial::may_combine(&stored.headers, &parts.headers) {
            return None;
        }
        let (received, options) = (self.core.settings.now(), self.options());
        let mut headers = stored.headers.clone();
        update::freshen(&mut headers, parts.headers.clone(), received, &options);
        headers.remove(CONTENT_RANGE);
        fields::set(&mut headers, CONTENT_LENGTH, HeaderValue::from(whole));
        (parts.headers, parts.status) = (headers, StatusCode::OK);
        let held = Some(variant.body.clone());
        let (before, after) = if slice.first == 0 { (None, held) } else { (held, None) };
        Some(Splice { before, after, rest: slice.len(), whole, ended: false })
    }
}
