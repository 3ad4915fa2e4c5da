//! A selector as bytes.

use bytes::{BufMut, BytesMut};
use http::HeaderName;

use super::{Normal, Preferred, Selected, Selector};
use crate::wire::{DecodeError, Reader, put_bytes, put_number, put_option};

impl Selector {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        self.identify(out);
        for value in self.members.iter().filter_map(|member| member.value.as_ref()) {
            if let Normal::Preferences(value) = value {
                put_option(out, value.line(), put_bytes);
            }
        }
    }

    /// Writes the same for all that are equal, and something else for others.
    pub(crate) fn identify(&self, out: &mut BytesMut) {
        put_number(out, self.members.len() as u64);
        for member in &self.members {
            put_bytes(out, member.name.as_str().as_bytes());
            match &member.value {
                None => out.put_u8(0),
                Some(Normal::List(value)) => {
                    out.put_u8(1);
                    put_bytes(out, value);
                }
                Some(Normal::Preferences(value)) => {
                    out.put_u8(2);
                    put_bytes(out, value.bytes());
                }
            }
        }
        put_option(out, self.language.as_deref(), put_bytes);
    }

    pub(crate) fn decode(bytes: &mut Reader) -> Result<Self, DecodeError> {
        let boxed = |bytes: &mut Reader| Ok(Box::<[u8]>::from(&*bytes.bytes()?));
        let mut members = Vec::new();
        for _ in 0..bytes.number(u64::MAX)? {
            let name = HeaderName::from_bytes(&bytes.bytes()?).map_err(|_| DecodeError::Corrupt)?;
            let value = match bytes.byte()? {
                0 => None,
                1 => Some(Normal::List(boxed(bytes)?)),
                2 => Some(Normal::Preferences(Preferred { written: boxed(bytes)?, line: None })),
                _ => return Err(DecodeError::Corrupt),
            };
            members.push(Selected { name, value });
        }
        let language = bytes.option(boxed)?;
        for value in members.iter_mut().filter_map(|member| member.value.as_mut()) {
            if let Normal::Preferences(value) = value
                && let Some(line) = bytes.option(Reader::bytes)?
            {
                value.line = Some(value.written.len());
                value.written = [&*value.written, &*line].concat().into();
            }
        }
        Ok(Self { members: members.into(), language })
    }
}
