//! Who reads one body together, how far each has come, and what they still need.

use std::{mem, task::Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use palisade_core::BoxError;

use super::{error::FillError, pieces::Pieces, places::Places};

#[derive(Default)]
pub(crate) struct Readers {
    places: Places<Place>,
    pieces: Pieces,
    // How many bytes are kept for who comes later, until there are more.
    most: u64,
    closed: bool,
    size: SizeHint,
    trailers: Option<HeaderMap>,
    end: Option<End>,
}

struct Place {
    waker: Option<Waker>,
    // How many bytes it has read.
    read: u64,
    leads: bool,
    // It is too far behind.
    lags: bool,
    // It has read the end.
    done: bool,
}

enum End {
    Clean,
    // Clean for the one that began it, which gets what the origin sent.
    Short,
    Failed(FillError),
    // It was read by one alone.
    Own(Option<BoxError>),
}

impl Readers {
    pub(crate) fn enter(&mut self, leads: bool) -> usize {
        let place = Place { waker: None, read: 0, leads, lags: false, done: false };
        self.places.insert(place)
    }

    pub(crate) fn leave(&mut self, seat: usize) -> Option<Waker> {
        let place = self.places.remove(seat)?;
        self.trim();
        place.waker
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether who comes now can still read all of it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.closed && matches!(self.end, None | Some(End::Clean))
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.end, Some(End::Clean))
    }

    /// Leaves a waker, and returns the one that was there.
    pub(crate) fn park(&mut self, seat: usize, waker: &Waker) -> Option<Waker> {
        let place = self.places.get_mut(seat)?;
        if place.waker.as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            return None;
        }
        place.waker.replace(waker.clone())
    }

    pub(crate) fn unpark(&mut self, seat: usize) -> Option<Waker> {
        self.places.get_mut(seat)?.waker.take()
    }

    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(|place| place.waker.take()).collect()
    }

    /// The body begins, of which so many bytes are kept.
    pub(crate) fn begin(&mut self, most: u64, size: SizeHint) {
        self.most = most;
        self.size = size;
    }

    /// Says whether it is too large now to be kept.
    pub(crate) fn push(&mut self, chunk: Bytes) -> bool {
        if chunk.is_empty() {
            // It would take a place, and count for nothing.
            return false;
        }
        let before = self.pieces.end();
        self.pieces.push(chunk);
        let closes = !self.closed && self.most < self.pieces.end();
        self.closed |= closes;
        if self.closed {
            // The chunk that has just come is not too much for anybody.
            let most = self.most;
            let slow =
                self.places.iter_mut().filter(|place| place.read.saturating_add(most) < before);
            slow.for_each(|place| place.lags = true);
            self.trim();
        }
        closes
    }

    pub(crate) fn fail(&mut self, error: BoxError) {
        self.end = Some(match self.places.len() {
            0 | 1 => End::Own(Some(error)),
            _ => End::Failed(FillError::failed(error)),
        });
    }

    pub(crate) fn panicked(&mut self) {
        self.end = Some(End::Failed(FillError::panicked()));
    }

    pub(crate) fn end(&mut self, whole: bool, trailers: Option<HeaderMap>) {
        self.trailers = trailers;
        self.end = Some(if whole { End::Clean } else { End::Short });
    }

    /// All that has come, if it is kept. It is given back.
    pub(crate) fn take_pieces(&mut self) -> Option<Pieces> {
        (!self.closed).then(|| mem::take(&mut self.pieces))
    }

    pub(crate) fn give_back(&mut self, pieces: Pieces) {
        self.pieces = pieces;
    }

    /// What is next for a reader, if it is there.
    pub(crate) fn read(&mut self, seat: usize) -> Option<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(place) = self.places.get_mut(seat) else {
            return Some(None);
        };
        if place.done {
            return Some(None);
        }
        if place.lags {
            place.done = true;
            return Some(Some(Err(FillError::lagged().into())));
        }
        if let Some(chunk) = self.pieces.read(place.read) {
            place.read += chunk.len() as u64;
            self.trim();
            return Some(Some(Ok(Frame::data(chunk))));
        }
        let end = self.end.as_mut()?;
        place.done = true;
        let error: BoxError = match end {
            End::Short if !place.leads => FillError::truncated().into(),
            End::Clean | End::Short => {
                return Some(self.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            End::Failed(error) => error.clone().into(),
            End::Own(error) => return Some(error.take().map(Err)),
        };
        Some(Some(Err(error)))
    }

    /// Whether a reader is at the end, and what is left for it.
    pub(crate) fn hint(&self, seat: usize) -> (bool, SizeHint) {
        let Some(place) = self.places.get(seat).filter(|place| !place.done) else {
            return (true, SizeHint::with_exact(0));
        };
        let clean = matches!(self.end, Some(End::Clean));
        let left = self.pieces.end().saturating_sub(place.read);
        let at_end = clean && left == 0 && self.trailers.is_none() && !place.lags;
        let total = if clean { Some(self.pieces.end()) } else { self.size.exact() };
        let hint = match total {
            Some(total) => SizeHint::with_exact(total.saturating_sub(place.read)),
            None => SizeHint::new(),
        };
        (at_end, hint)
    }

    /// Lets go what all have read, if it is not kept for who comes later.
    fn trim(&mut self) {
        if !self.closed {
            return;
        }
        let reading = self.places.iter().filter(|place| !place.done && !place.lags);
        let needed = reading.map(|place| place.read).min();
        self.pieces.release(needed.unwrap_or(u64::MAX));
    }
}
