use std::{error::Error, fmt, io};

/// A call that blocks was made where others would wait for it: by a task of a
/// runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InsideRuntime;

impl fmt::Display for InsideRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a blocking call inside of a runtime: use the asynchronous `Client`, or `spawn_blocking`",
        )
    }
}

impl Error for InsideRuntime {}

/// The thread that does the work of blocking clients is not there.
#[derive(Debug)]
pub struct NoThread {
    pub(crate) cause: Option<io::Error>,
}

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Some(_) => "the thread of blocking clients could not be started",
            None => "the thread of blocking clients has ended",
        })
    }
}

impl Error for NoThread {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as &(dyn Error + 'static))
    }
}
