//! Clients for the tests: hyper-util's, and a bare socket.

use std::{error::Error, io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;
pub(crate) type ClientError = hyper_util::client::legacy::Error;

pub(crate) fn http1() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn http2() -> HttpClient {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

/// Both, with a name to tell them apart by.
pub(crate) fn both() -> [(&'static str, HttpClient); 2] {
    [("HTTP/1.1", http1()), ("HTTP/2", http2())]
}

pub(crate) fn get(uri: Uri) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

pub(crate) fn post(uri: Uri, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(uri).body(Full::new(body.into())).unwrap()
}

/// Sends a `GET` and collects the body.
pub(crate) async fn fetch(client: &HttpClient, uri: Uri) -> Result<Response<Bytes>, ClientError> {
    Ok(collect(client.request(get(uri)).await?).await.unwrap())
}

pub(crate) async fn collect(response: Response<Incoming>) -> Result<Response<Bytes>, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// The bytes of a body before its error, and the error.
pub(crate) async fn broken(response: Response<Incoming>) -> (Vec<u8>, hyper::Error) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Err(error) => return (bytes, error),
        }
    }
    panic!("the body ended well after {} bytes", bytes.len());
}

/// The first cause of this type.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

pub(crate) fn reason(error: &(dyn Error + 'static)) -> Option<h2::Reason> {
    cause::<h2::Error>(error).and_then(h2::Error::reason)
}

pub(crate) fn is_reset(error: &(dyn Error + 'static)) -> bool {
    cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Opens a connection and writes `request`.
pub(crate) async fn raw(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until the connection ends, and how it ends.
pub(crate) async fn read_all(stream: &mut TcpStream) -> (String, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await.map(drop);
    (String::from_utf8(bytes).unwrap(), end)
}

/// What comes until it ends in `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}
