use std::io::{self, Read};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Response, ResponseBody, body::Rest, runtime::Waiter};
use crate::{Error, Refused, Validate};

/// For code that blocks. All of these fail with
/// [`Kind::Blocking`](crate::Kind::Blocking) where a thread must not wait.
impl Response {
    /// Decodes the body, if the status is one of success and it says that it is JSON.
    ///
    /// An empty body is `None` for an `Option`, and `()`.
    ///
    /// # Errors
    ///
    /// If the status is none of success, and if the body breaks off, comes too late, is
    /// too long, or does not decode.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.json_valid_by(())
    }

    /// As [`json`](Self::json), and asks something of the value.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json), and if it is not valid.
    pub fn json_valid_by<T, V>(self, validate: V) -> Result<T, Error>
    where
        T: DeserializeOwned,
        V: Validate<T>,
    {
        self.wait(async |response| response.json().valid_by(validate).await)
    }

    /// Decodes the body as one of two types: one for success, and one for the API's
    /// errors.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json); an error that is not of the API's type is an [`Error`]
    /// with the status.
    pub fn json_or<T, E>(self) -> Result<Result<T, Refused<E>>, Error>
    where
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        self.wait(async |response| response.json_or().await)
    }

    /// The whole body, whatever the status.
    ///
    /// # Errors
    ///
    /// If it breaks off, comes too late, or is longer than the limit.
    pub fn bytes(self) -> Result<Bytes, Error> {
        self.wait(async |response| response.bytes().await)
    }

    /// The whole body as text, whatever the status. A byte order mark is dropped.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and if it is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        self.wait(async |response| response.text().await)
    }

    /// The answer, if its status is one of success.
    ///
    /// # Errors
    ///
    /// If it is none, with the start of the body and its [`Problem`](crate::Problem).
    pub fn error_for_status(self) -> Result<Self, Error> {
        if self.status().is_success() {
            return Ok(self);
        }
        let response = self.wait(async |response| response.error_for_status().await)?;
        Ok(response.map_body(ResponseBody::of_rest))
    }

    fn wait<T>(
        self,
        read: impl AsyncFnOnce(crate::Response<Rest>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let waiter = Waiter::new().map_err(|cannot| cannot.at(Some(self.call())))?;
        waiter.wait(read(self.map_body(ResponseBody::into_rest)))
    }
}

/// The body as it comes: without limit, until the deadline of the request.
impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (body, expiry, call) = self.reading();
        body.read_until(buffer, expiry, Some(call))
    }
}
