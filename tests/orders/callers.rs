//! Those who call: some go away at any time.

use std::{
    collections::BTreeSet,
    error::Error,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, header::CONTENT_ENCODING};
use http_body_util::BodyExt;
use palisade_core::causes;
use tokio::time::timeout;
use tower::Service;

use super::{
    bottom::{LETTERS, World, bytes_body, pass, pieces_body},
    reply::{SECRET, body_of},
    tap::{Body, Boxed},
};

/// A call, and how its caller takes it.
pub(crate) struct Wish {
    request: Request<Body>,
    letter: &'static str,
    /// When it begins.
    after: Duration,
    /// When the caller goes away, in polls and in time.
    polls: u32,
    patience: Duration,
    /// How many frames are read, and for how long the rest is held then.
    frames: u32,
    holds: Duration,
}

impl Wish {
    /// A call of a patient caller, for what nobody has asked for before.
    pub(crate) fn plain(world: &World, foreign: bool) -> Self {
        let number = world.script().draw(u64::MAX);
        let request = Request::get(world.uri(foreign, &format!("/a?n={number}")));
        Self {
            request: request.body(bytes_body("")).unwrap(),
            letter: "a",
            after: Duration::ZERO,
            polls: u32::MAX,
            patience: Duration::MAX,
            frames: u32::MAX,
            holds: Duration::ZERO,
        }
    }

    /// A call of somebody who may go away, unless all are patient.
    pub(crate) fn random(world: &World, is_patient: bool) -> Self {
        let draw = |of: u64| world.script().draw(of) as u32;
        let unit = world.unit();
        let letter = LETTERS[draw(4) as usize];
        let uri = world.uri(draw(8) == 0, &format!("/{letter}?n={}", draw(2)));
        let request = Request::builder().uri(uri);
        let length = draw(100) + 1;
        let upload = Bytes::from(vec![b'u'; length as usize]);
        let request = match draw(8) {
            0 => request
                .method([Method::PUT, Method::POST][draw(2) as usize].clone())
                .header("x-length", length)
                .body(bytes_body(upload)),
            1 | 2 => {
                let pieces = upload.chunks(upload.len().div_ceil(3));
                let pieces = pieces.map(|piece| Ok(upload.slice_ref(piece))).collect();
                request
                    .method(Method::PUT)
                    .header("x-length", length)
                    .body(pieces_body(pieces, unit / 20))
            }
            _ => request.method(Method::GET).body(bytes_body("")),
        };
        let mut wish = Self {
            request: request.unwrap(),
            letter,
            after: unit * draw(100) / 50,
            ..Self::plain(world, false)
        };
        match draw(6) {
            0 if !is_patient => wish.polls = draw(8),
            1 if !is_patient => wish.patience = unit * draw(200) / 100,
            _ => {}
        }
        if draw(6) == 0 {
            (wish.frames, wish.holds) = (draw(3), unit * draw(3));
        }
        wish
    }
}

/// What callers have seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    calls: AtomicU64,
    offences: Mutex<BTreeSet<String>>,
    errors: Mutex<BTreeSet<String>>,
}

impl Report {
    /// How many calls were made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn offences(&self) -> Vec<String> {
        self.offences.lock().unwrap().iter().cloned().collect()
    }

    fn offends(&self, what: String) {
        self.offences.lock().unwrap().insert(what);
    }

    /// An error may have been seen by others.
    fn failed(&self, error: &(dyn Error + 'static)) {
        let text: Vec<_> = causes(error).map(|cause| format!("{cause} {cause:?}")).collect();
        let text = text.join(": ");
        if text.contains(SECRET) {
            self.offends(format!("a secret is in an error: {text}"));
        }
        self.errors.lock().unwrap().insert(text);
    }
}

/// Makes a call, and says whether all of the right answer came.
pub(crate) async fn call(client: Boxed, wish: Wish, report: &Report) -> bool {
    pass(wish.after).await;
    match wish.patience {
        Duration::MAX => attend(client, wish, report).await,
        patience => timeout(patience, attend(client, wish, report)).await.unwrap_or_default(),
    }
}

async fn attend(mut client: Boxed, wish: Wish, report: &Report) -> bool {
    if let Err(error) = poll_fn(|cx| client.poll_ready(cx)).await {
        report.failed(&*error);
        return false;
    }
    report.calls.fetch_add(1, Ordering::Relaxed);
    let response = match drive(client.call(wish.request), wish.polls).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            report.failed(&*error);
            return false;
        }
        None => return false,
    };
    let is_right = response.status() == 200;
    if is_right && response.headers().contains_key(CONTENT_ENCODING) {
        report.offends("a response is encoded for nobody".to_owned());
    }
    let (mut body, mut bytes, whole) = (response.into_body(), Vec::new(), body_of(wish.letter));
    for _ in 0..wish.frames {
        match drive(body.frame(), u32::MAX).await {
            Some(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Some(Some(Err(error))) => {
                report.failed(&*error);
                break;
            }
            None => break,
            Some(None) if is_right && bytes != whole => {
                report.offends(format!("{bytes:?} came of {}", wish.letter));
                return false;
            }
            Some(None) => return is_right,
        }
    }
    if is_right && !whole.starts_with(&bytes) {
        report.offends(format!("{bytes:?} came of {} at first", wish.letter));
    }
    pass(wish.holds).await;
    false
}

/// Polls it no more than so often. It ends with nothing if it is given up, or panics.
async fn drive<F: Future>(future: F, mut polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Err(_) => Poll::Ready(None),
            Ok(Poll::Pending) if polls == 0 => Poll::Ready(None),
            Ok(polled) => polled.map(Some),
        }
    })
    .await
}
