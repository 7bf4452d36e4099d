//! MessagePack, as far as the protocol needs it
//! (<https://github.com/msgpack/msgpack/blob/master/spec.md>).
//!
//! A [`Scanner`] finds where a value ends in a stream that comes in pieces; a [`Reader`] walks
//! through bytes that are there. Neither allocates for what a value claims to hold.

use std::fmt;

/// The deepest that containers may be nested.
pub const DEPTH_MAX: usize = 32;

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A byte that begins no value.
    Reserved,
    /// It claims to hold more than may be held.
    TooLarge,
    /// It is nested too deeply.
    TooDeep,
    /// It is cut off.
    CutOff,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("byte 0xc1, which begins no value"),
            Self::TooLarge => f.write_str("a value larger than may be"),
            Self::TooDeep => write!(f, "a value nested deeper than {DEPTH_MAX} levels"),
            Self::CutOff => f.write_str("a value that is cut off"),
        }
    }
}

/// A value, or the head of one that holds others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'v> {
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A negative integer.
    Int(i64),
    /// An integer that is not negative.
    Uint(u64),
    /// A float.
    Float(f64),
    /// A string, which may be no UTF-8.
    Str(&'v [u8]),
    /// Bytes.
    Bin(&'v [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
    /// An extension's type and bytes.
    Ext(i8, &'v [u8]),
}

impl<'v> Value<'v> {
    /// The bytes of a string, whichever of the two families it is of.
    pub fn text(self) -> Option<&'v [u8]> {
        match self {
            Self::Str(text) | Self::Bin(text) => Some(text),
            _ => None,
        }
    }
}

/// What stands at the beginning of a value.
#[derive(Debug, Clone, Copy)]
enum Head {
    /// A value that is whole with these bytes behind its head.
    Plain(Kind, usize),
    Array(u32),
    Map(u32),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Nil,
    Bool(bool),
    Fix(i8),
    Uint,
    Int,
    Float,
    Str,
    Bin,
    Ext,
}

/// Reads a head; its length. `None` where it is not all there.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let number = |width: usize| {
        let digits = rest.get(..width)?;
        Some(digits.iter().fold(0_u32, |all, &digit| all << 8 | u32::from(digit)))
    };
    let plain = |kind, len: u32| Some((Head::Plain(kind, len as usize), 1));
    // A length of so many bytes, and `extra` bytes behind it that are not counted.
    let sized = |kind, width, extra: usize| {
        number(width).map(|len| (Head::Plain(kind, len as usize + extra), 1 + width))
    };
    Ok(match first {
        0x00..=0x7f | 0xe0..=0xff => plain(Kind::Fix(i8::from_be_bytes([first])), 0),
        0x80..=0x8f => Some((Head::Map(u32::from(first & 0x0f)), 1)),
        0x90..=0x9f => Some((Head::Array(u32::from(first & 0x0f)), 1)),
        0xa0..=0xbf => plain(Kind::Str, u32::from(first & 0x1f)),
        0xc0 => plain(Kind::Nil, 0),
        0xc1 => return Err(Fault::Reserved),
        0xc2 | 0xc3 => plain(Kind::Bool(first == 0xc3), 0),
        0xc4 => sized(Kind::Bin, 1, 0),
        0xc5 => sized(Kind::Bin, 2, 0),
        0xc6 => sized(Kind::Bin, 4, 0),
        0xc7 => sized(Kind::Ext, 1, 1),
        0xc8 => sized(Kind::Ext, 2, 1),
        0xc9 => sized(Kind::Ext, 4, 1),
        0xca => plain(Kind::Float, 4),
        0xcb => plain(Kind::Float, 8),
        0xcc..=0xcf => plain(Kind::Uint, 1 << (first - 0xcc)),
        0xd0..=0xd3 => plain(Kind::Int, 1 << (first - 0xd0)),
        0xd4..=0xd8 => plain(Kind::Ext, (1 << (first - 0xd4)) + 1),
        0xd9 => sized(Kind::Str, 1, 0),
        0xda => sized(Kind::Str, 2, 0),
        0xdb => sized(Kind::Str, 4, 0),
        0xdc => number(2).map(|len| (Head::Array(len), 3)),
        0xdd => number(4).map(|len| (Head::Array(len), 5)),
        0xde => number(2).map(|len| (Head::Map(len), 3)),
        0xdf => number(4).map(|len| (Head::Map(len), 5)),
    })
}

/// Finds the end of a value that comes in pieces. What was looked at is not looked at again.
#[derive(Debug)]
pub struct Scanner {
    most: usize,
    /// How far it has looked; beyond what is there where the bytes of a string are missing.
    at: usize,
    /// How many values are missing in each container that is open, the first `depth` of these.
    open: [u64; DEPTH_MAX],
    depth: usize,
    whole: bool,
}

impl Scanner {
    /// Values may have `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, at: 0, open: [0; DEPTH_MAX], depth: 0, whole: false }
    }

    /// The length of the value that `bytes` begins with; `None` while it is not whole. The same
    /// bytes must come again with more behind them, until the value is whole.
    ///
    /// # Errors
    /// Why it is no value that may be.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        while !self.whole {
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            let Some((head, len)) = head(rest)? else { return Ok(None) };
            let (payload, children) = match head {
                Head::Plain(_, payload) => (payload, 0),
                Head::Array(count) => (0, u64::from(count)),
                Head::Map(count) => (0, u64::from(count) * 2),
            };
            self.at += len;
            let room = self.most.saturating_sub(self.at);
            // Each value has a byte at least.
            if self.at > self.most || payload > room || children > room as u64 {
                return Err(Fault::TooLarge);
            }
            self.at += payload;
            if children > 0 {
                *self.open.get_mut(self.depth).ok_or(Fault::TooDeep)? = children;
                self.depth += 1;
            } else {
                self.close();
            }
        }
        if bytes.len() < self.at {
            return Ok(None);
        }
        self.whole = false;
        Ok(Some(std::mem::take(&mut self.at)))
    }

    /// A value is whole, and with it perhaps the containers that it is the last of.
    fn close(&mut self) {
        while self.depth > 0 {
            let missing = &mut self.open[self.depth - 1];
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.depth -= 1;
        }
        self.whole = true;
    }
}

/// Walks through values.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'v> {
    rest: &'v [u8],
}

impl<'v> Reader<'v> {
    /// A reader of these bytes.
    pub fn new(bytes: &'v [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value; of a container only its head, its values come next.
    ///
    /// # Errors
    /// That there is no whole value.
    pub fn value(&mut self) -> Result<Value<'v>, Fault> {
        let (head, len) = head(self.rest)?.ok_or(Fault::CutOff)?;
        let behind = &self.rest[len..];
        match head {
            Head::Array(count) => {
                self.rest = behind;
                Ok(Value::Array(count))
            }
            Head::Map(count) => {
                self.rest = behind;
                Ok(Value::Map(count))
            }
            Head::Plain(kind, payload) => {
                let (bytes, rest) = behind.split_at_checked(payload).ok_or(Fault::CutOff)?;
                self.rest = rest;
                Ok(value(kind, bytes))
            }
        }
    }

    /// The next value without taking it.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn peek(&self) -> Result<Value<'v>, Fault> {
        Self { rest: self.rest }.value()
    }

    /// Passes over a whole value; its bytes.
    ///
    /// # Errors
    /// That there is no whole value.
    pub fn skip(&mut self) -> Result<&'v [u8], Fault> {
        let start = self.rest;
        let len = Scanner::new(start.len()).scan(start).map_err(|fault| match fault {
            // It claims more than is there.
            Fault::TooLarge => Fault::CutOff,
            other => other,
        })?;
        let (value, rest) = start.split_at(len.ok_or(Fault::CutOff)?);
        self.rest = rest;
        Ok(value)
    }
}

fn value(kind: Kind, bytes: &[u8]) -> Value<'_> {
    let bits = || bytes.iter().fold(0_u64, |all, &byte| all << 8 | u64::from(byte));
    match kind {
        Kind::Nil => Value::Nil,
        Kind::Bool(is) => Value::Bool(is),
        Kind::Fix(number) => integer(i64::from(number)),
        Kind::Uint => Value::Uint(bits()),
        Kind::Int => {
            // The sign stands in the first bit of the width that was sent.
            let unused = 64 - 8 * u32::try_from(bytes.len()).unwrap_or(8);
            integer((bits() << unused).cast_signed() >> unused)
        }
        Kind::Float => Value::Float(match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => f64::from(f32::from_be_bytes(bytes)),
            Err(_) => f64::from_bits(bits()),
        }),
        Kind::Str => Value::Str(bytes),
        Kind::Bin => Value::Bin(bytes),
        Kind::Ext => match bytes.split_first() {
            Some((&kind, data)) => Value::Ext(i8::from_be_bytes([kind]), data),
            None => Value::Nil,
        },
    }
}

fn integer(number: i64) -> Value<'static> {
    u64::try_from(number).map_or(Value::Int(number), Value::Uint)
}

// ---- writing

/// Writes the head of an array.
pub fn array(out: &mut Vec<u8>, count: u32) {
    container(out, count, (0x90, 0xdc));
}

/// Writes the head of a map.
pub fn map(out: &mut Vec<u8>, count: u32) {
    container(out, count, (0x80, 0xde));
}

fn container(out: &mut Vec<u8>, count: u32, (fix, wide): (u8, u8)) {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ 0..=15), _) => out.push(fix | count),
        (_, Ok(count)) => {
            out.push(wide);
            out.extend_from_slice(&count.to_be_bytes());
        }
        _ => {
            out.push(wide + 1);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// Writes a string, whose length has 32 bits.
pub fn str(out: &mut Vec<u8>, text: &[u8]) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(len @ 0..=31), _) => out.push(0xa0 | len),
        (Ok(len), _) => out.extend_from_slice(&[0xd9, len]),
        (_, Ok(len)) => {
            out.push(0xda);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Writes bytes, whose length has 32 bits.
pub fn bin(out: &mut Vec<u8>, bytes: &[u8]) {
    match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
        (Ok(len), _) => out.extend_from_slice(&[0xc4, len]),
        (_, Ok(len)) => {
            out.push(0xc5);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Writes an integer.
pub fn uint(out: &mut Vec<u8>, number: u64) {
    match (u8::try_from(number), u32::try_from(number)) {
        (Ok(number @ 0..=127), _) => out.push(number),
        (_, Ok(number)) => {
            out.push(0xce);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Writes `true` or `false`.
pub fn bool(out: &mut Vec<u8>, is: bool) {
    out.push(if is { 0xc3 } else { 0xc2 });
}

#[cfg(test)]
mod tests;
