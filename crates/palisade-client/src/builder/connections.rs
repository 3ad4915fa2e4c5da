use std::{net::IpAddr, time::Duration};

use http::Uri;

use crate::{
    ClientBuilder, HttpVersions, InvalidClient,
    proxy::{Proxies, is_proxy},
};

/// Connections.
impl ClientBuilder {
    /// Sets what HTTP is spoken. Defaults to [`HttpVersions::Negotiated`].
    pub fn http_versions(mut self, versions: HttpVersions) -> Self {
        self.transport.versions = versions;
        self
    }

    /// Sets how long a look-up, a connection and its handshake may take together.
    /// Defaults to 5 seconds; `None` is for no limit, and zero is an error of
    /// [`build`](Self::build).
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.transport.connect_timeout = limit;
        self.check_limit("connect_timeout", limit)
    }

    /// Sets how long a connection that nobody uses stays open. Defaults to 90
    /// seconds.
    pub fn pool_idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.transport.pool_idle_timeout = limit.into();
        self
    }

    /// Sets how many connections that nobody uses stay open for each host. Defaults
    /// to no limit. With one, calls that are more at once than it close connections, and
    /// open others, all the time.
    pub fn pool_max_idle_per_host(mut self, most: usize) -> Self {
        self.transport.pool_max_idle = most;
        self
    }

    /// Sets after how long without a frame a connection over HTTP/2 is asked by a ping
    /// whether it is alive. If nothing comes for half as long again, it is dead: the
    /// requests on it fail as those that took too long, and others get another
    /// connection. Defaults to 10 seconds, and so 5 for the answer; `None` is for no
    /// pings, and zero is an error of [`build`](Self::build).
    ///
    /// Pings are sent while requests wait, and not over a connection that nobody uses:
    /// the first request after that sends one.
    ///
    /// An attempt for which there is less time ends before its connection is found dead,
    /// and so may the next one: with a short [`attempt_timeout`](Self::attempt_timeout), set
    /// less. A ping waits behind what is being sent: for large uploads by slow lines, set
    /// more. Servers of gRPC close a connection after a few pings with nothing of theirs in
    /// between, unless those are five minutes apart: where they take longer than half a
    /// minute, set more.
    pub fn http2_keep_alive(mut self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.transport.http2_keep_alive = after;
        self.check_limit("http2_keep_alive", after)
    }

    /// Sets after how long without a byte TCP asks, by probes as far apart, whether a
    /// connection is alive. After 3 without an answer it is closed, used or not. Defaults
    /// to 15 seconds, and is no less than one; `None` is for no probes, and zero is an
    /// error of [`build`](Self::build).
    pub fn tcp_keep_alive(mut self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.transport.tcp_keep_alive = after;
        self.check_limit("tcp_keep_alive", after)
    }

    /// Sets at which addresses a host is, in place of what the system says. The port stays
    /// that of the URL, and the host that is told to the server, and named by its
    /// certificate, the one of the URL. Of several calls for one host the last one counts;
    /// without an address the system is asked.
    ///
    /// A proxy looks hosts up itself: of what goes through one, only where it is itself is
    /// looked up here.
    pub fn resolve(
        mut self,
        host: impl Into<String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        self.transport.resolved.push((host.into(), addresses.into_iter().collect()));
        self
    }

    /// Sets a proxy for all hosts, in place of those that the environment names:
    /// `http://proxy.example:3128`, with user and password before the host if it
    /// wants them. Defaults to what `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY` say when the client is built; with a proxy that is set here, none of them
    /// counts. A host is reached without a proxy if `NO_PROXY` names it, a domain that it
    /// is in, its address, its network (`10.0.0.0/8`), or all hosts (`*`), between commas.
    ///
    /// What differs from curl: `HTTP_PROXY` counts, names in upper case come before those in
    /// lower case, also if they are set to nothing, `*` may stand among others in
    /// `NO_PROXY`, and spaces do not part them. Ports are unknown there, as to curl. Where
    /// `REQUEST_METHOD` is set, in CGI, no variable counts, whatever its case.
    ///
    /// A proxy is reached over plain http. It sees what is asked by http, and the host
    /// alone of what goes through a tunnel: https, and [`HttpVersions::Http2`].
    pub fn proxy(mut self, uri: impl Into<String>) -> Self {
        let uri = uri.into();
        let parsed = uri.parse::<Uri>().ok();
        let fits = |uri: Uri| uri.scheme_str() == Some("http") && uri.authority().is_some();
        if !parsed.is_some_and(fits) || !is_proxy(&uri) {
            return self.fail(InvalidClient::proxy(&uri));
        }
        self.transport.proxies = Proxies::All(uri);
        self
    }

    /// Connects to hosts themselves, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.transport.proxies = Proxies::Off;
        self
    }

    /// Trusts whom the platform trusts, in place of whom Mozilla trusts: as its
    /// verifier says on Windows, macOS, iOS and Android, and elsewhere by the
    /// certificates that are found, or named by `SSL_CERT_FILE` and `SSL_CERT_DIR`. They
    /// are read when the client is built.
    #[cfg(feature = "platform-verifier")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "platform-verifier")))]
    pub fn trust_platform(mut self) -> Self {
        self.transport.tls.platform = true;
        self
    }

    /// Speaks https alone. What leads to `http://` is refused before anything of it is sent:
    /// a base URL by [`build`](Self::build), and a request by an error, also where a
    /// redirect leads there. Defaults to both schemes.
    #[cfg(feature = "tls")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "tls")))]
    pub fn https_only(mut self) -> Self {
        self.transport.https_only = true;
        self
    }

    /// Trusts these certificates, in PEM, beside those that are trusted anyway: of
    /// Mozilla, or [of the platform](crate#defaults), but for Android, whose verifier
    /// takes no others.
    #[cfg(feature = "tls")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "tls")))]
    pub fn trust_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.transport.tls.trusted.push(certificates.into());
        self
    }
}
