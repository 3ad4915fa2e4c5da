use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

use crate::{stats::Recorder, sync::lock};

/// How long a closed connection still takes what its client sends.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// One accepted connection: what the script and the socket need to know of each other.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    /// Set by an answer that ends an HTTP/2 connection.
    pub(crate) go_away: Notify,
    reset: AtomicBool,
    progress: Mutex<Progress>,
    // Where the socket goes when hyper has done with it.
    returned: Mutex<Option<TcpStream>>,
    recorder: Arc<Recorder>,
}

/// How much the kernel has taken of what hyper had to say.
#[derive(Debug, Default)]
struct Progress {
    written: u64,
    flushed: u64,
    waiting: Vec<Waker>,
}

impl Connection {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self {
            number: recorder.connected(),
            go_away: Notify::new(),
            reset: AtomicBool::new(false),
            progress: Mutex::default(),
            returned: Mutex::default(),
            recorder,
        }
    }

    /// Lets the connection end in a RST rather than a FIN.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    pub(crate) fn written(&self) -> u64 {
        lock(&self.progress).written
    }

    /// Ready once so many bytes were written and none are left in hyper's buffers.
    pub(crate) fn poll_flushed(&self, goal: u64, cx: &Context<'_>) -> Poll<()> {
        let mut progress = lock(&self.progress);
        if goal <= progress.flushed {
            return Poll::Ready(());
        }
        progress.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the connection, once hyper has dropped its socket, as the script wants it.
    pub(crate) async fn finish(&self) {
        let stream = lock(&self.returned).take();
        match stream {
            None => {}
            Some(stream) if self.reset.load(Ordering::Relaxed) => reset_on_drop(&stream),
            Some(stream) => close(stream).await,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // First the socket, then the count: whoever waits for the count finds it closed.
        drop(lock(&self.returned).take());
        self.recorder.disconnected();
    }
}

/// The socket as hyper sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    // `None` only while it is dropped.
    stream: Option<TcpStream>,
    connection: Arc<Connection>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream: Some(stream), connection }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("the stream is there until the drop"))
    }

    fn wrote(&self, written: &io::Result<usize>) {
        if let Ok(written) = written {
            lock(&self.connection.progress).written += *written as u64;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream().poll_write(cx, buf));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream().poll_write_vectored(cx, bufs));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    // hyper and h2 flush once their own buffers are empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_flush(cx))?;
        let waiting = {
            let mut progress = lock(&self.connection.progress);
            progress.flushed = progress.written;
            mem::take(&mut progress.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        *lock(&self.connection.returned) = self.stream.take();
    }
}

/// Lets the socket close with a RST when it is dropped.
pub(crate) fn reset_on_drop(stream: &TcpStream) {
    // With no time to linger, nothing blocks; `set_zero_linger` is newer than the tokio this
    // workspace asks for.
    #[allow(deprecated)]
    // A failure means that the connection is gone already.
    let _ = stream.set_linger(Some(Duration::ZERO));
}

/// Closes with a FIN.
///
/// Dropped with unread data, a socket would send a RST, and the client could lose the answer. RFC
/// 9112, section 9.6 tells a server to read on for a while.
async fn close(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        while stream.read(&mut discarded).await? != 0 {}
        io::Result::Ok(())
    };
    // Whether the client has closed, broken off or gone silent: this was all there is to do for it.
    let _ = timeout(LINGER, drained).await;
}
