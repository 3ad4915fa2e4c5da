use std::{error::Error, fmt, io, mem};

use crate::{Fault, Refusal, causes, foreign};

/// What kind of thing went wrong, for decisions and for labels.
///
/// It is an error itself, so that a layer's own error may name its kind as its
/// source, and be understood by layers that do not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be made.
    Connect,
    /// The host's name was not resolved.
    Dns,
    /// The TLS handshake or the TLS session failed.
    Tls,
    /// Time ran out.
    Timeout,
    /// The body of the request broke off while it was sent: the caller's side.
    Body,
    /// The peer broke the protocol.
    Protocol,
    /// The caller went away.
    Cancelled,
    /// Code panicked.
    Panic,
    /// The connection was closed or reset.
    Closed,
    /// A circuit breaker is open.
    Open,
    /// A limiter on this side refused.
    Limited,
    /// No credentials could be had.
    Auth,
    /// Nothing of the above.
    Other,
}

impl ErrorKind {
    /// Finds out what kind of error this is, by walking its causes.
    ///
    /// Knows [`io::Error`] and [`Refusal`]; the features `hyper`, `rustls` and
    /// `tower` teach it the types of those crates. The most telling cause
    /// wins: a failed name look-up is [`Dns`](Self::Dns), although hyper-util
    /// reports it as a failure to connect.
    ///
    /// Meant for the failing path: it walks trait objects.
    ///
    /// ```
    /// use std::io;
    /// use palisade_core::ErrorKind;
    ///
    /// let error = io::Error::from(io::ErrorKind::ConnectionReset);
    /// assert_eq!(ErrorKind::of(&error), ErrorKind::Closed);
    /// ```
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Finding::of(error).kind
    }

    /// The kind's name in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Body => "body",
            Self::Protocol => "protocol",
            Self::Cancelled => "cancelled",
            Self::Panic => "panic",
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Limited => "limited",
            Self::Auth => "auth",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error for ErrorKind {}

/// Whether the request surely was not processed, so that any request, whatever
/// its method, may be sent again.
///
/// That is known when no connection came about, when the peer refused the
/// stream (`REFUSED_STREAM`, RFC 9113, section 8.7), when it said GOAWAY
/// before it took the stream (section 6.8), and when the connection closed
/// before the request was written.
///
/// ```
/// use std::io;
/// use palisade_core::is_unsent;
///
/// assert!(is_unsent(&io::Error::from(io::ErrorKind::ConnectionRefused)));
/// assert!(!is_unsent(&io::Error::from(io::ErrorKind::ConnectionReset)));
/// ```
pub fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    Finding::of(error).unsent
}

/// What one look at an error's causes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: ErrorKind,
    pub(crate) unsent: bool,
    pub(crate) permanent: bool,
    pub(crate) refusal: Option<Refusal>,
}

impl Finding {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut told = false;
        // What a fault says counts, and not what its cause would.
        let first = |cause: &_| !mem::replace(&mut told, <dyn Error>::is::<Fault>(*cause));
        let found = causes(error).take_while(first).filter_map(Self::at).reduce(Self::refine);
        found.unwrap_or_else(|| Self::sent(ErrorKind::Other))
    }

    pub(crate) fn sent(kind: ErrorKind) -> Self {
        Self { kind, unsent: false, permanent: false, refusal: None }
    }

    pub(crate) fn unsent(kind: ErrorKind) -> Self {
        Self { unsent: true, ..Self::sent(kind) }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::unsent(refusal.kind()) }
    }

    /// What a single error says, without its causes.
    fn at(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(Self::refused(*refusal));
        }
        if let Some(fault) = error.downcast_ref::<Fault>() {
            let Fault { kind, unsent, permanent, .. } = *fault;
            return Some(Self { unsent, permanent, ..Self::sent(kind) });
        }
        if let Some(kind) = error.downcast_ref::<ErrorKind>() {
            return Some(Self::sent(*kind));
        }
        match error.downcast_ref::<io::Error>() {
            Some(error) => at_io(error),
            None => foreign::at(error),
        }
    }

    /// The outer finding stands, unless the inner one is about its very cause.
    fn refine(self, inner: Self) -> Self {
        let precise = match inner.kind {
            ErrorKind::Dns => self.kind == ErrorKind::Connect,
            // A record that is garbled garbles what is in it.
            ErrorKind::Tls => matches!(self.kind, ErrorKind::Connect | ErrorKind::Protocol),
            _ => false,
        };
        let kind = if precise { inner.kind } else { self.kind };
        let permanent = self.permanent || inner.permanent;
        Self { kind, permanent, refusal: self.refusal.or(inner.refusal), ..self }
    }
}

pub(crate) fn at_io(error: &io::Error) -> Option<Finding> {
    use io::ErrorKind as Io;
    match error.kind() {
        // Only connect(2) is refused, so nothing was written yet.
        Io::ConnectionRefused => Some(Finding::unsent(ErrorKind::Connect)),
        Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::AddrNotAvailable => {
            Some(Finding::sent(ErrorKind::Connect))
        }
        Io::TimedOut => Some(Finding::sent(ErrorKind::Timeout)),
        Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::UnexpectedEof
        | Io::NotConnected => Some(Finding::sent(ErrorKind::Closed)),
        // The standard library has no kind for a failed look-up, only this text.
        _ if error.get_ref().is_none_or(|inner| inner.source().is_none())
            && error.to_string().starts_with("failed to lookup address information") =>
        {
            Some(Finding::unsent(ErrorKind::Dns))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_kinds_of_io_errors() {
        use io::ErrorKind as Io;
        for (io, kind, unsent) in [
            (Io::ConnectionRefused, ErrorKind::Connect, true),
            (Io::HostUnreachable, ErrorKind::Connect, false),
            (Io::TimedOut, ErrorKind::Timeout, false),
            (Io::ConnectionReset, ErrorKind::Closed, false),
            (Io::BrokenPipe, ErrorKind::Closed, false),
            (Io::UnexpectedEof, ErrorKind::Closed, false),
            (Io::PermissionDenied, ErrorKind::Other, false),
        ] {
            let error = io::Error::other(io::Error::from(io));
            assert_eq!(Finding::of(&error), Finding { unsent, ..Finding::sent(kind) }, "{io:?}");
        }
    }

    #[test]
    fn the_first_cause_that_tells_stands() {
        let closed = io::Error::from(io::ErrorKind::ConnectionReset);
        let timeout = io::Error::new(io::ErrorKind::TimedOut, closed);
        assert_eq!(ErrorKind::of(&timeout), ErrorKind::Timeout);
    }

    #[test]
    fn a_fault_counts_more_than_its_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let fault = Fault::new(ErrorKind::Timeout, refused);
        assert_eq!(Finding::of(&fault), Finding::sent(ErrorKind::Timeout));
        let fault = Fault::new(ErrorKind::Closed, Refusal::new(ErrorKind::Limited));
        assert_eq!(Finding::of(&fault), Finding::sent(ErrorKind::Closed));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(is_unsent(&Fault::new(ErrorKind::Closed, reset).unsent()));
        let fault = Fault::new(ErrorKind::Tls, Fault::new(ErrorKind::Tls, "expired").permanent());
        assert!(!Finding::of(&fault).permanent);
        let processed = Fault::processed(Fault::new(ErrorKind::Tls, "expired").permanent());
        assert!(Finding::of(&processed).permanent);
        let inside = io::Error::other(Fault::new(ErrorKind::Tls, "expired").permanent());
        assert!(Finding::of(&inside).permanent);
    }

    #[test]
    fn a_cause_that_tells_more_stands() {
        for (outer, inner, kind) in [
            (ErrorKind::Connect, ErrorKind::Dns, ErrorKind::Dns),
            (ErrorKind::Connect, ErrorKind::Tls, ErrorKind::Tls),
            (ErrorKind::Protocol, ErrorKind::Tls, ErrorKind::Tls),
            (ErrorKind::Timeout, ErrorKind::Tls, ErrorKind::Timeout),
            (ErrorKind::Connect, ErrorKind::Closed, ErrorKind::Connect),
        ] {
            let found = Finding::sent(outer).refine(Finding::sent(inner));
            assert_eq!(found.kind, kind, "{outer} by {inner}");
        }
    }

    #[test]
    fn a_kind_speaks_for_itself() {
        let error = io::Error::other(ErrorKind::Auth);
        assert_eq!(ErrorKind::of(&error), ErrorKind::Auth);
    }

    #[test]
    fn a_refusal_is_found_in_any_depth() {
        let error = io::Error::other(Refusal::new(ErrorKind::Open));
        assert_eq!(ErrorKind::of(&error), ErrorKind::Open);
        assert!(is_unsent(&error));
    }
}
