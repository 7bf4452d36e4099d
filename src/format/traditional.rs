//! What rsyslog writes with its template RSYSLOG_TraditionalFileFormat:
//! `%TIMESTAMP% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%`.
//!
//! It is the same to the byte, so that what reads such files need not change. Where a message has
//! no tag, rsyslog takes the first word for one, and puts a space behind it.

use super::clock::Clock;
use super::{Formatter, Line};

impl Formatter {
    /// The time as the sender's clock showed it, the host, the tag as it stands, and a space before
    /// the message where it has none of its own.
    pub(super) fn traditional(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        let Line { bytes, message, received, .. } = line;
        let time = message.clock(bytes);
        Clock::traditional(time.unwrap_or_else(|| self.zone.to_datetime(received.time)), out);
        out.push(b' ');
        match message.host.of(bytes) {
            Some(host) => out.extend_from_slice(host),
            None if message.is_rfc5424 => out.push(b'-'),
            None => {
                let host = self.host(line).unwrap_or_else(|| self.host.clone());
                out.extend_from_slice(host.as_bytes());
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
        out.extend_from_slice(text);
    }

    /// Writes the tag; what is behind it, with the space before the message.
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
        // A space right behind the PRI, and JSON without one, are no tag.
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

/// The tag that rsyslog makes of APP-NAME and PROCID; what is behind it.
fn rfc5424_tag<'l>(line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
    let Line { bytes, message, .. } = *line;
    out.extend_from_slice(message.app.of(bytes).unwrap_or(b"-"));
    if let Some(procid) = message.procid.of(bytes) {
        out.push(b'[');
        out.extend_from_slice(procid);
        out.push(b']');
    }
    &bytes[message.text as usize..]
}
