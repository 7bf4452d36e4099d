//! The values of a template's fields.

use std::borrow::Cow;

use super::decimal::decimal;
use super::json::string;
use super::parts::{APP_MAX, HOST_MAX, MSGID_MAX, PROCID_MAX, header_part};
use super::template::{Name, Part, Style, Template};
use super::{Formatter, Line, push};
use crate::parse::field::{Field, program};
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
                None => self.push_time(line, out),
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
            Name::Pri => decimal(out, message.pri.into()),
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
                None => return self.push_host(line, out),
            },
            Field::App => match message.app.of(bytes) {
                Some(app) => (Some(app), APP_MAX),
                None => return self.app(line).inspect(|app| push(app, out)).is_some(),
            },
            Field::Program => {
                let app = self.app(line);
                out.extend_from_slice(app.as_ref().map_or(b"", |app| program(app.as_bytes())));
                return app.is_some();
            }
            Field::ProcId => (message.procid.of(bytes), PROCID_MAX),
            Field::MsgId => (message.msgid.of(bytes), MSGID_MAX),
            Field::Message | Field::Data { .. } | Field::Source | Field::Pid | Field::Uid => {
                let value = field.value(bytes, message, *source);
                out.extend_from_slice(value.as_deref().unwrap_or_default());
                return value.is_some();
            }
        };
        let Some(part) = part else { return false };
        push(&header_part(part, max), out);
        true
    }
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
