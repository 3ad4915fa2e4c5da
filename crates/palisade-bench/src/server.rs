use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

const HEAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 200\r\n\r\n";
const BODY: [u8; 200] = [b'.'; 200];

/// How long after the head the body comes.
const LATE: Duration = Duration::from_millis(5);

/// Answers every request over loopback with 503, and sends the body when the head has long arrived.
#[derive(Debug)]
pub(crate) struct LateBodies {
    listener: TcpListener,
    address: SocketAddr,
    connections: AtomicU32,
    requests: Arc<AtomicU32>,
}

impl LateBodies {
    pub(crate) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            connections: AtomicU32::new(0),
            requests: Arc::default(),
        })
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many requests came over them.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(&self) -> io::Result<Infallible> {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = self.listener.accept().await?;
            self.connections.fetch_add(1, Ordering::Relaxed);
            connections.spawn(serve_connection(stream, Arc::clone(&self.requests)));
        }
    }
}

/// Ends when the client does: that it hangs up in the middle of a body is what this is about.
async fn serve_connection(mut stream: TcpStream, requests: Arc<AtomicU32>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        request.clear();
        requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(HEAD).await?;
        sleep(LATE).await;
        stream.write_all(&BODY).await?;
    }
}
