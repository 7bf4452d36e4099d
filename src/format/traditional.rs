//! The output of rsyslog's template RSYSLOG_TraditionalFileFormat:
//! `%TIMESTAMP% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%`.
//!
//! It is identical to the byte, so that readers of such files need not change. If a message has no
//! tag, rsyslog uses the first word as one, and appends a space to it.

use super::clock::Clock;
use super::{Formatter, Line, push};

/// The SD-IDs that inputs of records give to their fields. Any other message of RFC 5424 came so.
const RECORD_IDS: [&[u8]; 3] = [b"journal@32473", b"kernel@32473", b"container@32473"];

impl Formatter {
    /// The time by the sender's clock, the host, the tag as received, and a space before the
    /// message if it has none of its own. Returns the message.
    pub(super) fn traditional<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        let Line { bytes, message, received, .. } = line;
        let time = message.clock(bytes);
        Clock::traditional(time.unwrap_or_else(|| self.zone.to_datetime(received.time)), out);
        out.push(b' ');
        match message.host.of(bytes) {
            Some(host) => out.extend_from_slice(host),
            None if message.is_rfc5424 => out.push(b'-'),
            None => {
                if !self.push_host(line, out) {
                    push(&self.host, out);
                }
            }
        }
        out.push(b' ');
        let text = match message.is_rfc5424 {
            true => rfc5424_tag(line, out),
            false => self.rfc3164_tag(line, out),
        };
        if !text.starts_with(b" ") {
            out.push(b' ');
        }
        text
    }

    /// Writes the tag; returns what follows it, with the space before the message.
    fn rfc3164_tag<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        let Line { bytes, message, .. } = *line;
        let text = &bytes[message.text as usize..];
        if message.app.of(bytes).is_some() {
            let (tag, text) = message.tag(bytes);
            out.extend_from_slice(tag);
            return text;
        }
        if let Some(tag) = &self.tag {
            out.extend_from_slice(tag.as_bytes());
            out.push(b':');
            return text;
        }
        // A space right after the PRI, and JSON without one, are not a tag.
        let after_pri = (message.text as usize).checked_sub(2).and_then(|at| bytes.get(at..at + 2));
        if after_pri == Some(b"> ") || line.is_raw() && text.starts_with(b"{") {
            return match after_pri {
                Some(b"> ") => &bytes[message.text as usize - 1..],
                _ => text,
            };
        }
        let end = text.iter().position(|byte| matches!(byte, b' ' | b':')).unwrap_or(text.len());
        let end = end + usize::from(text.get(end) == Some(&b':'));
        out.extend_from_slice(&text[..end]);
        &text[end..]
    }
}

/// Writes the tag that rsyslog builds from APP-NAME and PROCID; returns what follows it.
fn rfc5424_tag<'l>(line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
    let Line { bytes, message, .. } = *line;
    out.extend_from_slice(message.app.of(bytes).unwrap_or(b"-"));
    if let Some(procid) = message.procid.of(bytes) {
        out.push(b'[');
        out.extend_from_slice(procid);
        out.push(b']');
    }
    // rsyslog, which reads the journal and the kernel itself, gives those a tag with a colon.
    if message.data.of(bytes).is_some_and(is_record) {
        out.push(b':');
    }
    &bytes[message.text as usize..]
}

/// Returns whether an input made the message of a record, and put its fields into structured data.
fn is_record(data: &[u8]) -> bool {
    let id = data.strip_prefix(b"[").and_then(|data| data.split(|byte| *byte == b' ').next());
    id.is_some_and(|id| RECORD_IDS.contains(&id))
}
