//! What a fetch comes to.

use std::sync::Arc;

use http::{Response, response};

use super::{
    body::CachedBody,
    entry::{StoredHead, Variant},
    status::CacheStatus,
};

/// What all who wait for a response are told of it.
#[derive(Clone)]
pub(crate) enum Heard {
    /// It may be for them, and its body is read by all.
    Streams(Arc<StoredHead>),
    /// What is stored may be for them, for this reason.
    Stored(Variant, CacheStatus),
    /// It cannot be shared.
    Released,
    /// There is none: it failed.
    Failed,
}

/// What the one that fetches it gets for itself.
pub(crate) enum Lead<B, E> {
    Done(Result<Response<CachedBody<B>>, E>),
    /// The head, as it came. The body is read by all.
    Parts(response::Parts),
}
