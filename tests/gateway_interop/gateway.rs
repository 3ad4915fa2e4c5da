//! The gateway as a process, and who asks it.

use std::{env, net::SocketAddr, path::PathBuf, process::Stdio};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    fs,
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// A gateway that runs until this is dropped.
pub(crate) struct Gateway {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    http: Http,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Gateway {
    /// Starts one with these routes, on ports of its own, and waits until it listens.
    pub(crate) async fn start(name: &str, routes: &str) -> Self {
        Self::with(name, "", routes, &[]).await
    }

    /// The same, with more settings of the server and variables of the environment.
    pub(crate) async fn with(
        name: &str,
        server: &str,
        routes: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{server}\n{routes}"
        );
        let mut child =
            command(name, &config).await.envs(variables.iter().copied()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = address(&mut lines, "listening on http://").await;
        let admin = self::address(&mut lines, "gateway: http://").await;
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { child, lines, address, admin, http }
    }

    pub(crate) fn url(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(self.url(path)).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Answer::read(self.begin(request).await).await
    }

    /// As far as the head of the answer.
    pub(crate) async fn begin(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.http.request(request).await.expect("the gateway answers")
    }

    /// What the admin listener says.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.admin);
        self.send(Request::get(url).body(Full::default()).unwrap()).await
    }

    /// Asks it to stop.
    pub(crate) async fn terminate(&self) {
        let id = self.child.id().expect("it runs");
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await;
        assert!(status.unwrap().success());
    }

    /// The next line that it says.
    pub(crate) async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("it says something")
    }

    /// Waits until it has ended, and says how.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is problem details of this status, and says the detail.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        let title = StatusCode::from_u16(status).unwrap().canonical_reason();
        if problem["type"] == "about:blank" {
            assert_eq!(problem["title"].as_str(), title);
        }
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// What runs the gateway with this configuration.
pub(crate) async fn command(name: &str, config: &str) -> Command {
    let program =
        env::var_os("PALISADE_GATEWAY").expect("`cargo xtask interop gateway` says where");
    let directory = PathBuf::from("target/interop-gateway");
    fs::create_dir_all(&directory).await.unwrap();
    let file = directory.join(format!("{}.toml", name.replace(' ', "-")));
    fs::write(&file, config).await.unwrap();
    let mut command = Command::new(program);
    command.arg(file).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn address(lines: &mut Lines<BufReader<ChildStdout>>, before: &str) -> SocketAddr {
    let line = lines.next_line().await.unwrap().expect("it says where it listens");
    let rest = line.split_once(before).unwrap_or_else(|| panic!("{line}")).1;
    rest.split('/').next().unwrap().parse().unwrap()
}
