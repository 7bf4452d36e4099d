//! The binary protocol of Thrift, in frames.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::batch::take_front;
use crate::limits::RECORDS_MESSAGE_MAX;

/// The deepest that a value which is passed over may be nested.
const DEPTH_MAX: u32 = 32;

/// The version in a strict message, in its upper half (`VERSION_1`).
const STRICT: u32 = 0x8001_0000;

/// Types of values.
pub mod kind {
    /// The end of a struct.
    pub const STOP: u8 = 0;
    /// A 32-bit integer.
    pub const I32: u8 = 8;
    /// A 64-bit integer.
    pub const I64: u8 = 10;
    /// Text or bytes.
    pub const STRING: u8 = 11;
    /// A struct.
    pub const STRUCT: u8 = 12;
    /// A map.
    pub const MAP: u8 = 13;
    /// A list.
    pub const LIST: u8 = 15;
}

/// Types of messages.
pub mod message {
    /// A call.
    pub const CALL: u8 = 1;
    /// Its answer.
    pub const REPLY: u8 = 2;
    /// Why it is not answered.
    pub const EXCEPTION: u8 = 3;
    /// A call that is not answered.
    pub const ONEWAY: u8 = 4;
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A frame claims to have so many bytes.
    Frame(u32),
    /// It begins as a message without a frame does.
    NoFrame,
    /// It is cut off, or claims to hold more than there is.
    CutOff,
    /// A type that there is not.
    Kind(u8),
    /// It is nested too deeply.
    TooDeep,
    /// A version that is not known.
    Version,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(len) => write!(
                f,
                "a frame of {len} bytes; {RECORDS_MESSAGE_MAX} are the most: have it send smaller \
                 batches"
            ),
            Self::NoFrame => f.write_str("Thrift without frames: have it use a framed transport"),
            Self::CutOff => f.write_str("a message that ends too early"),
            Self::Kind(kind) => write!(f, "a value of type {kind}, which there is not"),
            Self::TooDeep => write!(f, "a value nested deeper than {DEPTH_MAX} levels"),
            Self::Version => f.write_str("a version of Thrift's binary protocol that is not known"),
        }
    }
}

/// Takes frames out of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that is whole.
    ///
    /// # Errors
    /// That what comes is no frame.
    pub fn take(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(head) = self.buffer.get(..4) else { return Ok(None) };
        let len = head.iter().fold(0_u32, |all, &byte| all << 8 | u32::from(byte));
        if len & 0xffff_0000 == STRICT {
            return Err(Fault::NoFrame);
        }
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        if size > RECORDS_MESSAGE_MAX {
            return Err(Fault::Frame(len));
        }
        if self.buffer.len() < 4 + size {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(take_front(&mut self.buffer, size)))
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets what is held.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }
}

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'f> {
    /// The method.
    pub name: &'f [u8],
    /// See [`message`].
    pub kind: u8,
    /// The number that the answer has too.
    pub sequence: u32,
    /// Whether its version stands before it; the answer is written the same way.
    pub is_strict: bool,
}

impl<'f> Head<'f> {
    /// Reads the head of a frame.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(reader: &mut Reader<'f>) -> Result<Self, Fault> {
        let first = reader.u32()?;
        if first & 0x8000_0000 == 0 {
            let name = reader.bytes(first)?;
            let (kind, sequence) = (reader.byte()?, reader.u32()?);
            return Ok(Self { name, kind, sequence, is_strict: false });
        }
        if first & 0xffff_0000 != STRICT {
            return Err(Fault::Version);
        }
        let kind = u8::try_from(first & 0xff).map_err(|_| Fault::Version)?;
        let name = reader.string()?;
        Ok(Self { name, kind, sequence: reader.u32()?, is_strict: true })
    }

    /// Writes a message of this head into a frame; `body` writes what is behind it.
    pub fn write(&self, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        if self.is_strict {
            u32(out, STRICT | u32::from(self.kind));
            string(out, self.name);
        } else {
            string(out, self.name);
            out.push(self.kind);
        }
        u32(out, self.sequence);
        body(out);
        let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

/// Walks through the values of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'f> {
    rest: &'f [u8],
}

impl<'f> Reader<'f> {
    /// A reader of nothing.
    pub const EMPTY: Self = Self { rest: &[] };

    /// A reader of these bytes.
    pub fn new(bytes: &'f [u8]) -> Self {
        Self { rest: bytes }
    }

    fn bytes(&mut self, len: u32) -> Result<&'f [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::CutOff)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Fault::CutOff)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next byte.
    ///
    /// # Errors
    /// That there is none.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.bytes(1)?[0])
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// That there are none.
    pub fn u32(&mut self) -> Result<u32, Fault> {
        Ok(self.bytes(4)?.iter().fold(0, |all, &byte| all << 8 | u32::from(byte)))
    }

    /// The next text. A negative length is more than there can be.
    ///
    /// # Errors
    /// That it is not all there.
    pub fn string(&mut self) -> Result<&'f [u8], Fault> {
        let len = self.u32()?;
        self.bytes(len)
    }

    /// The type and the number of a struct's next field; `None` at its end.
    ///
    /// # Errors
    /// That it is cut off.
    pub fn field(&mut self) -> Result<Option<(u8, u32)>, Fault> {
        match self.byte()? {
            kind::STOP => Ok(None),
            kind => {
                let number = self.bytes(2)?;
                Ok(Some((kind, u32::from(number[0]) << 8 | u32::from(number[1]))))
            }
        }
    }

    /// How many elements a list has; each takes a byte at least.
    ///
    /// # Errors
    /// That it claims more than there is room for.
    pub fn count(&mut self) -> Result<u32, Fault> {
        let count = self.u32()?;
        match usize::try_from(count) {
            Ok(fits) if fits <= self.rest.len() => Ok(count),
            _ => Err(Fault::CutOff),
        }
    }

    /// Passes over a value of this type.
    ///
    /// # Errors
    /// That it is none.
    pub fn skip(&mut self, kind: u8) -> Result<(), Fault> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: u8, depth: u32) -> Result<(), Fault> {
        if depth == 0 {
            return Err(Fault::TooDeep);
        }
        match kind {
            // Booleans and bytes; doubles and integers.
            2 | 3 => self.bytes(1).map(drop),
            6 => self.bytes(2).map(drop),
            kind::I32 => self.bytes(4).map(drop),
            4 | kind::I64 => self.bytes(8).map(drop),
            kind::STRING => self.string().map(drop),
            kind::STRUCT => {
                while let Some((kind, _)) = self.field()? {
                    self.skip_within(kind, depth - 1)?;
                }
                Ok(())
            }
            kind::MAP => {
                let kinds = (self.byte()?, self.byte()?);
                for _ in 0..self.count()? {
                    self.skip_within(kinds.0, depth - 1)?;
                    self.skip_within(kinds.1, depth - 1)?;
                }
                Ok(())
            }
            // Sets and lists.
            14 | kind::LIST => {
                let kind = self.byte()?;
                for _ in 0..self.count()? {
                    self.skip_within(kind, depth - 1)?;
                }
                Ok(())
            }
            other => Err(Fault::Kind(other)),
        }
    }
}

/// Writes a number of four bytes.
pub fn u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Writes a text, whose length has 31 bits.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    u32(out, u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(text);
}

/// Writes the type and the number of a field.
pub fn field(out: &mut Vec<u8>, kind: u8, number: u16) {
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
}
