use super::{BlockingService, RequestBuilder, Response, ResponseBody, runtime::Waiter};
use crate::{BoxedService, Error};

/// For code that blocks.
impl RequestBuilder {
    /// Sends it, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// As the future of [the other client](crate::RequestBuilder::send), and with
    /// [`Kind::Blocking`](crate::Kind::Blocking) where a thread must not wait.
    pub fn send(self) -> Result<Response, Error> {
        let request = self.unblocked();
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(cannot) => return Err(cannot.at(Some(&request.call()))),
        };
        waiter.wait(request.send()).map(|response| response.map_body(ResponseBody::new))
    }

    /// The same for the client below.
    pub(crate) fn unblocked(self) -> crate::RequestBuilder<BoxedService> {
        self.map_service(|BlockingService { inner }| inner)
    }
}
