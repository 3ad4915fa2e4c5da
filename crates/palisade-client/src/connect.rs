use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use palisade_core::{BoxError, ErrorKind, Fault, Refusal};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    proxy::{Failed, ProxyError, tunnel},
    resolve::Resolver,
};

/// Connects to a host, or to the proxy that is set for it.
///
/// A proxy is reached over plain TCP, and reads HTTP/1.1. What is asked over https, or
/// by HTTP/2 without TLS, goes through a tunnel (RFC 9110, section 9.3.6), what else is
/// asked over http is sent to the proxy itself (RFC 9112, section 3.2.2).
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) http: HttpConnector<Resolver>,
    pub(crate) proxies: Option<Arc<Matcher>>,
    /// Whether nothing is sent to a proxy itself.
    pub(crate) tunnels: bool,
    pub(crate) https_only: bool,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Nobody further out encrypts it, and it may hold secrets.
        if cfg!(not(feature = "tls")) && uri.scheme_str() == Some("https") {
            let text = "https is not spoken: turn on the feature `tls` of palisade-client";
            let fault = Fault::new(ErrorKind::Tls, text).unsent().permanent();
            return Box::pin(async move { Err(fault.into()) });
        }
        if self.https_only && uri.scheme_str() == Some("http") {
            let refusal = Refusal::new(ErrorKind::Tls);
            return Box::pin(async move { Err(Plain { refusal }.into()) });
        }
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.intercept(&uri));
        let mut http = self.http.clone();
        match proxy {
            None => {
                let connecting = http.call(uri);
                Box::pin(async move { Ok(Stream { tcp: connecting.await?, proxied: false }) })
            }
            Some(proxy) => {
                let proxied = !self.tunnels && uri.scheme_str() != Some("https");
                Box::pin(async move {
                    let connected = through(http, &proxy, (!proxied).then_some(&uri)).await;
                    let tcp = connected.map_err(ProxyError::unsent)?;
                    Ok(Stream { tcp, proxied })
                })
            }
        }
    }
}

/// What is asked would not be encrypted, and has to be. It is refused on this side, which says
/// nothing of the host.
#[derive(Debug)]
struct Plain {
    refusal: Refusal,
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the request, or a redirect, leads to `http://`: ask by `https://`, or leave out `https_only`",
        )
    }
}

impl Error for Plain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

/// A connection to a proxy, or by a tunnel to what is behind it.
async fn through(
    mut http: HttpConnector<Resolver>,
    proxy: &Intercept,
    to: Option<&Uri>,
) -> Result<TokioIo<TcpStream>, ProxyError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err(ProxyError::new(proxy, Failed::Unknown));
    }
    let unreached = |error: BoxError| ProxyError::new(proxy, Failed::Unreached(error));
    let mut tcp = http.call(proxy.uri().clone()).await.map_err(|error| unreached(error.into()))?;
    if let Some(to) = to {
        tunnel(tcp.inner_mut(), proxy, to).await?;
    }
    Ok(tcp)
}

/// A connection, and whether a proxy reads what is sent on it.
pub(crate) struct Stream {
    tcp: TokioIo<TcpStream>,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }
}

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_tls_nothing_goes_to_https_in_the_clear() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("https://{}/", server.local_addr().unwrap());
        let mut http = HttpConnector::new_with_resolver(Resolver::new(&[]));
        http.enforce_http(false);
        let mut connector = Connector { http, proxies: None, tunnels: false, https_only: false };
        let error = connector.call(to.parse().unwrap()).await.err().unwrap();
        assert_eq!(ErrorKind::of(&*error), ErrorKind::Tls);
    }
}
