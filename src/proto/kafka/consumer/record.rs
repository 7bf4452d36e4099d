//! A record as a line.

use super::Place;
use super::batch::Record;
use crate::proto::shared::record::{As, Data, Header, Heads, Lines, Time, json_string};

/// The id of a record's structured data. 32473 is the number for examples (RFC 5612).
const ELEMENT: &str = "kafka@32473";
/// User, informational: a record says neither.
const PRI: u8 = 14;
/// The header that an output of ours names the host by.
const HOST: &[u8] = b"host";

/// Writes records.
#[derive(Debug)]
pub(super) struct Writer {
    form: As,
    heads: Heads,
    buffer: Vec<u8>,
}

impl Writer {
    /// Records become this.
    pub(super) fn new(form: As) -> Self {
        Self { form, heads: Heads::default(), buffer: Vec::new() }
    }

    /// Writes a record of a partition as a line.
    pub(super) fn write(&mut self, place: &Place, record: &Record<'_>, lines: &mut Lines) {
        let mut cut = 0;
        self.buffer.clear();
        match self.form {
            As::Line => {}
            As::Message => {
                cut = self.head(place, record, lines.max_line() / 2);
                lines.push(&self.buffer);
            }
            As::Json => {
                self.json(place, record);
                lines.push(&self.buffer);
            }
        }
        if self.form != As::Json {
            lines.push(record.value.unwrap_or_default());
        }
        lines.end(cut);
    }

    /// Writes all before the text; how many bytes had no room.
    fn head(&mut self, (topic, index): &Place, record: &Record<'_>, most: usize) -> usize {
        let host = record.headers.into_iter().find(|(name, _)| *name == HOST);
        let procid = index.to_string();
        let header = Header {
            pri: PRI,
            time: time(record.time),
            host: host.map_or(&b""[..], |(_, value)| value),
            app: topic.as_bytes(),
            procid: procid.as_bytes(),
        };
        self.heads.header(&header, &mut self.buffer);
        let mut data = Data::new(&mut self.buffer, most);
        data.param(ELEMENT, b"topic", topic.as_bytes());
        data.param(ELEMENT, b"partition", procid.as_bytes());
        data.param(ELEMENT, b"offset", record.offset.to_string().as_bytes());
        if let Some(key) = record.key {
            data.param(ELEMENT, b"key", key);
        }
        for (name, value) in record.headers.filter(|(name, _)| *name != HOST) {
            data.param(ELEMENT, name, value);
        }
        data.end()
    }

    fn json(&mut self, (topic, index): &Place, record: &Record<'_>) {
        let out = &mut self.buffer;
        out.extend_from_slice(b"{\"topic\":");
        json_string(topic.as_bytes(), out);
        let place = format!(",\"partition\":{index},\"offset\":{}", record.offset);
        out.extend_from_slice(place.as_bytes());
        if let Some(time) = time(record.time) {
            out.extend_from_slice(b",\"time\":\"");
            self.heads.time(time, out);
            out.push(b'"');
        }
        if let Some(key) = record.key {
            out.extend_from_slice(b",\"key\":");
            json_string(key, out);
        }
        let mut separator = &b",\"headers\":{"[..];
        for (name, value) in record.headers {
            out.extend_from_slice(std::mem::replace(&mut separator, b","));
            json_string(name, out);
            out.push(b':');
            json_string(value, out);
        }
        if separator == b"," {
            out.push(b'}');
        }
        out.extend_from_slice(b",\"message\":");
        json_string(record.value.unwrap_or_default(), out);
        out.push(b'}');
    }
}

/// A time in milliseconds since 1970, if it is known.
fn time(millis: i64) -> Option<Time> {
    let nanos = u32::try_from(millis.rem_euclid(1000)).ok()? * 1_000_000;
    (millis >= 0).then_some((millis / 1000, nanos))
}
