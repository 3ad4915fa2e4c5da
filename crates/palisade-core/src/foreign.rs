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
    use std::error::Error;

    use h2::Reason;
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
        // hyper-util's ConnectError is private, its text is all there is.
        (error.to_string() == "dns error").then_some(Finding::unsent(ErrorKind::Dns))
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
        } else if error.is_user()
            && error
                .to_string()
                .starts_with("error from user's Body stream")
        {
            ErrorKind::Body
        } else {
            return None;
        };
        Some(Finding::sent(kind))
    }

    fn at_h2(error: &h2::Error) -> Option<Finding> {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let leaving = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
        if error.is_remote() && (refused || leaving) {
            return Some(Finding::unsent(ErrorKind::Closed));
        }
        if let Some(error) = error.get_io() {
            return at_io(error);
        }
        // A stream is reset for many reasons; these say that we speak wrongly.
        let spoken_wrongly = matches!(
            error.reason(),
            Some(
                Reason::PROTOCOL_ERROR
                    | Reason::FLOW_CONTROL_ERROR
                    | Reason::FRAME_SIZE_ERROR
                    | Reason::COMPRESSION_ERROR
                    | Reason::INADEQUATE_SECURITY
                    | Reason::HTTP_1_1_REQUIRED
            )
        );
        let protocol = spoken_wrongly || !error.is_remote();
        Some(Finding::sent(if protocol {
            ErrorKind::Protocol
        } else {
            ErrorKind::Closed
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
