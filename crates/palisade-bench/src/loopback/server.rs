use std::{
    convert::Infallible,
    error::Error,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{self, Child, Command, Stdio},
    thread,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime::Builder, task::JoinSet};

use crate::{inner::Body, programs, runtime::stay_on};

/// How long the answers are.
pub(super) const LENGTH: usize = 1_024;

/// Answers every request with the same 1,024 bytes of JSON, over HTTP/1.1 or 2 as the client begins.
///
/// Ends when the input of this process does, and says where it listens in the first line of its
/// output.
///
/// # Errors
///
/// If loopback has no port for it.
pub fn serve() -> io::Result<()> {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0)
    });
    // The clients have the other one.
    stay_on(1);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = bind().await?;
        println!("{}", listener.local_addr()?);
        match answer(listener).await? {}
    })
}

pub(crate) async fn bind() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

pub(crate) async fn answer(listener: TcpListener) -> io::Result<Infallible> {
    let body = Bytes::from(body());
    let service = service_fn(move |_: Request<_>| {
        let mut response = Response::new(Body::new(body.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        async { Ok::<_, Infallible>(response) }
    });

    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        connections.spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is none of its business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn body() -> String {
    let empty = r#"{"items":""}"#;
    let items = "a".repeat(LENGTH - empty.len());
    format!(r#"{{"items":"{items}"}}"#)
}

/// `palisade-bench --serve`, which runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it is not there, or does not say where it listens.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let program = programs::beside_this_one("palisade-bench")?;
        // Its input ends with this process, however that ends, and it does then too.
        let child = Command::new(&program)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| programs::failed(&program, &error))?;
        let mut server = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into() };
        let mut line = String::new();
        if let Some(output) = server.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.trim_end().parse();
        server.address = address.map_err(|_| programs::failed(&program, &"it does not listen"))?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is what this is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
