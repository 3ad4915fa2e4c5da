use super::{BlockingService, RequestBuilder, Response, ResponseBody, runtime::Waiter};
use crate::{BoxedFuture, BoxedService, Error, ResponseFuture};

/// For code that blocks.
impl RequestBuilder {
    /// Sends it, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// As the future of [the other client](crate::RequestBuilder::send), and with
    /// [`Kind::Blocking`](crate::Kind::Blocking) where a thread must not wait.
    pub fn send(self) -> Result<Response, Error> {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(cannot) => return Err(cannot.at(Some(&self.call()))),
        };
        waiter.wait(self.begin()).map(|response| response.map_body(ResponseBody::new))
    }

    /// Sends it by the client below, for who waits.
    pub(crate) fn begin(self) -> ResponseFuture<BoxedService, BoxedFuture> {
        self.send_by(|BlockingService { inner }| inner)
    }
}
