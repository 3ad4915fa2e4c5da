use std::{
    future::{pending, poll_fn},
    mem,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::SystemTime,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header, request,
};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use palisade_core::WallClock;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    body::{BrokenOff, ReplyBody},
    clock::PausedClock,
    connection::{Connection, Socket},
    limit::{Verdict, whole_seconds},
    loopback,
    reply::{Fate, Reply},
    script::{Decision, Script},
    stats::{Received, Recorder, RequestRecord, Stats},
    sync::Tasks,
};

/// An HTTP server on loopback that behaves as badly as its [`Script`] says.
///
/// It speaks HTTP/1.1 and, with prior knowledge, HTTP/2 on one port, both without TLS. Dropped, it
/// stops: the port is closed and so are its connections, as soon as the runtime gets to it;
/// [`stop`](Self::stop) waits for that.
///
/// All its waiting is done on tokio's clock. Under paused time that clock jumps whenever every task
/// waits, even if it is for a socket, so exchanges with a latency do not keep their order there;
/// tests of such should run in real time, in milliseconds.
#[derive(Debug)]
pub struct FlakyApi {
    addr: SocketAddr,
    recorder: Arc<Recorder>,
    tasks: Tasks,
}

impl FlakyApi {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// Panics if no port can be bound, or outside of a tokio runtime.
    pub async fn start(script: Script) -> Self {
        let (listener, addr) = loopback::listen().await;
        let recorder = Arc::new(Recorder::new(&script));
        let tasks = Tasks::new();
        let server = Arc::new(Server {
            clock: script.clock.unwrap_or_else(time_of_day),
            script,
            recorder: Arc::clone(&recorder),
            tasks: tasks.clone(),
        });
        tasks.spawn(server.listen(listener));
        Self { addr, recorder, tasks }
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
    pub fn stats(&self) -> Stats {
        self.recorder.stats()
    }

    /// The requests it has received, in the order their heads arrived, each with as much of the
    /// body as was read.
    pub fn requests(&self) -> Vec<Received> {
        self.recorder.requests()
    }

    /// Waits until the statistics meet a condition, and returns them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn wait_for(&self, condition: impl FnMut(&Stats) -> bool) -> Stats {
        self.recorder.wait_for(condition).await
    }

    /// Stops the server and waits until its port and all its connections are closed.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

impl Drop for FlakyApi {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

#[derive(Debug)]
struct Server {
    script: Script,
    clock: PausedClock,
    recorder: Arc<Recorder>,
    tasks: Tasks,
}

impl Server {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = loopback::accept(&listener).await;
            let connection = Arc::new(Connection::new(Arc::clone(&self.recorder)));
            self.tasks.spawn(Arc::clone(&self).serve(stream, connection));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, connection: Arc<Connection>) {
        let io = TokioIo::new(Socket::new(stream, Arc::clone(&connection)));
        let service =
            service_fn(|request| Arc::clone(&self).answer(request, Arc::clone(&connection)));
        let builder = auto::Builder::new(self.tasks.clone());
        {
            let mut served = pin!(builder.serve_connection(io, service));
            let mut go_away = pin!(connection.go_away.notified());
            let mut going = false;
            // How it ended is the client's to say and the script's to know.
            let _ = poll_fn(|cx| {
                if !going && go_away.as_mut().poll(cx).is_ready() {
                    going = true;
                    served.as_mut().graceful_shutdown();
                }
                served.as_mut().poll(cx)
            })
            .await;
        }
        connection.finish().await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Result<Response<ReplyBody>, BrokenOff> {
        let (parts, body) = request.into_parts();
        let route = self.script.find(&parts);
        let mut record =
            self.recorder.request(&parts, route, connection.number, !body.is_end_stream());
        let Decision { mut reply, delay, limit } = self.script.decide(route, &parts);
        let mut body = Some(body);
        if !reply.early
            && let Some(body) = body.take()
        {
            read(body, &mut record).await?;
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        match reply.fate {
            Fate::Answer => {}
            Fate::Never => pending().await,
            Fate::Reset => {
                if parts.version != Version::HTTP_2 {
                    connection.reset();
                }
                return Err(BrokenOff);
            }
        }
        if let Some(limit) = limit {
            self.describe(limit, &mut reply.headers);
        }
        record.answered(reply.status);
        Ok(self.respond(reply, &parts, connection))
    }

    fn respond(
        &self,
        mut reply: Reply,
        request: &request::Parts,
        connection: Arc<Connection>,
    ) -> Response<ReplyBody> {
        let mut headers = mem::take(&mut reply.headers);
        // RFC 9110, sections 9.3.2, 15.3.5 and 15.4.5: these have no content. hyper sees to that
        // over HTTP/1.1 alone.
        if request.method == Method::HEAD {
            if let Some(len) = reply.declared_len() {
                headers.entry(header::CONTENT_LENGTH).or_insert(len.into());
            }
            reply.drop_body();
        } else if matches!(reply.status.as_u16(), 204 | 304) {
            reply.drop_body();
        }
        if let Some(names) = reply.trailer_names() {
            headers.insert(header::TRAILER, names);
        }
        if self.script.clock.is_some() && !headers.contains_key(header::DATE) {
            let date = httpdate::fmt_http_date(self.clock.now());
            headers.insert(header::DATE, HeaderValue::try_from(date).expect("a date is ASCII"));
        }
        if reply.close {
            match request.version {
                Version::HTTP_2 => connection.go_away.notify_one(),
                _ => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close"))),
            }
        }
        let status = reply.status;
        let mut response = Response::new(ReplyBody::new(reply, request.version, connection));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Adds the headers of a rate limit.
    fn describe(&self, limit: Verdict, headers: &mut HeaderMap) {
        let Verdict { quota, remaining, .. } = limit;
        let window = whole_seconds(limit.window);
        let reset = whole_seconds(limit.reset);
        let since_epoch = self.clock.now().duration_since(SystemTime::UNIX_EPOCH);
        let reset_at = since_epoch.map_or(0, |now| whole_seconds(now + limit.reset));
        for (name, value) in [
            ("ratelimit-policy", format!("\"default\";q={quota};w={window}")),
            ("ratelimit", format!("\"default\";r={remaining};t={reset}")),
            ("x-ratelimit-limit", quota.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", reset_at.to_string()),
        ] {
            let value = HeaderValue::try_from(value).expect("numbers are ASCII");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Reads a request body to its end.
async fn read(mut body: Incoming, record: &mut RequestRecord) -> Result<(), BrokenOff> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BrokenOff)?;
        match frame.into_data() {
            Ok(data) => record.data(&data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    record.trailers(trailers);
                }
            }
        }
    }
    record.body_read();
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server has the time of day where its script sets no other"
)]
fn time_of_day() -> PausedClock {
    PausedClock::starting_at(SystemTime::now())
}
