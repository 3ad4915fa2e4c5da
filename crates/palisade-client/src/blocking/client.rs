use std::fmt;

use http::Request;

use super::{Client, ResponseBody, runtime::Waiter};
use crate::{Body, BoxedService, Error, InvalidClient, ResponseFuture, call::Call};

/// What a blocking client sends its requests by.
#[derive(Clone)]
pub struct BlockingService {
    pub(crate) inner: BoxedService,
}

/// For code that blocks.
impl Client {
    /// A client with the [defaults](crate#defaults), for an API at a base URL.
    ///
    /// # Errors
    ///
    /// If it is no base URL.
    pub fn new(base_url: impl Into<String>) -> Result<Self, InvalidClient> {
        crate::Client::new(base_url).map(Self::of)
    }

    /// The same client, for calls that block. Connections that it has on another
    /// runtime stay there.
    pub fn of(client: crate::Client) -> Self {
        Self { service: BlockingService { inner: client.service }, settings: client.settings }
    }

    /// Sends a whole request as it is, and waits for the head of its response.
    ///
    /// # Errors
    ///
    /// If there is no answer, and with [`Kind::Blocking`](crate::Kind::Blocking) where a
    /// thread must not wait.
    pub fn send(&self, request: Request<Body>) -> Result<http::Response<ResponseBody>, Error> {
        let waiter = Waiter::new().map_err(|cannot| cannot.at(Some(&Call::of(&request))))?;
        let service = self.service.inner.clone();
        let response = waiter.wait(ResponseFuture::new(service, request, self.settings.rules))?;
        Ok(response.into_http().map(ResponseBody::new))
    }
}

impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Self {
        Self::of(client)
    }
}

impl fmt::Debug for BlockingService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingService").finish_non_exhaustive()
    }
}
