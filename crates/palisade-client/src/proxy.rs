//! Who stands between a client and the servers, and how a tunnel through them is made.

use std::{env, error::Error, ffi::OsString, fmt, io};

use http::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Builder, Intercept, Matcher};
use palisade_core::{BoxError, ErrorKind, Fault};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{InvalidClient, call, url::has_port_of_sense};

/// Which proxies there are. Without `Debug`: there may be a password.
#[derive(Clone, Default)]
pub(crate) enum Proxies {
    /// Whom the environment names.
    #[default]
    Environment,
    Off,
    All(String),
}

impl Proxies {
    /// Who is asked for each request, if there are any.
    pub(crate) fn matcher(&self) -> Result<Option<Matcher>, InvalidClient> {
        match self {
            Self::Environment => of_environment(|name| env::var_os(name)),
            Self::Off => Ok(None),
            Self::All(uri) => Ok(Some(Matcher::builder().all(uri.clone()).build())),
        }
    }
}

/// The proxies that the environment names, as hyper-util reads it: but what cannot be
/// read is an error and no direct way.
fn of_environment(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Matcher>, InvalidClient> {
    // There `HTTP_PROXY` is what a request says in its field `Proxy`.
    if variable("REQUEST_METHOD").is_some() {
        return Ok(None);
    }
    let read = |names: [&'static str; 2]| {
        let mut found = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
        let found = found.next().map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        found.filter(|(_, value)| !value.is_empty())
    };
    type Set = fn(Builder, String) -> Builder;
    let variables: [([&str; 2], Set); 3] = [
        (["HTTP_PROXY", "http_proxy"], Builder::http),
        (["HTTPS_PROXY", "https_proxy"], Builder::https),
        (["ALL_PROXY", "all_proxy"], Builder::all),
    ];
    let mut builder = None;
    for (names, set) in variables {
        if let Some((name, value)) = read(names) {
            if !is_proxy(&value) {
                return Err(InvalidClient::variable(name));
            }
            builder = Some(set(builder.unwrap_or_default(), value));
        }
    }
    let direct = read(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
    Ok(builder.map(|builder| builder.no(direct).build()))
}

/// Whether it can be read: what cannot is none at all to hyper-util.
pub(crate) fn is_proxy(value: &str) -> bool {
    let matcher = Matcher::builder().all(value).build();
    let proxy = matcher.intercept(&Uri::from_static("http://proxied.invalid"));
    let authority = proxy.as_ref().and_then(|proxy| proxy.uri().authority());
    authority.is_some_and(|it| !it.host().is_empty() && has_port_of_sense(it))
}

/// Asks a proxy for a tunnel: RFC 9110, section 9.3.6. It is done here as that of
/// hyper-util does not tell what a proxy has answered.
pub(crate) async fn tunnel(
    tcp: &mut TcpStream,
    proxy: &Intercept,
    to: &Uri,
) -> Result<(), ProxyError> {
    let fail = |what| ProxyError::new(proxy, what);
    let port = if to.scheme_str() == Some("http") { 80 } else { 443 };
    let authority = format!("{}:{}", to.host().unwrap_or_default(), to.port_u16().unwrap_or(port));
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    if let Some(auth) = proxy.basic_auth() {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(auth.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let broken = |error| fail(Failed::Broken(Some(error)));
    tcp.write_all(&request).await.map_err(broken)?;
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        let http = answer.iter().zip(b"HTTP/1.").all(|(one, other)| one == other);
        if !http || ANSWER <= answer.len() {
            return Err(fail(Failed::Nonsense));
        }
        // One byte, as what comes after it is of who is behind the tunnel: RFC 9113, section 3.4,
        // lets a server speak first.
        match tcp.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(fail(Failed::Broken(None)));
            }
            Err(error) => return Err(broken(error)),
        }
    }
    match status(&answer) {
        Some(status) if status.is_success() => Ok(()),
        Some(status) => Err(fail(Failed::Refused(status))),
        None => Err(fail(Failed::Nonsense)),
    }
}

/// How long the head of an answer may be.
const ANSWER: usize = 16 * 1024;

/// RFC 9112, section 4.
fn status(answer: &[u8]) -> Option<StatusCode> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', rest @ ..] = answer else {
        return None;
    };
    let (status, rest) = rest.split_first_chunk::<3>()?;
    matches!(rest.first(), Some(b' ' | b'\r')).then(|| StatusCode::from_bytes(status).ok())?
}

/// Why there is no way through a proxy. Nobody has seen the request.
#[derive(Debug)]
pub(crate) struct ProxyError {
    // Without a password.
    proxy: String,
    what: Failed,
}

#[derive(Debug)]
pub(crate) enum Failed {
    /// It is reached in another way than by http.
    Unknown,
    Unreached(BoxError),
    Broken(Option<io::Error>),
    /// It answers with something else than HTTP.
    Nonsense,
    Refused(StatusCode),
}

impl ProxyError {
    pub(crate) fn new(proxy: &Intercept, what: Failed) -> Self {
        Self { proxy: call::origin(proxy.uri()), what }
    }

    pub(crate) fn unsent(self) -> BoxError {
        let permanent = self.is_permanent();
        let fault = Fault::new(ErrorKind::Connect, self).unsent();
        if permanent { fault.permanent().into() } else { fault.into() }
    }

    /// Whether it would be the same another time.
    fn is_permanent(&self) -> bool {
        match self.what {
            Failed::Unknown | Failed::Nonsense => true,
            Failed::Unreached(_) | Failed::Broken(_) => false,
            // It may be about this moment, or about who is behind it.
            Failed::Refused(status) => {
                !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429)
            }
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = &self.proxy;
        match &self.what {
            Failed::Unknown => {
                write!(f, "the proxy `{proxy}` is of no known kind: name one by `http://`")
            }
            Failed::Unreached(_) => write!(
                f,
                "the proxy `{proxy}` cannot be reached: check where it is, or do without it: by `no_proxy`, or NO_PROXY in the environment"
            ),
            Failed::Broken(_) => write!(
                f,
                "the proxy `{proxy}` has closed the connection: check that it allows the host"
            ),
            Failed::Nonsense => {
                write!(f, "the proxy `{proxy}` does not speak HTTP: check where it is")
            }
            Failed::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => write!(
                f,
                "the proxy `{proxy}` wants other credentials: give them as in `http://user:password@proxy.example`"
            ),
            Failed::Refused(status) => write!(
                f,
                "the proxy `{proxy}` refuses the host with status {status}: allow it there, or do without: by `no_proxy`, or NO_PROXY in the environment"
            ),
        }
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.what {
            Failed::Unreached(error) => Some(&**error),
            Failed::Broken(error) => error.as_ref().map(|error| error as _),
            Failed::Unknown | Failed::Nonsense | Failed::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(variables: &[(&str, &str)], uri: &'static str) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let matcher = of_environment(variable).map_err(|error| error.to_string())?;
        let proxy = matcher.and_then(|matcher| matcher.intercept(&Uri::from_static(uri)));
        Ok(proxy.map(|proxy| call::origin(proxy.uri())))
    }

    #[tokio::test]
    async fn a_tunnel_takes_nothing_of_what_comes_by_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut proxy, _) = listener.accept().await.unwrap();
        proxy.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
        let to = Uri::from_static("http://api.example/");
        let intercept = Matcher::builder().all("http://proxy").build().intercept(&to).unwrap();
        tunnel(&mut tcp, &intercept, &to).await.unwrap();
        let mut first = [0; 5];
        tcp.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"hello");
    }

    #[test]
    fn the_environment_names_proxies() {
        const HTTP: (&str, &str) = ("HTTP_PROXY", "http://one:3128");
        const HTTPS: (&str, &str) = ("https_proxy", "two:3128");
        const ALL: (&str, &str) = ("ALL_PROXY", "http://user:s3cret@three:3128");
        for (variables, uri, proxy) in [
            (&[][..], "http://api.example/", None),
            (&[HTTP], "http://api.example/", Some("http://one:3128")),
            (&[HTTP], "https://api.example/", None),
            (&[HTTPS], "https://api.example/", Some("http://two:3128")),
            (&[HTTPS], "http://api.example/", None),
            (&[ALL], "http://api.example/", Some("http://three:3128")),
            (&[ALL], "https://api.example/", Some("http://three:3128")),
            (&[ALL, HTTP], "http://api.example/", Some("http://one:3128")),
            (&[ALL, HTTP], "https://api.example/", Some("http://three:3128")),
            (&[("http_proxy", "http://low"), HTTP], "http://api.example/", Some("http://one:3128")),
            (&[("HTTP_PROXY", ""), ("http_proxy", "http://low")], "http://api.example/", None),
            (&[("REQUEST_METHOD", "GET"), HTTP], "http://api.example/", None),
        ] {
            assert_eq!(way(variables, uri), Ok(proxy.map(str::to_owned)), "{variables:?} {uri}");
        }
    }

    #[test]
    fn some_hosts_are_reached_without() {
        for (direct, uri, proxied) in [
            ("api.example", "http://api.example/", false),
            ("api.example", "http://api.example:8080/", false),
            ("api.example", "https://eu.api.example/", false),
            (".api.example", "https://eu.api.example/", false),
            (".api.example", "https://API.example/", false),
            ("api.example", "http://myapi.example/", true),
            ("api.example", "http://api.example.evil/", true),
            // Ports are of no matter, and spaces part nothing.
            ("api.example:8080", "http://api.example:8080/", true),
            ("other.example api.example", "http://api.example/", true),
            ("other.example,*", "http://api.example/", false),
            ("other, 10.0.0.0/8", "http://10.1.2.3:8080/", false),
            ("10.0.0.0/8", "http://11.1.2.3/", true),
            ("127.0.0.1,::1", "http://[::1]:80/", false),
            ("*", "http://api.example/", false),
            ("", "http://api.example/", true),
        ] {
            let variables = [("ALL_PROXY", "http://proxy"), ("no_proxy", direct)];
            assert_eq!(way(&variables, uri).unwrap().is_some(), proxied, "{direct} {uri}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_direct_way() {
        for value in ["http://", "ftp://proxy", "http://me:s3cret@", "a b", "http://proxy:99999"] {
            let told = way(&[("HTTPS_PROXY", value)], "http://api.example/").unwrap_err();
            assert_eq!(
                told,
                "the environment's `HTTPS_PROXY` is no proxy: name it as in `http://proxy.example:3128`, or call `no_proxy`"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_no_direct_way() {
        use std::os::unix::ffi::OsStringExt;

        let variable = |name: &str| {
            (name == "ALL_PROXY").then(|| OsString::from_vec(b"http://proxy\xff".to_vec()))
        };
        let told = of_environment(variable).unwrap_err().to_string();
        assert!(told.starts_with("the environment's `ALL_PROXY` is no proxy"), "{told}");
    }

    #[test]
    fn only_http_has_a_status() {
        for (answer, code) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\n\r\n", Some(407)),
            ("HTTP/1.1 2000\r\n\r\n", None),
            ("HTTP/1.1 20", None),
            ("HTTP/2 200 OK\r\n\r\n", None),
            ("SSH-2.0-OpenSSH\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(answer.as_bytes()).map(|status| status.as_u16()), code, "{answer}");
        }
    }
}
