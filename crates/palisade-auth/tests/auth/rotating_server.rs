//! A token server that gives a new refresh token each time, and revokes the login if
//! one is used twice.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_auth::{ClientAuth, ClientCredentials, TokenEndpoint};
use palisade_core::BoxError;
use tower::Service;

use crate::token_server::URI;

/// The refresh token to begin with.
pub(crate) const SEED: &str = "canary-r0";

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It does not arrive.
    Unsent,
    /// It is answered with a 503.
    Busy,
    /// It is done, and its answer does not arrive.
    Lost,
}

/// Clones are the same server.
#[derive(Clone)]
pub(crate) struct RotatingServer {
    state: Arc<Mutex<State>>,
    /// How often it keeps others waiting before and after it does something.
    yields: usize,
}

#[derive(Default)]
struct State {
    /// How many tokens there have been: the one that works has this number.
    count: u32,
    revoked: bool,
    inside: u32,
    most_inside: u32,
    faults: VecDeque<Fault>,
    keeps: bool,
}

impl RotatingServer {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), yields: 0 }
    }

    /// One that takes its time.
    pub(crate) fn slow(yields: usize) -> Self {
        Self { yields, ..Self::new() }
    }

    /// One that does not rotate.
    pub(crate) fn that_keeps() -> Self {
        let server = Self::new();
        server.state().keeps = true;
        server
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    pub(crate) fn endpoint(&self) -> TokenEndpoint {
        TokenEndpoint::new(URI, self.clone())
    }

    /// A source that needs no login.
    pub(crate) fn program(&self) -> ClientCredentials {
        ClientCredentials::new(self.endpoint(), ClientAuth::none("program"))
    }

    /// How many refresh tokens it has taken.
    pub(crate) fn count(&self) -> u32 {
        self.state().count
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.state().revoked
    }

    pub(crate) fn revoke(&self) {
        self.state().revoked = true;
    }

    /// How many it has served at once.
    pub(crate) fn most_inside(&self) -> u32 {
        self.state().most_inside
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Does what a form asks for.
    fn answer(&self, form: &[u8]) -> (u16, String) {
        let mut form = form_urlencoded::parse(form);
        let (_, grant) = form.next().expect("a grant");
        if grant == "client_credentials" {
            return (200, r#"{"access_token":"program","expires_in":3600}"#.to_owned());
        }
        let (_, token) = form.find(|(name, _)| name == "refresh_token").expect("a token");
        let mut state = self.state();
        let works = format!("canary-r{}", state.count);
        if token != works && !state.keeps {
            state.revoked = true;
        }
        if state.revoked {
            // It repeats what it was sent, as it must not.
            let said = format!(r#""error_description":"{token} is used up, as is {token}""#);
            return (400, format!(r#"{{"error":"invalid_grant",{said}}}"#));
        }
        state.count += 1;
        let count = state.count;
        let refresh = match state.keeps {
            true => String::new(),
            false => format!(r#","refresh_token":"canary-r{count}""#),
        };
        (200, format!(r#"{{"access_token":"canary-a{count}","expires_in":3600{refresh}}}"#))
    }

    async fn serve(self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        let form = request.into_body().collect().await?.to_bytes();
        let fault = {
            let mut state = self.state();
            state.inside += 1;
            state.most_inside = state.most_inside.max(state.inside);
            state.faults.pop_front()
        };
        let _inside = Inside(&self);
        yields(self.yields).await;
        match fault {
            Some(Fault::Unsent) => return Err("the connection was refused".into()),
            Some(Fault::Busy) => return Ok(response(503, "busy".to_owned())),
            _ => {}
        }
        let (status, body) = self.answer(&form);
        yields(self.yields).await;
        match fault {
            Some(Fault::Lost) => Err("the connection was reset".into()),
            _ => Ok(response(status, body)),
        }
    }

    /// Serves other processes until this one ends.
    pub(crate) fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who went away does not need an answer.
                let _served = server.serve_stream(stream.unwrap());
            }
        });
        address
    }

    fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut form = Vec::new();
        stream.read_to_end(&mut form)?;
        let (status, body) = self.answer(&form);
        write!(stream, "{status}{body}")
    }
}

struct Inside<'a>(&'a RotatingServer);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
    }
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body)).unwrap()
}

/// Is pending a few times.
pub(crate) async fn yields(mut times: usize) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Served = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

impl Service<Request<Full<Bytes>>> for RotatingServer {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Served {
        Box::pin(self.clone().serve(request))
    }
}

/// The server of another process.
#[derive(Clone)]
pub(crate) struct RemoteServer {
    pub(crate) address: SocketAddr,
    /// Whether this process ends as soon as its first request is done.
    pub(crate) abort: bool,
}

impl RemoteServer {
    fn ask(&self, form: &[u8]) -> io::Result<Response<Full<Bytes>>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(form)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if self.abort {
            std::process::abort();
        }
        let (status, body) = answer.split_at(3);
        Ok(response(status.parse().unwrap(), body.to_owned()))
    }
}

impl Service<Request<Full<Bytes>>> for RemoteServer {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Served {
        let server = self.clone();
        Box::pin(async move {
            let form = request.into_body().collect().await?.to_bytes();
            let asked = tokio::task::spawn_blocking(move || server.ask(&form));
            Ok(asked.await??)
        })
    }
}
