//! What is kept outside of the process, as bytes: how they are written, and read without trust.

use std::{error::Error, fmt};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of the format that is written, and the only one that is read.
const VERSION: u8 = 1;

/// Bytes that cannot be read as what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are something else.
    Foreign,
    /// They are written in this version of the format, which is not known here.
    Version(u8),
    /// They end too early or go on for too long, or what they say cannot be.
    Corrupt,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("the bytes are of another kind"),
            Self::Version(version) => write!(f, "format version {version} is not known"),
            Self::Corrupt => f.write_str("the bytes are corrupt"),
        }
    }
}

impl Error for DecodeError {}

/// Says what follows, and in which version.
pub(crate) fn start(out: &mut BytesMut, magic: [u8; 4]) {
    out.put_slice(&magic);
    out.put_u8(VERSION);
}

/// Seven bits in each byte, the lowest first; the eighth says that there are more.
pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    while 0x80 <= number {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn put_option<T>(
    out: &mut BytesMut,
    option: Option<T>,
    put: impl FnOnce(&mut BytesMut, T),
) {
    out.put_u8(option.is_some().into());
    if let Some(some) = option {
        put(out, some);
    }
}

/// What is left to read. It never reads beyond the end, and makes nothing that is
/// larger than what is there.
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn start(bytes: Bytes, magic: [u8; 4]) -> Result<Self, DecodeError> {
        let mut reader = Self { rest: bytes };
        if reader.array() != Ok(magic) {
            return Err(DecodeError::Foreign);
        }
        match reader.byte()? {
            VERSION => Ok(reader),
            other => Err(DecodeError::Version(other)),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| DecodeError::Corrupt)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        self.rest.try_copy_to_slice(&mut array).map_err(|_| DecodeError::Corrupt)?;
        Ok(array)
    }

    /// A number up to this one. Each is written in one way only.
    pub(crate) fn number(&mut self, most: u64) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The last one has a single bit left.
            if shift == 63 && 1 < byte {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                return if shortest && number <= most { Ok(number) } else { break };
            }
        }
        Err(DecodeError::Corrupt)
    }

    /// Some bytes, in the buffer of the whole.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.number(u64::MAX)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(self.rest.split_to(length)),
            _ => Err(DecodeError::Corrupt),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        some: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => some(self).map(Some),
            _ => Err(DecodeError::Corrupt),
        }
    }

    /// There must be nothing left.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Corrupt) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader { rest: Bytes::copy_from_slice(bytes) }
    }

    #[test]
    fn numbers_are_read_as_they_are_written_and_in_no_other_way() {
        for (bytes, expected) in [
            (&[0][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 1], Ok(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Ok(u64::MAX)),
            // Longer than it must be, longer than it can be, and cut off.
            (&[0x80, 0], Err(DecodeError::Corrupt)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Err(DecodeError::Corrupt)),
            (&[0x80; 11], Err(DecodeError::Corrupt)),
            (&[0x80], Err(DecodeError::Corrupt)),
            (&[], Err(DecodeError::Corrupt)),
        ] {
            assert_eq!(reader(bytes).number(u64::MAX), expected, "{bytes:?}");
        }
        assert_eq!(reader(&[9]).number(8), Err(DecodeError::Corrupt));
    }

    #[test]
    fn no_length_is_believed() {
        for bytes in [&[1][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]] {
            assert_eq!(reader(bytes).bytes(), Err(DecodeError::Corrupt));
        }
    }

    proptest! {
        #[test]
        fn every_number_survives(number in any::<u64>(), small in 0..70_000_u64) {
            for number in [number, small] {
                let mut out = BytesMut::new();
                put_number(&mut out, number);
                let mut reader = reader(&out);
                prop_assert_eq!(reader.number(u64::MAX), Ok(number));
                prop_assert_eq!(reader.end(), Ok(()));
            }
        }
    }
}
