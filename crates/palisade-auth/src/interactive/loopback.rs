//! A server for the one request by which a browser brings a code.

use std::{future::poll_fn, io, str, task::Poll, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use zeroize::Zeroizing;

use super::callback::{Callback, Expected};
use crate::{AuthError, Secret};

/// A browser opens some that it may not need.
const CONNECTIONS: usize = 32;
const LONGEST_HEAD: usize = 16 * 1024;
const READ: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(1);

/// A browser that waits for a page.
pub(super) struct Browser(TcpStream);

/// Waits for the answer. Whatever else comes is refused.
pub(super) async fn wait(
    listener: &TcpListener,
    expected: &Expected,
) -> io::Result<(Browser, Result<Secret, AuthError>)> {
    let mut connections = FuturesUnordered::new();
    poll_fn(|cx| {
        loop {
            let room = connections.len() < CONNECTIONS;
            if let (true, Poll::Ready(accepted)) = (room, listener.poll_accept(cx)) {
                match accepted {
                    Ok((stream, _)) => connections.push(serve(stream, expected)),
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                continue;
            }
            match connections.poll_next_unpin(cx) {
                Poll::Ready(Some(Some(answer))) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Whether the next connection may be better.
fn is_of_connection(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}

async fn serve(
    mut stream: TcpStream,
    expected: &Expected,
) -> Option<(Browser, Result<Secret, AuthError>)> {
    let head = timeout(READ, read_head(&mut stream)).await.ok()?.ok()?;
    // Other fields may have any letters.
    let line = head.split(|byte| *byte == b'\r').next();
    let line = line.and_then(|line| str::from_utf8(line).ok());
    match line.map_or(Callback::Other(StatusCode::BAD_REQUEST), |line| expected.read(line)) {
        Callback::Answer(answer) => Some((Browser(stream), answer)),
        Callback::Other(status) => {
            Browser(stream).show(status, "This is not the answer to a login.").await;
            None
        }
    }
}

/// Fails where it is too long, or ends early.
async fn read_head(stream: &mut TcpStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut head = Zeroizing::new(Vec::with_capacity(2048));
    loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(head);
        }
        let read = stream.take((LONGEST_HEAD - head.len()) as u64).read_buf(&mut *head).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Browser {
    /// Shows a page. If that fails, nothing is lost.
    pub(super) async fn show(mut self, status: StatusCode, text: &str) {
        // Nothing in there is of the request.
        let page = format!(
            "<!doctype html><meta charset=\"utf-8\"><title>Login</title>\
             <body style=\"font:1.2em sans-serif;margin:4em\"><p>{text}"
        );
        // The code is in the address of the page.
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n\
             content-length: {}\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n\
             content-security-policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
             connection: close\r\n\r\n{page}",
            page.len()
        );
        let write = async {
            self.0.write_all(answer.as_bytes()).await?;
            self.0.shutdown().await
        };
        let _ = timeout(WRITE, write).await;
    }
}
