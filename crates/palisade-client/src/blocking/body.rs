use std::{
    io::{self, Read},
    pin::Pin,
};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use palisade_core::BoxError;

use super::runtime::run;

/// The body of a response, which is [read](Read) as it comes.
#[derive(Debug)]
pub struct ResponseBody {
    body: Option<Pin<Box<crate::ResponseBody>>>,
    unread: Bytes,
}

impl ResponseBody {
    pub(crate) fn new(body: crate::ResponseBody) -> Self {
        Self { body: Some(Box::pin(body)), unread: Bytes::new() }
    }

    /// All that was not read yet.
    ///
    /// # Errors
    ///
    /// If the body breaks off, and with [`InsideRuntime`](super::InsideRuntime) where a
    /// thread must not wait.
    pub fn bytes(mut self) -> Result<Bytes, BoxError> {
        let Some(body) = self.body.take() else {
            return Ok(self.unread);
        };
        let rest = run(body.collect())??.to_bytes();
        if self.unread.is_empty() {
            return Ok(rest);
        }
        let mut unread = self.unread.chain(rest);
        let length = unread.remaining();
        Ok(unread.copy_to_bytes(length))
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            let Some(mut body) = self.body.take() else {
                return Ok(0);
            };
            let (body, frame) = run(async move {
                let frame = body.frame().await;
                (body, frame)
            })
            .map_err(io::Error::other)?;
            match frame {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => {
                    self.unread = frame.into_data().unwrap_or_default();
                    self.body = Some(body);
                }
            }
        }
        let length = buffer.len().min(self.unread.len());
        self.unread.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
