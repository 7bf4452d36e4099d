//! The fields of a record: which of them have a place of their own in a line, and values as text
//! and as JSON.

use super::message::time_of;
use super::msgpack::{DEPTH_MAX, Reader, Value};
use crate::parse::syslog::names;
use crate::proto::shared::record::{Heads, PROCID_MAX, fits, json_string};

/// The names under which clients send a line's text, in the order in which they are looked for.
const TEXTS: [&[u8]; 2] = [b"log", b"message"];

/// Those fields of a record that have a place of their own.
#[derive(Debug, Default)]
pub(super) struct Fields<'r> {
    /// The text, and the name of its field.
    pub(super) text: Option<(&'r [u8], &'r [u8])>,
    pub(super) host: &'r [u8],
    pub(super) procid: &'r [u8],
    /// Named by the record, or as Docker's stream says.
    pub(super) severity: Option<u8>,
    /// Whether it has fields of the names that are given to its time and tag.
    pub(super) has_time: bool,
    pub(super) has_tag: bool,
    pub(super) piece: Piece<'r>,
}

/// What Docker says of a line that it has split at 16 KiB.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Piece<'r> {
    pub(super) is_piece: bool,
    pub(super) is_last: bool,
    pub(super) id: &'r [u8],
    pub(super) container: &'r [u8],
    pub(super) stream: &'r [u8],
}

/// The fields that [`Piece`] is made of alone; they are not a part of the line.
const PIECE_FIELDS: [&[u8]; 4] =
    [b"partial_message", b"partial_id", b"partial_ordinal", b"partial_last"];

impl<'r> Fields<'r> {
    /// Looks through a record, which is a map.
    pub(super) fn of(record: &'r [u8]) -> Self {
        let mut fields = Self::default();
        let mut stream = None;
        for (name, value) in pairs(record) {
            let Some(text) = Reader::new(value).value().ok().and_then(Value::text) else {
                if matches!(name, b"level" | b"severity") {
                    fields.severity = number(value).or(fields.severity);
                }
                fields.note_name(name);
                continue;
            };
            fields.note_name(name);
            match name {
                b"log" => fields.text = Some((name, text)),
                b"message" if fields.text.is_none() => fields.text = Some((name, text)),
                b"host" | b"hostname" if fields.host.is_empty() => {
                    fields.host = if fits(text, 255) { text } else { b"" };
                }
                b"pid" if fits(text, PROCID_MAX) => fields.procid = text,
                b"level" | b"severity" => fields.severity = severity(text).or(fields.severity),
                b"source" | b"stream" => {
                    fields.piece.stream = text;
                    stream = match text {
                        b"stderr" => Some(3),
                        b"stdout" => Some(6),
                        _ => None,
                    };
                }
                b"container_id" => fields.piece.container = text,
                b"partial_message" => fields.piece.is_piece = text == b"true",
                b"partial_last" => fields.piece.is_last = text == b"true",
                b"partial_id" => fields.piece.id = text,
                _ => {}
            }
        }
        fields.severity = fields.severity.or(stream);
        fields
    }

    fn note_name(&mut self, name: &[u8]) {
        self.has_time |= name == b"time";
        self.has_tag |= name == b"tag";
    }

    /// Whether a field has its place elsewhere in a message, so that it is no parameter.
    pub(super) fn is_placed(&self, name: &[u8], value: &[u8]) -> bool {
        let is =
            |other: &[u8]| Reader::new(value).value().ok().and_then(Value::text) == Some(other);
        match name {
            b"host" | b"hostname" => !self.host.is_empty() && is(self.host),
            b"pid" => !self.procid.is_empty() && is(self.procid),
            _ => self.is_text_or_piece(name),
        }
    }

    /// Whether a field is the text, or only says that the line is in pieces.
    pub(super) fn is_text_or_piece(&self, name: &[u8]) -> bool {
        self.text.is_some_and(|(text, _)| text == name)
            || self.piece.is_piece && PIECE_FIELDS.contains(&name)
    }
}

/// A record's text that stands under a name which is looked for.
pub(super) fn is_text_name(name: &[u8]) -> bool {
    TEXTS.contains(&name)
}

/// The severity of a name, in whatever case.
fn severity(name: &[u8]) -> Option<u8> {
    let name = std::str::from_utf8(name.get(..16.min(name.len()))?).ok()?.to_ascii_lowercase();
    names::severity(match name.as_str() {
        "fatal" => "crit",
        "information" => "info",
        "trace" => "debug",
        other => other,
    })
}

/// The severity of a number, as syslog counts.
fn number(value: &[u8]) -> Option<u8> {
    match Reader::new(value).value() {
        Ok(Value::Uint(number @ 0..=7)) => u8::try_from(number).ok(),
        _ => None,
    }
}

/// The names and values of a map; a name that is no string is empty.
pub(super) fn pairs(map: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut reader = Reader::new(map);
    let count = match reader.value() {
        Ok(Value::Map(count)) => count,
        _ => 0,
    };
    (0..count).map_while(move |_| {
        let name = reader.skip().ok()?;
        let name = Reader::new(name).value().ok().and_then(Value::text).unwrap_or_default();
        Some((name, reader.skip().ok()?))
    })
}

/// Writes a value as text: a string as it is, a list or a map as JSON.
pub(super) fn write_text(value: &[u8], heads: &mut Heads, out: &mut Vec<u8>) {
    match Reader::new(value).value() {
        Ok(Value::Str(text) | Value::Bin(text)) => out.extend_from_slice(text),
        Ok(Value::Nil) | Err(_) => {}
        Ok(Value::Ext(0, _)) => write_time(value, heads, out),
        Ok(_) => write_json(value, heads, out),
    }
}

/// Writes a value as JSON (RFC 8259). What is not UTF-8 becomes U+FFFD.
pub(super) fn write_json(value: &[u8], heads: &mut Heads, out: &mut Vec<u8>) {
    json(&mut Reader::new(value), heads, out, DEPTH_MAX);
}

fn json(reader: &mut Reader<'_>, heads: &mut Heads, out: &mut Vec<u8>, depth: usize) {
    let before = *reader;
    let Ok(value) = reader.value() else { return out.extend_from_slice(b"null") };
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Bool(is) => out.extend_from_slice(if is { b"true" } else { b"false" }),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Uint(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => {
            // What JSON cannot say becomes null. Writing to memory cannot fail.
            let _ = serde_json::to_writer(out, &number);
        }
        Value::Str(text) | Value::Bin(text) => json_string(text, out),
        Value::Ext(0, _) => {
            out.push(b'"');
            let mut value = before;
            write_time(value.skip().unwrap_or_default(), heads, out);
            out.push(b'"');
        }
        Value::Ext(_, bytes) => {
            out.push(b'"');
            bytes.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02x}").as_bytes()));
            out.push(b'"');
        }
        // No reader lets anything deeper through.
        Value::Array(_) | Value::Map(_) if depth == 0 => out.extend_from_slice(b"null"),
        Value::Array(count) => {
            out.push(b'[');
            for at in 0..count {
                if at > 0 {
                    out.push(b',');
                }
                json(reader, heads, out, depth - 1);
            }
            out.push(b']');
        }
        Value::Map(count) => {
            out.push(b'{');
            for at in 0..count {
                if at > 0 {
                    out.push(b',');
                }
                let name = reader.skip().unwrap_or_default();
                json_string(
                    Reader::new(name).value().ok().and_then(Value::text).unwrap_or(b""),
                    out,
                );
                out.push(b':');
                json(reader, heads, out, depth - 1);
            }
            out.push(b'}');
        }
    }
}

/// Writes an EventTime.
fn write_time(value: &[u8], heads: &mut Heads, out: &mut Vec<u8>) {
    let time = Reader::new(value).value().map_err(drop).and_then(time_of);
    if let Ok(time) = time {
        heads.time(time.unwrap_or_default(), out);
    }
}
