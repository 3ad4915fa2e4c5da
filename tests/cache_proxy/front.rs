//! HTTP/1.1 towards the client of the proxy. hyper's server sends no interim responses (RFC 9110,
//! section 15.2), and a proxy has to: so this is a server of its own, as far as a test client goes.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::Authority,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::ext::on_informational;
use palisade_core::{BoxError, find_cause};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    select,
    sync::mpsc,
    task::JoinSet,
};
use tower::{Service, ServiceExt, timeout::error::Elapsed};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Answers requests with what the service says of them at the origin, until listening fails.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    origin: Authority,
    service: S,
) -> io::Result<()>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body<Data: Send, Error: Send> + Send + 'static,
{
    let origin = Arc::new(origin);
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(converse(stream, Arc::clone(&origin), service.clone()));
            }
            // Whatever a connection ended with, the client has seen its end.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request after the other.
async fn converse<S, B>(stream: TcpStream, origin: Arc<Authority>, service: S) -> io::Result<()>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
{
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(mut request) = read_request(&mut reader, &origin).await? {
        let close = take_connection(request.headers_mut());
        let method = request.method().clone();
        let (sender, mut interim) = mpsc::unbounded_channel();
        on_informational(&mut request, move |response| {
            let mut head = Vec::new();
            put_head(&mut head, response.status(), response.headers());
            // Nobody listens any more once the response is there.
            let _ = sender.send(head);
        });

        let mut answer = Box::pin(service.clone().oneshot(request));
        let result = loop {
            select! {
                biased;
                Some(head) = interim.recv() => writer.write_all(&head).await?,
                result = &mut answer => break result,
            }
        };
        // The service and the writing take turns, so the last of them may be left.
        while let Ok(head) = interim.try_recv() {
            writer.write_all(&head).await?;
        }
        let whole = match result {
            Ok(response) => write_response(&mut writer, &method, response, close).await?,
            Err(error) => {
                let response = refusal(&*error.into());
                write_response(&mut writer, &method, response, close).await?
            }
        };
        if close || !whole {
            break;
        }
    }
    writer.shutdown().await
}

/// The next request, if the client has one, with all of its body.
async fn read_request<R>(
    reader: &mut R,
    origin: &Authority,
) -> io::Result<Option<Request<Full<Bytes>>>>
where
    R: AsyncBufRead + Unpin,
{
    let start = match read_line(reader).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        line => line?,
    };
    let mut words = start.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(b"HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("a request starts with something else"));
    };
    let method = Method::from_bytes(method).map_err(invalid)?;
    let target = Uri::try_from(target).map_err(invalid)?.into_parts().path_and_query;
    let uri = Uri::builder().scheme("http").authority(origin.clone());
    let uri = uri.path_and_query(target.ok_or_else(|| invalid("a request without a path"))?);

    let mut headers = read_fields(reader).await?;
    let body = match (headers.remove(TRANSFER_ENCODING), headers.remove(CONTENT_LENGTH)) {
        (Some(coding), None) if coding == "chunked" => read_chunks(reader).await?,
        (None, Some(length)) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            read_exactly(reader, length.ok_or_else(|| invalid("no length"))?).await?
        }
        (None, None) => Vec::new(),
        _ => return Err(invalid("a body whose end nobody knows")),
    };

    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri.build().map_err(invalid)?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(Some(request))
}

async fn read_chunks<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader).await?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = str::from_utf8(size).map_err(invalid)?.trim();
        let size = u64::from_str_radix(size, 16).map_err(invalid)?;
        if size == 0 {
            // The trailers, which nobody has asked for.
            read_fields(reader).await?;
            return Ok(body);
        }
        body.extend(read_exactly(reader, size).await?);
        if !read_line(reader).await?.is_empty() {
            return Err(invalid("a chunk is longer than it says"));
        }
    }
}

async fn read_exactly<R: AsyncBufRead + Unpin>(reader: &mut R, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match reader.take(length).read_to_end(&mut bytes).await? {
        read if read as u64 == length => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The lines up to the empty one.
async fn read_fields<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<HeaderMap> {
    let mut fields = HeaderMap::new();
    loop {
        let line = read_line(reader).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return Err(invalid("a field without a colon"));
        };
        let name = HeaderName::from_bytes(name).map_err(invalid)?;
        let value = HeaderValue::from_bytes(value.trim_ascii()).map_err(invalid)?;
        fields.append(name, value);
    }
}

/// A line without its end.
async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => {
            line.pop_if(|byte| *byte == b'\r');
            Ok(line)
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(error: impl Into<BoxError>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Takes away what is between the client and this server alone, and says whether the client wants
/// the connection closed (RFC 9110, section 7.6.1).
fn take_connection(headers: &mut HeaderMap) -> bool {
    let close = headers.get_all(CONNECTION).iter().any(|value| value == "close");
    for name in [CONNECTION, HOST, KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
    close
}

/// What becomes of an error.
fn refusal(error: &(dyn std::error::Error + 'static)) -> Response<String> {
    let mut response = Response::new(format!("{error}: {:?}", error.source()));
    *response.status_mut() = match find_cause::<Elapsed>(error) {
        Some(_) => StatusCode::GATEWAY_TIMEOUT,
        None => StatusCode::BAD_GATEWAY,
    };
    response
}

/// How the client knows where a body ends (RFC 9112, section 6).
#[derive(Clone, Copy, Debug)]
enum Framing {
    Nothing,
    Length(u64),
    Chunks,
}

impl Framing {
    fn new<B: Body>(method: &Method, response: &Response<B>) -> Self {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        match (method, response.status()) {
            (&Method::HEAD, _) | (_, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
                Self::Nothing
            }
            _ => length
                .or_else(|| response.body().size_hint().exact())
                .map_or(Self::Chunks, Self::Length),
        }
    }
}

/// Says whether the response went out whole: if not, nothing may follow it.
async fn write_response<W, B>(
    writer: &mut W,
    method: &Method,
    mut response: Response<B>,
    close: bool,
) -> io::Result<bool>
where
    W: AsyncWrite + Unpin,
    B: Body,
{
    let framing = Framing::new(method, &response);
    // What else belongs to one connection alone is left: that a cache does not store it is what
    // the suite looks for.
    let headers = response.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(KEEP_ALIVE);
    headers.remove(TRANSFER_ENCODING);
    match framing {
        Framing::Nothing => {}
        Framing::Length(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        Framing::Chunks => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }

    let mut bytes = Vec::new();
    put_head(&mut bytes, response.status(), response.headers());
    writer.write_all(&bytes).await?;
    match framing {
        Framing::Nothing => Ok(true),
        Framing::Length(length) => write_bytes(writer, response.into_body(), length).await,
        Framing::Chunks => write_chunks(writer, response.into_body()).await,
    }
}

async fn write_bytes<W, B>(writer: &mut W, body: B, mut left: u64) -> io::Result<bool>
where
    W: AsyncWrite + Unpin,
    B: Body,
{
    let mut body = Box::pin(body);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let data = read_out(data);
        let Some(rest) = left.checked_sub(data.len() as u64) else {
            return Ok(false);
        };
        writer.write_all(&data).await?;
        left = rest;
    }
    Ok(left == 0)
}

async fn write_chunks<W, B>(writer: &mut W, body: B) -> io::Result<bool>
where
    W: AsyncWrite + Unpin,
    B: Body,
{
    let mut body = Box::pin(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Ok(false);
        };
        let data = frame.into_data().map(read_out).unwrap_or_default();
        if !data.is_empty() {
            let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
            chunk.extend_from_slice(&data);
            chunk.extend_from_slice(b"\r\n");
            writer.write_all(&chunk).await?;
        }
    }
    writer.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

fn read_out(mut data: impl bytes::Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

fn put_head(bytes: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    let reason = status.canonical_reason().unwrap_or_default();
    bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}
