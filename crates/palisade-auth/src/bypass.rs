/// In the extensions of a request: it is passed on without credentials.
///
/// [Token endpoints](crate::TokenEndpoint) put it on theirs. So their service may
/// be the same stack that their tokens are for: a request for a token does not wait
/// for that token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthBypass;
