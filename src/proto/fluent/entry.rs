//! Lines to entries: a time and a record each, gathered by tag.
//!
//! A message of syslog becomes a record with its parts; what its structured data says is there
//! under its own names. A raw line is a record with a message alone, and so is a line that the
//! output writes in a format of its own.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::msgpack;
use super::record::FIELDS;
use crate::batch::Batch;
use crate::format::{Formatter, Moment};
use crate::parse::syslog::names::{facility_of, severity_of};
use crate::parse::syslog::sd::{Piece, pieces, unescape};
use crate::parse::syslog::{Fault, Message};
use crate::proto::shared::record::Time;

/// The entries of one batch, by tag.
#[derive(Debug, Default)]
pub(super) struct Entries {
    tags: Vec<Tagged>,
    /// Where each tag is.
    places: HashMap<Vec<u8>, usize>,
    tag: Vec<u8>,
    line: Vec<u8>,
    fields: Vec<u8>,
}

#[derive(Debug)]
struct Tagged {
    tag: Vec<u8>,
    entries: Vec<u8>,
    lines: u64,
}

impl Entries {
    /// Makes entries of the lines of a batch, instead of those before.
    pub(super) fn fill(&mut self, batch: &Batch, tag: &Formatter, formatter: &Formatter) {
        self.tags.clear();
        self.places.clear();
        let received = Moment::of(batch.received);
        let now = Timestamp::try_from(batch.received).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut start = 0;
        for line in batch.iter() {
            let message = Message::parse(line);
            let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
            let of = (&*batch.input, source);
            self.tag.clear();
            tag.line(line, &message, of, &received, &mut self.tag);
            // A format ends a line.
            self.tag.pop();
            let time = message.sent(line, &TimeZone::UTC, now).unwrap_or(now);
            self.line.clear();
            if !formatter.is_plain() {
                formatter.line(line, &message, of, &received, &mut self.line);
                self.line.pop();
            }
            self.enter(line, &message, time, formatter.is_plain());
            start += line.len() + 1;
        }
    }

    /// Enters a line under the tag that was written.
    fn enter(&mut self, line: &[u8], message: &Message, time: Timestamp, is_plain: bool) {
        let place = match self.places.get(&self.tag) {
            Some(place) => *place,
            None => {
                let tag = self.tag.clone();
                self.places.insert(tag.clone(), self.tags.len());
                self.tags.push(Tagged { tag, entries: Vec::new(), lines: 0 });
                self.tags.len() - 1
            }
        };
        let Tagged { entries, lines, .. } = &mut self.tags[place];
        *lines += 1;
        entries.push(0x92);
        write_time(time, entries);
        let is_raw = matches!(message.fault, Some(Fault::NoPri | Fault::BadPri));
        if !is_plain || is_raw {
            msgpack::map(entries, 1);
            put(entries, b"message", if is_plain { line } else { &self.line });
        } else {
            self.fields.clear();
            let count = write_fields(line, message, &mut self.fields);
            msgpack::map(entries, count);
            entries.extend_from_slice(&self.fields);
        }
    }

    /// The tags, the entries of each, and how many these are.
    pub(super) fn by_tag(&self) -> impl Iterator<Item = (&[u8], &[u8], u64)> {
        self.tags.iter().map(|one| (one.tag.as_slice(), one.entries.as_slice(), one.lines))
    }

    /// How many tags there are.
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    msgpack::str(out, name);
    msgpack::str(out, value);
}

/// Writes an EventTime, or whole seconds where it has no place in one.
fn write_time(time: Timestamp, out: &mut Vec<u8>) {
    let (seconds, nanos): Time = (time.as_second(), time.subsec_nanosecond().unsigned_abs());
    match u32::try_from(seconds) {
        Ok(seconds) => {
            out.extend_from_slice(&[0xd7, 0]);
            out.extend_from_slice(&seconds.to_be_bytes());
            out.extend_from_slice(&nanos.to_be_bytes());
        }
        Err(_) => {
            out.push(0xd3);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

/// Writes the parts of a message; how many there are.
fn write_fields(line: &[u8], message: &Message, out: &mut Vec<u8>) -> u32 {
    let mut count = 3;
    put(out, b"message", message.text(line));
    put(out, b"severity", severity_of(message.pri).as_bytes());
    put(out, b"facility", facility_of(message.pri).as_bytes());
    let parts = [
        (&b"host"[..], message.host.of(line)),
        (b"ident", message.app.of(line)),
        (b"pid", message.procid.of(line)),
        (b"msgid", message.msgid.of(line)),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            put(out, name, value);
            count += 1;
        }
    }
    let Some(data) = message.data.of(line) else { return count };
    let mut id: &[u8] = b"";
    let mut name_of = Vec::new();
    for piece in pieces(data) {
        match piece {
            Piece::Element(element) => id = element,
            Piece::Param(name, value) => {
                name_of.clear();
                // Fields that came by this protocol have the names they had.
                if id != FIELDS.as_bytes() {
                    name_of.extend_from_slice(id);
                    name_of.push(b'.');
                }
                name_of.extend_from_slice(name);
                put(out, &name_of, &unescape(value));
                count += 1;
            }
        }
    }
    count
}
