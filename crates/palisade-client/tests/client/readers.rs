//! Bodies of what is read by code that blocks.

use std::{
    io::{self, Read, repeat},
    sync::mpsc::{Sender, channel},
};

use http_body_util::BodyExt;
use palisade_client::{Body, blocking::Client};
use palisade_core::ErrorKind;

use crate::servers::{Server, reply};

/// A client, and a server that lives on a runtime of its own.
struct Setting {
    runtime: tokio::runtime::Runtime,
    server: Server,
    client: Client,
}

impl Setting {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(|_| reply(200, "thanks")));
        let client = palisade_client::Client::builder().no_proxy().base_url(server.url(""));
        let client = Client::of(client.build().unwrap());
        Self { runtime, server, client }
    }
}

#[test]
fn all_that_is_read_is_sent() {
    let Setting { server, client, runtime: _running } = Setting::new();
    for length in [0, 1, 64 * 1024, 1_000_000] {
        let read = || Body::reader(repeat(b'x').take(length));
        for body in [read(), Body::stream_with_length(read(), length)] {
            let response = client.post("/").body(body).send().unwrap();
            assert_eq!(response.text().unwrap(), "thanks");
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.body.len() as u64, length);
        }
        assert_eq!(server.seen().pop().unwrap().headers["content-length"], length.to_string());
    }
}

/// Gives a piece, and then does this.
struct Breaks(fn() -> io::Result<usize>, bool);

impl Read for Breaks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.1, true) {
            return (self.0)();
        }
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn a_body_that_breaks_off_is_not_sent_as_whole() {
    let Setting { server, client, runtime: _running } = Setting::new();
    let fails = || Err(io::Error::other("disk on fire"));
    let lies = || Ok(usize::MAX);
    let panics = || std::panic::resume_unwind(Box::new("disk on fire"));
    for (breaks, told) in [
        (fails as fn() -> _, "disk on fire"),
        (lies, "the reader of the body says to have read more than there was room for"),
        (panics, "the reader of the body has panicked"),
    ] {
        let error = client.post("/").body(Body::reader(Breaks(breaks, false))).send().unwrap_err();
        assert_eq!(error.service_kind(), Some(ErrorKind::Body), "{error:?}");
        let causes: Vec<_> = palisade_core::causes(&error).map(ToString::to_string).collect();
        assert!(causes.iter().any(|cause| cause == told), "{causes:?}");
    }
    // What was left of them did not come as a whole body.
    assert!(server.seen().iter().all(|seen| seen.body.is_empty()), "{:?}", server.seen());
}

// Retries keep them.
#[tokio::test]
async fn a_piece_takes_no_more_room_than_it_has() {
    let frame = Body::reader(Breaks(|| Ok(0), false)).frame().await.unwrap().unwrap();
    let piece = Vec::from(frame.into_data().unwrap());
    assert!(piece.len() == 1 && piece.capacity() < 64, "{}", piece.capacity());
}

/// Says when nobody has it any more.
struct Endless(fn(&mut [u8]) -> io::Result<usize>, Sender<()>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.0)(buffer)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.1.send(());
    }
}

#[tokio::test]
async fn nobody_reads_on_when_the_body_is_dropped() {
    let reads = |buffer: &mut [u8]| Ok(buffer.len());
    let is_interrupted = |_: &mut [u8]| Err(io::ErrorKind::Interrupted.into());
    for read in [reads as fn(&mut [u8]) -> _, is_interrupted] {
        let (told, gone) = channel();
        let mut body = Body::reader(Endless(read, told));
        tokio::select! {
            biased;
            frame = body.frame() => assert!(frame.unwrap().unwrap().is_data()),
            () = tokio::task::yield_now() => {}
        }
        drop(body);
        gone.recv().unwrap();
    }
}
