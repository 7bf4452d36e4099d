//! An entry of the journal as a line.

use super::export::Entry;
use crate::proto::shared::record::{As, Data, Header, Heads, Lines};

/// The id of an entry's structured data. 32473 is the number for examples (RFC 5612).
const ELEMENT: &str = "journal@32473";
/// Facility of messages without one: daemon.
const FACILITY_DEFAULT: u8 = 3;
/// Severity of messages without one: informational.
const SEVERITY_DEFAULT: u8 = 6;

/// The fields that are asked for.
pub(super) const FIELDS: &[&str] = &[
    "MESSAGE",
    "PRIORITY",
    "SYSLOG_FACILITY",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_PID",
    "MESSAGE_ID",
    "CONTAINER_NAME",
    "_PID",
    "_UID",
    "_COMM",
    "_HOSTNAME",
    "_TRANSPORT",
    "_SYSTEMD_UNIT",
    "_SYSTEMD_USER_UNIT",
    "_BOOT_ID",
];

/// Fields that stand in a message's header.
const IN_HEADER: &[&str] =
    &["MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_IDENTIFIER", "_HOSTNAME"];

/// Writes entries.
#[derive(Debug)]
pub(super) struct Writer {
    form: As,
    heads: Heads,
}

impl Writer {
    /// Entries become this.
    pub(super) fn new(form: As) -> Self {
        Self { form, heads: Heads::default() }
    }

    /// Writes an entry as a line.
    pub(super) fn write(&mut self, entry: &Entry, lines: &mut Lines) {
        let mut cut = entry.cut;
        match self.form {
            As::Line => {}
            As::Message => {
                let mut head = Vec::new();
                cut += self.head(entry, lines.max_line() / 2, &mut head);
                lines.push(&head);
            }
            As::Json => lines.push(&json(entry)),
        }
        if self.form != As::Json {
            lines.push(entry.get("MESSAGE").unwrap_or_default());
        }
        lines.end(cut);
    }

    /// Writes all before the text; how many bytes had no room.
    fn head(&mut self, entry: &Entry, most: usize, out: &mut Vec<u8>) -> usize {
        let number = |name: &str, most: u8| {
            let text = std::str::from_utf8(entry.get(name)?).ok()?;
            text.parse::<u8>().ok().filter(|number| *number <= most)
        };
        let is_kernel = entry.get("_TRANSPORT") == Some(b"kernel");
        let default = if is_kernel { 0 } else { FACILITY_DEFAULT };
        let facility = number("SYSLOG_FACILITY", 23).unwrap_or(default);
        let severity = number("PRIORITY", 7).unwrap_or(SEVERITY_DEFAULT);
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| entry.get(name));
        let header = Header {
            pri: facility * 8 + severity,
            time: micros(entry).map(|micros| {
                let nanos = micros.rem_euclid(1_000_000) * 1000;
                (micros.div_euclid(1_000_000), u32::try_from(nanos).unwrap_or(0))
            }),
            host: entry.get("_HOSTNAME").unwrap_or_default(),
            app: first(["SYSLOG_IDENTIFIER", "_COMM"]).unwrap_or_default(),
            procid: first(["_PID", "SYSLOG_PID"]).unwrap_or_default(),
        };
        self.heads.header(&header, out);
        let mut data = Data::new(out, most);
        for (name, value) in entry.fields().filter(|(name, _)| !name.starts_with(b"__")) {
            if !IN_HEADER.iter().any(|own| own.as_bytes() == name) {
                data.param(ELEMENT, name, value);
            }
        }
        data.end()
    }
}

/// When the journal received it, in microseconds since 1970.
fn micros(entry: &Entry) -> Option<i64> {
    std::str::from_utf8(entry.get("__REALTIME_TIMESTAMP")?).ok()?.parse().ok()
}

/// The entry as an object; a field that is there more than once has its first value.
fn json(entry: &Entry) -> Vec<u8> {
    let mut object = serde_json::Map::new();
    for (name, value) in entry.fields() {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = String::from_utf8_lossy(value).into_owned();
        if name != "__MONOTONIC_TIMESTAMP" {
            object.entry(name).or_insert(value.into());
        }
    }
    serde_json::to_vec(&object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::export::Reader;
    use super::*;

    fn entry() -> Entry {
        let mut bytes = b"__CURSOR=s=0000000000000000000000000000002a;i=1f\n\
            __REALTIME_TIMESTAMP=1767225600123456\n_HOSTNAME=web1\n_TRANSPORT=syslog\n\
            SYSLOG_IDENTIFIER=sshd\n_PID=7\nPRIORITY=4\nSYSLOG_FACILITY=10\n\
            _SYSTEMD_UNIT=ssh.service\nMESSAGE\n"
            .to_vec();
        bytes.extend_from_slice(&3_u64.to_le_bytes());
        bytes.extend_from_slice(b"a\nb\n\n");
        let mut reader = Reader::new(1000);
        reader.push(&bytes);
        reader.next_entry().unwrap().unwrap()
    }

    fn written(form: As) -> String {
        let mut lines = Lines::new(1000);
        Writer::new(form).write(&entry(), &mut lines);
        let bytes: Vec<u8> = lines.take().flat_map(|piece| piece.bytes.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_entry_is_a_message_with_its_fields() {
        let want = "<84>1 2026-01-01T00:00:00.123456Z web1 sshd 7 - [journal@32473 \
                    _TRANSPORT=\"syslog\" _PID=\"7\" _SYSTEMD_UNIT=\"ssh.service\"] a#012b\n";
        assert_eq!(written(As::Message), want);
        assert_eq!(written(As::Line), "a#012b\n");
        let object: serde_json::Value = serde_json::from_str(&written(As::Json)).unwrap();
        assert_eq!((&object["MESSAGE"], &object["PRIORITY"]), (&"a\nb".into(), &"4".into()));
    }

    #[test]
    fn what_an_entry_lacks_is_a_dash_or_a_default() {
        let mut reader = Reader::new(100);
        reader.push(b"_TRANSPORT=kernel\nMESSAGE=x\n\n");
        let mut lines = Lines::new(1000);
        let entry = reader.next_entry().unwrap().unwrap();
        Writer::new(As::Message).write(&entry, &mut lines);
        let piece = lines.take().next().unwrap();
        let want = "<6>1 - - - - - [journal@32473 _TRANSPORT=\"kernel\"] x\n";
        assert_eq!(String::from_utf8_lossy(&piece.bytes), want);
    }
}
