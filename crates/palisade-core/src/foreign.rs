//! What other crates' errors say. A feature each, so that core stays light.
#![cfg_attr(
    not(all(feature = "hyper", feature = "rustls", feature = "tower")),
    allow(unused_imports, unused_variables, reason = "each feature uses its part")
)]

use std::{error::Error, io};

use crate::{ErrorKind, Refusal, kind::Finding, kind::at_io};

/// What a single error of a known crate says, without its causes.
pub(crate) fn at(error: &(dyn Error + 'static)) -> Option<Finding> {
    #[cfg(feature = "hyper")]
    if let Some(finding) = at_hyper_util(error) {
        return Some(finding);
    }
    #[cfg(feature = "rustls")]
    if error.is::<rustls::Error>() {
        return Some(Finding::sent(ErrorKind::Tls));
    }
    #[cfg(feature = "tower")]
    if let Some(finding) = at_tower(error) {
        return Some(finding);
    }
    None
}

#[cfg(feature = "tower")]
fn at_tower(error: &(dyn Error + 'static)) -> Option<Finding> {
    use tower::{buffer, load_shed, timeout};

    if error.is::<timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Some(Finding::sent(ErrorKind::Timeout));
    }
    if error.is::<load_shed::error::Overloaded>() {
        return Some(Finding::refused(Refusal::new(ErrorKind::Limited)));
    }
    error.is::<buffer::error::Closed>().then(|| Finding::sent(ErrorKind::Closed))
}

#[cfg(feature = "hyper")]
fn at_hyper_util(error: &(dyn Error + 'static)) -> Option<Finding> {
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then(|| Finding::unsent(ErrorKind::Connect));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return at_hyper(error);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return at_h2(error);
    }
    // These types are private, their text is all there is.
    match &*error.to_string() {
        // hyper-util's ConnectError
        "dns error" => Some(Finding::unsent(ErrorKind::Dns)),
        // reqwest's TimedOut
        "operation timed out" => Some(Finding::sent(ErrorKind::Timeout)),
        _ => None,
    }
}

#[cfg(feature = "hyper")]
fn at_hyper(error: &hyper::Error) -> Option<Finding> {
    // "Canceled" and "closed" are hyper's words for a request that it still
    // held when the connection went away: nothing was written.
    if error.is_canceled() || error.is_closed() {
        return Some(Finding::unsent(ErrorKind::Closed));
    }
    // For what hyper has no question for, its text is all there is.
    let text = error.to_string();
    let says = |start: &str| text.starts_with(start);
    let cause = |text: &str| error.source().is_some_and(|cause| cause.to_string() == text);
    let kind = match () {
        () if error.is_timeout() => ErrorKind::Timeout,
        () if error.is_incomplete_message() => ErrorKind::Closed,
        () if error.is_parse() => ErrorKind::Protocol,
        () if says("error from user's Body stream") => ErrorKind::Body,
        // The task of the connection panicked, or was dropped.
        () if says("dispatch task is gone") && cause("user code panicked") => ErrorKind::Panic,
        () if says("dispatch task is gone") => ErrorKind::Closed,
        // Chunks that are none. What else fails a read has its own finding.
        () if says("error reading a body") && is_malformed(error.source()?) => ErrorKind::Protocol,
        () => return None,
    };
    Some(Finding::sent(kind))
}

#[cfg(feature = "hyper")]
fn is_malformed(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let kind = error.downcast_ref().map(io::Error::kind);
    matches!(kind, Some(InvalidInput | InvalidData))
}

#[cfg(feature = "hyper")]
fn at_h2(error: &h2::Error) -> Option<Finding> {
    use h2::Reason;

    if let Some(error) = error.get_io() {
        return at_io(error).or_else(|| Some(Finding::sent(ErrorKind::Closed)));
    }
    let (reset, go_away) = (error.is_reset(), error.is_go_away());
    let finding = match error.reason() {
        // What is not h2's doing is its user's: hyper resets a stream whose
        // request body fails. h2 itself gives up on a peer that breaks the
        // protocol.
        _ if !error.is_remote() && reset && !error.is_library() => Finding::sent(ErrorKind::Body),
        _ if !error.is_remote() => Finding::sent(ErrorKind::Protocol),
        // A GOAWAY is said only of streams that it leaves out.
        Some(Reason::REFUSED_STREAM) if reset => Finding::unsent(ErrorKind::Closed),
        Some(Reason::NO_ERROR) if go_away => Finding::unsent(ErrorKind::Closed),
        Some(Reason::NO_ERROR | Reason::INTERNAL_ERROR | Reason::CANCEL)
        | Some(Reason::ENHANCE_YOUR_CALM) => Finding::sent(ErrorKind::Closed),
        _ if go_away => Finding::sent(ErrorKind::Closed),
        // The other codes of RFC 9113, section 7, find fault with the protocol.
        _ => Finding::sent(ErrorKind::Protocol),
    };
    Some(finding)
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "rustls")]
    #[test]
    fn a_failure_of_tls_is_found_where_rustls_hides_it() {
        use super::*;

        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = io::Error::new(io::ErrorKind::InvalidData, refused);
        assert_eq!(Finding::of(&error), Finding::sent(ErrorKind::Tls));
    }
}
