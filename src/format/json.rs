//! A line as a JSON object (RFC 8259): valid whatever bytes are in the line. What is not UTF-8
//! becomes U+FFFD; what the line does not say is left out.

use std::borrow::Cow;

use super::{Formatter, Line};
use crate::parse::syslog::names::{facility_of, severity_of};
use crate::parse::syslog::sd::{Piece, pieces, unescape};
use crate::sources::Source;

/// Writes the object.
pub(super) fn write(formatter: &Formatter, line: &Line<'_>, out: &mut Vec<u8>) {
    let Line { bytes, message, .. } = line;
    let text = |part: Option<&[u8]>| part.map(|part| String::from_utf8_lossy(part).into_owned());
    out.push(b'{');
    let mut object = Object { out, first: true };
    object.put("time", formatter.sent(line));
    object.put("received", Some(&line.received.text));
    object.put("facility", Some(facility_of(message.pri)));
    object.put("severity", Some(severity_of(message.pri)));
    object.put("host", text(message.host.of(bytes)).or_else(|| formatter.host(line)));
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

fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// `{"id": {"name": "value"}}`; a name that is there more than once has a list of values.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    type Params<'d> = Vec<(Cow<'d, str>, Vec<Cow<'d, [u8]>>)>;
    let mut elements: Vec<(Cow<'_, str>, Params<'_>)> = Vec::new();
    for piece in pieces(data) {
        match piece {
            Piece::Element(id) => {
                let id = String::from_utf8_lossy(id);
                // An id that is there twice goes on where it was.
                let known = elements.iter().position(|(other, _)| *other == id);
                let element = known.map_or((id, Vec::new()), |at| elements.remove(at));
                elements.push(element);
            }
            Piece::Param(name, value) => {
                let Some((_, params)) = elements.last_mut() else { continue };
                let name = String::from_utf8_lossy(name);
                match params.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, values)) => values.push(unescape(value)),
                    None => params.push((name, vec![unescape(value)])),
                }
            }
        }
    }
    let value = |value: &Cow<'_, [u8]>| String::from_utf8_lossy(value).into_owned().into();
    let element = |(id, params): (Cow<'_, str>, Params<'_>)| {
        let members = params.iter().map(|(name, values)| match &values[..] {
            [one] => (name.to_string(), value(one)),
            many => (name.to_string(), many.iter().map(value).collect()),
        });
        (id.to_string(), serde_json::Value::Object(members.collect()))
    };
    let object = serde_json::Value::Object(elements.into_iter().map(element).collect());
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, &object);
}
