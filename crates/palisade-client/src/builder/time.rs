use std::time::Duration;

use crate::ClientBuilder;

/// Time. Each of these can be [another](crate::Timeouts) for one request. `None` is for no
/// limit, and a limit of zero is an error of [`build`](ClientBuilder::build).
impl ClientBuilder {
    /// Sets how long a call may take with all its attempts, to the head of the
    /// response. Defaults to 60 seconds.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.layers.total = limit;
        self.check_limit("total_timeout", limit)
    }

    /// Sets how long each attempt may take, from when it is sent, with its connection and
    /// its body, to the head of the response. Defaults to 30 seconds, which a large body
    /// may not fit into: [`timeout`](crate::RequestBuilder::timeout) is for those.
    pub fn attempt_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.layers.attempt = limit;
        self.check_limit("attempt_timeout", limit)
    }

    /// Sets for how long nothing may come of a response's body. Defaults to 30
    /// seconds.
    pub fn body_idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.layers.body_idle = limit;
        self.check_limit("body_idle_timeout", limit)
    }
}
