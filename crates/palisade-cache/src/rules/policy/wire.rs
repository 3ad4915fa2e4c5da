//! A policy as bytes.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};

use super::{MAX_SECONDS, Policy};
use crate::wire::{DecodeError, Reader, put_number};

impl Policy {
    const ALL: u8 =
        Self::NO_CACHE | Self::NEVER_STALE | Self::IMMUTABLE | Self::VALIDATOR | Self::PUBLIC;

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_number(out, self.received);
        put_number(out, self.initial_age);
        for seconds in [self.lifetime, self.while_revalidating, self.if_error] {
            put_number(out, seconds.into());
        }
        out.put_u8(self.flags);
    }

    pub(crate) fn decode(bytes: &mut Reader) -> Result<Self, DecodeError> {
        let seconds = |bytes: &mut Reader| Ok(bytes.number(MAX_SECONDS.into())? as u32);
        let policy = Self {
            received: bytes.number(u64::MAX)?,
            initial_age: bytes.number(u64::from(MAX_SECONDS) * 1000)?,
            lifetime: seconds(bytes)?,
            while_revalidating: seconds(bytes)?,
            if_error: seconds(bytes)?,
            flags: bytes.byte()?,
        };
        if policy.flags & !Self::ALL == 0 { Ok(policy) } else { Err(DecodeError::Corrupt) }
    }

    /// When the response came, to the millisecond. Nothing, if the system has no
    /// such time.
    pub(crate) fn received(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.received))
    }
}
