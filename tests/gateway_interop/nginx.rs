//! nginx behind the gateway: a file of ten mebibytes, with its validators and parts of it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, id},
};

use http::Request;
use http_body_util::Full;
use tokio::task::yield_now;

use crate::{Scenario, gateway::Gateway};

pub(crate) fn all() -> Vec<Scenario> {
    vec![Scenario::new("nginx: a large file is cached, validated and served in parts", large)]
}

const SIZE: usize = 10 << 20;

/// nginx, until this is dropped.
struct Nginx {
    directory: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Serves a file whose content has a pattern, below `/fresh` for an hour and below `/stale` for
    /// no time.
    fn start(content: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("palisade-nginx-{}", id()));
        fs::create_dir_all(directory.join("files")).unwrap();
        fs::write(directory.join("files/large.txt"), content).unwrap();
        // Free until somebody takes it, and nobody does: nginx does not say which one it got.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let location = |name, control| {
            format!(
                "location /{name}/ {{ alias files/; add_header cache-control \"{control}\"; }}\n"
            )
            .replace("files/", &format!("{}/files/", directory.display()))
        };
        let config = format!(
            "pid nginx.pid;\nevents {{}}\nhttp {{\n{temporary}access_log access.log;\n\
             server {{\nlisten {address};\n{}{}}}\n}}\n",
            location("fresh", "max-age=3600"),
            location("stale", "max-age=0"),
        );
        fs::write(directory.join("nginx.conf"), config).unwrap();
        let nginx = Self { directory, address };
        // It goes into the background as soon as it listens.
        assert!(nginx.command().status().unwrap().success());
        nginx
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&self.directory).args(["-c", "nginx.conf", "-e", "error.log"]);
        command
    }

    /// Method, path and status of each request, as soon as there were so many: nginx writes them down
    /// after the answer.
    async fn requests(&self, count: usize) -> Vec<String> {
        loop {
            let log = fs::read_to_string(self.directory.join("access.log")).unwrap();
            if count <= log.matches('\n').count() {
                return log.lines().map(shorten).collect();
            }
            yield_now().await;
        }
    }
}

/// What stands between the quotes of a line, without the version, and the status after that.
fn shorten(line: &str) -> String {
    let mut parts = line.split('"').skip(1);
    let (request, rest) = (parts.next().unwrap(), parts.next().unwrap());
    let status = rest.split_whitespace().next().unwrap();
    format!("{} {status}", request.strip_suffix(" HTTP/1.1").unwrap())
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.command().args(["-s", "stop"]).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

async fn large(name: &str) {
    let content: String = (0..SIZE / 8).map(|number| format!("{number:07}\n")).collect();
    let nginx = Nginx::start(&content);
    // A store takes bodies of up to a sixteenth of it.
    let route = format!(
        "[[routes]]\nprefix = \"/\"\nupstream = \"http://{}\"\n[routes.cache]\nsize = \"256MiB\"\n",
        nginx.address
    );
    let gateway = Gateway::start(name, &route).await;
    let ask = |path: &str, name: &str, value: &str| {
        let request = Request::get(gateway.url(path)).header(name, value);
        gateway.send(request.body(Full::default()).unwrap())
    };

    for status in ["gateway; fwd=uri-miss; stored", "gateway; hit"] {
        let whole = gateway.get("/fresh/large.txt").await;
        assert_eq!((whole.status, whole.header("accept-ranges")), (200, "bytes"));
        assert!(whole.header("cache-status").starts_with(status), "{:?}", whole.headers);
        assert!(whole.body == content);
    }
    let part = ask("/fresh/large.txt", "range", "bytes=8000000-8000015").await;
    assert_eq!((part.status, &*part.body), (206, "1000000\n1000001\n"));
    assert_eq!(part.header("content-range"), format!("bytes 8000000-8000015/{SIZE}"));
    let etag = part.header("etag").to_owned();
    assert_eq!(ask("/fresh/large.txt", "if-none-match", &etag).await.status, 304);
    assert_eq!(nginx.requests(1).await, ["GET /fresh/large.txt 200"]);

    assert!(gateway.get("/stale/large.txt").await.body == content);
    // nginx says that it is the same, and sends nothing of it.
    let again = gateway.get("/stale/large.txt").await;
    assert!(again.header("cache-status").contains("fwd-status=304"), "{:?}", again.headers);
    assert!(again.body == content);
    let part = ask("/stale/large.txt", "range", "bytes=-8").await;
    assert_eq!((part.status, &*part.body), (206, "1310719\n"));
    let stale = ["200", "304", "304"].map(|status| format!("GET /stale/large.txt {status}"));
    assert_eq!(nginx.requests(4).await[1..], stale);
}
