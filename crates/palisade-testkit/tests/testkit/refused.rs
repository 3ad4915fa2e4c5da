use std::io::ErrorKind;

use palisade_testkit::refused_addr;
use tokio::net::{TcpListener, TcpStream};

use crate::client::{cause, fetch, http1};

#[tokio::test]
async fn refuses_connections() {
    let addr = refused_addr();
    for _ in 0..3 {
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    let uri = format!("http://{addr}/").parse().unwrap();
    let error = fetch(&http1(), uri).await.unwrap_err();
    assert!(error.is_connect());
    let error: &std::io::Error = cause(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn nobody_else_gets_the_port() {
    let addr = refused_addr();
    assert_ne!(addr, refused_addr());
    let error = TcpListener::bind(addr).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}
