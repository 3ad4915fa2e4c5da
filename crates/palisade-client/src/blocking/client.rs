use http::{Request, Response};
use palisade_core::BoxError;
use tower_service::Service;

use super::{body::ResponseBody, runtime::run};
use crate::{Body, InvalidClient};

/// A [`Client`](crate::Client) whose calls block until there is an answer.
///
/// Clones are cheap, and share what the clients share. To drop it does not block.
#[derive(Clone, Debug)]
pub struct Client {
    inner: crate::Client,
}

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
        Self { inner: client }
    }

    /// Sends a request, and waits for the head of its response.
    ///
    /// # Errors
    ///
    /// As the client, and with [`InsideRuntime`](super::InsideRuntime) where a thread
    /// must not wait.
    pub fn send(&self, request: Request<Body>) -> Result<Response<ResponseBody>, BoxError> {
        let mut service = self.inner.service.clone();
        let response = run(async move {
            std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut service, cx))
                .await?;
            service.call(request).await
        })??;
        Ok(response.map(ResponseBody::new))
    }
}
