use std::{
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::Body;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

impl Body {
    /// A body of what a reader gives, such as a file, for code that blocks. It is read by a
    /// thread of its own, `palisade-reader`, as it is sent, and can be sent once.
    ///
    /// If its length is known, [tell it](Self::stream_with_length), or it is sent in
    /// chunks, which some servers do not take:
    ///
    /// ```
    /// use std::fs::File;
    /// use palisade_client::Body;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let file = File::open("Cargo.toml")?;
    /// let length = file.metadata()?.len();
    /// let body = Body::stream_with_length(Body::reader(file), length);
    /// # let _ = body;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The request fails if reading does, or panics, or if the thread cannot be started.
    ///
    /// # Cancel safety
    ///
    /// If the request is dropped, the thread ends with the call of `read` that it is in.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::stream(Reader::New(Some(Box::new(reader))))
    }
}

enum Reader {
    New(Option<Box<dyn Read + Send>>),
    // Of pieces; an empty one is the end.
    Reading(Receiver<io::Result<Bytes>>),
    Over,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Self::New(reader) = &mut *self {
            let started = reader.take().map(start);
            *self = started.transpose()?.map_or(Self::Over, Self::Reading);
        }
        let Self::Reading(pieces) = &mut *self else {
            return Poll::Ready(None);
        };
        // Nothing was said of an end.
        let panicked = || Err(io::Error::other("the reader of the body has panicked"));
        let piece = ready!(pieces.poll_recv(cx)).unwrap_or_else(panicked);
        match piece {
            Ok(piece) if !piece.is_empty() => Poll::Ready(Some(Ok(Frame::data(piece)))),
            end => {
                *self = Self::Over;
                Poll::Ready(end.err().map(Err))
            }
        }
    }
}

fn start(reader: Box<dyn Read + Send>) -> io::Result<Receiver<io::Result<Bytes>>> {
    let (sender, receiver) = channel(1);
    let thread = thread::Builder::new().name("palisade-reader".to_owned());
    thread.spawn(move || read_all(reader, &sender))?;
    Ok(receiver)
}

/// Until its end, an error, or nobody wants more.
fn read_all(mut reader: Box<dyn Read + Send>, sender: &Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; PIECE];
    while !sender.is_closed() {
        let piece = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Copied: a piece may be kept, and be one byte.
            Ok(length) => buffer.get(..length).map(Bytes::copy_from_slice).ok_or_else(|| {
                io::Error::other(
                    "the reader of the body says to have read more than there was room for",
                )
            }),
            Err(error) => Err(error),
        };
        let last = piece.as_ref().map_or(true, Bytes::is_empty);
        if sender.blocking_send(piece).is_err() || last {
            return;
        }
    }
}
