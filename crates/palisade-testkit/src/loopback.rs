use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Uri;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port can be bound");
    let addr = listener.local_addr().expect("a listener has an address");
    (listener, addr)
}

pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it, packets would wait for acknowledgements. It fails only if the client
                // is gone.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            // The client is gone already, or the process has no file descriptor left: others may
            // close theirs.
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

pub(crate) fn url(addr: SocketAddr, path: &str) -> Uri {
    assert!(path.starts_with('/'), "path {path:?} begins with a slash");
    format!("http://{addr}{path}").parse().expect("a path is valid in a URI")
}
