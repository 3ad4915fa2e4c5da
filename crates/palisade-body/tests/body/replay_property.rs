//! The property behind linkerd/linkerd2 #15649: whatever the attempts before it read, the next one
//! sends the body.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body::Body;
use palisade_body::{NotReplayable, Replay, ReplayBody, ReplayError};
use proptest::{collection::vec, prelude::*};

use crate::support::{Play, Script, next, trailers};

#[derive(Clone, Debug)]
struct Source {
    /// Each with the number of times that the source is not ready before it.
    chunks: Vec<(Vec<u8>, usize)>,
    trailers: bool,
    sized: bool,
    tells_end: bool,
}

#[derive(Clone, Debug)]
struct Attempt {
    /// Frames it reads before the next attempt is made.
    frames: usize,
    /// Whether its body stays alive, as if a connection still held it.
    kept: bool,
}

impl Source {
    fn data(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|(chunk, _)| chunk.iter().copied()).collect()
    }

    /// Runs `at.1` from within the poll that brings frame `at.0`.
    fn body(&self, at: Option<(usize, Box<dyn FnOnce() + Send>)>) -> Script {
        let mut plays = Vec::new();
        let (at, mut run) = at.map_or((0, None), |(at, run)| (at, Some(run)));
        for (index, (chunk, pending)) in self.chunks.iter().enumerate() {
            plays.extend((0..*pending).map(|_| Play::Yield));
            if let Some(run) = run.take_if(|_| index == at) {
                plays.push(Play::Run(run));
            }
            plays.push(Play::Data(Bytes::copy_from_slice(chunk)));
        }
        if let Some(run) = run {
            plays.push(Play::Run(run));
        }
        if self.trailers {
            plays.push(Play::Trailers(trailers()));
        }
        let mut script = Script::new(plays);
        if self.sized {
            script = script.sized();
        }
        if self.tells_end {
            script = script.telling_its_end();
        }
        script
    }
}

fn sources() -> impl Strategy<Value = Source> {
    let chunks = vec((vec(any::<u8>(), 0..4), 0..3_usize), 0..6);
    (chunks, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(chunks, trailers, sized, tells_end)| Source { chunks, trailers, sized, tells_end },
    )
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    vec((0..8_usize, any::<bool>()).prop_map(|(frames, kept)| Attempt { frames, kept }), 0..5)
}

/// Reads on in one attempt, and checks everything it says on the way.
struct Reader<'a> {
    source: &'a Source,
    whole: &'a [u8],
    body: ReplayBody<Script>,
    /// What is only passed on knows its end no better than the source.
    recorded: bool,
    sent: Vec<u8>,
    trailers_sent: bool,
    ended: bool,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, whole: &'a [u8], body: ReplayBody<Script>) -> Self {
        Self {
            source,
            whole,
            body,
            recorded: true,
            sent: Vec::new(),
            trailers_sent: false,
            ended: false,
        }
    }

    /// Reads one frame; false at the end.
    fn read(&mut self) -> Result<bool, TestCaseError> {
        let left = (self.whole.len() - self.sent.len()) as u64;
        let hint = self.body.size_hint();
        let all_sent = left == 0 && self.trailers_sent == self.source.trailers;
        if self.body.is_end_stream() {
            prop_assert!(all_sent, "says that it is at its end before it is");
            prop_assert_eq!(hint.exact(), Some(0));
        } else if self.source.sized {
            prop_assert_eq!(hint.exact(), Some(left));
        } else {
            prop_assert!(hint.upper().is_none() && hint.lower() <= left);
        }
        if self.recorded && all_sent && (self.source.trailers || self.ended) {
            prop_assert!(self.body.is_end_stream(), "does not say that it is at its end");
        }
        match next(&mut self.body) {
            None => self.ended = true,
            Some(Err(error)) => prop_assert!(false, "{error}"),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => self.sent.extend_from_slice(&chunk),
                Err(frame) => {
                    prop_assert_eq!(frame.into_trailers().ok(), Some(trailers()));
                    prop_assert!(!mem::replace(&mut self.trailers_sent, true));
                }
            },
        }
        prop_assert!(self.whole.starts_with(&self.sent));
        Ok(!self.ended)
    }

    fn read_to_the_end(&mut self) -> Result<(), TestCaseError> {
        while self.read()? {}
        prop_assert_eq!(&*self.sent, self.whole);
        prop_assert_eq!(self.trailers_sent, self.source.trailers);
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_attempt_sends_the_whole_body(
        source in sources(),
        cap in 0..20_usize,
        attempts in attempts(),
        last in any::<bool>(),
    ) {
        let whole = source.data();
        let (first, mut replay) = ReplayBody::new(source.body(None), cap);
        let too_large = source.sized && cap < whole.len();
        let mut reader = Reader::new(&source, &whole, first);
        reader.recorded = !too_large;
        let mut kept = Vec::new();
        let mut read = 0;

        for attempt in &attempts {
            for _ in 0..attempt.frames {
                if !reader.read()? {
                    break;
                }
            }
            read = read.max(reader.sent.len());
            if too_large {
                prop_assert_eq!(replay.replayable(), Err(NotReplayable::TooLarge));
            } else if reader.ended {
                prop_assert!(replay.is_complete());
            }
            if too_large || cap < read {
                prop_assert_eq!(replay.next_body().map(|_| ()), Err(NotReplayable::TooLarge));
                return reader.read_to_the_end();
            }
            prop_assert_eq!(replay.replayable(), Ok(()));
            let next = Reader::new(&source, &whole, replay.next_body()?);
            let old = mem::replace(&mut reader, next);
            if attempt.kept {
                kept.push(old);
            }
            for old in &mut kept {
                match crate::support::next(&mut old.body) {
                    None => prop_assert!(old.sent == whole && old.trailers_sent == source.trailers),
                    Some(polled) => prop_assert!(matches!(polled, Err(ReplayError::Superseded))),
                }
            }
        }
        if last && !too_large {
            reader = Reader::new(&source, &whole, replay.last_body()?);
        }
        reader.read_to_the_end()?;
    }

    /// The next attempt is made, and polled, while the first one is in the poll that brings frame
    /// `at`.
    #[test]
    fn attempt_made_during_a_poll_sends_the_whole_body(
        source in sources(),
        at in 0..6_usize,
        room in 0..8_usize,
        last in any::<bool>(),
    ) {
        let whole = source.data();
        let at = at.min(source.chunks.len());
        let before: usize = source.chunks[..at].iter().map(|(chunk, _)| chunk.len()).sum();
        let cap = if source.sized { whole.len() } else { before + room };
        let handle = Arc::new(Mutex::new(None::<Replay<Script>>));
        let later = Arc::new(Mutex::new(None));
        let run = {
            let (handle, later) = (Arc::clone(&handle), Arc::clone(&later));
            move || {
                let mut replay = handle.lock().unwrap().take().unwrap();
                let body = if last {
                    replay.last_body().unwrap()
                } else {
                    let body = replay.next_body().unwrap();
                    *handle.lock().unwrap() = Some(replay);
                    body
                };
                *later.lock().unwrap() = Some(body);
            }
        };
        let (mut first, replay) = ReplayBody::new(source.body(Some((at, Box::new(run)))), cap);
        *handle.lock().unwrap() = Some(replay);
        let superseded = loop {
            match next(&mut first) {
                None => break false,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    prop_assert!(matches!(error, ReplayError::Superseded));
                    break true;
                }
            }
        };
        prop_assert!(superseded);
        let second = later.lock().unwrap().take().unwrap();
        Reader::new(&source, &whole, second).read_to_the_end()?;
        let handle = handle.lock().unwrap().take();
        if let Some(mut replay) = handle.filter(|replay| replay.replayable().is_ok()) {
            prop_assert!(whole.len() <= cap);
            Reader::new(&source, &whole, replay.next_body()?).read_to_the_end()?;
        } else {
            prop_assert!(last || cap < whole.len());
        }
    }
}
