use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName};
use palisade_core::{Head, KeyBy, OwnedKey};

/// On a server, one for each client, by its address; and one for all requests
/// that tell none.
///
/// The address is that of the connection, which the request's extensions carry
/// as a [`SocketAddr`] or [`IpAddr`], or as a server has it: see
/// [`peer`](Self::peer). Behind proxies it is one of those that
/// `X-Forwarded-For` lists: each proxy appends the address of whom it was asked
/// by, so what stands further left than the proxies that are
/// [trusted](Self::trusted_hops) is what a client makes up, and is not looked
/// at. An IPv6 address counts by its [first bits](Self::ipv6_prefix), as
/// networks hand out many at once.
///
/// ```
/// use std::net::SocketAddr;
/// use http::Request;
/// use palisade_core::{Head, KeyBy, OwnedKey};
/// use palisade_rate_limit::ByClient;
///
/// let mut request = Request::get("/users")
///     .header("x-forwarded-for", "10.9.8.7, 203.0.113.5")
///     .body(())?;
/// // That of the proxy.
/// request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 40_000)));
///
/// let one_proxy = ByClient::new().trusted_hops(1);
/// assert_eq!(one_proxy.key(Head::of(&request)), OwnedKey("203.0.113.5".parse().ok()));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ByClient {
    hops: usize,
    prefix: u8,
    peer: fn(&Extensions) -> Option<IpAddr>,
}

impl ByClient {
    /// Keys by the address of the connection.
    pub fn new() -> Self {
        Self { hops: 0, prefix: 64, peer }
    }

    /// Sets how many proxies there are in front of this server, each of which
    /// appends to `X-Forwarded-For`. Defaults to none.
    ///
    /// Where the field has fewer addresses, or the one in question is none, the
    /// request counts by the address of the connection: it did not come by way
    /// of all proxies.
    pub fn trusted_hops(mut self, hops: usize) -> Self {
        self.hops = hops;
        self
    }

    /// Sets where the address of the connection is found in a request's
    /// extensions. Defaults to a [`SocketAddr`] or an [`IpAddr`].
    ///
    /// axum has it in a `ConnectInfo<SocketAddr>`, if the router is served
    /// [with it](https://docs.rs/axum/0.8/axum/struct.Router.html#method.into_make_service_with_connect_info):
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # #[derive(Clone, Copy)]
    /// # struct ConnectInfo<T>(T);
    /// # use palisade_rate_limit::ByClient;
    /// let by_client = ByClient::new().peer(|extensions| {
    ///     extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip())
    /// });
    /// # let _ = by_client;
    /// ```
    pub fn peer(mut self, peer: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Sets how many bits of an IPv6 address tell clients apart. Defaults to 64,
    /// at most 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.prefix = bits.min(128);
        self
    }

    fn address(self, head: Head<'_>) -> Option<IpAddr> {
        let forwarded = self.hops.checked_sub(1).and_then(|hops| forwarded_for(head.headers, hops));
        let address = forwarded.or_else(|| (self.peer)(head.extensions))?;
        Some(match address.to_canonical() {
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or_default();
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            address => address,
        })
    }
}

impl Default for ByClient {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyBy for ByClient {
    type Key = Option<IpAddr>;
    type Ref<'r> = OwnedKey<Option<IpAddr>>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        OwnedKey(self.address(head))
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let socket = || extensions.get().map(SocketAddr::ip);
    extensions.get().copied().or_else(socket)
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that stands so far from the right.
fn forwarded_for(headers: &HeaderMap, from_right: usize) -> Option<IpAddr> {
    // Several lines are one list (RFC 9110, section 5.3).
    let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let entry = std::str::from_utf8(entries.nth(from_right)?).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
    // Some proxies tell the port as well.
    let socket = || entry.parse::<SocketAddr>().map(|socket| socket.ip());
    bare.unwrap_or(entry).parse().or_else(|_| socket()).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "192.0.2.1";

    fn key(by: ByClient, lines: &[&[u8]]) -> Option<IpAddr> {
        let mut request = Request::get("/");
        for line in lines {
            request = request.header("x-forwarded-for", *line);
        }
        let mut request = request.body(()).unwrap();
        let peer: IpAddr = PEER.parse().unwrap();
        request.extensions_mut().insert(SocketAddr::from((peer, 1)));
        by.address(Head::of(&request))
    }

    #[test]
    fn what_a_client_makes_up_is_not_looked_at() {
        for (hops, lines, expected) in [
            (0, ["1.1.1.1"].as_slice(), PEER),
            (1, &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            (2, &["6.6.6.6, 1.1.1.1, 2.2.2.2"], "1.1.1.1"),
            (2, &["6.6.6.6", "1.1.1.1", "2.2.2.2"], "1.1.1.1"),
            // It came by way of fewer proxies than there are.
            (2, &["1.1.1.1"], PEER),
            (1, &[], PEER),
            (1, &["junk"], PEER),
            (1, &["1.1.1.1, "], PEER),
            (1, &["6.6.6.6,1.1.1.1:4711"], "1.1.1.1"),
            (1, &["[2001:db8::1]:4711"], "2001:db8::"),
            (1, &["[2001:db8::1]"], "2001:db8::"),
            (1, &["::ffff:1.1.1.1"], "1.1.1.1"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
            let found = key(ByClient::new().trusted_hops(hops), &lines);
            assert_eq!(found, expected.parse().ok(), "{hops} {lines:?}");
        }
        assert_eq!(
            key(ByClient::new().trusted_hops(1), &[b"\xff, 1.1.1.1"]),
            "1.1.1.1".parse().ok()
        );
        let request = Request::new(());
        assert_eq!(ByClient::new().address(Head::of(&request)), None);
    }

    #[test]
    fn a_network_is_one_client() {
        let one: &[&[u8]] = &[b"2001:db8:1:2:3:4:5:6"];
        for (bits, expected) in [
            (64, "2001:db8:1:2::"),
            (48, "2001:db8:1::"),
            (128, "2001:db8:1:2:3:4:5:6"),
            (255, "2001:db8:1:2:3:4:5:6"),
            (0, "::"),
        ] {
            let by = ByClient::new().trusted_hops(1).ipv6_prefix(bits);
            assert_eq!(key(by, one), expected.parse().ok(), "{bits}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_left_of_the_trusted_changes_nothing(left in "[^\r\n\0\u{7f}]{0,40}", hops in 1..4_usize) {
            let right = "1.1.1.1, 2.2.2.2, 3.3.3.3";
            let by = ByClient::new().trusted_hops(hops);
            let line = format!("{left},{right}");
            if http::HeaderValue::from_bytes(line.as_bytes()).is_ok() {
                prop_assert_eq!(key(by, &[line.as_bytes()]), key(by, &[right.as_bytes()]));
            }
        }
    }
}
