use crate::Secret;

/// What is kept of a login.
///
/// ```
/// use palisade_auth::Record;
///
/// let mut record = Record::default();
/// record.refresh_token = Some("tGzv3JOkF0XG5Qx2TlKWIA".into());
/// assert!(!format!("{record:?}").contains("tGzv3"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The token to refresh with.
    pub refresh_token: Option<Secret>,
    /// The last access token, if that is kept too.
    pub access_token: Option<Secret>,
    /// The scheme of the access token.
    pub token_type: Option<String>,
    /// When the access token was asked for, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// When the access token expires, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// What it is good for, with a space between two scopes.
    pub scope: Option<String>,
}
