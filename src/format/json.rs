//! A line as a JSON object (RFC 8259): valid whatever bytes are in the line. Invalid UTF-8 becomes
//! U+FFFD; absent values are omitted.

use super::{Formatter, Host, Line};
use crate::parse::syslog::names::{facility_of, severity_of};
use crate::parse::syslog::sd::{self, Piece, pieces, unescape};
use crate::sources::Source;

/// Writes the object up to the text of its message, which [`super::escape`] escapes.
pub(super) fn head<'l>(formatter: &'l Formatter, line: &Line<'l>, out: &mut Vec<u8>) {
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
    object.key("message");
    out.push(b'"');
}

/// Writes the object from the end of that text on.
pub(super) fn foot(line: &Line<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut object = Object { out, first: false };
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

/// A parameter by where the id of its element, its name and its value begin in the structured data:
/// small, because a message of some megabytes has millions. Each element begins with one that has
/// no name, as a name is never at 0.
#[derive(Debug, Clone, Copy)]
struct Param {
    id: u32,
    name: u32,
    value: u32,
}

/// `{"id": {"name": "value"}}`, in the order of the names; a name that occurs more than once has a
/// list of values, and an id that occurs more than once is one element.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    let data = String::from_utf8_lossy(data);
    let data = data.as_bytes();
    let mut params = params(data);
    let id = |param: &Param| sd::name_at(data, param.id);
    let name = |param: &Param| if param.name == 0 { &[] } else { sd::name_at(data, param.name) };
    params.sort_unstable_by(|a, b| {
        id(a).cmp(id(b)).then_with(|| name(a).cmp(name(b))).then(a.value.cmp(&b.value))
    });
    members(params.chunk_by(|a, b| id(a) == id(b)), id, out, |element, out| {
        let named = element.iter().position(|param| param.name != 0).unwrap_or(element.len());
        let by_name = element[named..].chunk_by(|a, b| name(a) == name(b));
        members(by_name, name, out, |params, out| {
            write_values(params.iter().map(|param| sd::value_at(data, param.value)), out);
        });
    });
}

/// The parameters of structured data, in their order.
fn params(data: &[u8]) -> Vec<Param> {
    // A line is far shorter than 4 GiB.
    let at = |part: &[u8]| {
        u32::try_from(part.as_ptr().addr() - data.as_ptr().addr()).unwrap_or(u32::MAX)
    };
    let mut params = Vec::new();
    let mut id = 0;
    for piece in pieces(data) {
        params.push(match piece {
            Piece::Element(of) => {
                id = at(of);
                Param { id, name: 0, value: 0 }
            }
            Piece::Param(name, value) => Param { id, name: at(name), value: at(value) },
        });
    }
    params
}

/// One value, or a list of several.
fn write_values<'d>(values: impl ExactSizeIterator<Item = &'d [u8]>, out: &mut Vec<u8>) {
    let is_list = values.len() != 1;
    if is_list {
        out.push(b'[');
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(&String::from_utf8_lossy(&unescape(value)), out);
    }
    if is_list {
        out.push(b']');
    }
}

/// An object with a member for each of these groups, which have the same key.
fn members<'p, 'd>(
    groups: impl Iterator<Item = &'p [Param]>,
    key: impl Fn(&Param) -> &'d [u8],
    out: &mut Vec<u8>,
    write: impl Fn(&[Param], &mut Vec<u8>),
) {
    out.push(b'{');
    let mut object = Object { out, first: true };
    for group in groups {
        object.key(&String::from_utf8_lossy(key(&group[0])));
        write(group, object.out);
    }
    object.out.push(b'}');
}
