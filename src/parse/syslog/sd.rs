//! Structured data (RFC 5424, section 6.3): `[id name="value" …][id …]`.

use std::borrow::Cow;

/// The length of the structured data at the start of `bytes`; `None` if there is none. A value may
/// contain anything; `"`, `\` and `]` in it are escaped by `\`.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while bytes.get(at) == Some(&b'[') {
        at += name(&bytes[at + 1..])? + 1;
        loop {
            match bytes.get(at)? {
                b']' => break at += 1,
                b' ' => {}
                _ => return None,
            }
            // A space before the bracket is not allowed, but common.
            if bytes.get(at + 1) == Some(&b']') {
                break at += 2;
            }
            at += 1 + name(&bytes[at + 1..])?;
            if bytes.get(at..at + 2)? != b"=\"" {
                return None;
            }
            at += 2 + value(&bytes[at + 2..])? + 1;
        }
    }
    (at > 0).then_some(at)
}

/// The length of a name; `None` if there is none.
fn name(bytes: &[u8]) -> Option<usize> {
    let is_end = |&byte: &u8| matches!(byte, b' ' | b']' | b'=' | b'"');
    let len = bytes.iter().position(is_end)?;
    (len > 0).then_some(len)
}

/// Where a value ends: at the first `"` that is not escaped.
fn value(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// One piece of structured data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'d> {
    /// An element of this id begins.
    Element(&'d [u8]),
    /// A parameter of the last element: its name, and its value with escapes.
    Param(&'d [u8], &'d [u8]),
}

/// The pieces of structured data, which [`end`] accepted as a whole.
pub fn pieces(data: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        loop {
            let (&first, after) = rest.split_first()?;
            let len = match first {
                b'[' => {
                    let len = name(after)?;
                    rest = &after[len..];
                    return Some(Piece::Element(&after[..len]));
                }
                b' ' if after.first() != Some(&b']') => name(after)?,
                _ => {
                    rest = after;
                    continue;
                }
            };
            let quoted = after.get(len + 2..)?;
            let end = value(quoted)?;
            rest = &quoted[end + 1..];
            return Some(Piece::Param(&after[..len], &quoted[..end]));
        }
    })
}

/// The name that begins there in structured data.
pub fn name_at(data: &[u8], at: u32) -> &[u8] {
    let rest = data.get(at as usize..).unwrap_or_default();
    &rest[..name(rest).unwrap_or(0)]
}

/// The value that begins there in structured data, with its escapes.
pub fn value_at(data: &[u8], at: u32) -> &[u8] {
    let rest = data.get(at as usize..).unwrap_or_default();
    &rest[..value(rest).unwrap_or(0)]
}

/// The first parameter with that name in an element with that id, unescaped.
pub fn find<'d>(data: &'d [u8], id: &[u8], name: &[u8]) -> Option<Cow<'d, [u8]>> {
    let mut inside = false;
    for piece in pieces(data) {
        match piece {
            Piece::Element(other) => inside = other == id,
            Piece::Param(other, value) if inside && other == name => return Some(unescape(value)),
            Piece::Param(..) => {}
        }
    }
    None
}

/// Unescapes a value. A `\` before any other byte stands for itself (section 6.3.3).
pub fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(&next @ (b'"' | b'\\' | b']')) if byte == b'\\' => {
                plain.push(next);
                bytes.next();
            }
            _ => plain.push(byte),
        }
    }
    Cow::Owned(plain)
}
