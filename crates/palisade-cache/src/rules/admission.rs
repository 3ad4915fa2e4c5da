//! What may be stored: RFC 9111, section 3.

use std::time::SystemTime;

use http::{
    HeaderMap, Method, StatusCode, Uri,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE,
        VARY,
    },
};

use super::{
    directives::{
        request::RequestDirectives,
        response::{Listed, ResponseDirectives},
        targeted,
    },
    key::same_target,
    location,
    options::Options,
    policy::{Exchange, Lifetime, Policy},
    range::Slice,
    status,
    vary::Selector,
};

/// What is stored beside the head and the body of a response.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) policy: Policy,
    pub(crate) selector: Selector,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// It answers a method whose answers are not stored.
    Method,
    /// It answers but this one request, or is not final.
    Status,
    /// `must-understand`, and the status is not known.
    NotUnderstood,
    /// The request has `no-store`.
    RequestNoStore,
    NoStore,
    /// `private`, in a shared cache.
    Private,
    /// The request has credentials, and a shared cache is not told that the
    /// response is for others too.
    Authorization,
    /// It sets cookies, in a shared cache.
    SetCookie,
    /// Neither what it says nor its status allows it.
    NotAllowed,
    /// A part that does not say which one.
    Part,
    /// It depends on what no request shows, or on too much.
    Vary,
    /// It would never be used: it is stale, and has no validator.
    OfNoUse,
    /// What it says of its length is no length.
    Length,
    /// There is no room for it.
    TooLarge,
}

impl Unstorable {
    /// A name, as a token of structured fields.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NotUnderstood => "not-understood",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::NotAllowed => "not-allowed",
            Self::Part => "part",
            Self::Vary => "vary",
            Self::OfNoUse => "of-no-use",
            Self::Length => "length",
            Self::TooLarge => "too-large",
        }
    }
}

/// Decides whether a response is stored.
///
/// For a response that is freshened, the exchange is that of the validation,
/// with the status and the fields that are stored from now on.
pub(crate) fn admit(
    exchange: &Exchange<'_>,
    options: &Options<'_>,
) -> Result<Admitted, Unstorable> {
    let targeted = if options.shared { targeted::of(exchange.response) } else { None };
    let directives = targeted.unwrap_or_else(|| ResponseDirectives::of(exchange.response));
    let lifetime = Lifetime::of(exchange, &directives, targeted.is_some(), options);

    check_method(exchange, lifetime, options)?;
    check_status(exchange, &directives)?;
    check_directives(exchange, &directives, lifetime, options)?;
    if options.shared {
        check_shared(exchange, &directives, options)?;
    }
    let selector = Selector::of(exchange.request, exchange.response, options);
    let selector = selector.map_err(|_| Unstorable::Vary)?;
    let policy = Policy::new(exchange, &directives, lifetime, options);
    if !policy.is_of_use() {
        return Err(Unstorable::OfNoUse);
    }
    Ok(Admitted { policy, selector })
}

/// Whether a response is meant for no cache, as far as its head tells by itself, whoever asks: then
/// the next one is most likely the same.
pub(crate) fn is_for_none(status: StatusCode, headers: &HeaderMap, options: &Options<'_>) -> bool {
    let targeted = if options.shared { targeted::of(headers) } else { None };
    if !status.is_success() || targeted.is_some() || headers.contains_key(VARY) {
        return false;
    }
    if headers.contains_key(CACHE_CONTROL) {
        // RFC 9111, section 5.2.2.5: nothing that is told of stale responses goes before it.
        let directives = ResponseDirectives::of(headers);
        return directives.no_store && !directives.must_understand;
    }
    // RFC 9111, section 4.2.4: what says nothing does not forbid it either.
    let is_given_stale = (options.stale_while_revalidate != 0 || options.stale_if_error != 0)
        && status::is_heuristically_cacheable(status);
    !is_given_stale && ![EXPIRES, ETAG, LAST_MODIFIED].iter().any(|name| headers.contains_key(name))
}

/// Whether a response could be stored for somebody, as far as its head tells by itself. It came
/// `received`.
pub(crate) fn is_for_some(
    status: StatusCode,
    headers: &HeaderMap,
    options: &Options<'_>,
    received: impl FnOnce() -> SystemTime,
) -> bool {
    // Most are not, and that is told without the time.
    if is_for_none(status, headers, options) {
        return false;
    }
    let received = received();
    // What is not stored for who asks like this is stored for nobody. Of what is asked for with a
    // body less is stored: that is looked at in vain.
    let exchange = Exchange {
        method: &Method::GET,
        uri: &Uri::default(),
        request: &HeaderMap::new(),
        status,
        response: headers,
        asked: received,
        received,
    };
    admit(&exchange, options).is_ok()
}

fn check_method(
    exchange: &Exchange<'_>,
    lifetime: Lifetime,
    options: &Options<'_>,
) -> Result<(), Unstorable> {
    let may = match *exchange.method {
        Method::GET => true,
        // RFC 9110, section 9.3.3: not without a word of how long.
        Method::POST => {
            let keyed = options.keyed_by_body || answers_get(exchange);
            keyed && lifetime.explicit
        }
        _ => options.keyed_by_body && exchange.method.as_str() == "QUERY",
    };
    if may { Ok(()) } else { Err(Unstorable::Method) }
}

/// Whether a response to POST is what GET would be answered with.
fn answers_get(exchange: &Exchange<'_>) -> bool {
    let mut locations = exchange.response.get_all(CONTENT_LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return false;
    };
    let location = location::resolve(exchange.uri, location.as_bytes());
    exchange.status.is_success()
        && location.is_some_and(|location| same_target(&location, exchange.uri))
}

fn check_status(
    exchange: &Exchange<'_>,
    directives: &ResponseDirectives,
) -> Result<(), Unstorable> {
    let status = exchange.status;
    if status.is_informational() || status::is_about_the_request(status) {
        return Err(Unstorable::Status);
    }
    if directives.must_understand && !status::is_understood(status) {
        return Err(Unstorable::NotUnderstood);
    }
    if status == StatusCode::PARTIAL_CONTENT && Slice::of(exchange.response).is_none() {
        return Err(Unstorable::Part);
    }
    Ok(())
}

fn check_directives(
    exchange: &Exchange<'_>,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    options: &Options<'_>,
) -> Result<(), Unstorable> {
    if RequestDirectives::of(exchange.request).no_store {
        return Err(Unstorable::RequestNoStore);
    }
    // RFC 9111, section 5.2.2.3: `no-store` beside it is for caches that do not know it.
    if directives.no_store && !directives.must_understand && !lifetime.forced {
        return Err(Unstorable::NoStore);
    }
    let allowed = lifetime.explicit
        || directives.public
        || !options.shared && directives.private != Listed::Absent
        || status::is_heuristically_cacheable(exchange.status);
    if allowed { Ok(()) } else { Err(Unstorable::NotAllowed) }
}

fn check_shared(
    exchange: &Exchange<'_>,
    directives: &ResponseDirectives,
    options: &Options<'_>,
) -> Result<(), Unstorable> {
    if directives.private == Listed::Whole {
        return Err(Unstorable::Private);
    }
    // RFC 9111, section 3.5.
    let for_others =
        directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if exchange.request.contains_key(AUTHORIZATION) && !for_others {
        return Err(Unstorable::Authorization);
    }
    let personal = !options.set_cookie && !directives.public;
    if personal && sets_cookies(exchange.response) {
        return Err(Unstorable::SetCookie);
    }
    Ok(())
}

fn sets_cookies(response: &HeaderMap) -> bool {
    response.contains_key(SET_COOKIE)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().copied();
        let field =
            |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.map(field).collect()
    }

    #[test]
    fn what_says_nothing_is_for_none_unless_it_is_given_stale() {
        const CC: &str = "cache-control";
        let renewing = Options { stale_while_revalidate: 1, ..Options::PRIVATE };
        let failing = Options { stale_if_error: 1, ..Options::PRIVATE };
        // Without a word of the layer on what is stale, and with one.
        for (status, fields, otherwise, stale) in [
            (200, &[][..], true, false),
            (204, &[], true, false),
            // It is not stored without a lifetime.
            (201, &[], true, true),
            (404, &[], false, false),
            (200, &[("vary", "accept")], false, false),
            (200, &[("etag", "\"a\"")], false, false),
            (200, &[("expires", "0")], false, false),
            (200, &[(CC, "no-store")], true, true),
            (200, &[(CC, "no-store, stale-if-error=60")], true, true),
            (200, &[(CC, "no-store, must-understand")], false, false),
            (200, &[(CC, "no-cache")], false, false),
            (200, &[(CC, "must-revalidate")], false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let is = |options| is_for_none(status, &headers(fields), options);
            let found = [&Options::PRIVATE, &renewing, &failing].map(is);
            assert_eq!(found, [otherwise, stale, stale], "{status} {fields:?}");
        }
    }

    #[test]
    fn it_is_for_some_if_any_request_could_have_it_stored() {
        const CC: &str = "cache-control";
        let failing = Options { stale_if_error: 1, ..Options::PRIVATE };
        for (status, fields, options, expected) in [
            (200, &[(CC, "max-age=9")][..], &Options::PRIVATE, true),
            (404, &[(CC, "max-age=9")], &Options::PRIVATE, true),
            (503, &[(CC, "max-age=9")], &Options::PRIVATE, true),
            (301, &[("etag", "\"a\"")], &Options::PRIVATE, true),
            (200, &[(CC, "max-age=9"), ("vary", "accept")], &Options::PRIVATE, true),
            (200, &[(CC, "max-age=9"), ("vary", "*")], &Options::PRIVATE, false),
            (200, &[(CC, "no-cache")], &Options::PRIVATE, false),
            (404, &[(CC, "no-store")], &Options::PRIVATE, false),
            (404, &[], &Options::PRIVATE, false),
            (404, &[], &failing, true),
            (500, &[], &failing, false),
            (404, &[(CC, "private, max-age=9")], &Options::PRIVATE, true),
            (404, &[(CC, "private, max-age=9")], &Options::SHARED, false),
            (200, &[(CC, "max-age=9")], &Options::SHARED, true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let is = is_for_some(status, &headers(fields), options, || SystemTime::UNIX_EPOCH);
            assert_eq!(is, expected, "{status} {fields:?}");
        }
    }
}
