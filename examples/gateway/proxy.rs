//! What becomes of a message that is passed on (RFC 9110, section 7.6).

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, MAX_FORWARDS,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};
use http_body::Body as _;
use http_body_util::Limited;
use palisade::{
    client::{Body, ResponseBody},
    core::BoxError,
};

use crate::{
    config::{Prefix, Upstream},
    problem::Problem,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is between two neighbours alone, whether `Connection` names it or not (section 7.6.1),
/// and what a proxy is told (section 11.7).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

/// What a request needs on its way to an upstream.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) prefix: Prefix,
    pub(crate) upstream: Upstream,
    pub(crate) max_body: usize,
    /// Whether a proxy in front of this one is believed what it says of the client.
    pub(crate) behind_proxy: bool,
    /// Where the gateway's own credentials go: a caller's would be others.
    pub(crate) credentials: Option<HeaderName>,
}

impl Rules {
    /// The request as it goes on, or why it does not.
    pub(crate) fn forward(&self, request: Request<Body>) -> Result<Request<Body>, Problem> {
        let (mut parts, body) = request.into_parts();
        if [Method::CONNECT, Method::TRACE].contains(&parts.method) {
            let what = "the gateway neither opens tunnels nor traces";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, what));
        }
        let headers = &mut parts.headers;
        let host = host(headers, parts.version)?;
        let host = parts.uri.authority().map_or(host, |authority| {
            // RFC 9112, section 3.2.2: what an absolute target says counts.
            HeaderValue::try_from(authority.as_str()).ok()
        });
        if headers.get_all(EXPECT).iter().any(|what| !is_continue(what)) {
            let what = "the gateway knows no other expectation than 100-continue";
            return Err(Problem::new(StatusCode::EXPECTATION_FAILED, what));
        }
        if parts.method == Method::OPTIONS {
            count_down(headers)?;
        }
        let path = parts.uri.path();
        if has_dots(path) {
            let what = "the path goes up or in place: write what it comes to";
            return Err(Problem::new(StatusCode::BAD_REQUEST, what));
        }
        let rest = self.prefix.strip(path).unwrap_or_default();
        let Some(uri) = self.upstream.join(rest, parts.uri.query()) else {
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "the target is too long"));
        };
        if self.max_body < length(headers).unwrap_or_default() {
            return Err(Problem::TOO_LARGE);
        }

        strip(headers);
        headers.remove(HOST);
        // hyper asks for the body as soon as the upstream wants it.
        headers.remove(EXPECT);
        join_cookies(headers);
        if let Some(credentials) = &self.credentials {
            headers.remove(credentials);
        }
        headers.append(VIA, via(parts.version));
        self.tell_of_client(headers, host, parts.extensions.get());

        parts.uri = uri;
        parts.version = Version::HTTP_11;
        let body = match body.is_end_stream() {
            true => Body::empty(),
            false => Body::stream(Limited::new(body, self.max_body)),
        };
        Ok(Request::from_parts(parts, body))
    }

    /// What is said of whom the gateway was asked by. What is said already is a claim of somebody
    /// further out, and is passed on only where the one that counts is told from it: the address
    /// that is appended.
    fn tell_of_client(
        &self,
        headers: &mut HeaderMap,
        host: Option<HeaderValue>,
        peer: Option<&SocketAddr>,
    ) {
        if let Some(peer) = peer {
            let address = peer.ip().to_canonical().to_string();
            if let Ok(address) = HeaderValue::try_from(address) {
                headers.append(X_FORWARDED_FOR, address);
            }
        }
        if !self.behind_proxy {
            // RFC 7239 would be another place for the same claims.
            for name in [FORWARDED, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
                headers.remove(name);
            }
        }
        let proto = HeaderValue::from_static("http");
        headers.entry(X_FORWARDED_PROTO).or_insert(proto);
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
    }
}

/// The upstream's answer as it goes back.
pub(crate) fn back(mut response: Response<ResponseBody>) -> Result<Response<Body>, BoxError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the upstream switches protocols, for which it was not asked".into());
    }
    let via = via(response.version());
    strip(response.headers_mut());
    response.headers_mut().append(VIA, via);
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(Body::stream))
}

/// RFC 9110, section 7.6.3: by what it came, and to whom.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 gateway",
        Version::HTTP_2 => "2 gateway",
        _ => "1.1 gateway",
    })
}

/// Whether a segment means another one, in whatever spelling: the upstream would see another path
/// than the one that the route was chosen by.
pub(crate) fn has_dots(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    path.replace("%5c", "/").split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// RFC 9112, section 3.2: there is one in HTTP/1.1.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<HeaderValue>, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), version) {
        (_, Some(_), _) | (None, _, Version::HTTP_11) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "there has to be one field Host"))
        }
        (host, None, _) => Ok(host.cloned()),
    }
}

fn is_continue(expectation: &HeaderValue) -> bool {
    expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// RFC 9110, section 7.6.2.
fn count_down(headers: &mut HeaderMap) -> Result<(), Problem> {
    let most = headers.get(MAX_FORWARDS).and_then(|most| most.to_str().ok()?.parse::<u32>().ok());
    match most.map(|most| most.checked_sub(1)) {
        None => {}
        Some(Some(left)) => drop(headers.insert(MAX_FORWARDS, left.into())),
        Some(None) => {
            return Err(Problem::new(StatusCode::NO_CONTENT, "it is to go no further"));
        }
    }
    Ok(())
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn strip(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> =
        names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// RFC 9113, section 8.2.3: HTTP/2 may take them apart, HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if 1 < cookies.len()
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_through_segments_that_mean_others() {
        for path in [
            "/..",
            "/a/../b",
            "/./a",
            "/a/.",
            "/%2e%2E",
            "/a/.%2e/b",
            "/..%2fb",
            "/a%5C..",
            "/..\\b",
        ] {
            assert!(has_dots(path), "{path}");
        }
        for path in ["/", "/a/b", "/...", "/.well-known", "/a..b", "/%2e%2ea", "/a%2fb"] {
            assert!(!has_dots(path), "{path}");
        }
    }

    #[test]
    fn takes_away_what_is_between_neighbours() {
        let fields = [("connection", "close, X-One , ,bad name"), ("x-one", "1"), ("x-two", "2")];
        let mut headers: HeaderMap = fields
            .into_iter()
            .chain([("upgrade", "websocket"), ("keep-alive", "timeout=5"), ("connection", "x-two")])
            .chain([("trailer", "x-sum")])
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["trailer"]);
    }
}
