use http::{Request, Response};
use tower::retry::{Policy, Retry};

use super::is_idempotent;

/// `tower::retry` under the policy that one writes for HTTP: idempotent requests, answers of 500 and
/// above.
///
/// `wait` makes the future of the back-off.
pub(crate) fn retry<S, W>(inner: S, attempts: u32, wait: W) -> Retry<ServerErrors<W>, S> {
    let policy = ServerErrors { left: attempts - 1, wait };
    Retry::new(policy, inner)
}

#[derive(Clone, Debug)]
pub(crate) struct ServerErrors<W> {
    left: u32,
    wait: W,
}

impl<B, ResB, E, W, F> Policy<Request<B>, Response<ResB>, E> for ServerErrors<W>
where
    B: Clone,
    W: Fn() -> F,
    F: Future<Output = ()>,
{
    type Future = F;

    fn retry(
        &mut self,
        _request: &mut Request<B>,
        result: &mut Result<Response<ResB>, E>,
    ) -> Option<F> {
        let failed = match result {
            Ok(response) => response.status().is_server_error(),
            Err(_) => true,
        };
        if !failed {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some((self.wait)())
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        is_idempotent(request.method()).then(|| request.clone())
    }
}
