//! What other crates' errors say. A feature each, so that core stays light.

use std::error::Error;

use crate::kind::Finding;

/// What a single error of a known crate says, without its causes.
pub(crate) fn at(error: &(dyn Error + 'static)) -> Option<Finding> {
    let nothing = None;
    #[cfg(feature = "hyper")]
    let nothing = nothing.or_else(|| hyper::at(error));
    #[cfg(feature = "rustls")]
    let nothing = nothing.or_else(|| rustls::at(error));
    #[cfg(feature = "tower")]
    let nothing = nothing.or_else(|| tower::at(error));
    let _ = error;
    nothing
}

#[cfg(feature = "hyper")]
mod hyper {
    use std::{error::Error, io};

    use hyper_util::client::legacy;

    use crate::{ErrorKind, kind::Finding, kind::at_io};

    pub(super) fn at(error: &(dyn Error + 'static)) -> Option<Finding> {
        if let Some(error) = error.downcast_ref::<legacy::Error>() {
            return error
                .is_connect()
                .then_some(Finding::unsent(ErrorKind::Connect));
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

    fn at_hyper(error: &hyper::Error) -> Option<Finding> {
        // "Canceled" and "closed" are hyper's words for a request that it
        // still held when the connection went away: nothing was written.
        if error.is_canceled() || error.is_closed() {
            return Some(Finding::unsent(ErrorKind::Closed));
        }
        let kind = if error.is_timeout() {
            ErrorKind::Timeout
        } else if error.is_incomplete_message() {
            ErrorKind::Closed
        } else if error.is_parse() {
            ErrorKind::Protocol
        } else {
            by_text(error)?
        };
        Some(Finding::sent(kind))
    }

    /// What hyper has no question for: its text is all there is.
    fn by_text(error: &hyper::Error) -> Option<ErrorKind> {
        let text = error.to_string();
        let says = |start: &str| text.starts_with(start);
        if says("error from user's Body stream") {
            return Some(ErrorKind::Body);
        }
        // The task of the connection was dropped, or panicked.
        if says("dispatch task is gone") {
            let panicked = error.source()?.to_string() == "user code panicked";
            return Some(match panicked {
                true => ErrorKind::Panic,
                false => ErrorKind::Closed,
            });
        }
        // Chunks that are none. What else fails a read has its own finding.
        let cause = error.source()?.downcast_ref::<io::Error>()?;
        let malformed = matches!(
            cause.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        );
        (malformed && says("error reading a body")).then_some(ErrorKind::Protocol)
    }

    fn at_h2(error: &h2::Error) -> Option<Finding> {
        if let Some(error) = error.get_io() {
            return at_io(error);
        }
        let reason = error.reason();
        if !error.is_remote() {
            // What is not h2's doing is its user's: hyper resets a stream whose request body
            // fails. h2 itself gives up on a peer that breaks the protocol.
            let body = error.is_reset() && !error.is_library();
            return Some(Finding::sent(match body {
                true => ErrorKind::Body,
                false => ErrorKind::Protocol,
            }));
        }
        let refused = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
        // h2 says so only of streams that the GOAWAY leaves out.
        let leaving = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
        if refused || leaving {
            return Some(Finding::unsent(ErrorKind::Closed));
        }
        // The other codes of RFC 9113, section 7, find fault with the protocol.
        let closed = matches!(
            reason,
            Some(
                h2::Reason::NO_ERROR
                    | h2::Reason::INTERNAL_ERROR
                    | h2::Reason::CANCEL
                    | h2::Reason::ENHANCE_YOUR_CALM
            )
        );
        Some(Finding::sent(match closed || error.is_go_away() {
            true => ErrorKind::Closed,
            false => ErrorKind::Protocol,
        }))
    }
}

#[cfg(feature = "rustls")]
mod rustls {
    use std::error::Error;

    use crate::{ErrorKind, kind::Finding};

    pub(super) fn at(error: &(dyn Error + 'static)) -> Option<Finding> {
        error
            .is::<rustls::Error>()
            .then_some(Finding::sent(ErrorKind::Tls))
    }
}

#[cfg(feature = "tower")]
mod tower {
    use std::error::Error;

    use tower::{buffer, load_shed, timeout};

    use crate::{ErrorKind, Refusal, kind::Finding};

    pub(super) fn at(error: &(dyn Error + 'static)) -> Option<Finding> {
        if error.is::<timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
            return Some(Finding::sent(ErrorKind::Timeout));
        }
        if error.is::<load_shed::error::Overloaded>() {
            let refusal = Some(Refusal::new(ErrorKind::Limited));
            return Some(Finding {
                refusal,
                ..Finding::unsent(ErrorKind::Limited)
            });
        }
        error
            .is::<buffer::error::Closed>()
            .then_some(Finding::sent(ErrorKind::Closed))
    }
}
