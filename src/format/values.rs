//! The values of a template's fields.

use std::borrow::Cow;

use super::json::string;
use super::parts::{APP_MAX, HOST_MAX, MSGID_MAX, PROCID_MAX, push_header_part};
use super::template::{Name, Part, Style, Template};
use super::{Formatter, Line};
use crate::parse::field::Field;
use crate::parse::syslog::names::{facility_of, severity_of};

impl Formatter {
    /// Writes a line with a template.
    pub(super) fn template(&self, template: &Template, line: &Line<'_>, out: &mut Vec<u8>) {
        for part in template.parts() {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(name, Style::Plain) => {
                    if !self.plain(name, line, out) {
                        out.push(b'-');
                    }
                }
                Part::Value(name, style) => {
                    // Quoting needs the whole value.
                    let mut value = Vec::new();
                    let found = self.plain(name, line, &mut value);
                    styled(found.then_some(&value), *style, out);
                }
            }
        }
    }

    /// Writes a value unchanged; returns whether there is one.
    fn plain(&self, name: &Name, line: &Line<'_>, out: &mut Vec<u8>) -> bool {
        let Line { bytes, message, input, received, .. } = line;
        match name {
            Name::Field(field) => return self.field(field, line, out),
            Name::Message => out.extend_from_slice(message.text(bytes)),
            Name::Line => out.extend_from_slice(bytes),
            Name::Time => match message.sent_text(bytes) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => out.extend_from_slice(self.time(line).as_bytes()),
            },
            Name::Received => out.extend_from_slice(received.text.as_bytes()),
            Name::TimeAs(clock) => {
                let time = message.sent(bytes, &self.zone, received.time);
                let time = time.unwrap_or(received.time);
                clock.write(&time.to_zoned(self.zone.clone()), out);
            }
            Name::ReceivedAs(clock) => {
                clock.write(&received.time.to_zoned(self.zone.clone()), out);
            }
            Name::Pri => out.extend_from_slice(message.pri.to_string().as_bytes()),
            Name::Tag => {
                let start = out.len();
                self.tag(line, out);
                // The space after the colon belongs to the template.
                out.truncate(start.max(out.len().saturating_sub(1)));
            }
            Name::Input => out.extend_from_slice(input.as_bytes()),
            Name::Data => match message.data.of(bytes) {
                Some(data) => out.extend_from_slice(data),
                None => return false,
            },
        }
        true
    }

    fn field(&self, field: &Field, line: &Line<'_>, out: &mut Vec<u8>) -> bool {
        let Line { bytes, message, source, .. } = line;
        let (part, max) = match field {
            Field::Facility => (Some(facility_of(message.pri).as_bytes()), HOST_MAX),
            Field::Severity => (Some(severity_of(message.pri).as_bytes()), HOST_MAX),
            Field::Host => match message.host.of(bytes) {
                Some(host) => (Some(host), HOST_MAX),
                None => return put(self.host(line), out),
            },
            Field::App => match message.app.of(bytes) {
                Some(app) => (Some(app), APP_MAX),
                None => return put(self.app(line), out),
            },
            Field::ProcId => (message.procid.of(bytes), PROCID_MAX),
            Field::MsgId => (message.msgid.of(bytes), MSGID_MAX),
            Field::Data { .. } | Field::Source | Field::Pid | Field::Uid => {
                let value = field.value(bytes, message, *source);
                out.extend_from_slice(value.as_deref().unwrap_or_default());
                return value.is_some();
            }
        };
        let Some(part) = part else { return false };
        push_header_part(part, max, out);
        true
    }
}

fn put(value: Option<String>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
    value.is_some()
}

fn styled(value: Option<&Vec<u8>>, style: Style, out: &mut Vec<u8>) {
    let text = value.map(|value| String::from_utf8_lossy(value));
    match (style, text) {
        (Style::Json, None) => out.extend_from_slice(b"null"),
        (Style::Json, Some(text)) => string(&text, out),
        (Style::Csv, text) => {
            out.push(b'"');
            let text = text.unwrap_or(Cow::Borrowed(""));
            out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        }
        (_, None) => out.push(b'-'),
        (Style::Lower, Some(text)) => out.extend_from_slice(text.to_lowercase().as_bytes()),
        (Style::Upper, Some(text)) => out.extend_from_slice(text.to_uppercase().as_bytes()),
        (Style::Plain, Some(text)) => out.extend_from_slice(text.as_bytes()),
    }
}
