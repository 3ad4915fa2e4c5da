use std::fmt;

use http::{HeaderMap, Method, Uri, Version};

use crate::{random::Random, reply::Reply};

/// Which [`Reply`] each request on a route gets.
///
/// Requests that a rate limit refuses do not move a plan on.
///
/// A plan that always says the same is made from a `Reply`; an array or a `Vec` of replies is a
/// [`sequence`](Self::sequence).
#[must_use]
pub struct Plan(Kind);

// A script holds plans of every kind side by side, hence the trait object.
type ReplyFn = dyn Fn(&Call<'_>) -> Reply + Send + Sync;

enum Kind {
    Sequence(Vec<Reply>),
    Cycle(Vec<Reply>),
    Random { weighted: Vec<(u32, Reply)>, total: u64 },
    With(Box<ReplyFn>),
}

impl Plan {
    /// One reply per request, in order; the last one repeats.
    ///
    /// # Panics
    ///
    /// Panics if there is no reply.
    pub fn sequence(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(Kind::Sequence(at_least_one(replies)))
    }

    /// One reply per request, in order, again and again.
    ///
    /// # Panics
    ///
    /// Panics if there is no reply.
    pub fn cycle(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(Kind::Cycle(at_least_one(replies)))
    }

    /// A reply drawn for each request, in proportion to its weight.
    ///
    /// The draw depends on the [seed](crate::Script::seed), the route and the number of the request
    /// alone.
    ///
    /// # Panics
    ///
    /// Panics if the weights add up to zero.
    pub fn random(weighted: impl IntoIterator<Item = (u32, Reply)>) -> Self {
        let weighted: Vec<_> = weighted.into_iter().collect();
        let total = weighted.iter().map(|(weight, _)| u64::from(*weight)).sum();
        assert_ne!(total, 0, "a random plan has a reply with a weight");
        Self(Kind::Random { weighted, total })
    }

    /// The reply that a function gives for each request.
    ///
    /// It is called when the head of the request has arrived, before the body is read. A panic in
    /// it ends the connection, or the stream over HTTP/2.
    pub fn with(reply: impl Fn(&Call<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self(Kind::With(Box::new(reply)))
    }

    pub(crate) fn reply(&self, call: &Call<'_>, random: &mut Random) -> Reply {
        let index = call.number - 1;
        match &self.0 {
            Kind::Sequence(replies) => {
                let last = replies.len() - 1;
                replies[usize::try_from(index).unwrap_or(last).min(last)].clone()
            }
            Kind::Cycle(replies) => {
                let index = index % replies.len() as u64;
                replies[index as usize].clone()
            }
            Kind::Random { weighted, total } => {
                let mut drawn = random.below(*total);
                for (weight, reply) in weighted {
                    match drawn.checked_sub(u64::from(*weight)) {
                        Some(left) => drawn = left,
                        None => return reply.clone(),
                    }
                }
                unreachable!("what is drawn is below the sum of the weights")
            }
            Kind::With(reply) => reply(call),
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sequence(replies) => f.debug_tuple("Sequence").field(replies).finish(),
            Kind::Cycle(replies) => f.debug_tuple("Cycle").field(replies).finish(),
            Kind::Random { weighted, .. } => f.debug_tuple("Random").field(weighted).finish(),
            Kind::With(_) => f.write_str("With(..)"),
        }
    }
}

impl From<Reply> for Plan {
    fn from(reply: Reply) -> Self {
        Self::sequence([reply])
    }
}

impl<const N: usize> From<[Reply; N]> for Plan {
    /// A [`sequence`](Self::sequence).
    fn from(replies: [Reply; N]) -> Self {
        Self::sequence(replies)
    }
}

impl From<Vec<Reply>> for Plan {
    /// A [`sequence`](Self::sequence).
    fn from(replies: Vec<Reply>) -> Self {
        Self::sequence(replies)
    }
}

/// The request that [`Plan::with`] is asked about.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) parts: &'a http::request::Parts,
    pub(crate) number: u64,
}

impl Call<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The target as it arrived.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The number of the request on its route, from 1. Requests that the rate limit refused are not
    /// counted.
    pub fn number(&self) -> u64 {
        self.number
    }
}

fn at_least_one(replies: impl IntoIterator<Item = Reply>) -> Vec<Reply> {
    let replies: Vec<_> = replies.into_iter().collect();
    assert!(!replies.is_empty(), "a plan has at least one reply");
    replies
}
