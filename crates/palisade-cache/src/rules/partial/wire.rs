//! A part as bytes.

use bytes::BytesMut;

use super::Part;
use crate::{
    rules::range::{ByteRange, Slice},
    wire::{DecodeError, Reader, put_number, put_option},
};

impl Part {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_option(out, self.asked, |out, asked| match asked {
            ByteRange::Suffix(count) => {
                put_number(out, 0);
                put_number(out, count);
            }
            ByteRange::From { first, last } => {
                put_number(out, 1);
                put_number(out, first);
                put_option(out, last, put_number);
            }
        });
        for number in [self.said.first, self.said.last, self.held.last] {
            put_number(out, number);
        }
        put_option(out, self.length, put_number);
    }

    /// Only of what a response can have said.
    pub(crate) fn decode(bytes: &mut Reader) -> Result<Self, DecodeError> {
        let any = |bytes: &mut Reader| bytes.number(u64::MAX);
        let asked = bytes.option(|bytes| match bytes.number(1)? {
            0 => Ok(ByteRange::Suffix(any(bytes)?)),
            _ => Ok(ByteRange::From { first: any(bytes)?, last: bytes.option(any)? }),
        })?;
        let said = Slice { first: any(bytes)?, last: bytes.number(u64::MAX - 1)? };
        let held = Slice { first: said.first, last: bytes.number(said.last)? };
        let length = bytes.option(any)?;
        let sane = held.first <= held.last && length.is_none_or(|length| said.last < length);
        if sane { Ok(Self { asked, said, held, length }) } else { Err(DecodeError::Corrupt) }
    }
}
