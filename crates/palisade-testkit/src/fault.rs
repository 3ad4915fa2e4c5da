use std::{future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, BytesMut};
use http::Uri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    connection::{LINGER, reset_on_drop},
    loopback,
    steps::{Http2, Step, Steps},
    sync::{Tasks, wait_for},
};

/// A raw TCP server on loopback, for what a proper HTTP server cannot be made to say.
///
/// Dropped, it stops: the port is closed and so are its connections, as soon as the runtime gets to
/// it; [`stop`](Self::stop) waits for that.
#[derive(Debug)]
pub struct FaultServer {
    addr: SocketAddr,
    stats: Arc<watch::Sender<FaultStats>>,
    tasks: Tasks,
}

/// What a [`FaultServer`] has seen so far.
#[derive(Clone, Debug, Default)]
pub struct FaultStats {
    connections: u64,
    open_connections: u64,
    bytes_received: u64,
}

impl FaultStats {
    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        self.open_connections
    }

    /// Bytes read, on whatever connection.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }
}

impl FaultServer {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// `script` is called with the number of each connection, from 1, and says what to do with it.
    ///
    /// # Panics
    ///
    /// Panics if no port can be bound, or outside of a tokio runtime.
    pub async fn start(script: impl Fn(u64) -> Steps + Send + Sync + 'static) -> Self {
        let (listener, addr) = loopback::listen().await;
        let stats = Arc::new(watch::Sender::new(FaultStats::default()));
        let tasks = Tasks::new();
        tasks.spawn(listen(listener, script, Arc::clone(&stats), tasks.clone()));
        Self { addr, stats, tasks }
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URI of a path, which may have a query.
    ///
    /// # Panics
    ///
    /// Panics if `path` does not begin with a slash or is not valid in a URI.
    pub fn url(&self, path: &str) -> Uri {
        loopback::url(self.addr, path)
    }

    /// What it has seen so far.
    pub fn stats(&self) -> FaultStats {
        self.stats.borrow().clone()
    }

    /// Waits until the statistics meet a condition, and returns them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn wait_for(&self, condition: impl FnMut(&FaultStats) -> bool) -> FaultStats {
        wait_for(&self.stats, condition).await
    }

    /// Stops the server and waits until its port and all its connections are closed.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

async fn listen(
    listener: TcpListener,
    script: impl Fn(u64) -> Steps + Send + Sync + 'static,
    stats: Arc<watch::Sender<FaultStats>>,
    tasks: Tasks,
) {
    loop {
        let stream = loopback::accept(&listener).await;
        let session = Session::new(stream, Arc::clone(&stats));
        let steps = script(session.number);
        // It ends in an error when the client closes first, which is the client's right.
        tasks.spawn(async move { drop(session.run(steps).await) });
    }
}

/// One connection.
#[derive(Debug)]
struct Session {
    // Before `open`, so that it is closed when it is counted as closed.
    stream: TcpStream,
    received: BytesMut,
    number: u64,
    open: Open,
}

impl Session {
    fn new(stream: TcpStream, stats: Arc<watch::Sender<FaultStats>>) -> Self {
        let mut number = 0;
        stats.send_modify(|stats| {
            stats.connections += 1;
            stats.open_connections += 1;
            number = stats.connections;
        });
        Self { stream, received: BytesMut::new(), number, open: Open(stats) }
    }

    async fn run(mut self, Steps(steps): Steps) -> io::Result<()> {
        for step in steps {
            match step {
                Step::ReadHead => self.read_head().await?,
                Step::ReadExact(len) => {
                    self.fill(len).await?;
                    self.received.advance(len);
                }
                Step::ReadUntilIdle(idle) => self.read_until_idle(idle).await?,
                Step::ReadToEnd => return self.read_to_end().await,
                Step::Write(bytes) => self.stream.write_all(&bytes).await?,
                Step::WriteForever(bytes) => loop {
                    self.stream.write_all(&bytes).await?;
                },
                Step::Wait(delay) => sleep(delay).await,
                Step::Close => break,
                Step::Reset => {
                    reset_on_drop(&self.stream);
                    return Ok(());
                }
                Step::Stall => pending().await,
                Step::Http2(behaviour) => return self.http2(behaviour).await,
            }
        }
        self.stream.shutdown().await?;
        timeout(LINGER, self.read_to_end()).await?
    }

    async fn read_head(&mut self) -> io::Result<()> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if let Some(end) = self.received.windows(END.len()).position(|bytes| bytes == END) {
                self.received.advance(end + END.len());
                return Ok(());
            }
            self.read_some().await?;
        }
    }

    async fn read_until_idle(&mut self, idle: Duration) -> io::Result<()> {
        while let Ok(read) = timeout(idle, self.read_some()).await {
            read?;
        }
        self.received.clear();
        Ok(())
    }

    async fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            self.read_some().await?;
            self.received.clear();
        }
    }

    /// Exchanges settings, then does what it is to do, until the client closes.
    async fn http2(&mut self, behaviour: Http2) -> io::Result<()> {
        // RFC 9113, section 3.4: the connection preface, and an empty SETTINGS frame as the
        // server's own.
        self.fill(PREFACE.len()).await?;
        self.received.advance(PREFACE.len());
        self.write_frame(SETTINGS, 0, 0, &[]).await?;
        if behaviour == Http2::GoAway {
            self.go_away().await?;
        }
        loop {
            // Section 4.1: length (24 bits), type, flags, stream.
            self.fill(9).await?;
            let len = usize::try_from(self.received.get_uint(3)).expect("24 bits fit a usize");
            let kind = self.received.get_u8();
            let flags = self.received.get_u8();
            let stream = self.received.get_u32() & 0x7fff_ffff;
            self.fill(len).await?;
            let payload = self.received.split_to(len);
            match (kind, behaviour) {
                (SETTINGS, _) if flags & ACK == 0 => {
                    self.write_frame(SETTINGS, ACK, 0, &[]).await?;
                }
                (PING, _) if flags & ACK == 0 => self.write_frame(PING, ACK, 0, &payload).await?,
                (HEADERS, Http2::GoAwayOnRequest) => self.go_away().await?,
                (HEADERS, Http2::RefuseStreams) => {
                    self.write_frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()).await?;
                }
                _ => {}
            }
        }
    }

    /// Nothing was processed: the last stream is 0, the error `NO_ERROR`.
    async fn go_away(&mut self) -> io::Result<()> {
        self.write_frame(GOAWAY, 0, 0, &[0; 8]).await
    }

    async fn write_frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(9 + payload.len());
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        self.stream.write_all(&frame).await
    }

    /// Reads until at least so many bytes are there.
    async fn fill(&mut self, len: usize) -> io::Result<()> {
        while self.received.len() < len {
            self.read_some().await?;
        }
        Ok(())
    }

    /// Reads what is there, at least one byte.
    async fn read_some(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.received).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Open(stats) = &self.open;
        stats.send_modify(|stats| stats.bytes_received += read as u64);
        Ok(())
    }
}

/// Counts a connection as open.
#[derive(Debug)]
struct Open(Arc<watch::Sender<FaultStats>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|stats| stats.open_connections -= 1);
    }
}

// RFC 9113, sections 3.4, 6 and 7.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const REFUSED_STREAM: u32 = 7;
