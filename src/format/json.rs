//! A line as a JSON object (RFC 8259): valid whatever bytes are in the line. Invalid UTF-8 becomes
//! U+FFFD; absent values are omitted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Formatter, Host, Line};
use crate::parse::syslog::names::{facility_of, severity_of};
use crate::parse::syslog::sd::{Piece, pieces, unescape};
use crate::sources::Source;

/// Writes the object.
pub(super) fn write<'l>(formatter: &'l Formatter, line: &Line<'l>, out: &mut Vec<u8>) {
    let Line { bytes, message, .. } = *line;
    let text = |part: Option<&'l [u8]>| part.map(String::from_utf8_lossy);
    out.push(b'{');
    let mut object = Object { out, first: true };
    object.put("time", sent(formatter, line));
    object.put("received", Some(&line.received.text));
    object.put("facility", Some(facility_of(message.pri)));
    object.put("severity", Some(severity_of(message.pri)));
    object.put(
        "host",
        text(message.host.of(bytes)).or_else(|| formatter.host(line).map(Host::into_text)),
    );
    object.put("app", text(message.app.of(bytes)).or_else(|| formatter.app(line)));
    object.put("procid", text(message.procid.of(bytes)));
    object.put("msgid", text(message.msgid.of(bytes)));
    if let Some(data) = message.data.of(bytes) {
        object.key("sd");
        write_data(data, object.out);
    }
    object.put("message", text(Some(message.text(bytes))));
    match line.source {
        Some(Source::Address(address)) => {
            object.put("source", Some(address.ip().to_canonical().to_string()));
        }
        Some(Source::Process { pid, uid }) => {
            object.put("pid", Some(pid.to_string()));
            object.put("uid", Some(uid.to_string()));
        }
        None => {}
    }
    object.put("input", Some(line.input));
    out.push(b'}');
}

/// When the message was sent.
fn sent(formatter: &Formatter, line: &Line<'_>) -> Option<String> {
    let mut time = Vec::new();
    formatter.push_sent(line, &mut time).then(|| String::from_utf8_lossy(&time).into_owned())
}

/// An object whose members are written one after the other.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        string(key, self.out);
        self.out.push(b':');
    }

    fn put(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.key(key);
            string(value.as_ref(), self.out);
        }
    }
}

/// A string in quotes.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// `{"id": {"name": "value"}}`, in the order of the names; a name that occurs more than once has a
/// list of values, and an id that occurs more than once is one element.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    type Params<'d> = BTreeMap<Cow<'d, str>, Vec<&'d [u8]>>;
    // Maps, because a list would be searched for each parameter.
    let mut elements: BTreeMap<Cow<'_, str>, Params<'_>> = BTreeMap::new();
    let mut params: Option<&mut Params<'_>> = None;
    for piece in pieces(data) {
        match piece {
            Piece::Element(id) => {
                params = Some(elements.entry(String::from_utf8_lossy(id)).or_default());
            }
            Piece::Param(name, value) => {
                let Some(params) = &mut params else { continue };
                params.entry(String::from_utf8_lossy(name)).or_default().push(value);
            }
        }
    }
    members(&elements, out, |params, out| {
        members(params, out, |values, out| write_values(values, out));
    });
}

/// One value, or a list of several.
fn write_values(values: &[&[u8]], out: &mut Vec<u8>) {
    let value = |value: &[u8], out: &mut Vec<u8>| {
        string(&String::from_utf8_lossy(&unescape(value)), out);
    };
    if let [one] = values {
        return value(one, out);
    }
    out.push(b'[');
    for (at, one) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        value(one, out);
    }
    out.push(b']');
}

/// An object of these members.
fn members<T>(
    map: &BTreeMap<Cow<'_, str>, T>,
    out: &mut Vec<u8>,
    write: impl Fn(&T, &mut Vec<u8>),
) {
    out.push(b'{');
    let mut object = Object { out, first: true };
    for (key, value) in map {
        object.key(key);
        write(value, object.out);
    }
    object.out.push(b'}');
}
