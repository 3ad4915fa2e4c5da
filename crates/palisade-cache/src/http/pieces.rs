//! What has come of a body, and is still needed.

use std::{collections::VecDeque, mem};

use bytes::Bytes;

/// A frame of fewer bytes has no place of its own after another one of these:
/// that would take more than its bytes, and keep the buffer alive that it was
/// read into.
const SMALL: usize = 512;

/// So many bytes of small frames make a piece.
const GATHERED: usize = 4096;

/// The bytes of a body from one place on. Places are counted in bytes from its
/// beginning.
#[derive(Default)]
pub(crate) struct Pieces {
    // Many bodies come in one.
    first: Option<Piece>,
    more: VecDeque<Piece>,
    end: u64,
    // The frame that came last, if it was copied: who has read all before it needs no copy.
    last: Bytes,
}

struct Piece {
    start: u64,
    data: Data,
}

enum Data {
    /// As it came, or of small ones that are no longer added to.
    Whole(Bytes),
    /// Of small ones.
    Grows(Vec<u8>),
}

impl Pieces {
    pub(crate) fn push(&mut self, frame: Bytes) {
        let start = self.end;
        self.end += frame.len() as u64;
        self.last = Bytes::new();
        let back = self.more.back_mut().or(self.first.as_mut());
        let back = back.filter(|_| frame.len() < SMALL);
        if back.is_some_and(|back| back.gather(&frame)) {
            self.last = frame;
            return;
        }
        let piece = Piece { start, data: Data::Whole(frame) };
        match &self.first {
            None if self.more.is_empty() => self.first = Some(piece),
            _ => self.more.push_back(piece),
        }
    }

    /// What is there from this place on, or some of it.
    pub(crate) fn read(&self, at: u64) -> Option<Bytes> {
        if self.end <= at {
            return None;
        }
        if self.end - at == self.last.len() as u64 {
            return Some(self.last.clone());
        }
        let after = self.more.partition_point(|piece| piece.start <= at);
        let piece = match after.checked_sub(1) {
            Some(index) => self.more.get(index)?,
            None => self.first.as_ref()?,
        };
        let from = usize::try_from(at - piece.start).ok()?;
        match &piece.data {
            Data::Whole(bytes) => Some(bytes.slice(from..)),
            Data::Grows(bytes) => Some(Bytes::copy_from_slice(&bytes[from..])),
        }
    }

    /// Lets go what is before this place, as far as whole pieces are.
    pub(crate) fn release(&mut self, before: u64) {
        self.first.take_if(|first| first.end() <= before);
        while self.more.front().is_some_and(|front| front.end() <= before) {
            self.more.pop_front();
        }
    }

    /// Where they end: how many bytes have come.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// All that is there.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.all().map(|piece| piece.data.as_slice())
    }

    fn all(&self) -> impl Iterator<Item = &Piece> {
        self.first.iter().chain(&self.more)
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.data.as_slice().len() as u64
    }

    /// Adds a small frame, if this is of small ones and has room.
    fn gather(&mut self, frame: &[u8]) -> bool {
        match &mut self.data {
            Data::Whole(first) if first.len() < SMALL => {
                let mut bytes = Vec::with_capacity((first.len() + frame.len()).max(SMALL));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(frame);
                self.data = Data::Grows(bytes);
            }
            Data::Grows(bytes) if bytes.len() + frame.len() <= GATHERED => {
                bytes.extend_from_slice(frame);
            }
            Data::Grows(bytes) => {
                // From now on readers share it.
                self.data = Data::Whole(mem::take(bytes).into());
                return false;
            }
            Data::Whole(_) => return false,
        }
        true
    }
}

impl Data {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Grows(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of such lengths, with bytes that are counted.
    fn frames(lengths: &[usize]) -> (Vec<Bytes>, Vec<u8>) {
        let whole: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|at| at as u8).collect();
        let mut rest = Bytes::copy_from_slice(&whole);
        (lengths.iter().map(|length| rest.split_to(*length)).collect(), whole)
    }

    proptest! {
        #[test]
        fn whoever_reads_when_gets_the_same(
            steps in proptest::collection::vec((1..1500_usize, 0..8_u8), 0..60),
        ) {
            let lengths: Vec<_> = steps.iter().map(|(length, _)| *length).collect();
            let (frames, whole) = frames(&lengths);
            let mut pieces = Pieces::default();
            let mut read: [Vec<u8>; 3] = Default::default();
            for (frame, (_, who)) in frames.into_iter().zip(&steps) {
                pieces.push(frame);
                for (index, read) in read.iter_mut().enumerate() {
                    while who & (1 << index) != 0 && read.len() as u64 != pieces.end() {
                        read.extend_from_slice(&pieces.read(read.len() as u64).unwrap());
                    }
                }
                let least = read.iter().map(Vec::len).min().unwrap();
                pieces.release(least as u64);
                let held: usize = pieces.slices().map(<[u8]>::len).sum();
                prop_assert!(held < whole.len().max(1) - least + GATHERED);
            }
            for read in &mut read {
                while let Some(more) = pieces.read(read.len() as u64) {
                    prop_assert!(!more.is_empty());
                    read.extend_from_slice(&more);
                }
                prop_assert_eq!(&*read, &whole);
            }
        }
    }

    #[test]
    fn large_frames_are_not_copied_and_small_ones_gathered() {
        for (length, count, places) in [(SMALL, 10, 10), (SMALL - 1, 8, 1), (1, 10_000, 3)] {
            let (frames, whole) = frames(&vec![length; count]);
            let mut pieces = Pieces::default();
            for frame in frames {
                let (at, own) = (pieces.end(), frame.as_ptr());
                pieces.push(frame);
                // Who keeps up gets the frame itself.
                let read = pieces.read(at).unwrap();
                assert_eq!((read.as_ptr(), read.len()), (own, length));
            }
            assert_eq!(pieces.all().count(), places, "{length}");
            assert_eq!(pieces.slices().collect::<Vec<_>>().concat(), whole);
        }
    }

    #[test]
    fn what_alternates_takes_no_more_than_twice_as_much() {
        let (frames, _) = frames(&[1, SMALL].repeat(100));
        let mut pieces = Pieces::default();
        frames.into_iter().for_each(|frame| pieces.push(frame));
        assert_eq!(pieces.all().count(), 200);
    }
}
