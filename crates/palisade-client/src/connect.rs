use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use palisade_core::{BoxError, ErrorKind, Fault};
use tokio::net::TcpStream;
use tower_service::Service;

/// Connects to a host, or to the proxy that is set for it.
///
/// A proxy is reached over plain TCP. What is asked over https goes through a
/// tunnel (RFC 9110, section 9.3.6), what is asked over http is sent to the proxy
/// itself (RFC 9112, section 3.2.2).
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    proxies: Option<Arc<Matcher>>,
}

impl Connector {
    pub(crate) fn new(http: HttpConnector, proxies: Option<Arc<Matcher>>) -> Self {
        Self { http, proxies }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.intercept(&uri));
        let mut http = self.http.clone();
        match proxy {
            None => {
                let connecting = http.call(uri);
                Box::pin(async move { Ok(Stream { tcp: connecting.await?, proxied: false }) })
            }
            Some(proxy) if proxy.uri().scheme_str() != Some("http") => {
                let error = UnknownProxy { scheme: proxy.uri().scheme_str().map(str::to_owned) };
                Box::pin(async { Err(unreached(error)) })
            }
            Some(proxy) if uri.scheme_str() == Some("https") => Box::pin(tunnel(http, proxy, uri)),
            Some(proxy) => {
                let connecting = http.call(proxy.uri().clone());
                Box::pin(async move {
                    let tcp = connecting.await.map_err(unreached)?;
                    Ok(Stream { tcp, proxied: true })
                })
            }
        }
    }
}

async fn tunnel(http: HttpConnector, proxy: Intercept, uri: Uri) -> Result<Stream, BoxError> {
    let tunnel = Tunnel::new(proxy.uri().clone(), http);
    let mut tunnel = match proxy.basic_auth() {
        Some(auth) => tunnel.with_auth(auth.clone()),
        None => tunnel,
    };
    let tcp = tunnel.call(uri).await.map_err(unreached)?;
    Ok(Stream { tcp, proxied: false })
}

/// The proxy did not let a request through, so nobody has seen it.
fn unreached(error: impl Into<BoxError>) -> BoxError {
    Fault::new(ErrorKind::Connect, ProxyFailed { cause: error.into() }).unsent().into()
}

/// The proxy could not be reached, or refused.
#[derive(Debug)]
struct ProxyFailed {
    cause: BoxError,
}

impl std::fmt::Display for ProxyFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no way through the proxy: see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY")
    }
}

impl std::error::Error for ProxyFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// A proxy that is reached in another way than http.
#[derive(Debug)]
struct UnknownProxy {
    scheme: Option<String>,
}

impl std::fmt::Display for UnknownProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.scheme.as_deref().unwrap_or("no scheme");
        write!(f, "a proxy by `http://` is known here, but not by {scheme}")
    }
}

impl std::error::Error for UnknownProxy {}

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
