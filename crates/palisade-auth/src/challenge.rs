//! What a 401 says.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// What is wrong with a token, as far as a server says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    InvalidToken,
    Bare,
    InsufficientScope,
    Other,
}

/// Stands in until challenges are parsed.
pub(crate) fn verdict(headers: &HeaderMap) -> Verdict {
    let mut fields = headers.get_all(WWW_AUTHENTICATE).iter();
    let Some(field) = fields.next() else {
        return Verdict::Bare;
    };
    let text = String::from_utf8_lossy(field.as_bytes()).to_ascii_lowercase();
    match text {
        text if text.contains("invalid_token") => Verdict::InvalidToken,
        text if text.contains("insufficient_scope") => Verdict::InsufficientScope,
        text if text.contains("error") || !text.starts_with("bearer") => Verdict::Other,
        _ => Verdict::Bare,
    }
}
