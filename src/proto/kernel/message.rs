//! A record as a line.

use super::record::Record;
use crate::proto::shared::record::{As, Data, Header, Heads, Lines, Time, json_string};

/// The id of a record's structured data. 32473 is the number for examples (RFC 5612).
const ELEMENT: &str = "kernel@32473";
/// The app of what the kernel itself says.
const APP: &[u8] = b"kernel";

/// Writes records.
#[derive(Debug)]
pub(super) struct Writer {
    form: As,
    host: Vec<u8>,
    heads: Heads,
}

impl Writer {
    /// Records become this, of this host.
    pub(super) fn new(form: As, host: Vec<u8>) -> Self {
        Self { form, host, heads: Heads::default() }
    }

    /// Writes a record as a line.
    pub(super) fn write(&mut self, record: &Record, time: Time, lines: &mut Lines) {
        let (app, procid, text) = parts(record);
        let mut cut = 0;
        match self.form {
            As::Line => lines.push(text),
            As::Json => lines.push(&self.json(record, time)),
            As::Message => {
                let header =
                    Header { pri: record.pri, time: Some(time), host: &self.host, app, procid };
                let mut head = Vec::new();
                self.heads.header(&header, &mut head);
                let mut data = Data::new(&mut head, lines.max_line() / 2);
                data.param(ELEMENT, b"seq", record.sequence.to_string().as_bytes());
                for (name, value) in &record.fields {
                    data.param(ELEMENT, name, value);
                }
                cut = data.end();
                lines.push(&head);
                lines.push(text);
            }
        }
        lines.end(cut);
    }

    /// The record as an object, with the names of the kernel's documentation.
    fn json(&mut self, record: &Record, time: Time) -> Vec<u8> {
        let mut stamp = Vec::new();
        self.heads.time(time, &mut stamp);
        let stamp = String::from_utf8_lossy(&stamp);
        let (facility, severity) = (record.pri / 8, record.pri % 8);
        let mut out = format!(
            "{{\"time\":\"{stamp}\",\"facility\":{facility},\"severity\":{severity},\"seq\":{}",
            record.sequence
        )
        .into_bytes();
        for (name, value) in &record.fields {
            out.push(b',');
            json_string(name, &mut out);
            out.push(b':');
            json_string(value, &mut out);
        }
        out.extend_from_slice(b",\"message\":");
        json_string(&record.text, &mut out);
        out.push(b'}');
        out
    }
}

/// Who says it, its process, and the text: what programs write begins with their name, as in
/// `systemd[1]: Started`.
fn parts(record: &Record) -> (&[u8], &[u8], &[u8]) {
    let text = &record.text[..];
    if record.pri < 8 {
        return (APP, b"", text);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./".contains(byte);
    let end = text.iter().position(|byte| !is_name(byte)).unwrap_or(0);
    let (name, mut rest) = text.split_at(end);
    let mut procid = &b""[..];
    if let Some(inside) = rest.strip_prefix(b"[")
        && let Some(end) = inside.iter().position(|byte| !byte.is_ascii_digit())
        && inside[end] == b']'
    {
        (procid, rest) = (&inside[..end], &inside[end + 1..]);
    }
    match rest.strip_prefix(b": ") {
        Some(rest) if !name.is_empty() => (name, procid, rest),
        _ => (b"", b"", text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::parse;
    use super::*;

    const TIME: Time = (1_767_225_600, 123_456_789);

    fn written(form: As, bytes: &[u8]) -> String {
        let mut lines = Lines::new(1000);
        let mut writer = Writer::new(form, b"web1".to_vec());
        writer.write(&parse(bytes).unwrap(), TIME, &mut lines);
        let bytes: Vec<u8> = lines.take().flat_map(|piece| piece.bytes.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    const DISK: &[u8] = b"3,7,5,-;sda: a\\x0ab\n SUBSYSTEM=block\n DEVICE=b8:0\n";

    #[test]
    fn a_record_is_a_message_of_the_kernel_with_its_fields() {
        let want = "<3>1 2026-01-01T00:00:00.123456Z web1 kernel - - [kernel@32473 seq=\"7\" \
                    SUBSYSTEM=\"block\" DEVICE=\"b8:0\"] sda: a#012b\n";
        assert_eq!(written(As::Message, DISK), want);
        assert_eq!(written(As::Line, DISK), "sda: a#012b\n");
        let object: serde_json::Value = serde_json::from_str(&written(As::Json, DISK)).unwrap();
        assert_eq!((&object["seq"], &object["message"]), (&7.into(), &"sda: a\nb".into()));
        assert_eq!((&object["severity"], &object["DEVICE"]), (&3.into(), &"b8:0".into()));
    }

    #[test]
    fn what_a_program_writes_has_its_name() {
        for (text, want) in [
            ("systemd[1]: Started x", "systemd 1 - [kernel@32473 seq=\"1\"] Started x"),
            ("udevd: y", "udevd - - [kernel@32473 seq=\"1\"] y"),
            ("no name", "- - - [kernel@32473 seq=\"1\"] no name"),
            ("a[b]: c", "- - - [kernel@32473 seq=\"1\"] a[b]: c"),
            ("a[1", "- - - [kernel@32473 seq=\"1\"] a[1"),
        ] {
            let line = written(As::Message, format!("30,1,2,-;{text}\n").as_bytes());
            assert_eq!(line, format!("<30>1 2026-01-01T00:00:00.123456Z web1 {want}\n"));
        }
    }
}
